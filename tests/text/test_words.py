"""The terms of a text are found in parts: they are those of its words, read in one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.text.words import JOINED_KINDS, scan, terms

WORDS = (
    *("a", "A", "I", "word", "Word", "GPUs", "don't", "AC", "C++", "C#", "1", "23", "000", "v2"),
    *("2.3.1", "e.g.", "(1)", "(a)", "l'homme", "McDonald", "IT", "it", "x²", "Häuser", "Ёлка"),
    *(
        "дом",
        "中文",
        "한국",
        "אב",
        "ا",
        "é",
        "ß",
        "ª",
        "ʼ",
        "e\u0301",
        "\u0301",
        "multi-",
        "factor",
    ),
    *"-.,;:/@&_()\"'’!?",
)
SPACES = (
    *(" ", " ", " ", "  ", "\n", "\r\n", "\t", "-\n", "- \n", "-\n "),
    *("\u00a0", "\u202f", "\u00ad", "\u00ad\n", "\u200c", "\u200d"),
)
PARTS = st.sampled_from([*WORDS, *SPACES, "y" * 39, "z" * 41, "q" * 300])


@pytest.mark.parametrize("language", ["", "de", "fr", "ru", "he"])
@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_terms_are_those_of_the_words(language: str, text: str) -> None:
    found = list(scan(text, language))
    pieces = [word.term for word in found if word.kind not in JOINED_KINDS]
    joined = [word.term for word in found if word.kind in JOINED_KINDS]
    assert terms(text, language) == (pieces, joined)
