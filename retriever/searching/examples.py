"""Example searches made of the index itself, for somebody who does not know what is in it.

Candidates come from a stable sample of passages: the questions that documents ask, the things that
they define ("What is a relying party?"), their headings and titles. A candidate is kept if a person
can read it alone (no codes, markup, pronouns, numbering), if its words are not everywhere, and if a
keyword search for it puts its own passage first. The chosen ones are of different documents,
folders and kinds as far as possible. They depend on the generation alone, and need no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log, sqrt
from typing import NamedTuple

from retriever.searching.toc import looks_like_toc
from retriever.storage.backends import Snapshot
from retriever.text.analyzer import query_words
from retriever.text.structure import read_lines
from retriever.text.words import FUNCTION_KINDS, words_at
from retriever.types import Chunk

SAMPLE = 1_200
"""The passages that candidates come from."""

MAX_CHECKED = 24
"""The candidates that are searched for."""

_KINDS = ("question", "definition", "heading", "title")
"""The kinds of candidates, those that say most about what the search can do first."""

_KIND_AGAIN = 1.5  # kinds further down, by which a kind that is there already is put off
_MAX_OTHERS = 0.25  # share of characters that are no letters
_MAX_MARKUP = 0.01  # share of characters of markup
_MAX_COMMON = 0.1  # share of the passages that a word may occur in
_MAX_CHARACTERS = 70
_HEADING_WORDS = range(2, 9)
_QUESTION_WORDS = range(4, 13)
_BEGINNING = 600  # characters of a passage in which headings are looked for

_NUMBERING = re.compile(
    r"\A(?:(?i:appendix|annex|chapter|section|part|article|figure|table|step|kapitel|abschnitt"
    r"|anhang|chapitre|annexe|capítulo)\s+)?"
    r"(?:[0-9]+(?:\.[0-9]+)*|[A-Z](?:\.[0-9]+)+|[A-Z](?=[.:)—–])|[IVXLC]+)[.:)]?[\s—–:-]+(?=\S)"
)
_EMPHASIS = re.compile(r"[*_`]+")
_LINK = re.compile(r"\[([^\]\[]*)\]\([^)\s]*\)")
_APOSTROPHE = re.compile("['’]")
_QUESTION = re.compile(r"(?m)^[#>*\s\d.)•–-]*([^\W\d_][^.!?“”\"«»:;()\[\]\n]{10,90}\?)[*_\s]*$")
_IS = re.compile(r" (is|are) (?:an?|the|any|defined as) [^.?!]{20,}?[.;]")
_NAME = re.compile(
    r"(?:(?<![DM]r\.\s)(?<!Mrs\.\s)(?<=[.!?]\s)|(?<=\n)|\A)"
    r"(?:(?P<article>An?) )?(?P<name>(?!The )[A-Za-z-]{3,}(?: [A-Za-z-]+){0,3})\Z"
)
_LONGEST_NAME = 70  # characters
_ODD = re.compile(r"[^\w\s'’\u2010\u2011,?&®-]|_|\d{3,}|\b\w*[^\W\d]\d\w*\b|-\b[a-z]*\d")
_OTHERS = re.compile(r"[^\w ]+|[\d_]+")
_MARKUP = re.compile(r"[<>{}=|\\]")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_POINTERS = _set(
    "i you he she it we they me him her us them my your his its our their this that these those "
    "there here under within during between one ones such other others another following above "
    "below same first second last mine yours who whom which what when where how why"
)
"""Words that point at what stands elsewhere; the words that ask are among them."""

_SPEAKERS = _set("i my you your we our me us")
"""Those that a question of a reader may have."""

_PARTS = _set("chapter part section book volume act scene figure table annex appendix")
_DULL = _set(
    "introduction background overview definitions abbreviations acronyms references bibliography "
    "contents conclusion conclusions summary abstract acknowledgements acknowledgments notes note "
    "general scope terminology terms glossary index preface foreword basic further reading list "
    "document information history revision version additional related other purpose"
)
"""Words of headings that stand in every document."""

_ENGLISH = ("", "en")
_ASKING = _set("who whom which what when where how why is are do does can should must")


class _Candidate(NamedTuple):
    """A text with the passage it is from, and its kind."""

    kind: str
    text: str
    chunk: Chunk


def make_examples(snapshot: Snapshot, k: int) -> list[str]:
    """Up to `k` example searches, the same for one generation."""
    passages = snapshot.catalog.sample_chunks(SAMPLE)
    left = _ranked(snapshot, _distinct(_candidates(passages)))
    chosen: list[_Candidate] = []
    for _ in range(min(MAX_CHECKED, len(left))):
        if len(chosen) == k:
            break
        best = _most_different(left, chosen)
        left.remove(best)
        if _is_first(snapshot, best):
            chosen.append(best)
    return [one.text for one in chosen]


# Candidates


def _candidates(chunks: Iterable[Chunk]) -> Iterator[_Candidate]:
    """What reads alone in those passages that are prose."""
    for chunk in chunks:
        found = [
            _Candidate(kind, text, chunk)
            for kind, texts in (
                ("question", _questions(chunk.text)),
                ("definition", _definitions(chunk)),
                ("heading", _headings(chunk.text)),
                ("title", [_cleaned(chunk.title)]),
            )
            for text in texts
            if _reads_alone(kind, text, chunk.language)
        ]
        if found and _is_prose(chunk.text):
            yield from found


def _distinct(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """The candidates without repeated texts."""
    first: dict[str, _Candidate] = {}
    for one in candidates:
        first.setdefault(one.text.casefold(), one)
    return list(first.values())


def _questions(text: str) -> Iterator[str]:
    """The questions that stand in lines of their own, as in answers to frequent questions."""
    for match in _QUESTION.finditer(text):
        yield " ".join(match[1].split())


def _definitions(chunk: Chunk) -> Iterator[str]:
    """Questions for what an English text defines: "A claim is a …" gives "What is a claim?"."""
    if chunk.language not in _ENGLISH:
        return
    for verb in _IS.finditer(chunk.text):
        # A sign before it stands for the text that is cut off.
        before = "…" + chunk.text[max(0, verb.start() - _LONGEST_NAME) : verb.start()]
        found = _NAME.search(before if verb.start() > _LONGEST_NAME else before[1:])
        if found and found["article"]:
            yield f"What {verb[1]} {found['article'].lower()} {found['name']}?"
        elif found:
            yield f"What {verb[1]} {_as_within(found['name'], chunk.text)}?"


def _as_within(name: str, text: str) -> str:
    """A name at the start of a sentence as it is written within one, as far as the text shows."""
    small = name[0].lower() + name[1:]
    if name[1].isupper() or re.search(rf"[\w,;] {re.escape(name)}\b", text):
        return name
    known = " " in name or re.search(rf"\b{re.escape(small)}\b", text)
    return small if known else name


def _headings(text: str) -> Iterator[str]:
    """The headings at the beginning of a passage."""
    beginning = text[:_BEGINNING]
    for line in read_lines(beginning):
        if line.kind == "heading":
            yield _cleaned(beginning[line.start : line.end])


def _cleaned(heading: str) -> str:
    """A heading without markup and numbering.

    >>> _cleaned("### A.2 Length"), _cleaned("Appendix A—Strength of *Secrets*")
    ('Length', 'Strength of Secrets')
    """
    text = _EMPHASIS.sub("", _LINK.sub(r"\1", heading)).strip().lstrip("#> ").strip()
    text = " ".join(_NUMBERING.sub("", text, count=1).split()).rstrip(".,:; ")
    return text.capitalize() if text.isupper() else text


# What a person can read


def _is_prose(text: str) -> bool:
    """Whether a passage is readable prose: sentences of words, no markup, table or contents."""
    others = sum(map(len, _OTHERS.findall(text)))
    return (
        others <= _MAX_OTHERS * len(text)
        and len(_MARKUP.findall(text)) <= _MAX_MARKUP * len(text)
        and any(mark in text for mark in ".。．؟।")
        and not looks_like_toc(text)
    )


def _reads_alone(kind: str, text: str, language: str) -> bool:
    """Whether a text is a search that can be understood without what stands around it."""
    words = text.split()
    if len(text) > _MAX_CHARACTERS or _ODD.search(text.removesuffix("?")):
        return False
    if kind == "definition":
        return not _points(words[2:]) and not any(map(_is_function_word, words[3:]))
    if kind == "question":
        pointing = _points([word for word in words[1:] if word.lower() not in _SPEAKERS])
        return _asks(text, language) and len(words) in _QUESTION_WORDS and not pointing
    return len(words) in _HEADING_WORDS and _is_telling(words) and words[0][0].isupper()


def _is_telling(words: Sequence[str]) -> bool:
    """Whether a heading says what its text is about: not "Notes and references", "Chapter ii"."""
    if words[0].lower() in _PARTS or _points(words):
        return False
    return any(word.lower() not in _DULL and not _is_function_word(word) for word in words)


def _points(words: Sequence[str]) -> bool:
    """Whether one of the words points at something that stands elsewhere."""
    return any(_APOSTROPHE.split(word.strip(",?'’").lower())[0] in _POINTERS for word in words)


def _asks(text: str, language: str) -> bool:
    """Whether a sentence begins as a question does."""
    if language in _ENGLISH:
        return text[0].isupper() and text.split(" ")[0].lower() in _ASKING
    return _is_function_word(text, language)


def _is_function_word(text: str, language: str = "") -> bool:
    """Whether the first word of a text is a function word."""
    return any(word.kind in FUNCTION_KINDS for word in words_at(text, 0, language))


# Which to choose


def _ranked(snapshot: Snapshot, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The candidates whose words are not everywhere, best first.

    Those come first whose words are neither very rare nor frequent: there is more than one passage
    to be found.
    """
    languages = snapshot.catalog.languages()
    terms = [
        [word.terms for word in query_words(one.text, languages) if word.terms]
        for one in candidates
    ]
    every = {term for words in terms for word in words for term in word}
    counts = snapshot.passages.document_frequencies(every)
    total = snapshot.passages.count()
    rare = sqrt(total) + 2  # passages: 12 of 100, 102 of 10,000
    common, usual = max(2 * rare, _MAX_COMMON * total), log(rare / 2)
    found: list[tuple[float, str, _Candidate]] = []
    for one, words in zip(candidates, terms, strict=True):
        often = [sum(counts[term] for term in word) for word in words]
        if often and 0 < min(often) <= rare and max(often) <= common:
            distance = abs(log(sum(often) / len(often)) - usual)
            found.append((distance, one.text, one))
    return [one for _, _, one in sorted(found, key=lambda each: each[:2])]


def _most_different(left: Sequence[_Candidate], chosen: Sequence[_Candidate]) -> _Candidate:
    """The first of those whose document, folder and kind are the least among the chosen ones."""
    documents = Counter(one.chunk.document_id for one in chosen)
    folders = Counter(_folder(one.chunk) for one in chosen)
    kinds = Counter(one.kind for one in chosen)
    return min(
        left,
        key=lambda one: (
            documents[one.chunk.document_id],
            folders[_folder(one.chunk)],
            _KINDS.index(one.kind) + _KIND_AGAIN * kinds[one.kind],
        ),
    )


def _folder(chunk: Chunk) -> str:
    return chunk.path.rpartition("/")[0]


def _is_first(snapshot: Snapshot, one: _Candidate) -> bool:
    """Whether a keyword search finds the candidate's passage first; for a title, its document."""
    first = snapshot.keyword(one.text, 1).ids
    if not first or one.kind != "title":
        return list(first) == [one.chunk.id]
    (chunk,) = snapshot.catalog.get(first)
    return chunk.document_id == one.chunk.document_id


__all__ = ["MAX_CHECKED", "SAMPLE", "make_examples"]
