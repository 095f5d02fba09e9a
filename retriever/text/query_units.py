"""A query → the words to search for; see `query_words` in `retriever.text.analyzer`.

A chain is looked for by its pieces and, as a word of its own, by the pieces side by side or joined.
So is a word with a number or a letter behind it (ISO 27001, hepatitis A), and a number with its
unit (16 GB). Two words may be one that others write with a hyphen (in person): that is a run for an
index that has the joined form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from string import ascii_lowercase
from typing import NamedTuple

from retriever.text.dates import read_date
from retriever.text.request_phrases import request_spans
from retriever.text.words import (
    FUNCTION_KINDS,
    Kind,
    Unit,
    Word,
    is_code,
    is_elision,
    joined_term,
    term_of,
    unit_spans,
    units,
    without_version_letter,
)
from retriever.types import UsageError

WITHIN = 0.9
"""The weight of a code's pieces side by side, compared with the code as a whole: the 10.20.30.1 of
10.20.30.1/16."""

PARTLY = 0.7
"""The weight of a code that is written with less: the 2.3.1 of v2.3.1, the 80063B of 800-63B."""

RUN = 0.5
"""The weight of ordinary words that a hyphen joins, as one word, beside those of its pieces."""

BOUND = 0.25
"""The weight of a chain with the word behind it: one-time password."""

_PARTICLES = frozenset(["by", "in", "into", "of", "off", "on", "out", "over", "to", "up", "with"])
_MIN_TENTATIVE_LETTERS = 5  # of two words as one
_MAX_MEASURE_LETTERS = 3  # of a unit of measurement: 16 GB, 100 km
_NO_BREAK = "\u00a0"
_LETTER_NAMES = frozenset(f"AI{ascii_lowercase}")
_ELIDED = "cdlns"
_VOWEL = re.compile("[\\s'’]*[aeiouyhàâæéèêëîïôœùûü]", re.IGNORECASE)
_DATE = re.compile(r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{4}|\d{8})", re.ASCII)
_TIME = re.compile(r"(\d{1,2})[:.](\d\d)(?:h|uhr|[ap]m)", re.IGNORECASE | re.ASCII)
_SIZE = re.compile(r"\d+(?:x\d+)+", re.IGNORECASE | re.ASCII)  # 10x20, for 10 × 20


class QueryWord(NamedTuple):
    """A word of a query: as typed, and what it is looked for as.

    `terms` are its terms in each language, English first; a passage has one of them. `others` are
    terms that stand for the word as well, each with a weight; the best one counts. A term with
    spaces is a phrase: terms side by side. A word without `terms` is a run: the pieces of a chain,
    side by side or joined, in addition to the pieces as words of their own. `weight` is that of the
    word, `times` how often the query has it. A run with `needs` counts only in an index that has
    one of these terms.
    """

    typed: str
    terms: tuple[str, ...]
    others: tuple[tuple[str, float], ...] = ()
    weight: float = 1.0
    times: int = 1
    needs: tuple[str, ...] = ()

    def again(self, times: int = 1) -> QueryWord:
        """The word said so many times more."""
        return self._replace(times=self.times + times)


class _Piece(NamedTuple):
    """A piece of a unit: what it is looked for as, and its kind in each language."""

    word: QueryWord
    kinds: tuple[Kind, ...]

    def kind(self, telling: Sequence[int]) -> Kind:
        """Its kind in the query; a function word is one in all the languages of `telling`."""
        for way in telling:
            if self.kinds[way] not in FUNCTION_KINDS:
                return "part" if self.kinds[0] == "part" else "word"
        return "ask"


class _QueryUnit(NamedTuple):
    """A unit of a query: its run, if it has several pieces, and these.

    `phrases` are the terms of all its pieces in each language. `starts` and `ends` say what may
    stand beside it in a pair, `idle` how many of its words are function words in each language.
    """

    run: QueryWord | None
    pieces: tuple[_Piece, ...]
    phrases: tuple[str, ...]
    idle: tuple[int, ...]
    starts: str = ""
    ends: str = ""
    is_plain: bool = False


def query_words(text: str, languages: tuple[str, ...]) -> list[QueryWord]:
    """The distinct words of a query in these languages, of which the first is "", English."""
    spans = unit_spans(text)
    asked = [
        _query_unit(text[first:last], languages, last - first == 1 and _is_named(text, first, last))
        for first, last in spans
    ]
    telling = [0]
    if len(languages) > 1:
        idle = [sum(unit.idle[way] for unit in asked) for way in range(len(languages))]
        telling = [way for way, count in enumerate(idle) if count == max(idle)]
    kept = list(range(len(asked)))
    if requests := request_spans(text):
        kept = [at for at in kept if not _is_within(spans[at], requests)]
    found = _found(text, spans, asked, telling, kept, languages)
    if not found and requests:
        found = _found(text, spans, asked, telling, range(len(asked)), languages)
    return _distinct(found or _all_words(text, spans, languages))


def _all_words(
    text: str, spans: Sequence[tuple[int, int]], languages: tuple[str, ...]
) -> list[QueryWord]:
    """The words of a query of nothing but function words, and these side by side."""
    units = [
        _query_unit(
            text[first:last], languages, text[first].isupper() and _is_named(text, first, last)
        )
        for first, last in spans
    ]
    found = [piece.word for unit in units for piece in unit.pieces]
    if len(found) > 1:
        ways = zip(*(unit.phrases for unit in units), strict=True)
        run = dict.fromkeys(map(" ".join, ways), 1.0)
        found.append(QueryWord(text.strip(), (), tuple(run.items()), RUN))
    return found


def _found(
    text: str,
    spans: Sequence[tuple[int, int]],
    asked: Sequence[_QueryUnit],
    telling: Sequence[int],
    kept: Sequence[int],
    languages: tuple[str, ...],
) -> list[QueryWord]:
    """The words of the kept units, but function words and short pieces; and their runs."""
    found: list[QueryWord] = []
    for at in kept:
        unit = asked[at]
        if unit.run is not None:
            found.append(unit.run)
        for piece in unit.pieces:
            if piece.kind(telling) == "word":
                found.append(piece.word)  # noqa: PERF401 - mostly one piece
        if at + 1 < len(asked):
            found += _with_following(text, spans, asked, at, telling, languages)
    return found


def _with_following(
    text: str,
    spans: Sequence[tuple[int, int]],
    asked: Sequence[_QueryUnit],
    at: int,
    telling: Sequence[int],
    languages: tuple[str, ...],
) -> Iterable[QueryWord]:
    """The runs of a unit and the ones behind it."""
    unit, following = asked[at], asked[at + 1]
    if following.is_plain:
        (start, end), (again, stop) = spans[at], spans[at + 1]
        if text[end:again] != " ":
            return ()
        if unit.is_plain:
            third = ""
            if at + 2 < len(asked) and asked[at + 2].is_plain:
                first, last = spans[at + 2]
                third = text[first:last] if text[stop:first] == " " else ""
            return _tentative(text[start:end], text[again:stop], third, languages)
        if unit.run is not None and following.pieces[0].kind(telling) == "word":
            return (_bound(unit.run, unit.phrases, following),)
    if unit.ends and following.starts:
        return _pair(text, spans[at : at + 2], (unit, following), telling)
    return ()


def _is_within(span: tuple[int, int], others: Iterable[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in others)


def _distinct(found: Iterable[QueryWord]) -> list[QueryWord]:
    """The words once each, with the number of times that they stand there."""
    distinct: dict[tuple[object, ...], QueryWord] = {}
    for word in found:
        key = word.terms, word.others
        before = distinct.get(key)
        distinct[key] = word if before is None else before.again()
    return list(distinct.values())


def _is_named(text: str, first: int, last: int) -> bool:
    """Whether a single letter is the name of something: vitamin A, and at the end vitamin a.

    No query ends with a conjunction, and the French c' stands before a vowel: vitamin c tablets.
    """
    letter = text[first]
    if last - first > 1 or first < 2 or letter not in _LETTER_NAMES:
        return False
    if text[first - 1] not in (" ", _NO_BREAK) or not text[first - 2].isalnum():
        return False
    if letter.isupper() or not text[last:].strip(" ?.!"):
        return True
    return letter in _ELIDED and not _VOWEL.match(text, last)


@lru_cache(maxsize=1 << 16)
def _query_unit(raw: str, languages: tuple[str, ...], named: bool) -> _QueryUnit:
    """One unit; `named` is a single letter that is a name."""
    if named:
        word = Word(raw.lower(), 0, 1, "part" if raw in "AaIi" else "word")
        ways = [Unit(0, 1, (word,)) for _ in languages]
    else:
        ways = [next(units(raw, language)) for language in languages]
    pieces = [unit.pieces for unit in ways]
    idle = tuple(sum(word.kind in FUNCTION_KINDS for word in each) for each in pieces)
    phrases = tuple(_phrase(each) for each in pieces)
    if not any(pieces):
        return _QueryUnit(None, (), phrases, idle)
    if len({len(each) for each in pieces}) > 1:  # a number that languages write differently
        number = _Piece(_number(raw, ways), tuple(unit.pieces[0].kind for unit in ways))
        return _QueryUnit(None, (number,), phrases, (0,) * len(ways), "number", "number")
    others = _joined(ways)
    if len(pieces[0]) == 1:
        others |= _respelt(raw)
    joined = tuple(others.items())
    words = tuple(
        _Piece(
            QueryWord(raw[each[0].start : each[0].end], _terms(each), joined),
            tuple(word.kind for word in each),
        )
        for each in zip(*pieces, strict=True)
    )
    is_chain = ways[0].is_chain
    run = None
    if is_chain and len(words) > 1 and not is_elision(raw):
        run = _run(raw, ways)
    sides = _sides(raw, pieces[0]) if is_chain else ("", "")
    plain = is_chain and len(words) == 1 and len(raw) > 1 and raw.isalpha()
    return _QueryUnit(run, words, phrases, idle, *sides, plain)


def _terms(pieces: Sequence[Word]) -> tuple[str, ...]:
    """The terms of one piece in each language, but where it is a stop word: German "die"."""
    told = [word for word in pieces if word.kind != "stop"] or pieces
    return tuple(dict.fromkeys(word.term for word in told))


def _sides(raw: str, pieces: Sequence[Word]) -> tuple[str, str]:
    """What the unit begins and ends with, as far as it may be part of a pair."""
    first, last = raw[pieces[0].start : pieces[0].end], raw[pieces[-1].start : pieces[-1].end]
    starts = ends = ""
    if first[0].isdigit():
        starts = "number"
    elif len(raw) == 1:
        starts = "letter"
    elif raw.isalpha() and len(raw) <= _MAX_MEASURE_LETTERS:
        starts = "measure"
    if last[0].isalpha():
        ends = "word"
    elif raw.isdecimal():
        ends = "number"
    return starts, ends


def _pair(
    text: str,
    spans: Sequence[tuple[int, int]],
    pair: Sequence[_QueryUnit],
    telling: Sequence[int],
) -> Iterator[QueryWord]:
    """A word with the number or letter behind it, or a number with its unit, as one word."""
    (start, end), (again, stop) = spans
    first, second = pair
    fits = (first.ends == "word" and second.starts in ("number", "letter")) or (
        first.ends == "number" and second.starts in ("measure", "letter")
    )
    if not fits or text[end:again] not in (" ", _NO_BREAK):
        return
    if "ask" in (first.pieces[-1].kind(telling), second.pieces[0].kind(telling)):
        return
    phrases = (" ".join(both) for both in zip(first.phrases, second.phrases, strict=True))
    others = dict.fromkeys(phrases, 1.0)
    if second.starts == "letter" and text[again:stop].islower():  # as an article in the text, too
        others.setdefault(f"{first.phrases[0]} {term_of(text[again:stop], '')}", PARTLY)
    yield QueryWord(text[start:stop], (), tuple(others.items()))


def _bound(run: QueryWord, phrases: Iterable[str], following: _QueryUnit) -> QueryWord:
    """A chain with the word behind it, which it describes: one-time password."""
    joined = [term for term, _ in run.others if " " not in term]
    others = [f"{term} {following.phrases[0]}" for term in joined]
    others += map(" ".join, zip(phrases, following.phrases, strict=True))
    typed = f"{run.typed} {following.pieces[0].word.typed}"
    return QueryWord(typed, (), tuple(dict.fromkeys(others, 1.0).items()), BOUND)


@lru_cache(maxsize=1 << 14)
def _tentative(
    one: str, other: str, third: str, languages: tuple[str, ...]
) -> tuple[QueryWord, ...]:
    """Two words that may be one (in person, which others write in-person), and the word behind."""
    if len(one) + len(other) < _MIN_TENTATIVE_LETTERS:
        return ()
    joined: list[str] = []
    phrases: list[str] = []
    bound: list[str] = []
    for language in languages:
        words = [next(units(raw, language)).words[-1] for raw in (one, other)]
        pairs = zip(words, (one, other), strict=True)
        stops = [raw.lower() for word, raw in pairs if word.kind in FUNCTION_KINDS]
        if len(stops) == len(words) or not _PARTICLES.issuperset(stops):
            return ()
        joined.append(joined_term(one + other, language))
        phrases.append(_phrase(words))
        behind = next(units(third, language)).words[-1] if third else None
        if behind is not None and behind.kind == "word":
            bound += [f"{joined[-1]} {behind.term}", f"{phrases[-1]} {behind.term}"]
    needs = tuple(dict.fromkeys(joined))
    found = [
        (f"{one} {other}", [*joined, *phrases], RUN),
        (f"{one} {other} {third}", bound, BOUND),
    ]
    return tuple(
        QueryWord(typed, (), tuple(dict.fromkeys(others, 1.0).items()), weight, needs=needs)
        for typed, others, weight in found
        if others
    )


def _number(raw: str, ways: Sequence[Unit]) -> QueryWord:
    alone = dict.fromkeys(unit.pieces[0].term for unit in ways if len(unit.pieces) == 1)
    apart = {_phrase(unit.pieces): WITHIN for unit in ways if len(unit.pieces) > 1}
    return QueryWord(raw, tuple(alone), tuple((_joined(ways) | apart).items()))


def _run(raw: str, ways: Sequence[Unit]) -> QueryWord:
    """A chain as one word: joined, or its pieces side by side."""
    code = is_code(raw)
    others = _joined(ways)
    for unit in ways:
        others.setdefault(_phrase(unit.pieces), WITHIN if code else 1.0)
        if rest := without_version_letter(unit.pieces, raw):
            others.setdefault(_phrase(rest), PARTLY)
    for form, weight in _respelt(raw).items():
        others.setdefault(form, weight)
    return QueryWord(raw, (), tuple(others.items()), 1.0 if code else RUN)


def _respelt(raw: str) -> dict[str, float]:
    """Other spellings of a date, a time or a size, as phrases: 7.3.1998 is 1998-03-07, too."""
    if not raw[0].isdecimal():
        return {}
    if _DATE.fullmatch(raw):
        return dict.fromkeys(_date_forms(raw), PARTLY)
    if time := _TIME.fullmatch(raw):
        return {f"{time[1]} {time[2]}": PARTLY}
    return {" ".join(raw.lower().split("x")): PARTLY} if _SIZE.fullmatch(raw) else {}


def _date_forms(raw: str) -> tuple[str, ...]:
    try:
        year, month, day = read_date(raw).split("-")
    except (UsageError, ValueError):  # no date, or one that can be read in two ways
        return ()
    short = f"{int(day)} {int(month)} {year}"
    return f"{year} {month} {day}", f"{day} {month} {year}", short, f"{year}{month}{day}"


def _joined(ways: Sequence[Unit]) -> dict[str, float]:
    """The joined forms of one unit in several languages, with their weights."""
    forms = (word for unit in ways for word in unit.joined)
    return {word.term: 1.0 if word.kind == "joined" else PARTLY for word in forms}


def _phrase(pieces: Iterable[Word]) -> str:
    return " ".join(word.term for word in pieces)


__all__ = ["PARTLY", "RUN", "WITHIN", "QueryWord", "query_words"]
