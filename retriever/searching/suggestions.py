"""Suggestions while a query is typed: titles, paths and words of the index that go on with it.

- **Words**: the last word of the text is completed by words of the passages, spelled as these spell
  them. The terms of the index are stems, so that they are compared with the beginning as typed, its
  stem, and its own beginnings ("authent" for "authentica"); a word is suggested if a passage has it
  in a form with this beginning. Function words are not suggested.
- **Titles** of documents that contain the text, from the start of a word on.
- **Paths**: files and folders whose names contain the text or its last word, from the start of a
  word on. They become the operator `file:"…"`.

Case, accents and what separates words (`-`, `_`, `.`) make no difference. No passage is scanned:
the terms come from the index's vocabulary, the spellings from a few passages of each term. A short
beginning in a large index has too many terms to count them all; then the terms of a sample of the
passages stand for the others.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Literal

from retriever.searching.query_syntax import CONDITION_NAMES
from retriever.storage.backends import CatalogReader, Snapshot
from retriever.text.analyzer import MARK, bare_stem, language_mark
from retriever.text.folding import without_accents, without_case
from retriever.text.unsegmented import HANGUL, UNSEGMENTED
from retriever.text.words import FUNCTION_KINDS, STOP, term_of, unstemmed, words_at

Kind = Literal["title", "path", "word"]

MAX_POSTINGS = 60_000
"""The postings that are read to count the terms with a beginning: about 6 ms."""

SAMPLE = 2_000
"""The passages whose terms stand for those of an index with too many."""

MAX_DOCUMENTS = 50_000
"""The documents whose names are suggested."""

_MAX_TEXT = 200  # characters; a longer text was pasted
_MAX_EACH = 3  # titles, and paths, beside words
_MAX_SHORTER = 4  # terms that are shorter than what is typed
_MIN_STEM = 3  # letters of a stem that is shorter than what is typed
_PASSAGES = 4  # of each term that are looked at for its spellings
_MORE_PASSAGES = 40  # of a term shorter than what is typed, which has many spellings
_SPARE = 4  # terms that may give no word
_FORMS = 3  # spellings of one term
_ALTERED = 2  # letters at the end of an English stem that its words may not have
_ENDING = 3  # letters in which the inflections of one word differ

_LAST_WORD = re.compile(r"[^\W_]+\Z")
_LAST_CHAIN = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)+\Z")
_WORD = re.compile(r"[^\W_]+(?:[-'\u2010\u2011\u2019][^\W_]+)*")
_FILE = re.compile(r"(?:(?<=\s)|\A)[+−-]?file:\"?(?P<value>[^\"]*)\Z", re.IGNORECASE)
_CONDITION = re.compile(rf"(?:{'|'.join(CONDITION_NAMES)}):\S*\Z", re.IGNORECASE)
_BETWEEN = re.compile(r"[\W_]+")
_UNSEGMENTED = re.compile(f"[{HANGUL}{UNSEGMENTED}]")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a text may become.

    `kind`: "word", "title" or "path". `text` is the whole new text. `count` is the number of
    passages: of those that have the word in any inflection, of the documents with the title, of the
    file or folder. In a very large index it is an estimate for a word.
    """

    kind: Kind
    text: str
    count: int


@dataclass(frozen=True)
class KnownNames:
    """What suggestions need of one generation of an index, read once.

    `titles` and `paths` are names with the numbers of their passages; a folder ends with "/".
    """

    generation: int
    titles: Mapping[str, int] = field(repr=False)
    paths: Mapping[str, int] = field(repr=False)
    _frequent: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def read(cls, catalog: CatalogReader) -> KnownNames:
        """The names of the catalog's documents."""
        titles: Counter[str] = Counter()
        paths: Counter[str] = Counter()
        for path, title, count in catalog.document_names(MAX_DOCUMENTS):
            if title.strip():
                titles[" ".join(title.split())] += count
            for place in _places(path):
                paths[place] += count
        return cls(catalog.generation(), titles, paths)

    def frequent_terms(self, catalog: CatalogReader) -> Mapping[str, int]:
        """The terms of a sample of the passages; only a large index needs them."""
        if not self._frequent:
            self._frequent.update(catalog.frequent_terms(SAMPLE))
        return self._frequent

    @cached_property
    def folded_titles(self) -> list[tuple[str, str]]:
        """The titles, folded and as written."""
        return [(_folded(title), title) for title in self.titles]

    @cached_property
    def folded_paths(self) -> list[tuple[str, int, str]]:
        """The paths, folded; where the name begins in it; and as written."""
        return [
            (_folded(path), len(_folded(path.rstrip("/").rpartition("/")[0])), path)
            for path in self.paths
        ]


def suggest(snapshot: Snapshot, names: KnownNames, text: str, k: int) -> list[Suggestion]:
    """Up to `k` suggestions: words, then titles, then paths; of each the most frequent first."""
    if not text.strip() or len(text) > _MAX_TEXT:
        return []
    if named := _FILE.search(text):
        before = text[: named.start()]
        return [*_paths(names, [(before, named["value"])])][:k]
    if _CONDITION.search(text):
        return []
    titles = _titles(names, text)
    before, word = _last(_LAST_WORD, text)
    paths = _paths(names, [("", text), *([(before, word)] if _names_a_file(before, word) else [])])
    completed = _words(snapshot, names, *_last(_LAST_CHAIN, text), k) or _words(
        snapshot, names, before, word, k
    )
    room = max(k - len(completed), min(k // 2, 2 * _MAX_EACH))
    others = [*titles[:_MAX_EACH], *paths[:_MAX_EACH]]
    others = others if len(others) <= room else _few_of_each(titles, paths, room)
    return [*completed[: k - len(others)], *others]


def _last(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    """What stands before the last word, and the word; it is empty if there is none."""
    found = pattern.search(text)
    return (text[: found.start()], found[0]) if found else (text, "")


def _few_of_each(
    titles: Sequence[Suggestion], paths: Sequence[Suggestion], room: int
) -> list[Suggestion]:
    """As many titles as paths, or more if there are fewer of the others."""
    fewer = min(len(titles), max(room - len(paths), (room + 1) // 2))
    return [*titles[:fewer], *paths[: room - fewer]]


# Names


def _titles(names: KnownNames, text: str) -> list[Suggestion]:
    """The titles that go on with the text."""
    wanted = _folded(text)
    found = [
        (at > 0, -names.titles[title], title)
        for folded, title in names.folded_titles
        if (at := _word_start(folded, wanted)) >= 0 and title != text
    ]
    return [Suggestion("title", title, -count) for _, count, title in sorted(found)]


def _paths(names: KnownNames, typed: Iterable[tuple[str, str]]) -> list[Suggestion]:
    """The files and folders whose names go on with one of the texts, behind what stands before."""
    found: dict[str, tuple[bool, int, str, str]] = {}
    for before, text in typed:
        wanted = _folded(text)
        for folded, name, path in names.folded_paths if wanted else ():
            at = _word_start(folded, wanted, name)
            if at >= 0 and path not in found:
                found[path] = (at > name + 1, -names.paths[path], path, before)
    return [
        Suggestion("path", f'{before}file:"{path}"', -count)
        for _, count, path, before in sorted(found.values())
    ]


def _places(path: str) -> Iterator[str]:
    """The file and its folders, but those that the operator `file:` cannot name."""
    if '"' in path:
        return
    if path.strip() == path:
        yield path
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder.strip("/") and not set(folder) & set("*?"):
            yield f"{folder}/"


def _names_a_file(before: str, word: str) -> bool:
    """Whether the last word of several may be the beginning of a file's name."""
    return bool(before.strip()) and len(word) > 1 and not _is_function_word(word)


def _word_start(folded: str, wanted: str, reaching: int = 0) -> int:
    """Where `wanted` stands at the start of a word and ends behind `reaching`; else -1."""
    at = folded.find(wanted) if wanted else -1
    while at >= 0 and ((at and folded[at - 1] != " ") or at + len(wanted) <= reaching):
        at = folded.find(wanted, at + 1)
    return at


def _folded(text: str) -> str:
    """The words without case, accents and what separates them, with a space between each two.

    >>> _folded("Zero-Trust: été_2022.pdf")
    'zero trust ete 2022 pdf'
    """
    return _BETWEEN.sub(" ", without_accents(without_case(text))).strip()


# Words


def _words(
    snapshot: Snapshot, names: KnownNames, before: str, typed: str, k: int
) -> list[Suggestion]:
    """The words that begin as typed, behind what stands before; frequent ones first."""
    if not typed or _UNSEGMENTED.search(typed):
        return []
    counts: Counter[str] = Counter()
    shares: defaultdict[str, float] = defaultdict(float)
    written: dict[str, str] = {}
    for term, count in _candidates(snapshot, names, typed, k + _SPARE):
        for word, share in _forms(snapshot.catalog, term, _plain(typed)):
            counts[word.lower()] += count
            shares[word.lower()] += share
            written[word.lower()] = min(written.get(word.lower(), word), word, key=str.swapcase)
    best = sorted(counts, key=lambda word: (-counts[word], -shares[word], word))
    return [Suggestion("word", before + written[word], counts[word]) for word in best]


def _candidates(
    snapshot: Snapshot, names: KnownNames, typed: str, most: int
) -> list[tuple[str, int]]:
    """The terms of words that may begin as typed, with document frequencies.

    First the longest of those that are shorter than what is typed, then the most frequent ones of
    those that begin with it.
    """
    catalog = snapshot.catalog
    beginning = unstemmed(typed)
    longer, complete = catalog.terms_from(beginning, MAX_POSTINGS)
    if not complete:
        sampled = names.frequent_terms(catalog)
        longer |= {
            term: count
            for term, count in sampled.items()
            if term.startswith(beginning) and term not in longer
        }
    languages = ("", *catalog.languages())
    stems = {unstemmed(typed[:end]) for end in range(_MIN_STEM, len(typed))}
    marks = ("", *(MARK + language for language in languages[1:]))
    shorter = {f"{stem}{mark}" for stem in stems for mark in marks}
    shorter |= {term_of(typed, language) for language in languages}
    counts = snapshot.passages.document_frequencies(shorter - longer.keys())
    return [
        *_longest_first({term: count for term, count in counts.items() if count})[:_MAX_SHORTER],
        *_frequent_first({t: n for t, n in longer.items() if not t.endswith(STOP)})[:most],
    ]


def _longest_first(terms: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(terms.items(), key=lambda item: (-len(bare_stem(item[0])), -item[1], item[0]))


def _frequent_first(terms: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(terms.items(), key=lambda item: (-item[1], item[0]))


def _forms(catalog: CatalogReader, term: str, wanted: str) -> list[tuple[str, float]]:
    """The spellings of a term that begin as wanted, each with its share of the occurrences seen.

    A word is in small letters if the passages seen have it so.
    """
    stem = bare_stem(term)
    shorter = len(stem) < len(wanted)
    seen = catalog.passages_with(term, _MORE_PASSAGES if shorter else _PASSAGES)
    spelled: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for beginning in dict.fromkeys((_sure_beginning(term, stem, wanted), wanted)):
        for title, text, language in seen if not spelled else ():
            for written in _occurrences(f"{text}\n{title}", term, beginning, language):
                spelled[written.lower()][written] += 1
    total = sum(spellings.total() for spellings in spelled.values())
    kept: dict[str, float] = {}
    for lower, ways in sorted(spelled.items(), key=lambda item: (-item[1].total(), item[0])):
        if len(kept) < _FORMS and not any(_are_inflections(lower, one.lower()) for one in kept):
            written = lower if lower in ways else ways.most_common(1)[0][0]
            kept[written] = ways.total() / total
    return list(kept.items())


def _sure_beginning(term: str, stem: str, wanted: str) -> str:
    """What all words of an English stem begin with, unless they are written in pieces."""
    sure = len(stem) - _ALTERED
    return stem[:sure] if sure > len(wanted) and not language_mark(term) else wanted


def _are_inflections(one: str, other: str) -> bool:
    """Whether one is the other with a short ending: password, passwords."""
    begins = one.startswith(other) or other.startswith(one)
    return begins and abs(len(one) - len(other)) <= _ENDING


def _occurrences(text: str, term: str, wanted: str, language: str) -> Iterator[str]:
    """The words of a text with this term that begin as wanted, and are longer."""
    plain = _plain(text)
    at = plain.find(wanted)
    while at >= 0:
        if not (at and text[at - 1].isalnum()):
            for word in words_at(text, at, language):
                written = text[at : word.end]
                if word.term == term and _is_complete(word.kind, written, wanted):
                    yield written
                    break
        at = plain.find(wanted, at + 1)


def _is_complete(kind: str, written: str, wanted: str) -> bool:
    """Whether it is a word that goes on behind what is wanted, and no function word or code.

    A "loose" form is the second term of a word.
    """
    counts = kind != "loose" and kind not in FUNCTION_KINDS
    return counts and len(written) > len(wanted) and _WORD.fullmatch(written) is not None


@lru_cache(maxsize=256)  # frequent words stand in the same first passages
def _plain(text: str) -> str:
    """The text without case and accents, of the same length."""
    return text.lower() if text.isascii() else text.translate(_plain_letters())


@cache
def _plain_letters() -> dict[int, str]:
    """The letters of the alphabets with case or accents that fold to one letter."""
    alphabets = (
        chr(code) for code in (*range(0x41, 0x5B), *range(0xC0, 0x590), *range(0x1E00, 0x2000))
    )
    folded = ((letter, without_accents(letter.lower())) for letter in alphabets)
    return {ord(letter): plain for letter, plain in folded if len(plain) == 1 and plain != letter}


def _is_function_word(word: str) -> bool:
    """Whether it is an English function word."""
    return all(found.kind in FUNCTION_KINDS for found in words_at(word, 0))


__all__ = ["Kind", "KnownNames", "Suggestion", "suggest"]
