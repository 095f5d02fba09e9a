"""Sentences for readers: cut where a reader would, without marks, as exact spans."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.text.languages import STEMMERS
from retriever.text.sentences import LONG_ROW, split_sentences
from retriever.text.words import beginning, scan


def cut(text: str) -> list[str]:
    return [text[one.start : one.end] for one in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Initials of a name are no end, as elsewhere an initial before a sentence is one.
        (
            "Such theorists as J. A. Hobson and P. T. Barnum wrote. A new one begins.",
            ["Such theorists as J. A. Hobson and P. T. Barnum wrote.", "A new one begins."],
        ),
        ("It has vitamin C. A day is enough.", ["It has vitamin C.", "A day is enough."]),
        # A formula in two lines, whose second is lower.
        (
            "Special chambers raise the pressure of O\n2 around the patient. It helps.",
            ["Special chambers raise the pressure of O\n2 around the patient.", "It helps."],
        ),
        # Lines of a page that only wrap.
        (
            "The secret shall be at least\neight characters in length if chosen\nby us. So be it.",
            [
                "The secret shall be at least\neight characters in length if chosen\nby us.",
                "So be it.",
            ],
        ),
        ("- Boil it.\n- Cool it. Then wait.", ["Boil it.", "Cool it.", "Then wait."]),
        ("• One, e.g. tea\n• Two, i.e. milk", ["One, e.g. tea", "Two, i.e. milk"]),
        ("1. Open the valve.\n2. Close it.", ["1. Open the valve.", "2. Close it."]),
        ("### A.2 Length\n\nIt is long.", ["A.2 Length", "It is long."]),
        ("|Tea|Hot|\n|---|---|\n|Milk|Cold|", ["Tea|Hot", "---|---", "Milk|Cold"]),
        ("水是透明的。冰是固体！为什么？", ["水是透明的。", "冰是固体！", "为什么？"]),
        ("「水です。」と彼は言った。終わり。", ["「水です。」", "と彼は言った。", "終わり。"]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_are_cut_where_a_reader_would(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_a_long_line_with_bars_is_prose() -> None:
    first = "The norm gets smaller when a number is multiplied, unlike |x|, which " + "x" * LONG_ROW
    assert cut(f"{first}. It is used here.") == [f"{first}.", "It is used here."]
    row = f"a | {first} | b. It is a row"
    assert cut(row) == [row]


def test_kinds() -> None:
    text = "# Tea\n\nIt is hot.\n\n- Boil. Wait.\n\n| a | b |\n\n```\nx = 1\n```\n"
    kinds = [one.kind for one in split_sentences(text)]
    assert kinds == ["heading", "prose", "item", "prose", "row", "code", "code", "code"]


@settings(deadline=None)
@given(st.text(alphabet="aB1 .\n|#-*`\u3002\t(?", max_size=120))
def test_sentences_are_in_order_and_trimmed(text: str) -> None:
    found = split_sentences(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    for one in found:
        assert one.start < one.end
        assert text[one.start : one.end] == text[one.start : one.end].strip()


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="abcdefghijklmnopqrstuvwxyzAEIOUY", min_size=1, max_size=12),
            st.sampled_from(["dying", "skies", "AC-2", "getUserById", "Häuser", "C++", "l'homme"]),
        ),
        max_size=12,
    ),
    st.sampled_from(["", *sorted(STEMMERS)]),
    st.sets(st.integers(0, 30), max_size=6),
)
def test_a_scan_for_beginnings_finds_all_words_that_begin_so(
    words: list[str], language: str, places: set[int]
) -> None:
    text = " ".join(words)
    found = list(scan(text, language))
    terms = {found[at].term for at in places if at < len(found)}
    some = list(scan(text, language, beginnings=frozenset(map(beginning, terms))))
    assert [word for word in some if word.term in terms] == [
        word for word in found if word.term in terms
    ]


def test_no_english_word_loses_its_beginning() -> None:
    ends = ("", "s", "es", "ies", "ed", "ying", "ing", "ly", "ational", "y", "ness")
    for stem in ("a", "d", "fl", "sk", "t", "th", "y", "yy", "st", "be", "ol", "i", "ee"):
        for end in ends:
            (word,) = scan(stem + end)
            again = list(scan(stem + end, beginnings=frozenset({beginning(word.term)})))
            assert again == [word]
