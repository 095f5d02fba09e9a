"""Words, counted: what a source has, and what of it is neither on a page nor named as left out.

A word is a run of letters and digits, in NFKC and without case. Soft hyphens, characters of no
width, and the colours and overstrikes of a terminal are no part of it. Counts are compared, not
places: a word that is lost in one place is not missed if the pages have it more often than the
source (a column's name in every row).

Blanks do not count. A word of the source that is missing is explained where the pages have its
pieces, or one word that is made of it and other missing ones ("foot" and "note" are "footnote"),
as long as the source itself has no such words: they are there because of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a letter of the source that the count cannot decode; its word does not count."""

_WORD = re.compile(rf"[^\W_{UNKNOWN}]+|{UNKNOWN}+")
_RUN = re.compile(rf"(?:[^\W_]|{UNKNOWN})+")
_NO_WIDTH = re.compile(
    r"[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_MARKS = "“”‘’–—…•\N{NO-BREAK SPACE}"  # the most frequent ones outside of ASCII
_ASCII = "".join(chr(at).lower() if chr(at).isalnum() else " " for at in range(128))
_TERMINAL = re.compile(
    r"\x1b\[[0-9;:?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-Z]|\x1b[=>78]"
)
_BULLET = re.compile(r"\+\x08o|o\x08\+")
_STRUCK = re.compile(r"[^\n\x08]\x08|(?m:^)\x08")
_MAX_PIECES = 64  # characters of a word that is put together from others, or taken apart
_MAX_TRIES = 20_000  # words that are tried so


def words(text: str) -> list[str]:
    r"""The words of a text in order.

    >>> words("The Ｆｉｒｓｔ co\N{SOFT HYPHEN}lumn_name, 10\N{SUPERSCRIPT TWO}")
    ['the', 'first', 'column', 'name', '102']
    >>> words("K\N{REPLACEMENT CHARACTER}ln is far")
    ['is', 'far']
    >>> words("\x1b[1mred\x1b(B\x1b[m +\bo N\bNO\bO")
    ['red', 'no']
    """
    if "\x1b" in text:
        text = _TERMINAL.sub("", text)
    if "\b" in text:
        text = _BULLET.sub(" ", text)
    for _ in range(_MAX_PIECES):  # as many letters in a row may be struck
        if "\b" not in text:
            break
        text = _STRUCK.sub("", text)
    if text.isascii():
        return text.translate(_ASCII).split()
    for mark in _MARKS:
        text = text.replace(mark, " ")
    found: list[str] = []
    for line in text.split("\n"):  # most lines are ASCII, which is much faster
        found += line.translate(_ASCII).split() if line.isascii() else _other_words(line)
    return found


def _other_words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", _NO_WIDTH.sub("", text)).casefold()
    if UNKNOWN in text:
        return [run for run in _RUN.findall(text) if UNKNOWN not in run]
    return _WORD.findall(text)


def count_words(*texts: str) -> Counter[str]:
    """How often each word is in the texts, in the order of the first occurrences."""
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(words(text))
    return counted


def unexplained(source: Counter[str], found: Counter[str]) -> Counter[str]:
    """The words of the source that are not found, wherever blanks fall.

    >>> unexplained(count_words("a foot note on n g r a m s"), count_words("footnote on ngrams"))
    Counter({'a': 1})
    """
    missing = _more(source, found)
    if not missing:
        return missing
    added = _more(found, source)
    _put_together(missing, added)
    _take_apart(missing, added)
    return +missing


def _more(one: Counter[str], other: Counter[str]) -> Counter[str]:
    """`one - other`, in half the time."""
    known = other.get
    return Counter({word: n - m for word, n in one.items() if n > (m := known(word, 0))})


def _put_together(missing: Counter[str], added: Counter[str]) -> None:
    """Take off the missing words that an added one is made of."""
    for word in list(added)[:_MAX_TRIES]:
        while added[word] > 0 and (pieces := _pieces(word, missing)):
            missing.subtract(pieces)
            added[word] -= 1


def _take_apart(missing: Counter[str], added: Counter[str]) -> None:
    """Take off the missing words that are made of added ones."""
    for word in list(missing)[:_MAX_TRIES]:
        while missing[word] > 0 and (pieces := _pieces(word, added)):
            added.subtract(pieces)
            missing[word] -= 1


def _pieces(word: str, stock: Counter[str]) -> list[str]:
    """The words of the stock, the longest first, that are `word` put together; empty for none."""
    if not 1 < len(word) <= _MAX_PIECES:
        return []
    ends: dict[int, list[str]] = {len(word): []}  # place → the pieces from there to the end
    for start in range(len(word) - 1, -1, -1):
        for end in range(len(word), start, -1):
            piece = word[start:end]
            if end in ends and piece != word and stock[piece] > 0:
                ends[start] = [piece, *ends[end]]
                break
    pieces = ends.get(0, [])
    enough = all(stock[piece] >= times for piece, times in Counter(pieces).items())
    return pieces if enough else []


def share(source: Counter[str], found: Counter[str]) -> int:
    """How many words of the source are found."""
    known = found.get
    return sum(min(times, known(word, 0)) for word, times in source.items())


def first_words(missing: Counter[str], most: int) -> tuple[str, ...]:
    """The first of these words, each as often as it is missing."""
    found: list[str] = []
    for word, times in missing.items():
        found += [word] * min(times, most - len(found))
        if len(found) >= most:
            break
    return tuple(found)


def joined(texts: Iterable[str]) -> str:
    """The texts with line ends between them."""
    return "\n".join(texts)


__all__ = ["UNKNOWN", "count_words", "first_words", "joined", "share", "unexplained", "words"]
