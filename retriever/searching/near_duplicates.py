r"""Near-duplicates among passages: texts that differ only in layout or in where they were cut.

A passage is a near-duplicate of another if all of these hold:

- 95 % of its shingles (runs of three words) occur in the other one: containment, as in Broder 1997.
  A shorter text is one shingle.
- It has at least half as many shingles as the other one. So a heading that recurs in a chapter is
  not a duplicate of the chapter.
- Its *particulars* occur in the other one in the same order and without a gap. Particulars are
  words with a digit or a capital letter (figures with their sign, unit sign or currency, codes,
  names, months), number words and negations. So two passages that differ in one of these are never
  near-duplicates, however long they are: "AC-2" differs from "AC-3", and a form from the same form
  with other figures.

Case, punctuation, line breaks and hyphenation do not matter. About one ordinary lower-case word in
sixty may differ. The number words are those of English, Chinese and Japanese; the negations those
of English, German, French, Spanish, Chinese and Japanese.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from retriever.text.unsegmented import HANGUL_SYLLABLES, UNSEGMENTED

Owner = TypeVar("Owner")

MIN_CONTAINMENT = 0.95
"""Smallest share of a passage's shingles that occur in the other one."""

MIN_LENGTH_RATIO = 0.5
"""Smallest ratio of a passage's number of shingles to the other one's."""

_SHINGLE_WORDS = 3
_WORDS = re.compile(
    r"(?P<figure>(?:(?<!\w)(?:[-\u2212\u2013+±<>≤≥~$€£¥§#][^\S\n]?|\.))?\d[\d.,:/]*"
    r"(?:[^\S\n]?[%‰°$€£¥])?)"
    rf"|(?P<unsegmented>[{UNSEGMENTED}{HANGUL_SYLLABLES}])|[^\W_]+"
)
_HYPHENATION = re.compile(r"\u00ad\s*|(?<=[^\W\d_])-\n\s*(?=[^\W\d_])")
_NUMBER_AND_NEGATION_WORDS = (
    "no not none never nor neither without cannot nothing nobody nicht kein keine keinen keiner "
    "keinem keines nie ohne weder ne pas jamais sans aucun aucune nunca sin ningún ninguna ni "
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion half quarter third first second once twice both all any "
    "〇 一 二 三 四 五 六 七 八 九 十 百 千 万 亿 億 零 两 半 不 没 沒 無 无 未 非 否"
)
_NUMBERS_AND_NEGATIONS = frozenset(_NUMBER_AND_NEGATION_WORDS.split())
_CONTRACTED = re.compile(r"n['\u2019]t\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What texts are compared by: shingles, and particulars in order with NUL around each."""

    shingles: frozenset[tuple[str, ...]]
    particulars: str

    def repeats(self, other: Fingerprint) -> bool:
        """Whether this text is a near-duplicate of the other one (see the module's docstring)."""
        if self.particulars not in other.particulars:
            return False
        shared = MIN_CONTAINMENT * len(self.shingles)
        return (
            len(self.shingles) >= MIN_LENGTH_RATIO * len(other.shingles)
            and shared <= len(other.shingles)
            and len(self.shingles & other.shingles) >= shared
        )


@lru_cache(maxsize=256)  # the same passages are found again and again
def fingerprint(text: str) -> Fingerprint:
    r"""A text's fingerprint.

    >>> fingerprint("Pay 5 EUR now.").repeats(fingerprint("pay 5 EUR, now"))
    False
    >>> fingerprint("We must pay 5 EUR now.").repeats(fingerprint("We must pay 5 EUR,\nnow!"))
    True
    >>> fingerprint("We must pay 5 EUR now.").repeats(fingerprint("We must pay 6 EUR now."))
    False
    """
    plain = _HYPHENATION.sub("", unicodedata.normalize("NFKC", _CONTRACTED.sub(" not", text)))
    words: list[str] = []
    particulars: list[str] = []
    for word, particular in _words(plain):
        words.append(word)
        if particular:
            particulars.append(word)
    if not words:
        words = [text.strip()]
    count = max(1, len(words) - _SHINGLE_WORDS + 1)
    shingles = frozenset(tuple(words[at : at + _SHINGLE_WORDS]) for at in range(count))
    return Fingerprint(shingles, "\0".join(["", *particulars, ""]))


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """(word, is it a particular) for every word, case folded."""
    for match in _WORDS.finditer(text):
        word = match.group()
        if match.lastgroup == "figure":
            yield "".join(word.split()).rstrip(".,:/"), True
        else:
            folded = word.casefold()
            is_particular = not word.isalpha() or word != word.lower()
            yield folded, is_particular or folded in _NUMBERS_AND_NEGATIONS


class FingerprintIndex(Generic[Owner]):
    """Fingerprints of the passages so far, each with its owner."""

    def __init__(self) -> None:
        self._fingerprints: list[Fingerprint] = []
        self._owners: list[Owner] = []

    def add(self, known: Fingerprint, owner: Owner) -> None:
        """Add a passage's fingerprint."""
        self._fingerprints.append(known)
        self._owners.append(owner)

    def owner(self, of: Fingerprint) -> Owner | None:
        """The owner of the first passage that this one duplicates; None if there is none."""
        for known, owner in zip(self._fingerprints, self._owners, strict=True):
            if of.repeats(known):
                return owner
        return None

    def reassign(self, old: Owner, new: Owner) -> None:
        """Give all passages of `old` to `new`."""
        self._owners = [new if owner is old else owner for owner in self._owners]


def repeating_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """All (i, j), i ≠ j, of which text i is a near-duplicate of text j; sorted.

    Of a text that repeats another one, at most 5 % of the shingles are missing there. So one of any
    more of them is there, and the rarest are looked up (a prefix filter). What they find is
    compared in full.

    >>> repeating_pairs(["We pay now.", "Somebody else.", "we pay NOW"])
    []
    >>> repeating_pairs(["We must pay now.", "Somebody else.", "We must pay now!"])
    [(0, 2), (2, 0)]
    """
    hashes = [
        np.fromiter((hash(one) for one in sorted(fingerprint(text).shingles)), np.int64)
        for text in texts
    ]
    if not hashes:
        return []
    owners = np.repeat(np.arange(len(texts)), [len(own) for own in hashes])
    everything = np.concatenate(hashes)
    order = np.argsort(everything, kind="stable")
    everything, owners = everything[order], owners[order]
    found: list[tuple[int, int]] = []
    for at, own in enumerate(hashes):
        first, last = (np.searchsorted(everything, own, side=side) for side in ("left", "right"))
        rarest = np.argsort(last - first, kind="stable")
        needed = len(own) - math.ceil(MIN_CONTAINMENT * len(own)) + 1
        others = {
            int(other)
            for one in rarest[:needed]
            for other in owners[first[one] : last[one]]
            if other != at
        }
        found += ((at, other) for other in sorted(others) if _repeats(texts[at], texts[other]))
    return found


def _repeats(one: str, other: str) -> bool:
    return fingerprint(one).repeats(fingerprint(other))


__all__ = [
    "MIN_CONTAINMENT",
    "MIN_LENGTH_RATIO",
    "Fingerprint",
    "FingerprintIndex",
    "fingerprint",
    "repeating_pairs",
]
