"""Folding: the spellings of one word become the same letters, other words stay apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.text.folding import fold_accents, other_forms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Arabic: endings, hamza, alef wasla, marks, tatweel, presentation forms
        ("المدرسة", "المدرسه"),
        ("المستشفى", "المستشفي"),
        ("على", "علي"),
        ("إسلام", "اسلام"),
        ("ٱلله", "الله"),
        ("كِتَاب", "كتاب"),
        ("كتـــاب", "كتاب"),
        ("ﻛﺘﺎﺏ", "كتاب"),
        ("رحمٰن", "رحمن"),
        # Persian, Urdu, Kurdish: keyboards and the forms of he
        ("کتابخانه", "كتابخانه"),
        ("خیابان", "خيابان"),
        ("سعدی", "سعدي"),
        ("خانۀ", "خانه"),
        ("خانهٔ", "خانه"),
        ("ہے", "هے"),
        ("بھائی", "بهائي"),
        ("ە", "ه"),
        ("۱۴۰۳", "1403"),
        # Hebrew: quotes within abbreviations, points, full spelling
        ('צה"ל', "צהל"),
        ("צה״ל", "צהל"),
        ("ג׳ירפה", "ג'ירפה"),
        ("שָׁלוֹם", "שלום"),
        ("ספרייה", "ספריה"),
        ("תקווה", "תקוה"),
        # Hindi and its neighbours: anusvara, nukta, candrabindu, joiners, glides
        ("हिन्दी", "हिंदी"),
        ("सम्बन्ध", "संबंध"),
        ("अङ्क", "अंक"),
        ("पञ्चायत", "पंचायत"),
        ("घण्टा", "घंटा"),
        ("हिन्\u200dदी", "हिंदी"),
        ("क़लम", "कलम"),
        ("\u0958लम", "कलम"),
        ("बाज़ार", "बाजार"),
        ("चाँद", "चांद"),
        ("गये", "गए"),
        ("नयी", "नई"),
        ("जायें", "जाएं"),
        ("હિન્દી", "હિંદી"),
        ("ਬਾਜ਼ਾਰ", "ਬਾਜਾਰ"),
        ("ಹಿನ್ದಿ", "ಹಿಂದಿ"),
        ("അവന്\u200d", "അവൻ"),
        # Letters that are apostrophes
        ("Hawaiʻi", "Hawaii"),
        ("Liliʻuokalani", "Liliuokalani"),
        ("Qurʾān", "Quran"),
        ("ʿAlī", "Ali"),
        ("Kaʼaba", "Kaaba"),
        ("Gogolʹ", "Gogol"),
        ("ʻokina", "okina"),
        # as before
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
        ("ёлка", "елка"),
    ],
)
def test_spellings_of_one_word_fold_alike(one: str, other: str) -> None:
    folded = fold_accents(one)
    assert folded == fold_accents(other) == fold_accents(unicodedata.normalize("NFD", one))
    assert folded == fold_accents(folded)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("कल", "काल"),
        ("दिन", "दीन"),
        ("अंक", "अक"),
        ("कोई", "कोयी"),
        ("й", "и"),
        ("ї", "і"),
        ("がき", "かき"),
        ("پدر", "بدر"),
        ("گل", "كل"),
        ("שר", "סר"),
        ("চাঁদ", "চাংদ"),
    ],
)
def test_other_words_stay_apart(one: str, other: str) -> None:
    assert fold_accents(one) != fold_accents(other)


@pytest.mark.parametrize(
    ("word", "language", "forms"),
    [
        ("בירושלים", "he", ("ירושלים",)),
        ("הספרייה", "he", ("ספריה",)),
        ("והספרייה", "", ("הספריה", "ספריה")),
        ("הים", "he", ("ים",)),
        ("בית", "he", ()),
        ("ירושלים", "he", ()),
        ("المكتبة", "", ("مكتبه",)),
        ("وبالمكتبة", "en", ("مكتبه",)),
        ("للمكتبة", "fa", ("مكتبه",)),
        ("المكتبة", "ar", ()),  # its stem has no article
        ("الف", "fa", ()),
        ("Müller", "en", ("mueller",)),
        ("MÜLLER", "", ("mueller",)),
        ("Mu\u0308ller", "", ("mueller",)),
        ("Müller", "fr", ("mueller",)),
        ("Müller", "de", ()),
        ("Güneş", "tr", ()),
        ("pingüino", "es", ()),
        ("Århus", "da", ("aarhus",)),
        ("Sjöström", "", ("sjoestroem",)),
        ("Søren’s", "en", ("soeren",)),
        ("Ærø", "", ("aeroe",)),
        ("naïve", "en", ()),
        ("mueller", "", ()),
        ("ключ", "ru", ()),
        ("検索", "", ()),
    ],
)
def test_other_forms_of_a_word(word: str, language: str, forms: tuple[str, ...]) -> None:
    assert other_forms(word, fold_accents(word), language) == forms
    assert all(fold_accents(form) == form for form in forms)


SCRIPTS = (
    "ابتثىيیکكةهہھۀەأإآؤئءٱ\u064b\u0654\u0670\u200cلوفپچ",
    "כתבהוילםןץ\u05b8\u05bc״׳\"'\u05f1\u05f2",
    "कखगङञणनमतदयएईेीािुंँ़्\u0958\u095b\u200dहळ",
    "ਕਖਬਜਾ\u0a3c\u0a70\u0a02કનદ\u0acd\u0a81ಕನದ\u0ccd\u0c82ക\u0d7bന\u0d4d\u200d",
    "aeiouüøßʻʼʾʿ'’st\u0301",
)


@given(st.one_of(*(st.text(letters, max_size=9) for letters in SCRIPTS), st.text(max_size=9)))
def test_a_folded_word_folds_to_itself(word: str) -> None:
    folded = fold_accents(word)
    assert fold_accents(folded) == folded == fold_accents(unicodedata.normalize("NFD", word))


@given(st.text(max_size=12), st.sampled_from(["", "en", "de", "ar", "fa", "he", "hi"]))
def test_forms_of_any_word(word: str, language: str) -> None:
    folded = fold_accents(word)
    forms = other_forms(word, folded, language)
    assert len(forms) <= 2
    assert folded not in forms
    assert all(form and fold_accents(form) == form for form in forms)


@given(st.text(st.characters(codec="ascii"), max_size=12))
def test_ascii_has_no_other_forms(word: str) -> None:
    assert other_forms(word, fold_accents(word), "") == ()
