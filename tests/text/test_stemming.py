"""Stemming: the endings of a word make no difference, and the old languages keep their stems."""

from __future__ import annotations

import re
import unicodedata

import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st

from retriever.text.analyzer import (
    MARK,
    bare_stem,
    index_terms,
    language_mark,
    query_words,
    words,
)
from retriever.text.folding import fold_accents, other_forms
from retriever.text.languages import LANGUAGES, restore_accents
from retriever.text.stemming import stemmed
from tests.text.test_analyzer import _tokens_of_fts5 as tokens_of_fts5

FIRST = ("da", "de", "es", "fi", "fr", "it", "nl", "no", "pt", "ru", "sv")
"""The languages of version 3 of the terms."""

_SNOWBALL = {
    "da": "danish",
    "de": "german",
    "en": "porter",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
}
_SPECIAL = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŧ": "t", "æ": "ae"} | {
    "œ": "oe",
    "þ": "th",
}


def stem(word: str, language: str) -> tuple[str, str]:
    return stemmed(word, fold_accents(word), language)


def forms(word: str, language: str) -> set[tuple[str, str]]:
    """The stems of a word and of its other forms."""
    others = other_forms(word, fold_accents(word), language)
    return {stem(form, language) for form in (word, *others)}


def bare(text: str) -> str:
    """A naive copy of version 3: Latin and Cyrillic letters without accents."""
    text = "".join(_SPECIAL.get(letter, letter) for letter in text)
    if re.search("[а-яё]", text):
        return text.replace("ё", "е")
    kept = [one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one)]
    return unicodedata.normalize("NFC", "".join(kept))


def naive(word: str, language: str) -> tuple[str, str]:
    """A naive copy of version 3 for words of Latin or Cyrillic letters."""
    cased = word.casefold()
    plain = bare(cased)
    stemmer = snowballstemmer.stemmer(_SNOWBALL.get(language, "porter"))
    if len(plain) > 2:
        if language == "ru":
            if re.fullmatch("[а-яё]+", plain):
                return stemmer.stemWord(plain), "ru"
        elif language and re.fullmatch(
            "[a-zß-öø-ÿāăąćčďđēėęěğģīįıķļłńņňōőœŕřśşšţťūůűųźżž]+", cased
        ):
            return bare(stemmer.stemWord(restore_accents(cased, language))), language
        if plain.isascii() and plain.isalpha():
            return snowballstemmer.stemmer("porter").stemWord(plain), ""
    return plain, ""


_LATIN = st.text("abcdeghiklmnoprstuvyzäöüßåøæéèñçãõàùœłş", min_size=1, max_size=14)
_CYRILLIC = st.text("абвгдезиклмнопрстуыья", min_size=1, max_size=14)
_ENDED = st.tuples(
    _LATIN,
    st.sampled_from(
        ("", "s", "es", "en", "ern", "ungen", "ação", "ciones", "mente", "ité", "erne", "issa")
    ),
).map("".join)


@given(st.one_of(_LATIN, _ENDED, _CYRILLIC), st.sampled_from(("", *FIRST)), st.booleans())
def test_the_first_languages_keep_their_stems(word: str, language: str, capital: bool) -> None:
    word = word.capitalize() if capital else word
    assert stem(word, language) == naive(word, language)


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("ar", "المكتبة مكتبة والمكتبة بالمكتبه للمكتبة مكتبات وبالمكتبات مكتبه"),
        ("ar", "المدرسة المدرسه مدرسة"),
        ("ar", "المستشفى المستشفي مستشفى المستشفيات"),
        ("ar", "على علي"),
        ("ar", "السيارات سيارة سيارات سياراتها"),
        ("ar", "الوزير وزير للوزير والوزير"),
        ("ar", "الوطن وطن وطنية"),
        ("ar", "معلم المعلمون المعلمين"),
        ("hi", "किताब किताबें किताबों"),
        ("hi", "लड़की लड़कियाँ लडकियों"),
        ("hi", "हिन्दी हिंदी"),
        ("hi", "रुपया रुपये रुपए रुपयों"),
        ("hi", "गया गये गए गई गयी"),
        ("hi", "भाषा भाषाएं भाषाओं भाषायें"),
        ("el", "βιβλιοθήκη βιβλιοθήκης ΒΙΒΛΙΟΘΉΚΕΣ"),
        ("hu", "könyv könyvek könyveket KÖNYVEK"),
        ("hu", "könyvtár könyvtárban"),
        ("id", "baca membaca bacaan"),
        ("ro", "bibliotecă biblioteca bibliotecii bibliotecile"),
        ("ro", "orașul oraşul"),
        ("tr", "kitap kitaplar kitapları"),
        ("tr", "ışık IŞIK"),
        ("tr", "İstanbul istanbul"),
        ("tr", "çalışmalar calismalar"),
    ],
)
def test_the_forms_of_a_word_have_one_stem(language: str, written: str) -> None:
    found = {stem(word, language) for word in written.split()}
    assert len(found) == 1
    assert found.pop()[1] == language


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("he", "בירושלים", "ירושלים"),
        ("he", "הספרייה", "ספרייה"),
        ("he", "הספריה", "לספרייה"),
        ("he", 'צה"ל', "צהל"),
        ("fa", "کتابخانه", "كتابخانه"),
        ("ur", "لڑکی", "لڑكي"),
        ("", "المكتبة", "مكتبة"),
        ("en", "Müller", "Mueller"),
        ("en", "Müllers", "Mueller"),
        ("de", "Müller", "Mueller"),
        ("da", "Århus", "Aarhus"),
        ("en", "Hawaiʻi", "Hawaii"),
    ],
)
def test_a_word_is_found_in_its_other_spelling(language: str, one: str, other: str) -> None:
    assert forms(one, language) & forms(other, language)


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("ar", "حسين", "حسن"),
        ("ar", "لبنان", "لبيب"),
        ("ar", "ولد", "والد"),
        ("he", "בית", "ירושלים"),
        ("en", "Müller", "Mahler"),
    ],
)
def test_other_words_are_not_found(language: str, one: str, other: str) -> None:
    assert not forms(one, language) & forms(other, language)


def test_latin_words_in_other_scripts_are_stemmed_as_english() -> None:
    for language in ("ar", "el", "fa", "he", "hi", "ru", "ur"):
        assert stem("Routers", language) == ("router", "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_mark_of_a_term_names_its_language(language: str) -> None:
    texts = ("المكتبات والسيارات", "किताबें और बाज़ार", "βιβλιοθήκες", "библиотеки", "bibliotecas")
    marks = {language_mark(term) for text in texts for term in index_terms(text, language)}
    assert marks <= {language, ""}
    assert language in marks or language in {"fa", "he", "ur"}


@given(st.text(max_size=40), st.sampled_from(LANGUAGES))
def test_fts5_keeps_the_terms_of_every_language(text: str, language: str) -> None:
    terms = index_terms(f"{text} किताबें کتابیں المكتبة βιβλιοθήκες", language)
    assert tokens_of_fts5(terms) == [[term] for term in terms]


@given(st.text("कतबीािंøéكتب abs", min_size=1, max_size=12), st.sampled_from(LANGUAGES))
def test_a_term_is_read_as_its_stem(text: str, language: str) -> None:
    for word in words(text, language):
        if word.kind in ("stop", "joined", "loose"):
            continue
        folded = fold_accents(text[word.start : word.end])
        assert bare_stem(word.term) == stemmed(text[word.start : word.end], folded, language)[0]


def test_a_query_is_stemmed_in_the_languages_of_the_index() -> None:
    (word,) = query_words("किताबें", ["hi"])
    assert set(word.terms) & set(index_terms("एक किताब", "hi"))
    (word,) = query_words("مكتبة", ["ar"])
    assert set(word.terms) & set(index_terms("المكتبة العامة", "ar"))
    assert word.terms[-1].endswith(f"{MARK}ar")
