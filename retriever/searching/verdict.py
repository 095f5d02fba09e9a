"""The verdict: one honest sentence about results of which none really matches, or no sentence.

It is silent if a result matches (`MATCH`), or if one has every content word of the query, typing
errors corrected: what was looked for is there. Otherwise the most certain of these is said:

1. The query is in a language that hardly any document has.
2. A word occurs in no passage of the index, in no form.
3. Nothing really matches, or it is not certain, and a rare word is in none of the results.

The third judges an answer, so it is said only of a question (see `is_question`). Who looks up one
or two words that occur asks for no more than the places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from retriever.searching.match import verdict as verdict_of_match
from retriever.searching.strength import standing_words
from retriever.storage.backends import Snapshot
from retriever.storage.records import ContentWord
from retriever.text.analyzer import bare_stem
from retriever.text.detection import detect_language, present_languages
from retriever.text.languages import NAMES, stop_words
from retriever.text.unsegmented import HANGUL, UNSEGMENTED_LETTERS
from retriever.types import Hit

LOOKUP_WORDS = 2
"""The most content words of a query that may be a look-up."""

MOST_WORDS = 24
"""A query of more content words was pasted: no single word of it is named."""

RARE = 0.05
"""The largest share of the passages that have a word whose absence from all results is told."""

_MOST_NAMED = 3
_FEW = 20  # passages that are read to see how they write a name
_SHORT_STEM = 3  # letters
_UNSEGMENTED = re.compile(f"[{UNSEGMENTED_LETTERS}{HANGUL}]")
_PAIRS = 2  # of characters that make a word more in such a script
_MAIN = 0.8  # share of the passages in the documents' main language
_QUESTION_MARK = re.compile(r"[?？؟\u037e]|;\s*$")  # Greek has a semicolon
_WORD = re.compile(r"[^\W\d_]+")


def verdict(snapshot: Snapshot, query: str, hits: Sequence[Hit], *, tolerant: bool = True) -> str:
    """The verdict on the results of a query's text; "" for none.

    `tolerant`: the search corrected typing errors.
    """
    words = snapshot.content_words(query, tolerant=tolerant)
    doubt = verdict_of_match(hits)
    known = any(hit.match is not None for hit in hits)
    if not words or (known and not doubt) or not snapshot.passages.count():
        return ""
    nowhere = [word for word in words if _occurs_nowhere(snapshot, word, query)]
    standing = standing_words(snapshot, hits, words, tolerant=tolerant)
    if not nowhere and any(len(found) == len(words) for found in standing):
        return ""
    counts = snapshot.catalog.language_counts()
    if language := snapshot.foreign_language(query):
        return _foreign(language, counts)
    if nowhere and len(words) <= MOST_WORDS:
        return _nowhere(query, nowhere, nearest=bool(hits))
    if not doubt or not is_question(query, _count(words), counts):
        return ""
    found = {word.typed for words in standing for word in words}
    missing = [word for word in words if word.typed not in found and not _is_pair(word)]
    return _doubt(doubt, missing, most=RARE * snapshot.passages.count(), words=len(words))


def is_question(query: str, content_words: int, passages: Mapping[str, int]) -> bool:
    """Whether a query asks something: by its mark, by a word that only asks, or by its length.

    The words that ask are the pronouns, auxiliaries and question words of English, of the query's
    language, and of the documents', which `passages` counts. More than two content words are as a
    question.

    >>> is_question("who is Alice", 1, {}), is_question("the rabbit hole", 2, {})
    (True, False)
    >>> is_question("Alice?", 1, {}), is_question("salary of the president of Mars", 3, {})
    (True, True)
    """
    if content_words > LOOKUP_WORDS or _QUESTION_MARK.search(query):
        return True
    languages = {"en", detect_language(query), *present_languages(passages)}.intersection(NAMES)
    said = set(_WORD.findall(query.lower()))
    return any(said & (stop_words(one, asking=True) - stop_words(one)) for one in languages)


def _occurs_nowhere(snapshot: Snapshot, word: ContentWord, query: str) -> bool:
    """Whether no passage has the word, and none a correction of it; two characters are no word.

    Nor is a function word of the documents' languages: it is not looked up in them.
    A name with a stem of three letters is found in other words: Mars in "12 Mar 2014". So the few
    passages with its term must write it so.
    """
    if not word.documents:
        return not (word.instead or _is_pair(word) or _is_function_word(snapshot, word.typed))
    stems = {bare_stem(term) for term in word.terms}
    if (
        word.documents > _FEW
        or min(map(len, stems)) > _SHORT_STEM
        or word.typed.lower() == min(stems, key=len)
        or not _is_name(word.typed, query)
        or detect_language(query) == "de"  # where every noun has a capital letter
    ):
        return False
    written = re.compile(rf"\b{re.escape(word.typed)}\b", re.IGNORECASE)
    found = snapshot.catalog.get(list(snapshot.keyword(word.typed, _FEW).ids))
    return not any(written.search(f"{chunk.title}\n{chunk.text}") for chunk in found)


def _is_function_word(snapshot: Snapshot, word: str) -> bool:
    present = present_languages(snapshot.catalog.language_counts()).intersection(NAMES)
    return any(word.lower() in stop_words(one, asking=True) for one in present)


def _count(words: Sequence[ContentWord]) -> int:
    """The number of words, where pairs of characters are parts of one."""
    pairs = sum(map(_is_pair, words))
    return len(words) - pairs + pairs // _PAIRS


def _is_pair(word: ContentWord) -> bool:
    """Whether it is two characters of a script that puts no spaces between words."""
    return _UNSEGMENTED.search(word.typed) is not None


def _foreign(language: str, passages: Mapping[str, int]) -> str:
    main = max(passages, key=lambda code: passages[code])
    most = passages[main] >= _MAIN * sum(passages.values())
    others = f"are in {NAMES[main]}" if most and main in NAMES else "are not"
    return (
        f"The question is in {NAMES[language]}, the documents {others}: "
        "search by meaning works less well then, by words hardly at all."
    )


def _nowhere(query: str, words: Sequence[ContentWord], *, nearest: bool) -> str:
    typed = [word.typed for word in words]
    named = _listed(typed, "and")
    occur = "words {} occur" if len(words) > 1 else "word {} occurs"
    said = f"The {occur.format(named)} nowhere here"
    if all(_is_name(word, query) for word in typed):
        said = f"No document speaks of {_listed(typed, 'or', quote='')}"
    return f"{said}: these passages come nearest." if nearest else f"{said}."


def _is_name(word: str, query: str) -> bool:
    """Whether a word is written as a name: capitalised within a sentence that is not.

    >>> _is_name("Mars", "salary of the president of Mars"), _is_name("Mars", "Mars salary")
    (True, False)
    """
    others = [each for each in _WORD.findall(query) if each != word]
    return word.istitle() and not query.lstrip().startswith(word) and any(map(str.islower, others))


def _doubt(doubt: str, missing: Iterable[ContentWord], *, most: float, words: int) -> str:
    said = f"{doubt[0].upper()}{doubt[1:]}"
    rare = min(missing, key=lambda word: word.documents, default=None)
    if rare is None or rare.documents > most or words > MOST_WORDS:
        return f"{said}; these passages come nearest."
    return f'{said}: none of these passages has the word "{rare.typed}".'


def _listed(words: Sequence[str], joint: str, quote: str = '"') -> str:
    """The first words as a list.

    >>> _listed(["a", "b", "c"], "and"), _listed(["a", "b", "c", "d"], "or", "")
    ('"a", "b" and "c"', 'a, b, c or 1 more')
    """
    shown = [f"{quote}{word}{quote}" for word in words[:_MOST_NAMED]]
    if len(words) > _MOST_NAMED:
        shown.append(f"{len(words) - _MOST_NAMED} more")
    return f" {joint} ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


__all__ = ["LOOKUP_WORDS", "MOST_WORDS", "RARE", "is_question", "verdict"]
