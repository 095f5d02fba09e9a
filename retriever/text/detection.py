"""Language detection, by function words and scripts.

A language is detected by three different function words. A text in Arabic, Devanagari, Greek or
Hebrew letters needs none: few languages share these scripts, and their own letters and commonest
words tell them apart. A text without evidence (tables, names, code, other languages) has no
language, and is analysed as English.

The module knows nothing of terms, scores and databases.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache

from retriever.text.languages import FUNCTION_WORDS, stop_words

_DEVANAGARI = "\u0900-\u0963\u0970-\u097f"  # with its marks, which \w lacks
_WORD = re.compile(r"[^\W\d_]+")
_MARKED_WORD = re.compile(rf"[{_DEVANAGARI}]+|[^\W\d_]+")
# Scripts that few languages share; any letter, with the presentation forms of PDF files.
_SCRIPT = re.compile(
    "[\u0370-\u03ff\u05d0-\u06ff\u0900-\u097f\u1f00-\u1fff\ufb1d-\ufdff\ufe70-\ufefc]"
)
# Their words, by the language that is assumed without other evidence.
_SCRIPTS = re.compile(
    "(?P<el>[\u0370-\u03ff\u1f00-\u1fff]{2,})|(?P<he>[\u05d0-\u05f2]{2,})"
    f"|(?P<ar>[\u0620-\u065f\u066e-\u06d3\u06d5\u06fa-\u06ff]{{2,}})|(?P<hi>[{_DEVANAGARI}]{{2,}})"
)
# Letters of Urdu, Persian and Arabic, and of Pashto, Kurdish, Sindhi and Uyghur.
_URDU = re.compile("[ٹڈڑںےہھ]")
_PERSIAN = re.compile("[پچژگکی]")
_ARABIC = re.compile("[ةأإ]|\\b[وفبك]?ال")
_OTHERS = re.compile("[ټډړښږڼېۍەێۆڵڕۇۈۋڭڄڃٻڀڦڪڳڱڻٽ]")
# Words of languages that are not analysed, but share a script with one that is: Marathi and Nepali,
# Yiddish.
_NEIGHBOURS = {
    "hi": re.compile(
        "(?:आहे|आहेत|आणि|होते|होता|ही|ती|तो|नाही|केला|केली|केले|व|किंवा|साठी|करा|छ|छन्|छैन|र|पनि|हो|हुन्|"
        "थियो|भएको|गरेको|गर्न|यो|त्यो|वा|कुनै|गर्नुहोस्|सकिएन"
        "|.+(?:च्या|ण्या|ातील|ामध्ये|ळ.*|ांना|ावर|ाचे|ाची|ाचा|को|हरू|हरु|लाई|ियो|ुहोस्))"
    ),
    "he": re.compile("און|איז|דער|די|דאס|פון|מיט|נישט|ניט|האט|צו|אויף|אז|זיי|קען|ניש|.*[װױײ].*"),
}
_MIN_FUNCTION_WORDS = 3  # different function words needed to detect a language
_SHARE = 0.1  # share of all words that must be evidence
_LEAD = 1.5  # factor by which the evidence must exceed that for English
# Languages with Latin letters and many short words that are words of the other languages as well
# ("al", "de", "la", "un"). They need the same lead over every language.
_SHORT_WORDS = frozenset({"hu", "id", "ro", "tr"})
# Letters of one of these languages only: each counts as a function word.
_OWN_LATIN_OF = {
    letter: code
    for code, letters in {"hu": "őű", "ro": "șțţ", "tr": "ığ"}.items()
    for letter in letters
}
_OWN_LATIN = re.compile(f"[{''.join(_OWN_LATIN_OF)}]")
_OWN_LETTERS = 0.03  # share of all letters that only one language of a script has
_MAX_CHARACTERS = 20_000  # how much of a text is looked at
_PRESENT = 0.01  # share of passages in a language; fewer are detection errors


def detect_language(text: str) -> str:
    """The language of a text, or "" if neither its script nor its function words show one.

    >>> detect_language("Das Gericht entscheidet über die Klage und den Antrag.")
    'de'
    >>> detect_language("The court decides on the claim and the motion.")
    'en'
    >>> detect_language("Η βιβλιοθήκη"), detect_language("Table 2: 3 kg")
    ('el', '')
    """
    sample = unicodedata.normalize("NFC", text[:_MAX_CHARACTERS]).lower()
    if sample.isascii() or not _SCRIPT.search(sample):
        return _language_of_function_words(sample, _WORD.findall(sample))
    sample = unicodedata.normalize("NFKC", sample)
    words = _MARKED_WORD.findall(sample)
    if script := _main_script(sample, words):
        return _language_of_script(script, sample, words)
    return _language_of_function_words(sample, words)


def foreign_language(text: str, passages: Mapping[str, int]) -> str:
    """The language of a query that the passages do not have; "" if they have it, or in doubt.

    `passages` has their number in each language, "" for unknown ones. In doubt is a query that also
    has half as many function words of a language that they do have.

    >>> foreign_language("Wie lang muss ein Passwort sein?", {"en": 500, "de": 2})
    'de'
    >>> foreign_language("Wie lang muss ein Passwort sein?", {"en": 500, "de": 20})
    ''
    >>> foreign_language("How long is it?", {"en": 5}), foreign_language("teh risc", {"de": 5})
    ('', '')
    """
    language = detect_language(text)
    total = sum(passages.values())
    if not language or 2 * passages.get("", 0) >= total:
        return ""
    present = present_languages(passages)
    words = set(_MARKED_WORD.findall(unicodedata.normalize("NFC", text[:_MAX_CHARACTERS]).lower()))
    own = len(words & stop_words(language, asking=True))
    theirs = (len(words & stop_words(code, asking=True)) for code in present - {language})
    if language in present or (own and 2 * max(theirs, default=0) > own):
        return ""
    return language


def present_languages(passages: Mapping[str, int]) -> frozenset[str]:
    """The languages of at least one passage in a hundred; fewer are detection errors.

    >>> present_languages({"en": 500, "it": 2, "": 9})
    frozenset({'en'})
    """
    least = _PRESENT * sum(passages.values())
    return frozenset(code for code, count in passages.items() if code and count >= least)


def _language_of_function_words(sample: str, words: list[str]) -> str:
    languages = _languages()
    evidence: dict[str, float] = {}
    different: dict[str, int] = {}
    for word, count in Counter(filter(languages.__contains__, words)).items():
        for language, share in languages[word]:
            evidence[language] = evidence.get(language, 0) + count * share
            different[language] = different.get(language, 0) + 1
    if not evidence:
        return ""
    if not sample.isascii():
        for letter, count in Counter(_OWN_LATIN.findall(sample)).items():
            language = _OWN_LATIN_OF[letter]
            evidence[language] = evidence.get(language, 0) + count
            different[language] = different.get(language, 0) + 1
    # Ties (Danish and Norwegian, say) are broken by code, rather than detecting nothing.
    first, *others = sorted(
        evidence,
        key=lambda code: (evidence[code] / (_LEAD if code in _SHORT_WORDS else 1), code),
        reverse=True,
    )
    for best in (first, *filter(_SHORT_WORDS.__contains__, others)):
        enough = different[best] >= _MIN_FUNCTION_WORDS and evidence[best] >= _SHARE * len(words)
        clear = best == "en" or evidence[best] >= _LEAD * evidence.get("en", 0)
        if enough and clear:
            return best
    return ""


def _main_script(sample: str, words: list[str]) -> str:
    """The script of `_SCRIPTS` that most letters of the words belong to, "" if there is none."""
    letters: Counter[str] = Counter()
    for found in _SCRIPTS.finditer(sample):
        letters[str(found.lastgroup)] += len(found[0])
    if not letters:
        return ""
    script, most = letters.most_common(1)[0]
    return script if 2 * most > sum(map(len, words)) else ""


def _language_of_script(script: str, sample: str, words: list[str]) -> str:
    """The language of a text in this script, "" if it is one that is not analysed."""
    if script == "ar":
        return _language_of_arabic_letters(sample, words)
    other = _NEIGHBOURS.get(script)
    own = stop_words(script, asking=True)
    strange = sum(word not in own and bool(other.fullmatch(word)) for word in words) if other else 0
    return script if sum(word in own for word in words) >= strange else ""


def _language_of_arabic_letters(sample: str, words: list[str]) -> str:
    """Arabic, Persian or Urdu, by their own letters and function words; "" for another language."""
    total = sum(map(len, words))
    if len(_OTHERS.findall(sample)) > _OWN_LETTERS * total:
        return ""
    if len(_URDU.findall(sample)) > _OWN_LETTERS * total:
        return "ur"
    persian, arabic = (
        len(letters.findall(sample))
        + 2 * sum(word in stop_words(language, asking=True) for word in words)
        for letters, language in ((_PERSIAN, "fa"), (_ARABIC, "ar"))
    )
    return "fa" if persian > arabic else "ar"


@cache
def _languages() -> dict[str, list[tuple[str, float]]]:
    """Function word → the languages that have it, with its share of evidence for each.

    Languages that have a word share it, but those of `_SHORT_WORDS` take nothing from the others.
    """
    found: dict[str, list[str]] = {}
    for language in FUNCTION_WORDS:
        for word in stop_words(language, asking=True):
            found.setdefault(word, []).append(language)
    return {word: _shares(named) for word, named in found.items()}


def _shares(named: list[str]) -> list[tuple[str, float]]:
    others = len(named) - len(_SHORT_WORDS.intersection(named))
    return [
        (language, 1 / (len(named) if language in _SHORT_WORDS else others)) for language in named
    ]


__all__ = ["detect_language", "foreign_language", "present_languages"]
