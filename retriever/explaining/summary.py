"""An explanation in a sentence or three: which words met, and where most of the score comes from.

Everything said is in the explanation: no share is told that the terms do not have, no word that the
passage does not contain.

>>> share_text(0.5), share_text(0.36), share_text(0.9), share_text(0.02)
('About half', 'About a third', 'Most', '')
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retriever.explaining.compare import Difference, TermDifference
from retriever.explaining.score import ROUNDING, DenseScore, Explanation
from retriever.searching.options import Mode
from retriever.storage.records import KeywordScore, KeywordWord
from retriever.text.analyzer import words
from retriever.text.folding import fold_accents
from retriever.types import Chunk

TERM_NAMES = {
    "dense": "by meaning",
    "keyword": "by words",
    "dense feedback": "by meaning once more, with what was found first",
    "keyword feedback": "by words once more, with what was found first",
    "contents": "a table of contents counts less",
    "rerank": "by the model's judgement",
}
"""The names of a score's terms in plain words."""

RARE = 50
"""A word is called rare if at most one of so many passages contains it."""

MAX_WORDS = 4
"""Words of the query that are named; the others are counted."""

_WAITING = "Its meaning is not known yet: the passage still waits for its vector"
_MAX_MEANING, _MAX_ADDED, _MAX_MISSING = 3, 2, 3
_MIN_SHARE = 0.2  # of the strongest word's part, for a word to be named
_MIN_LETTERS, _MAX_LETTERS = 3, 40
_SHARES = (
    *((0.05, ""), (0.15, "About a tenth"), (0.225, "About a fifth"), (0.29, "About a quarter")),
    *((0.42, "About a third"), (0.58, "About half"), (0.71, "About two thirds")),
    *((0.85, "About three quarters"), (0.97, "Most")),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a summary: a word if it is of a `kind`, else text.

    Kinds: "yours", a word of the query that met; "missing", one that did not; "meaning", a word of
    the passage; "added", a word that the first passages added to the query.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary in parts, for those who mark its words; as a string, words are in quotes."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return "".join(f"“{part.text}”" if part.kind else part.text for part in self.parts)


def summarise(explanation: Explanation) -> str:
    """The summary as plain text."""
    return str(summary(explanation))


def summarise_words(explanation: Explanation) -> str:
    """The summary of the keyword side alone: it needs no model."""
    return str(word_summary(explanation))


def summary(explanation: Explanation) -> Summary:
    """Why a passage has its score: the words that met, then what else made the score."""
    said = [
        *_found(explanation),
        *_weighed(explanation),
        *_fed(explanation),
        *_changed(explanation),
    ]
    return _joined(said)


def word_summary(explanation: Explanation) -> Summary:
    """What the query's words found, without the meaning, which may not be computed yet."""
    keyword = explanation.keyword
    if keyword is None:
        return Summary(())
    return _joined([_sentence(_words_met(keyword, explanation.chunk, "Found for "))])


def difference_summary(told: Difference, first: str, second: str) -> Summary:
    """Why one of two passages stands above the other; `first` and `second` are their names."""
    ahead = told.first.score - told.second.score
    if abs(ahead) < ROUNDING:
        return Summary((Part(f"{_capital(first)} and {second} have the same score."),))
    one, two = (first, second) if ahead > 0 else (second, first)
    said = [Part(f"{_capital(one)} stands {abs(ahead):.2f} above {two}")]
    row = max(told.terms, key=lambda row: row.difference * ahead, default=None)
    if row is not None and row.difference * ahead > 0:
        how = TERM_NAMES.get(row.name, row.name)
        said.append(Part(f", most of all {how} ({abs(row.difference):+.2f})"))
        said += _telling(told, row.name, ahead)
    said.append(Part("."))
    pairs = ((told.first, first), (told.second, second))
    waiting = [name for explained, name in pairs if explained.waiting]
    if waiting:
        verb = "has" if len(waiting) == 1 else "have"
        named = " and ".join(waiting)
        said.append(Part(f" {_capital(named)} {verb} no vector yet, and so an average meaning."))
    return Summary(tuple(said))


def share_text(share: float) -> str:
    """A share in words, as the beginning of a sentence; empty for one not worth a word."""
    return next((said for most, said in _SHARES if share < most), "Nearly all")


# Sentences


def _found(explanation: Explanation) -> Iterator[list[Part]]:
    """The words that met, and those of the passage that are close in meaning."""
    keyword, dense, chunk = explanation.keyword, explanation.dense, explanation.chunk
    said = [] if keyword is None else _words_met(keyword, chunk, "Found for ")
    met = any(part.kind == "yours" for part in said)
    if dense is None:
        yield _sentence(said)
        if explanation.mode == Mode.KEYWORD:
            yield [Part("Only words were searched for, not meaning.")]
        else:
            yield [Part(f"{_WAITING}, and counts like an average one.")]
        return
    own = frozenset() if keyword is None else _terms_of(keyword)
    close = meaning_words(dense, chunk, own)
    near = _listed([Part(word, "meaning") for word in close], "and")
    if _value(explanation, "dense") <= 0:
        meaning = [Part("its meaning alone is not close to your question")]
    elif near:
        meaning = [Part("by meaning through " if met else "found by meaning, through "), *near]
    else:
        again = " through the same words" if met else ""
        meaning = [Part(f"{'' if met else 'found '}by meaning{again}")]
    yield _sentence([*said, Part("; "), *meaning] if said else meaning)


def _words_met(keyword: KeywordScore, chunk: Chunk, before: str) -> list[Part]:
    """The words of the query that the passage has, most telling first, and those that it lacks."""
    asked = _distinct(keyword)
    met = sorted((word for word in asked if word.score > 0), key=lambda word: -word.score)
    common = [word for word in asked if word.times and not word.score]
    gone = [word for word in asked if not word.times]
    nowhere = [word for word in gone if not word.documents]
    said: list[Part] = []
    if met:
        count = len(met) if len(met) <= MAX_WORDS + 1 else MAX_WORDS
        named = [_named(word, chunk, keyword.passages) for word in met[:count]]
        if len(met) > count:
            named.append([Part(f"{len(met) - count} more words of yours")])
        said = [Part(before), *_enumerated(named)]
    elif common:
        said = [Part("your words that occur in it occur in most passages and do not count")]
    elif asked:
        said = [Part("none of your words occurs in it")]
    elsewhere = [word for word in gone if word.documents]
    if met and elsewhere:
        said += [Part(", without "), *_missing(elsewhere, "or")]
    if nowhere and asked:
        verb = "occurs" if len(nowhere) == 1 else "occur"
        said += [Part(" ("), *_missing(nowhere, "and"), Part(f" {verb} nowhere in the collection)")]
    return said


def _named(word: KeywordWord, chunk: Chunk, passages: int) -> list[Part]:
    """A word that met, with what is special about it in brackets."""
    times = _times(word, chunk.text, chunk)
    notes = [f"{times}×"] if times else []
    if not times and _times(word, chunk.title, chunk):
        notes = ["in the title"]
    if word.count > 1:
        notes.append(f"you wrote it {word.count} times")
    if word.documents == 1 and times and passages > 1:
        notes.append("nowhere else")
    elif word.documents * RARE <= passages:
        notes.append("rare here")
    if not word.corrected:
        return [Part(_short(word.word), "yours"), Part(f" ({', '.join(notes)})" if notes else "")]
    wrote = f"you wrote “{_short(word.word)}”, so it counts less"
    written = word.written or word.word
    return [Part(_short(written), "yours"), Part(f" ({', '.join([*notes, wrote])})")]


def _weighed(explanation: Explanation) -> Iterator[list[Part]]:
    """The weights that the reader gave to words."""
    dense = explanation.dense
    if dense is None or len(explanation.weights) != len(dense.query_words):
        return
    pairs = zip(dense.query_words, explanation.weights, strict=True)
    named = [
        [Part(_short(word.word), "yours"), Part(f" ×{weight:g}")]
        for word, weight in pairs
        if weight != 1
    ]
    if named:
        yield [Part("You weighed "), *_enumerated(named), Part(".")]


def _fed(explanation: Explanation) -> Iterator[list[Part]]:
    """The share of what the best passages of the first search added to the query."""
    whole = sum(max(0.0, term.value) for term in explanation.terms if term.name in _SUMMED)
    if whole <= 0 or explanation.score <= 0:
        return
    by_words = max(0.0, _value(explanation, "keyword feedback")) / whole
    by_meaning = max(0.0, _value(explanation, "dense feedback")) / whole
    share = share_text(by_words + by_meaning)
    if not share:
        return
    came = f"{share} of the score comes from the best passages of a first search: "
    what: list[list[Part]] = []
    if share_text(by_words):
        keyword = explanation.keyword
        added = [] if keyword is None else _added(keyword)
        names = [Part(" ("), *_listed(added, "and"), Part(")")] if added else []
        what.append([Part("their words"), *names])
    if share_text(by_meaning) or not what:
        what.append([Part("their meaning")])
    verb = "was" if what == [[Part("their meaning")]] else "were"
    yield [Part(came), *_enumerated(what), Part(f" {verb} added to your question.")]


def _changed(explanation: Explanation) -> Iterator[list[Part]]:
    """What changed the sum afterwards, and a score that says nothing."""
    if _value(explanation, "contents") < 0:
        yield [Part("It looks like a table of contents: a quarter of its score is taken away.")]
    judged = sum(term.value for term in explanation.terms if "log_likelihood" in term.made_of)
    if abs(judged) > ROUNDING:
        how = "raised" if judged > 0 else "lowered"
        yield [Part(f"The model's own judgement, asked for by reranking, {how} its score.")]
    if explanation.score <= 0:
        yield [Part("Its score is not better than that of most passages.")]


# Words


def meaning_words(
    dense: DenseScore, chunk: Chunk, own: frozenset[str] = frozenset(), count: int = _MAX_MEANING
) -> list[str]:
    """The passage's words that are closest to the query's words, without the query's terms `own`.

    A word counts with all its places in the text. Function words and words without letters are left
    out, and those with less than a fifth of the strongest word's part.
    """
    at_start = _content_terms(chunk)
    parts = dense.matrix[: len(dense.query_words), : len(dense.passage_words)].sum(axis=0)
    value: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for word, part in zip(dense.passage_words, parts.tolist(), strict=True):
        terms = at_start.get(word.start, frozenset())
        if word.in_title or not terms or not _is_word(word.word):
            continue
        form = min(terms)
        value[form] += part
        shown.setdefault(form, word.word)
        if terms & own:
            own = own | {form}
    least = _MIN_SHARE * max(value.values(), default=0.0)
    near = [form for form, part in value.most_common() if part > 0 and part >= least]
    return [_short(shown[form]) for form in near if form not in own][:count]


def _content_terms(chunk: Chunk) -> dict[int, frozenset[str]]:
    """The places of the passage's content words → their terms."""
    found: dict[int, frozenset[str]] = {}
    for word in words(chunk.text, chunk.language):
        if word.kind in ("word", "part"):
            found[word.start] = found.get(word.start, frozenset()) | {word.term}
    return found


def _terms_of(keyword: KeywordScore) -> frozenset[str]:
    """The terms of the query's words that the passage has."""
    return frozenset(term for word in keyword.words if word.times for term in word.terms)


def _times(word: KeywordWord, text: str, chunk: Chunk) -> int:
    """How often a word's own terms stand in a text of the passage."""
    return sum(found.term in word.terms for found in words(text, chunk.language))


def _distinct(keyword: KeywordScore) -> list[KeywordWord]:
    """The query's words without those that repeat others.

    These are runs of words that are named anyway, and the pieces of a chain (AC-2) that met.
    """
    found = [word for word in keyword.shown if _readable(word.word)]
    names = {word.word: fold_accents(word.word) for word in found}

    def repeats(word: KeywordWord) -> bool:
        if " " in word.word:
            return not word.times or _pieces(word) <= set(names.values())
        others = (one for one in found if one is not word and one.score > 0 and " " not in one.word)
        return any(names[word.word] in _pieces(one) for one in others)

    return [word for word in found if not repeats(word)]


def _pieces(word: KeywordWord) -> frozenset[str]:
    """The pieces of a word of several; empty for one of a single piece."""
    found = [fold_accents(piece) for piece in re.findall(r"\w+", word.word)]
    return frozenset(found) if len(found) > 1 else frozenset()


def _added(keyword: KeywordScore) -> list[Part]:
    """The words that were added, without those that the query has itself."""
    own = frozenset(term for word in keyword.words for term in word.terms)
    others = [word for word in keyword.added if own.isdisjoint(word.terms)]
    telling = [word for word in others if _readable(word.word) and _is_word(word.word)]
    return [Part(_short(word.word), "added") for word in telling[:_MAX_ADDED]]


def _missing(found: Sequence[KeywordWord], last: str) -> list[Part]:
    return _listed([Part(_short(word.word), "missing") for word in found[:_MAX_MISSING]], last)


def _telling(told: Difference, name: str, ahead: float) -> list[Part]:
    """The word of the query that makes most of a term's difference, as the end of a clause."""
    rows: dict[str, Sequence[TermDifference]] = {
        "dense": told.words,
        "keyword": told.keywords,
        "keyword feedback": _added_differences(told),
    }
    row = max(rows.get(name, ()), key=lambda row: row.difference * ahead, default=None)
    if row is None or row.difference * ahead <= 0 or not _readable(row.name):
        return []
    return [Part(", first of all through "), Part(_short(row.name), "yours")]


def _added_differences(told: Difference) -> list[TermDifference]:
    """The words that were added, with their scores in both passages."""
    scores: list[dict[str, float]] = []
    names: dict[str, str] = {}
    for one in (told.first, told.second):
        added = () if one.keyword is None else one.keyword.added
        scores.append({min(word.terms): word.score for word in added})
        names |= {min(word.terms): word.word for word in added if _is_word(word.word)}
    first, second = scores
    return [
        TermDifference(name, first.get(term, 0.0), second.get(term, 0.0))
        for term, name in names.items()
    ]


def _readable(word: str) -> bool:
    """Whether a word has a letter or digit, and nothing that cannot be shown."""
    return word.isprintable() and any(map(str.isalnum, word))


def _is_word(word: str) -> bool:
    """Whether a word consists mostly of letters: numbers and ids tell a reader little."""
    short = len(word) < _MIN_LETTERS and word.isascii() and not word.isupper()
    letters = sum(map(str.isalpha, word))
    return not short and 2 * letters > len(word) and len(word) <= _MAX_LETTERS


def _short(word: str) -> str:
    return word if len(word) <= _MAX_LETTERS else f"{word[: _MAX_LETTERS - 1]}…"


# Grammar


def _value(explanation: Explanation, name: str) -> float:
    return sum(term.value for term in explanation.terms if term.name == name)


def _listed(found: Sequence[Part], last: str = "") -> list[Part]:
    """a, b, c; with `last` before the last one instead of a comma."""
    return _enumerated([[part] for part in found], last)


def _enumerated(found: Sequence[Sequence[Part]], last: str = "and") -> list[Part]:
    said: list[Part] = []
    for number, parts in enumerate(found):
        if number:
            ends = last and number == len(found) - 1
            said.append(Part(f" {last} " if ends else ", "))
        said += parts
    return said


def _sentence(parts: Sequence[Part]) -> list[Part]:
    """The parts as a sentence: with a capital letter, and a full stop."""
    if not parts:
        return []
    first = parts[0] if parts[0].kind else Part(_capital(parts[0].text))
    return [first, *parts[1:], Part(".")]


def _joined(sentences: Sequence[Sequence[Part]]) -> Summary:
    """Sentences with a space between them; neighbouring texts are one part."""
    said: list[Part] = []
    for sentence in filter(None, sentences):
        for part in [Part(" "), *sentence] if said else sentence:
            if said and not part.kind and not said[-1].kind:
                said[-1] = Part(said[-1].text + part.text)
            elif part.text:
                said.append(part)
    return Summary(tuple(said))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_SUMMED = frozenset({"dense", "keyword", "dense feedback", "keyword feedback"})

__all__ = [
    "TERM_NAMES",
    "Part",
    "Summary",
    "difference_summary",
    "meaning_words",
    "share_text",
    "summarise",
    "summarise_words",
    "summary",
    "word_summary",
]
