r"""Near-duplicates among passages: texts that say the same, but for how they were set or cut.

A passage repeats another if all of these hold:

- 95 % of its runs of three words stand in the other one (the shingles of Broder 1997, contained);
  shorter texts are one run;
- it is at least half as long, in such runs: a heading that recurs in a chapter is no duplicate;
- its *particulars* are, in the same order and without a gap, particulars of the other one. These
  are all words with a digit or a capital letter in them (figures with their sign, unit sign or
  currency, codes, names, months), number words and words that negate. So two passages that differ
  in one of these are never near-duplicates, however long they are: "AC-2" is not "AC-3", nor is a
  form another one with other figures.

Case, punctuation, line breaks and hyphens at their ends make no difference. What may differ is one
ordinary word in some sixty, in small letters. Number words and negations are known of English, the
negations also of German, French and Spanish, both of Chinese and Japanese.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

MIN_CONTAINMENT = 0.95
"""So much of a passage's runs of words must stand in the other one."""

MIN_LENGTH_RATIO = 0.5
"""So long, as a part of the other one, a passage must be to repeat it."""

_SHINGLE_WORDS = 3  # words
_SOLID = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7a3"
)
_WORDS = re.compile(
    r"(?P<figure>(?:(?<!\w)(?:[-\u2212\u2013+±<>≤≥~$€£¥§#][^\S\n]?|\.))?\d[\d.,:/]*"
    r"(?:[^\S\n]?[%‰°$€£¥])?)"
    rf"|(?P<solid>[{_SOLID}])|[^\W_]+"
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
    """What two texts are compared by: runs of words, and particulars in order, NUL around each."""

    runs: frozenset[tuple[str, ...]]
    particulars: str

    def repeats(self, other: Fingerprint) -> bool:
        """Whether this text is a near-duplicate of the other (see the module's docstring)."""
        if self.particulars not in other.particulars:
            return False
        shared = MIN_CONTAINMENT * len(self.runs)
        return (
            len(self.runs) >= MIN_LENGTH_RATIO * len(other.runs)
            and shared <= len(other.runs)
            and len(self.runs & other.runs) >= shared
        )


@lru_cache(maxsize=256)  # the same passages are found again and again
def fingerprint(text: str) -> Fingerprint:
    r"""A text's print.

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
    runs = frozenset(tuple(words[at : at + _SHINGLE_WORDS]) for at in range(count))
    return Fingerprint(runs, "\0".join(["", *particulars, ""]))


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Every word, case folded, and whether it is a particular."""
    for match in _WORDS.finditer(text):
        word = match.group()
        if match.lastgroup == "figure":
            yield "".join(word.split()).rstrip(".,:/"), True
        else:
            folded = word.casefold()
            telling = not word.isalpha() or word != word.lower()
            yield folded, telling or folded in _NUMBERS_AND_NEGATIONS


class FingerprintIndex(Generic[Owner]):
    """Passages seen so far, each with what it belongs to."""

    def __init__(self) -> None:
        self._prints: list[Fingerprint] = []
        self._owners: list[Owner] = []

    def add(self, known: Fingerprint, owner: Owner) -> None:
        """Remember a passage."""
        self._prints.append(known)
        self._owners.append(owner)

    def owner(self, of: Fingerprint) -> Owner | None:
        """What the first passage belongs to that this one repeats, None if it repeats none."""
        for known, owner in zip(self._prints, self._owners, strict=True):
            if of.repeats(known):
                return owner
        return None

    def hand_over(self, old: Owner, new: Owner) -> None:
        """What belonged to `old` belongs to `new` from now on."""
        self._owners = [new if owner is old else owner for owner in self._owners]


__all__ = ["MIN_CONTAINMENT", "MIN_LENGTH_RATIO", "Fingerprint", "FingerprintIndex", "fingerprint"]
