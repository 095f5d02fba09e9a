"""A text → its words, each with its term and its exact span (see `retriever.text.analyzer`).

A *unit* is what is written in one: a word, or a chain of words and numbers without white space. Its
pieces are words of their own; its joined forms are what others would write as one word. This module
decides where words and pieces end, and which joined forms there are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import zip_longest
from typing import Literal, NamedTuple

from retriever.text.folding import APOSTROPHES, fold_accents, is_mark, letters_of, other_forms
from retriever.text.languages import LANGUAGES, stop_words
from retriever.text.stemming import stemmed
from retriever.text.unsegmented import HANGUL, UNSEGMENTED_LETTERS

MARK = "ø"
"""Precedes the language at the end of a stemmed term. No folded word contains it."""

STOP = f"{MARK}0"
"""The end of a stop word's term, which no other word has."""

Kind = Literal["word", "stop", "ask", "part", "single", "joined", "loose"]

FUNCTION_KINDS = frozenset({"stop", "ask"})
"""Kinds of function words."""

JOINED_KINDS = frozenset({"joined", "loose"})
"""Kinds of spellings of several pieces as one word; they have no place in a phrase."""


class Word(NamedTuple):
    """A word of a text, `text[start:end]`, with its term.

    `kind`: "word"; "stop", a stop word, which is indexed for phrases only ("the"); "ask", which is
    left out of queries ("who"); "part", a short piece of a chain (the 2 of AC-2), which says
    nothing without its neighbours; "single", one character of a longer run of Chinese, Japanese,
    Korean, Thai, …; "joined", a chain written as one word; "loose", a spelling that other words
    have, too: a code without what separates its numbers, "mueller" for Müller.
    """

    term: str
    start: int
    end: int
    kind: Kind = "word"


class Unit(NamedTuple):
    """What is written in one, `text[start:end]`, with its words in the order of the text.

    `is_chain` is false in scripts without spaces, where the words are bigrams.
    """

    start: int
    end: int
    words: tuple[Word, ...]
    is_chain: bool = True

    @property
    def pieces(self) -> list[Word]:
        """The words without joined forms and single characters."""
        return [
            word for word in self.words if word.kind != "single" and word.kind not in JOINED_KINDS
        ]

    @property
    def joined(self) -> list[Word]:
        """The joined forms of the whole unit."""
        return [word for word in self.words if word.kind in JOINED_KINDS and word[1:3] == self[:2]]


_LONGEST = 64  # characters of a word that count: a line of base64 is not a term
_MAX_PIECES = 6  # of a run without joiners: with more it is a checksum
_MAX_JOINED = 4  # pieces of words in letters that others write as one
_MIN_BARE_DIGITS = 7  # of a number that others write in one: an ISBN, a telephone number, a date
_SHORT = 4  # letters of a word whose stem may be a single one
_CACHED = 200  # characters of the longest unit that is remembered

_UNSEGMENTED = f"{HANGUL}{UNSEGMENTED_LETTERS}"
_IGNORED = "\u00ad\u200b\u200d\u2060\ufeff"  # soft hyphen, zero-width characters
_NON_JOINER = "\u200c"  # between words in Persian, without meaning elsewhere
_ARABIC = "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff"

# Characters that a term may contain unencoded: folded, and known to every version of `unicode61`.
_SAFE = re.compile(
    "[0-9a-zα-ωа-џא-ת\u0620-\u063f\u0641-\u064a\u0671-\u06d3\u3005\u3041-\u3096\u30a1-\u30fa\u30fc"
    "\u3400-\u4db5\u4e00-\u9fcb\uac00-\ud7a3]+"
)

_CODE = re.compile(r"[\d_@]|\b[^\W\d_]\b")
_PART = re.compile(r"[^\W\d_]|\d{1,2}")
_NOT_STOPPED = frozenset({"IT", "US", "WHO"})  # names, not pronouns
_CODES = {"++": "plusplus", "#": "sharp"}
# Articles and the like that lose their vowel: l'homme, dell'arte. They are not joined to a word.
_ELISION = re.compile(
    f"(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|all|dall|dell|nell|sull|un|quest|quell|sant|gl|bell"
    f"|com|dov|cos)[{APOSTROPHES}]",
    re.IGNORECASE,
)
_NAMED_ELISION = re.compile(f"[A-Z][{APOSTROPHES}][A-Z]")  # L'Oréal, D'Angelo
_DOT_THOUSANDS = frozenset(["ca", "da", "de", "el", "es", "id", "it", "nl", "no", "pt", "ro", "tr"])
_COMMA_DECIMALS = _DOT_THOUSANDS | {"fi", "fr", "hu", "ru", "sv"}
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")  # four numbers with dots: an address of a network
_VERSION_LETTER = re.compile(r"(?:v|r|ver|rev)(?=\d)", re.IGNORECASE)

# A unit of letters between blanks or stops: it can be told without the pattern of all units. Before
# the blank is no end of a line, which a hyphen might join with the word.
_LETTERS = "A-Za-zÀ-ÖØ-öø-ɏЀ-ҁҊ-ԯ"
_PLAIN = re.compile(
    rf" (?<=[{_LETTERS}0-9.,;:!?)\"] )([{_LETTERS}]{{2,40}}+|[a-z])"
    r"(?=[ \n,;!?)\"]|[.:](?:[ \n]|\Z)|\Z)"
)
_GAPS = frozenset(["", *' ,;:!?.)"', ".", "\n\n"])

# Pieces of a run: a number, raised or lowered digits, a fraction, or letters with their marks.
_RAISED = "\u00b2\u00b3\u00b9\u2070-\u2089"
_FRACTIONS = "\u00bc-\u00be\u2150-\u215e\u2189"
_SINGLE_KIND = re.compile(rf"\d+|[{_RAISED}]+|[{_FRACTIONS}]|[^\d{_RAISED}{_FRACTIONS}]+")
# Humps need two letters before them: iPhone, McDonald and OCaml are one word.
_HUMP = re.compile("(?<=[A-Za-z][a-z])(?<!Mc)(?=[A-Z][A-Za-z])|(?<=[A-Z][A-Z])(?=[A-Z][a-z][a-z])")


def units(text: str, language: str = "") -> Iterator[Unit]:
    """The units of `text`, in order, also those without a word."""
    language = language if language in LANGUAGES else ""
    for match in _pattern().finditer(text):
        found = tuple(_unit_words(match, language))
        yield Unit(*match.span(), found, match.lastgroup != "unsegmented")


def unit_spans(text: str) -> list[tuple[int, int]]:
    """The spans of the units of `text`, in order."""
    return [match.span() for match in _pattern().finditer(text)]


def scan(
    text: str, language: str = "", *, beginnings: Collection[str] | None = None
) -> Iterator[Word]:
    """All words of `text`, ordered by start; of those that start together, the longest is first.

    With `beginnings`, some terms' `beginning`, words whose terms begin otherwise may be left out:
    stemming takes most of the time, and stemmers change the ends of words.
    """
    language = language if language in LANGUAGES else ""
    firsts = None if beginnings is None else {known[:1] for known in beginnings}
    for match in _pattern().finditer(text):
        raw, start = match.group(), match.start()
        if firsts is not None and beginnings is not None and _is_plain(raw):
            if beginning(raw[0].lower()) not in firsts:
                continue
            if not language and len(raw) > _SHORT and beginning(raw.lower()) not in beginnings:
                continue
        if match.lastgroup is None and 1 < len(raw) <= _CACHED:  # nearly all: kept short
            for term, first, last, kind in _analysed(raw, language):
                yield Word(term, start + first, start + last, kind)
        else:
            yield from _unit_words(match, language)


def words_at(text: str, start: int, language: str = "") -> list[Word]:
    """The words that begin at `start`, where a unit is taken to begin; none in unsegmented scripts.

    >>> [(word.term, word.end) for word in words_at("Use multi-factor codes", 4)]
    [('multifactor', 16), ('multi', 9)]
    """
    match = _pattern().match(text, start)
    if match is None or match.lastgroup == "unsegmented":
        return []
    language = language if language in LANGUAGES else ""
    return [word for word in _unit_words(match, language) if word.start == start]


def unstemmed(raw: str) -> str:
    """The form that the terms of words beginning with `raw` begin with, if stemming kept them.

    >>> unstemmed("Pass"), unstemmed("Ünte")
    ('pass', 'unte')
    """
    return _safe(fold_accents(raw))


def terms(text: str, language: str = "") -> tuple[list[str], list[str]]:
    """The terms of `scan` without their spans: those of pieces, and those of joined forms."""
    language = language if language in LANGUAGES else ""
    pieces: list[str] = []
    joined: list[str] = []
    parts = _PLAIN.split(text)
    at = 0
    for gap, word in zip_longest(parts[::2], parts[1::2]):
        if gap not in _GAPS:
            _add_terms(text, at, at + len(gap), language, pieces, joined)
        if word is None:
            break
        at += len(gap) + 1 + len(word)
        found = _analysed(word, language)
        if len(found) == 1:  # nearly all
            pieces.append(found[0][0])
        else:
            _sort(found, pieces, joined)
    return pieces, joined


def _add_terms(
    text: str, start: int, end: int, language: str, pieces: list[str], joined: list[str]
) -> None:
    """Add the terms of the units in `text[start:end]`, at whose ends a unit may begin and end."""
    for match in _pattern().finditer(text, start, end):
        raw = match.group()
        if match.lastgroup is None and 1 < len(raw) <= _CACHED:
            found = _analysed(raw, language)
        else:
            found = tuple(_unit_words(match, language))
        _sort(found, pieces, joined)


def _sort(found: Iterable[Word], pieces: list[str], joined: list[str]) -> None:
    """Add the terms of the words to those of their kind."""
    for word in found:
        (joined if word.kind in JOINED_KINDS else pieces).append(word.term)


def _unit_words(match: re.Match[str], language: str) -> Iterator[Word]:
    (start, end), raw = match.span(), match.group()
    match match.lastgroup:
        case "unsegmented":
            yield from _pairs(match)
            return
        case "code":
            yield Word(_code(raw), start, end)
            return
        case "number":
            found = _grouped_number(raw, language)
        case _ if raw in ("A", "I") and not language:
            yield _capital(match)
            return
        case _:
            found = (_analysed if len(raw) <= _CACHED else _analysed.__wrapped__)(raw, language)
    for term, first, last, kind in found:
        yield Word(term, start + first, start + last, kind)


def _grouped_number(raw: str, language: str) -> tuple[Word, ...]:
    """A number with a separator between its thousands; with a blank, its groups are words, too."""
    separator = next(character for character in raw if not character.isdigit())
    if separator == "." and (language not in _DOT_THOUSANDS or _ADDRESS.fullmatch(raw)):
        return _analysed(raw, language)
    whole = Word(fold_accents(raw), 0, len(raw))
    if separator != " ":
        return (whole,)
    groups = [Word(match.group(), *match.span()) for match in re.finditer("[0-9]+", raw)]
    return (whole._replace(kind="joined"), *groups)


def _capital(match: re.Match[str]) -> Word:
    """An A or I in English; right behind a word it is a name: hepatitis A, World War I."""
    start, text = match.start(), match.string
    if start > 1 and text[start - 1] in " \u00a0" and text[start - 2].isalnum():
        return Word(match.group().lower(), start, start + 1, "part")
    term, kind = _term(match.group(), "")
    return Word(term, start, start + 1, kind)


@lru_cache(maxsize=1 << 16)
def _analysed(raw: str, language: str) -> tuple[Word, ...]:
    """The words of one unit, with spans within it: the joined forms first, then the pieces."""
    if _has_no_pieces(raw):
        return _single(raw, language)
    parts = [match.span() for match in _pieces().finditer(raw)]
    spans = [span for first, last in parts for span in _borders(raw, first, last, language)]
    if len(spans) == 1:
        return _single(raw, language)
    found = [
        Word(term, 0, last, kind)
        for joined, last, kind in _joined_forms(raw, parts, spans)
        if (term := joined_term(joined[:_LONGEST], language))
    ]
    for first, last in spans:
        if first and not language and raw[first:last] in ("A", "I"):  # Vitamin-A
            found.append(Word(raw[first:last].lower(), first, last, "part"))
            continue
        words = _piece_words(raw, first, last, language)
        found += map(_as_part, words) if _PART.fullmatch(raw, first, last) else words
    return tuple(found)


def _has_no_pieces(raw: str) -> bool:
    """Whether it is a word of letters without humps."""
    return raw.isalpha() and (raw.islower() or raw[1:].islower())


def beginning(term: str) -> str:
    """What a term and the English words with it begin with alike: flies and fly.

    >>> beginning("fly"), beginning("skies"), beginning("dying") == beginning("die")
    ('fl', 'sk', True)
    """
    return term[:2].replace("y", "i")


def _is_plain(raw: str) -> bool:
    """Whether its only term begins as it does, but for the case."""
    return raw.isascii() and _has_no_pieces(raw)


def _as_part(word: Word) -> Word:
    return word._replace(kind="part") if word.kind == "word" else word


def _single(raw: str, language: str) -> tuple[Word, ...]:
    return tuple(_piece_words(raw, 0, len(raw), language))


def _piece_words(raw: str, first: int, last: int, language: str) -> Iterator[Word]:
    """The word `raw[first:last]`, after the other words that it is found as."""
    piece = raw[first : min(last, first + _LONGEST)]
    term, kind = _term(piece, language)
    if not term:
        return
    if kind == "word" and not piece.isascii():
        for other in _other_terms(piece, language):
            yield Word(other, first, last, "loose")
    yield Word(term, first, last, kind)


# Where units and pieces end


@cache
def _pattern() -> re.Pattern[str]:
    """A C++, a run of an unsegmented script, a grouped number, or a word with what is joined to it.

    All quantifiers are possessive, so that the scan takes linear time for any text.
    """
    run = f"[{_UNSEGMENTED}][{_UNSEGMENTED}{_marks()}{_IGNORED}{_NON_JOINER}]*+"
    # Chinese lines break anywhere, even inside a word; Korean lines break between words.
    broken = rf"(?:(?<![{HANGUL}])\r?\n(?=[{UNSEGMENTED_LETTERS}]){run})*+"
    letter = rf"[^\W\d_{_UNSEGMENTED}]"
    joiner = (
        rf"(?:(?<={letter})[-\u2010\u2011][ \t]?\r?\n[ \t]*+(?=[a-zß-öø-ÿа-я])"  # at a line's end
        rf"|[-\u2010-\u2013\u2212\u05be.@/]|_++|(?<=[0-9]):(?=[0-9])"
        rf"|(?<={letter})[&{APOSTROPHES}](?={letter})|(?<=[{_ARABIC}]){_NON_JOINER}(?=[{_ARABIC}]))"
    )
    inner = r"(?:\((?:[0-9]{1,3}|[A-Za-z])\))"
    return re.compile(
        rf"(?P<code>[A-Za-z](?:\+\+(?![+#])|\#(?![\w#])))|(?P<unsegmented>{run}{broken})"
        rf"|(?P<number>{_grouped()})"
        rf"|{_piece()}(?:(?:{joiner}{_piece()})++{inner}*+|(?<=[0-9]){inner}++)?+"
    )


def _grouped() -> str:
    """The pattern of a number alone, with a blank, apostrophe or dot between its thousands."""
    separators = (r"\.", "['\u2019]", "[\u00a0\u202f\u2009]", " ")
    groups = "|".join(
        f"(?:{separator}[0-9]{{3}}(?![0-9]))++(?!{separator}[0-9])" for separator in separators
    )
    return rf"(?<![\w.,/-])[0-9]{{1,3}}(?:{groups})(?![\w/@-])"


@cache
def _piece() -> str:
    """The pattern of one word: a number with thousands separators, or letters, digits and marks."""
    letter = rf"[^\W_{_UNSEGMENTED}]"
    ignored = rf"[{_marks()}{_IGNORED}]|(?<![{_ARABIC}]){_NON_JOINER}"
    hebrew = "(?<=[א-ת])[\"'\u2019״׳](?=[א-ת])"
    mark = rf"(?:\u00ad\r?\n(?={letter})|{ignored}|{hebrew})"
    suffix = f"(?:[{APOSTROPHES}](?:[sStTdDmM]|[rRvV][eE]|[lL][lL])(?!{letter}))?+"
    number = f"[0-9]{{1,3}}(?:,[0-9]{{3}})++(?!{letter})"
    return rf"(?:{number}|{letter}++(?:{mark}++{letter}*+)*+{suffix})"


@cache
def _pieces() -> re.Pattern[str]:
    return re.compile(_piece())


def _borders(raw: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    """The spans of the pieces of one run, `raw[start:end]`."""
    run = raw[start:end]
    if run.isdecimal():
        yield start, end
        return
    if "," in run:
        if language not in _COMMA_DECIMALS:
            yield start, end
            return
        at = start
        for digits in run.split(","):
            yield at, at + len(digits)
            at += len(digits) + 1
        return
    spans: list[tuple[int, int]] = []
    for match in _SINGLE_KIND.finditer(run):
        first = match.start()
        for hump in () if match.group().islower() else _HUMP.finditer(match.group()):
            spans.append((start + first, start + match.start() + hump.start()))
            first = match.start() + hump.start()
        spans.append((start + first, start + match.end()))
    yield from spans if len(spans) <= _MAX_PIECES else [(start, end)]


# Joined forms


def _joined_forms(
    raw: str, parts: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, int, Kind]]:
    """The spellings of a unit as one word, each with its end; those of a code are unique to it.

    A chain is a code if it contains a digit, a single letter, `_` or `@`. AC-2(1) gives ac2x1 and
    ac2, so that it is found as AC-2, too; 800-63B gives 800x63b, and 80063b. So does a long number,
    such as an ISBN. A dot between numbers always stands there: v2.3.1 is not v23.1.
    """
    inner = raw.find("(")
    bare = len(raw) if inner < 0 else inner
    if len(parts) == 1 and inner < 0:
        yield _separated(raw, spans), len(raw), "joined"
        return
    if is_elision(raw) or (len(spans) > _MAX_JOINED and not _CODE.search(raw, 0, bare)):
        return
    near = parts[:_LONGEST]  # more would not fit into a term
    plain = sum(last <= bare for _, last in near)
    for count in range(min(len(near), plain + 4), max(plain, 2) - 1, -1):
        end = near[count - 1][1] + (count > plain)
        yield _separated(raw, near[:count]), end, "joined"
    joined = _separated(raw, near[:plain])
    loose = "".join(raw[first:last] for first, last in near[:plain])
    is_short = loose.isdigit() and len(loose) < _MIN_BARE_DIGITS
    if loose != joined and not is_short and "." not in raw:
        yield loose, near[plain - 1][1], "loose"


def _separated(raw: str, spans: Sequence[tuple[int, int]]) -> str:
    """The pieces as one word, with an x between two numbers."""
    joined = ""
    for first, last in spans:
        piece = raw[first : min(last, first + _LONGEST)]
        joined += "x" + piece if joined[-1:].isnumeric() and piece[0].isnumeric() else piece
    return joined


def without_version_letter(pieces: Sequence[Word], text: str) -> Sequence[Word]:
    """The pieces of a version without the letter before it: v2.3.1 → 2.3.1; empty for others."""
    return pieces[1:] if _VERSION_LETTER.match(text, pieces[0].start) else ()


def is_one_word(unit: Unit) -> bool:
    """Whether it has no pieces."""
    return unit.is_chain and len(unit.pieces) == 1


def term_of(raw: str, language: str) -> str:
    """The term of one word."""
    return _term(raw, language)[0]


def is_elision(text: str) -> bool:
    """Whether it begins with an article or the like that has lost its vowel: l'homme."""
    return bool(_ELISION.match(text)) and not _NAMED_ELISION.match(text)


def is_code(text: str) -> bool:
    """Whether it has a digit, a single letter, `_` or `@`: what few other words look like."""
    return bool(_CODE.search(text))


@cache
def _clusters() -> re.Pattern[str]:
    """The pattern of one grapheme cluster of these scripts: a base with its marks."""
    extending = f"[{_marks()}{_IGNORED}\uff9e\uff9f\u0e33\u0eb3]|(?<=\u0e4d)\u0e32"
    jamo = "[\u1100-\u115f]++[\u1160-\u11a7]*+[\u11a8-\u11ff]*+"
    return re.compile(f"(?:{jamo}|[{_UNSEGMENTED}])(?:{extending})*+")


@cache
def _marks() -> str:
    """The combining marks of all scripts, as the inside of a character class."""
    ranges: list[tuple[int, int]] = []
    for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)):
        if is_mark(chr(code)):
            first = ranges.pop()[0] if ranges and ranges[-1][1] == code - 1 else code
            ranges.append((first, code))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _pairs(match: re.Match[str]) -> Iterator[Word]:
    """The characters and bigrams of an unsegmented run; a run of one character is a word."""
    text = match.string
    spans = [found.span() for found in _clusters().finditer(text, *match.span())]
    alone: Kind = "word" if len(spans) == 1 else "single"
    for index, (start, end) in enumerate(spans):
        if term := _gram(text[start:end]):
            yield Word(term, start, end, alone)
        if index + 1 < len(spans):
            last = spans[index + 1][1]
            if term := _gram(text[start:last]):
                yield Word(term, start, last)


@lru_cache(maxsize=1 << 17)
def _term(raw: str, language: str) -> tuple[str, Kind]:
    """The term of one word, "" if nothing remains of it, and its kind."""
    plain = fold_accents(raw)
    kind = _kind(raw, plain, language)
    return (f"{_safe(plain)}{STOP}" if kind == "stop" else _unstopped(raw, plain, language)), kind


@lru_cache(maxsize=1 << 16)
def joined_term(raw: str, language: str) -> str:
    """The term of words written as one, which is never a stop word."""
    return _unstopped(raw, fold_accents(raw), language)


def _unstopped(raw: str, plain: str, language: str) -> str:
    stem, marked = stemmed(raw, plain, language)
    return f"{_safe(stem)}{MARK}{marked}" if marked else _safe(stem)


def _other_terms(raw: str, language: str) -> Iterator[str]:
    """The terms of the words that a word is also found as: without a glued preposition."""
    for form in other_forms(raw, fold_accents(raw), language):
        term, kind = _term(form, language)
        if kind == "word":
            yield term


def _kind(raw: str, plain: str, language: str) -> Kind:
    # A capital alone is a name: vitamin C is not the French "c'".
    if raw in _NOT_STOPPED or (language and len(raw) == 1 and raw.isupper()):
        return "word"
    if plain in _folded_stop_words(language or "en", asking=False):
        return "stop"
    return "ask" if plain in _folded_stop_words(language or "en", asking=True) else "word"


@cache
def _folded_stop_words(language: str, *, asking: bool) -> frozenset[str]:
    return frozenset(map(fold_accents, stop_words(language, asking=asking)))


@lru_cache(maxsize=1 << 17)
def _gram(raw: str) -> str:
    """The term of one or two characters of an unsegmented run; their marks are kept."""
    return _safe(letters_of(unicodedata.normalize("NFKC", raw)))


def _safe(plain: str) -> str:
    """A term that `unicode61` keeps whole: characters outside `_SAFE` are encoded.

    >>> _safe("ключ"), _safe("हिन्दी")[:6]
    ('ключ', 'ø00939')
    """
    plain = plain[:_LONGEST]
    if not plain or _SAFE.fullmatch(plain):
        return plain
    # No folded word contains ø, so an encoded term differs from all others.
    return "ø" + "".join(f"{ord(character):05x}" for character in plain)


def _code(raw: str) -> str:
    return raw[0].lower() + _CODES[raw[1:]]
