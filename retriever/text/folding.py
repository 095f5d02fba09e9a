"""Folding: the spellings that readers take for the same word become the same letters.

`fold_accents` removes what differs within one word: case, accents, full-width and presentation
forms, contractions, and the variants of a script. Its tables say which:

- **Latin**: accents, letters that Unicode does not decompose (`ł`, `ø`, `ß`), and letters that are
  apostrophes (`ʻ`, `ʼ`, `ʾ`, `ʿ`).
- **Arabic**: vowel signs, hamza, tatweel; the letters of other keyboards (Persian `ی`, `ک`, Urdu
  `ہ`); `ى` is `ي`, `ة` is `ه`.
- **Hebrew**: points, geresh and gershayim; `יי` and `וו` of the full spelling are single.
- **Indic**: a nasal before a consonant is the anusvara (`हिन्दी`, `हिंदी`). Devanagari and Gurmukhi
  also lose the nukta, Devanagari and Gujarati the candrabindu, and a letter written in two ways
  (Malayalam chillus) is written in one. गए and गये are one word.

`other_forms` gives the words that a word is found as in addition: without a glued article or
preposition, and with `ue` for `ü`.

The module knows nothing of stems, stop words and languages' grammars.
"""

from __future__ import annotations

import re
import unicodedata

APOSTROPHES = "'\u2019\u02bc"
"""The characters that contractions are written with."""

_CONTRACTION = re.compile(f"[{APOSTROPHES}](s|t|d|m|re|ve|ll)$")

# Letters and modifiers that stand for an apostrophe, a prime or a glottal stop: dropped.
_LETTER_APOSTROPHES = (
    "\u02b9\u02ba\u02bb\u02bc\u02bd\u02be\u02bf\u02c0\u02c1\u02c8\u02ca\u02cb\u02ee\ua78b\ua78c"
)
_JOINERS = "\u200c\u200d"  # they tell a font how to draw a letter

_LETTERS = str.maketrans(
    # Letters that Unicode does not decompose, although readers see them as accented.
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŧ": "t", "æ": "ae", "œ": "oe"}
    | {"þ": "th", "\u2044": "x"}
    | dict.fromkeys(_LETTER_APOSTROPHES + _JOINERS, "")
    # Arabic: tatweel, the letters of other keyboards, and endings that are written in two ways.
    | {"\u0640": "", "ى": "ي", "ی": "ي", "ې": "ي", "ک": "ك", "ڪ": "ك", "ٱ": "ا"}
    | dict.fromkeys("ةہۀۂۃەھۿ", "ه")
    # Yiddish digraphs.
    | {"\u05f0": "וו", "\u05f1": "וי", "\u05f2": "יי"}
    # Indic: candrabindu is anusvara (Devanagari, Gujarati), so is tippi (Gurmukhi).
    | {"\u0901": "\u0902", "\u0a81": "\u0a82", "\u0a70": "\u0a02"}
    # Bengali khanda ta and the Malayalam chillus are consonants without a vowel.
    | {"\u09ce": "\u09a4\u09cd", "\u0d7a": "\u0d23\u0d4d", "\u0d7b": "\u0d28\u0d4d"}
    | {"\u0d7c": "\u0d30\u0d4d", "\u0d7d": "\u0d32\u0d4d", "\u0d7e": "\u0d33\u0d4d"}
    | {"\u0d7f": "\u0d15\u0d4d"}
)

_VARIATIONS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_NUKTAS = "\u093c\u0a3c"  # of Devanagari and Gurmukhi

# Unicode lays out the Indic scripts alike. Those of Devanagari, Bengali, Gujarati, Odia, Telugu and
# Kannada write a nasal before a consonant either as a letter with a virama or as the anusvara.
_BLOCKS = (0x900, 0x980, 0xA80, 0xB00, 0xC00, 0xC80)
_NASALS = re.compile(
    "|".join(
        "(?<=.)[{}]{}(?=[{}-{}])".format(
            "".join(chr(block + nasal) for nasal in (0x19, 0x1E, 0x23, 0x28, 0x2E)),
            *(chr(block + letter) for letter in (0x4D, 0x15, 0x39)),
        )
        for block in _BLOCKS
    )
)
_DOUBLED = re.compile("([וי])\\1+")
# Hindi writes a glide before the last vowel or leaves it out: गये and गए, जाए and जाये. The stemmer
# needs it after a consonant (गया), and does not know it after a long vowel.
_GLIDE = re.compile("(?<=[क-ह\u093f])[एई](?=\u0902?$)|(?<=[\u093e\u0941\u0942\u094b])ये(?=\u0902?$)")
_GLIDES = {"ए": "ये", "ई": "यी", "ये": "ए"}

_HEBREW = re.compile("[א-ת]{3,}")
# A word may begin with one glued letter ("the", "and", "in", "to", "from", "as", "that"), or two.
_PREFIX = re.compile("(?:ה(?=..)|[ובלכמש](?=...))")
_PREFIXES = re.compile("(?:ו[הבלכמש]|ש[הבלכמ]|[מכ]ה|כש)(?=...)")
_ARTICLE = re.compile("[وف]?(?:[بك]?ال|لل)(?=[\u0621-\u06d3]{3,}$)")

# How a language without the letter writes it. A language that has the letter does not do so, but
# Danish and Norwegian, where both spellings are alive (Århus, Aarhus).
_WRITTEN_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"}
_OWN_LETTERS = {
    **dict.fromkeys(("de", "sv", "fi", "hu", "tr"), "äöüåø"),
    **dict.fromkeys(("es", "pt"), "ü"),
}


def fold_accents(raw: str) -> str:
    """The letters and digits, without case, accents, contractions and presentation forms.

    >>> [fold_accents(word) for word in ("Ｃａｆé’s", "don't", "ΣΊΣΥΦΟΣ", "Straße", "١٢")]
    ['cafe', 'dont', 'σισυφοσ', 'strasse', '12']
    >>> [fold_accents(word) for word in ("Hawaiʻi", "مكتبة", "کتابخانه", 'צה"ל', "हिन्दी")]
    ['hawaii', 'مكتبه', 'كتابخانه', 'צהל', 'हिंदी']
    """
    plain = without_accents(without_case(raw))
    return plain if plain.isalnum() and plain.isascii() else _without_variants(letters_of(plain))


def without_case(raw: str) -> str:
    """The word without case, presentation forms and contractions, but with accents."""
    folded = unicodedata.normalize("NFKC", raw).casefold()
    return _CONTRACTION.sub(lambda ending: "t" if ending[1] == "t" else "", folded)


def letters_of(text: str) -> str:
    """The letters, digits (of any script, as 0 to 9) and marks of a text, and nothing else."""
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in text
        if character.isalnum() or (is_mark(character) and character not in _VARIATIONS)
    )


def without_accents(text: str) -> str:
    """The text without accents and letters in two forms; most scripts of India need their marks.

    >>> without_accents("naïve ёлка й")
    'naive елка й'
    """
    if text.isascii():
        return text
    kept: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFD", text.translate(_LETTERS)).translate(_LETTERS):
        if not is_mark(character):
            base = character
        elif _is_accent(base, character):
            continue
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def is_mark(character: str) -> bool:
    """Whether the character combines with the one before it."""
    return unicodedata.category(character)[0] == "M"


def _is_accent(base: str, mark: str) -> bool:
    if "\u0400" <= base <= "\u052f":  # й and ї are letters; ё and marks of stress are not
        return base + mark == "е\u0308" or (mark in "\u0300\u0301" and base in "аеиоуыэюя")
    if not base.isalnum():  # a mark on punctuation, which is no part of a word
        return True
    if base < "\u0400" or "\u0590" <= base <= "\u06ff" or "\u1e00" <= base <= "\u1fff":
        return True
    return mark in _NUKTAS


def _without_variants(word: str) -> str:
    """A folded word in one of the spellings that Hebrew and the scripts of India have."""
    if word.isascii():
        return word
    word = _NASALS.sub(lambda nasal: chr((ord(nasal[0][0]) & ~0x7F) + 2), word)
    word = _GLIDE.sub(lambda glide: _GLIDES[glide[0]], word)
    return _DOUBLED.sub(r"\1", word)


def other_forms(word: str, folded: str, language: str) -> tuple[str, ...]:
    """The words that a word of a text of `language`, folded to `folded`, is also found as.

    They are folded, and not stemmed. Hebrew glues prepositions, article and conjunction to a word,
    Arabic the article, which the stemmer of Arabic removes. Languages without "ü" write "ue".

    >>> other_forms("Müller", "muller", "en"), other_forms("Müller", "muller", "de")
    (('mueller',), ())
    >>> other_forms("בירושלים", "בירושלים", "he"), other_forms("house", "house", "en")
    (('ירושלים',), ())
    """
    if word.isascii():
        return ()
    if _HEBREW.fullmatch(folded):
        rests = (folded[found.end() :] for found in _glued(folded))
        return tuple(dict.fromkeys(rests))
    if language != "ar" and (article := _ARTICLE.match(folded)):
        return (folded[article.end() :],)
    return _written_out(word, folded, language)


def _glued(folded: str) -> list[re.Match[str]]:
    return [found for one in (_PREFIX, _PREFIXES) if (found := one.match(folded))]


def _written_out(word: str, folded: str, language: str) -> tuple[str, ...]:
    """The word with "ue" for "ü", unless its language has the letter."""
    written = without_case(word)
    own = _OWN_LETTERS.get(language, "")
    letters = {
        ord(letter): spelt
        for letter, spelt in _WRITTEN_OUT.items()
        if letter in written and letter not in own
    }
    if not letters:
        return ()
    form = fold_accents(written.translate(letters))
    return (form,) if form != folded else ()


__all__ = [
    "APOSTROPHES",
    "fold_accents",
    "is_mark",
    "letters_of",
    "other_forms",
    "without_accents",
    "without_case",
]
