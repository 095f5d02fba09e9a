"""The analyzer: text → terms, for documents, queries and highlighting.

Two words match if they have the same *term*. Case, accents, endings, soft hyphens and full-width
forms make no difference. Documents and queries go through the same code:

- **Languages**: a passage is analysed in its own language (`retriever.text.languages`). A stemmed
  term ends with a mark of the language: "Häuser" is `hausøde` in a German passage. English terms,
  terms of unknown languages, and terms that are not letters alone have no mark. A query is analysed
  in all languages of the index; the terms of one word count as one word.
- **Words** are runs of letters and digits. `don't` is `dont`; `John's` is `john`; `C++` and `C#`
  are `cplusplus` and `csharp`; `1,000` is `1000`.
- **Codes** (`AC-2(1)`, `SP 800-63B`, `3.14`, `foo_bar`, `user@example.org`, `e-mail`) give a term
  for each piece and one for the joined form, which is more precise: `AC-2` is `ac`, `2` and `ac2`,
  and `AC2` is `ac2`. An `x` separates two digits, so that `AC-2(1)` differs from `AC-21`.
- **Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese** put no spaces between words (Korean
  glues endings to them). A run of their characters becomes overlapping bigrams. Documents also
  give the single characters, for queries of one character.

A term consists of the letters and digits of `_SAFE`, or of `ø` and hexadecimal digits. The latter
encode other scripts, which SQLite's `unicode61` tokenizer would break at combining marks. A term
therefore has no white space, quote or NUL, and FTS5 with `unicode61` keeps it as one token.

The module knows nothing of scores and databases.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain, islice, product
from math import prod
from typing import Any, Literal, NamedTuple

import snowballstemmer

from retriever.text.languages import (
    LANGUAGES,
    STEMMERS,
    detect_language,
    restore_accents,
    stop_words,
)
from retriever.text.request_phrases import request_spans
from retriever.text.unsegmented import HANGUL, UNSEGMENTED_LETTERS

VERSION = 3
"""Version of the terms. An index with terms of another version is analysed again."""

MARK = "ø"
"""Precedes the language at the end of a stemmed term. No folded word contains it."""

BOUNDARY = MARK
"""A token in a passage's terms that no phrase crosses. It is not the term of any word."""

Kind = Literal["word", "stop", "ask", "part", "single"]


class Word(NamedTuple):
    """A word of a text, `text[start:end]`, with its term.

    `kind`: "word"; "stop", a stop word, which is not indexed ("the"); "ask", which is indexed but
    left out of queries ("who"); "part", a short piece of a code whose joined form is also a term
    (the 2 of AC-2): indexed, but left out of queries; "single", one character of a longer run of
    Chinese, Japanese, Korean, Thai, …
    """

    term: str
    start: int
    end: int
    kind: Kind = "word"


class QueryWord(NamedTuple):
    """A word of a query: as first typed, and its terms in each language, English first.

    `times` is the number of times that the query says it.
    """

    typed: str
    terms: tuple[str, ...]
    times: int = 1

    def again(self, times: int = 1) -> QueryWord:
        """The word said so many times more."""
        return self._replace(times=self.times + times)


_MAX_FORMS = 27  # of a phrase with codes: three of them, each in three ways
_LONGEST = 64  # characters of a word that count: a line of base64 is not a term

_UNSEGMENTED = f"{HANGUL}{UNSEGMENTED_LETTERS}"
_IGNORED = "\u00ad\u200b-\u200d\u2060\ufeff"  # soft hyphen, zero-width characters
_APOSTROPHES = "'\u2019\u02bc"

# Characters that a term may contain unencoded: folded, and known to every version of `unicode61`.
_SAFE = re.compile(
    "[0-9a-zα-ωа-џא-ת\u0620-\u063f\u0641-\u064a\u3005\u3041-\u3096\u30a1-\u30fa\u30fc"
    "\u3400-\u4db5\u4e00-\u9fcb\uac00-\ud7a3]+"
)

_CONTRACTION = re.compile(f"[{_APOSTROPHES}](s|t|d|m|re|ve|ll)$")
_CODE = re.compile(r"[\d_@]|\b[^\W\d_]\b")
_PART = re.compile(r"[^\W\d_]|\d{1,2}")
_NOT_STOPPED = frozenset({"IT"})  # information technology, not the pronoun
_CODES = {"++": "plusplus", "#": "sharp"}
# Letters that Unicode does not decompose, although readers see them as accented.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŧ": "t", "æ": "ae", "œ": "oe"}
    | {"þ": "th", "\u0640": "", "\u02bc": "", "\u2044": "x"}
)

_VARIATIONS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))

_LATIN = re.compile("[a-zß-öø-ÿāăąćčďđēėęěğģīįıķļłńņňōőœŕřśşšţťūůűųźżž]+")
_CYRILLIC = re.compile("[а-яё]+")

_stemming = threading.Lock()  # a snowball stemmer keeps its state between calls


def words(text: str, language: str = "") -> Iterator[Word]:
    """The words of `text` with their exact spans, ordered by start.

    A code gives its joined form, then its pieces; a run of Chinese (…) gives bigrams. `language` is
    one of `retriever.text.languages`; any other value means English.

    >>> [(word.term, word.start, word.end) for word in words("Running GPU加速")]
    [('run', 0, 7), ('gpu', 8, 11), ('加速', 11, 13)]
    >>> [word.term for word in words("AC-2(1)")]
    ['ac2x1', 'ac2', 'ac', '2', '1']
    """
    return (word for word in _scan(text, language) if word.kind != "single")


def count_words(text: str, most: int) -> int:
    """The number of words of a text (bigrams in unsegmented scripts), counted up to `most`.

    >>> count_words("The cat sat", 9), count_words("The cat sat", 2)
    (3, 2)
    """
    return sum(1 for _ in islice(words(text), most))


def index_terms(text: str, language: str = "") -> list[str]:
    """The terms of a text, in order and with repetitions, without stop words.

    >>> index_terms("The cats and the cat"), index_terms("die Häuser der EU", "de")
    (['cat', 'cat'], ['hausøde', 'eu'])
    """
    return [word.term for word in _scan(text, language) if word.kind != "stop"]


def passage_terms(title: str, text: str, language: str = "") -> list[str]:
    """The terms of a passage: those of its title and text, then those of its title again.

    A title says in few words what its document is about, so its terms count twice. As in BM25F
    (Robertson et al., "Simple BM25 Extension to Multiple Weighted Fields", CIKM 2004), term
    frequencies are added up, not scores.

    >>> passage_terms("Cats", "They sleep"), passage_terms("", "They sleep")
    (['cat', 'sleep', 'ø', 'cat'], ['sleep'])
    """
    again = index_terms(title, language)
    found = index_terms(f"{title}\n{text}", language)
    return [*found, BOUNDARY, *again] if again else found


def query_words(text: str, languages: Sequence[str] = ()) -> list[QueryWord]:
    """The distinct words to search for in passages of English and of `languages`, in order.

    Function words are left out, and phrases that only ask (see `request_phrases`). The language
    that has most of the query's function words decides what counts as one: "die" does in a German
    query. A query of nothing but function words (and short pieces of codes) keeps them; only a
    query without letters and digits has no words.

    >>> query_words("Welche Häuser?", ["de"])
    [QueryWord(typed='Häuser', terms=('hauser', 'hausøde'), times=1)]
    """
    scans = [
        [word for word in _scan(text, language) if word.kind != "single"]
        for language in dict.fromkeys(("", *languages))
    ]
    idle = [sum(word.kind in ("stop", "ask") for word in scan) for scan in scans]
    telling = [scan for scan, count in zip(scans, idle, strict=True) if count == max(idle)]
    asked: list[Kind] = [word.kind if word.kind == "part" else "word" for word in scans[0]]
    for at, ways in enumerate(zip(*telling, strict=True)):
        if all(word.kind in ("stop", "ask") for word in ways):
            asked[at] = "ask"
    asked = _without_requests(text, scans[0], asked)
    wanted = "word" in asked
    found: dict[tuple[str, ...], QueryWord] = {}
    for kind, ways in zip(asked, zip(*scans, strict=True), strict=True):
        if kind == "word" or not wanted:
            terms = tuple(dict.fromkeys(word.term for word in ways))
            word = QueryWord(text[ways[0].start : ways[0].end], terms)
            found[terms] = found[terms].again() if terms in found else word
    return list(found.values())


def _without_requests(text: str, said: Sequence[Word], asked: list[Kind]) -> list[Kind]:
    """The kinds of a query's words, with "ask" in phrases that only ask, unless no word remains."""
    spans = request_spans(text)
    kinds = list(asked)
    for at, word in enumerate(said) if spans else ():
        if any(start <= word.start and word.end <= end for start, end in spans):
            kinds[at] = "ask"
    return kinds if "word" in kinds else asked


def query_terms(text: str) -> list[str]:
    """The English terms of `query_words`.

    >>> query_terms("Who are the cats?"), query_terms("to be or not"), query_terms("?!")
    (['cat'], ['to', 'be', 'or', 'not'], [])
    """
    return [word.terms[0] for word in query_words(text)]


def language_mark(term: str) -> str:
    """The language of a stemmed term, "" for English and for none.

    >>> language_mark("hausøde"), language_mark("house"), language_mark("ø00939")
    ('de', '', '')
    """
    before, _, language = term.rpartition(MARK)
    return language if before and language in LANGUAGES else ""


def phrase_forms(phrase: str, languages: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The sequences of terms of which `index_terms` of a text with this phrase contains one.

    Ordinary words give one sequence per language. A code may be written joined or in pieces: AC-2
    is found in "AC-2", "AC2" and "AC 2". Stop words have no terms: "terms of use" is also found in
    "term use". A phrase of English stop words alone has no sequence.

    >>> phrase_forms("the cats"), phrase_forms("the"), phrase_forms("the cats", ["de"])
    ([('cat',)], [], [('cat',), ('theøde', 'catøde')])
    >>> phrase_forms("in AC-2")
    [('ac2', 'ac', '2'), ('ac2',), ('ac', '2')]
    """
    english = list(_forms(phrase, ""))
    others = chain.from_iterable(_forms(phrase, language) for language in languages)
    return list(dict.fromkeys([*english, *others])) if english else []


def _forms(phrase: str, language: str) -> Iterator[tuple[str, ...]]:
    """The sequences of one language."""
    found = list(_scan(phrase, language))
    parts: list[list[list[Word]]] = []  # the phrase's words in order; for each, all its spellings
    at = 0
    while at < len(found):
        joined = at
        while at + 1 < len(found) and _is_joined(found[at], found[at + 1]):
            at += 1
        if at == joined:
            parts.append([[found[at]]])
            at += 1
            continue
        pieces = [word for word in found[at:] if word.start < found[joined].end]
        whole = [*found[joined:at], *pieces]
        parts.append([whole, [found[joined]], pieces])
        at += len(pieces)
    if prod(map(len, parts)) > _MAX_FORMS:
        parts = [ways[:1] for ways in parts]
    runs = (chain.from_iterable(ways) for ways in product(*parts))
    forms = (tuple(word.term for word in run if word.kind != "stop") for run in runs)
    return (form for form in forms if form)


def _is_joined(word: Word, following: Word) -> bool:
    """Whether the word is the joined form of a code, followed by its pieces or a shorter form."""
    return word.start == following.start and word.end > following.end


def matching_words(
    text: str, query: str, terms: Iterable[str] = (), language: str | None = None
) -> list[Word]:
    """The words of `text` that match the query, for highlighting: in order, without overlaps.

    Overlapping bigrams are merged, and a code includes its pieces. `terms` match in addition (see
    `Snapshot.matched_terms`). `language` defaults to that of the text, or else that of the query.

    >>> [word.term for word in matching_words("All cats run.", "a running cat")]
    ['cat', 'run']
    """
    if language is None:
        language = detect_language(text) or detect_language(query)
    wanted = _terms_of_query(query, language).union(terms)
    merged: list[Word] = []
    for word in _scan(text, language):
        if word.term not in wanted:
            continue
        if merged and word.start < merged[-1].end:
            last = merged.pop()
            word = last._replace(end=max(last.end, word.end))
        merged.append(word)
    return merged


@lru_cache(maxsize=32)  # the results of a search are marked one by one, and a query may be long
def _terms_of_query(query: str, language: str) -> frozenset[str]:
    return frozenset(chain.from_iterable(word.terms for word in query_words(query, [language])))


def _scan(text: str, language: str) -> Iterator[Word]:
    """All words, including single characters of unsegmented scripts."""
    language = language if language in LANGUAGES else ""
    for match in _pattern().finditer(text):
        start, end = match.span()
        if match.lastindex is None:
            term, kind = _term(text[start : min(end, start + _LONGEST)], language)
            if term:
                yield Word(term, start, end, kind)
        elif match.lastgroup == "chain":
            yield from _chain(match, language)
        elif match.lastgroup == "unsegmented":
            yield from _pairs(match)
        else:
            yield Word(_code(match.group()), start, end)


@cache
def _pattern() -> re.Pattern[str]:
    """A C++, a run of an unsegmented script, or a word, perhaps with more joined to it ("chain").

    All quantifiers are possessive, so that the scan takes linear time for any text.
    """
    run = f"[{_UNSEGMENTED}][{_UNSEGMENTED}{_marks()}{_IGNORED}]*+"
    # Chinese lines break anywhere, even inside a word; Korean lines break between words.
    broken = rf"(?:(?<![{HANGUL}])\r?\n(?=[{UNSEGMENTED_LETTERS}]){run})*+"
    joiner = r"(?:[-\u2010-\u2013\u2212.@/]|_++)"
    inner = r"(?:\((?:[0-9]{1,3}|[A-Za-z])\))"
    return re.compile(
        rf"(?P<code>[A-Za-z](?:\+\+(?![+#])|\#(?![\w#])))|(?P<unsegmented>{run}{broken})"
        rf"|{_piece()}(?P<chain>(?:{joiner}{_piece()})++{inner}*+|(?<=[0-9]){inner}++)?+"
    )


@cache
def _piece() -> str:
    """The pattern of one word: a number with thousands separators, or letters, digits and marks."""
    letter = rf"[^\W_{_UNSEGMENTED}]"
    mark = rf"(?:\u00ad\r?\n(?={letter})|[{_marks()}{_IGNORED}])"
    suffix = f"(?:[{_APOSTROPHES}](?:[sStTdDmM]|[rRvV][eE]|[lL][lL])(?!{letter}))?+"
    number = f"[0-9]{{1,3}}(?:,[0-9]{{3}})++(?!{letter})"
    return rf"(?:{number}|{letter}++(?:{mark}++{letter}*+)*+{suffix})"


@cache
def _pieces() -> re.Pattern[str]:
    return re.compile(_piece())


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
        if _is_mark(chr(code)):
            first = ranges.pop()[0] if ranges and ranges[-1][1] == code - 1 else code
            ranges.append((first, code))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _chain(match: re.Match[str], language: str) -> Iterator[Word]:
    """The joined forms of a chain, if it is a code, then its pieces."""
    text, (start, end) = match.string, match.span()
    spans = [piece.span() for piece in _pieces().finditer(text, start, end)]
    joined = list(_joined(text, spans, (start, end), language))
    yield from joined
    for first, last in spans:
        term, kind = _term(text[first : min(last, first + _LONGEST)], language)
        if joined and kind == "word" and _PART.fullmatch(text, first, last):
            kind = "part"
        if term:
            yield Word(term, first, last, kind)


def _joined(
    text: str, spans: list[tuple[int, int]], whole: tuple[int, int], language: str
) -> Iterator[Word]:
    """The joined forms of a code, longest first: AC-2(1) → ac2x1, ac2; none for zero-trust.

    A chain is a code if it contains a digit, a single letter, `_` or `@`.
    """
    start, end = whole
    inner = text.find("(", start, end)
    bare = end if inner < 0 else inner
    if not _CODE.search(text, start, bare):
        return
    near = spans[:_LONGEST]  # more would not fit into a term
    plain = sum(last <= bare for _, last in near)
    for count in range(min(len(near), plain + 4), max(plain, 1) - 1, -1):
        if count == 1:
            continue
        raw = ""
        for first, last in near[:count]:
            piece = text[first : min(last, first + _LONGEST)]
            raw += "x" + piece if raw[-1:].isdigit() and piece[0].isdigit() else piece
        term, _ = _term(raw[:_LONGEST], language)
        yield Word(term, start, near[count - 1][1] + (count > plain))


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
    if len(plain) > 2:
        if language == "ru" and _CYRILLIC.fullmatch(plain):
            return f"{_stem(plain, language)}{MARK}{language}", kind
        if language not in ("", "ru"):
            written = _cased(raw)
            if _LATIN.fullmatch(written):
                stem = _stem(restore_accents(written, language), language)
                return f"{_plain(stem)}{MARK}{language}", kind
        if plain.isascii() and plain.isalpha():
            return _stem(plain, "en"), kind
    return _safe(plain), kind


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


@cache
def _stemmer(language: str) -> Any:
    return snowballstemmer.stemmer(STEMMERS[language])


def _stem(word: str, language: str) -> str:
    with _stemming:
        return str(_stemmer(language).stemWord(word))


@lru_cache(maxsize=1 << 17)
def _gram(raw: str) -> str:
    """The term of one or two characters of an unsegmented run; their marks are kept."""
    return _safe(_letters(unicodedata.normalize("NFKC", raw)))


def fold_accents(raw: str) -> str:
    """The letters and digits, without case, accents, contractions and presentation forms.

    >>> [fold_accents(word) for word in ("Ｃａｆé’s", "don't", "ΣΊΣΥΦΟΣ", "Straße", "١٢")]
    ['cafe', 'dont', 'σισυφοσ', 'strasse', '12']
    """
    plain = _plain(_cased(raw))
    return plain if plain.isalnum() and plain.isascii() else _letters(plain)


def _cased(raw: str) -> str:
    """The word without case, presentation forms and contractions, but with accents."""
    folded = unicodedata.normalize("NFKC", raw).casefold()
    return _CONTRACTION.sub(lambda ending: "t" if ending[1] == "t" else "", folded)


def _plain(text: str) -> str:
    return text if text.isascii() else _without_accents(text.translate(_LETTERS))


def _letters(text: str) -> str:
    """The letters, digits (of any script, as 0 to 9) and marks of a text, and nothing else."""
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in text
        if character.isalnum() or (_is_mark(character) and character not in _VARIATIONS)
    )


def _without_accents(text: str) -> str:
    """The text without accents of Latin, Greek, Hebrew and Arabic; other scripts need their marks.

    >>> _without_accents("naïve ёлка й")
    'naive елка й'
    """
    kept: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFD", text):
        if not _is_mark(character):
            base = character
        elif _is_accent(base, character):
            continue
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _is_accent(base: str, mark: str) -> bool:
    if "\u0400" <= base <= "\u052f":  # й and ї are letters; ё and marks of stress are not
        return base + mark == "е\u0308" or (mark in "\u0300\u0301" and base in "аеиоуыэюя")
    return base < "\u0400" or "\u0590" <= base <= "\u06ff" or "\u1e00" <= base <= "\u1fff"


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
