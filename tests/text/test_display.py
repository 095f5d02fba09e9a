"""Text for display: marks are gone, every shown character is the original's."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.text.display import on_one_line, without_marks
from retriever.text.readability import readability


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[Policies]](#policies)", "Policies"),
        ("[Section 5.1.1.2](#memsecretver) says", "Section 5.1.1.2 says"),
        ("![A chart](img/chart.png)!", "A chart!"),
        ("[a](<b c.html>) and [d](http://e.f/g_(h)", "a and [d](http://e.f/g_(h)"),
        ('[a](/b "The title")', "a"),
        ("### A.2 Length\nIt is", "A.2 Length\nIt is"),
        ("**FAL1:** and 2**3**4 and **x", "FAL1: and 2**3**4 and **x"),
        ("| a | b |\n| | c |", "a | b \nc "),
        ("f[0](x), list[i](j)", "f[0](x), list[i](j)"),
        ("# heading\n#hashtag #1", "heading\n#hashtag #1"),
        ("a || b", "a || b"),
    ],
)
def test_marks_are_gone(text: str, expected: str) -> None:
    assert without_marks(text).text == expected


@settings(deadline=None)
@given(st.text(alphabet='ab [](){}#*|!./\n"', max_size=80))
def test_every_character_is_the_originals(text: str) -> None:
    shown = without_marks(text)
    assert len(shown.offsets) == len(shown.text) + 1
    assert shown.offsets[-1] == len(text)
    assert all(text[at] == one for at, one in zip(shown.offsets, shown.text, strict=False))
    assert list(shown.offsets) == sorted(set(shown.offsets))
    line = on_one_line(text)
    assert line.text == " ".join(shown.text.split())
    assert list(line.offsets) == sorted(set(line.offsets))
    letters = zip(line.offsets, line.text, strict=False)
    assert all(text[at] == one or (text[at].isspace() and one == " ") for at, one in letters)


@settings(deadline=None)
@given(st.text(alphabet="ab [](#.)*", max_size=60), st.data())
def test_spans_are_kept(text: str, data: st.DataObject) -> None:
    shown = without_marks(text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    span = shown.span(start, end)
    inside = [one for at, one in zip(shown.offsets, shown.text, strict=False) if start <= at < end]
    assert list(shown.text[span.start : span.end]) == inside
    back = shown.original(span.start, span.end)
    assert not inside or start <= back.start < back.end <= end


def test_a_text_of_brackets_takes_linear_time() -> None:
    started = time.process_time()
    without_marks("[" * 200_000)
    without_marks("[a](" * 50_000)
    without_marks("|" * 100_000 + "x")
    without_marks("**a" * 50_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ('Once the OR is approved, change the value to "approved".', 1, 1),
        ("AC-2 of SP 800-53 applies from 2024-03-07 to 12.5 % of users.", 0.9, 1),
        ("水是透明的，冰是固体。", 1, 1),
        ("Die Übergangsfrist beträgt höchstens zwölf Monate.", 1, 1),
        ('<related-observation observation-uuid="0aa54106-8a63-4953" />', 0, 0),
        ("<p>Describe how statement a is satisfied by this policy.</p>", 0.4, 1),
        ("4.5.2 Operationally Required ........................ 27", 0, 0.5),
        ("a1111111111 a1111111111", 0, 0.7),
        ("History", 0.5, 0.7),
        ("|:----------|", 0, 0),
        ("", 0, 0),
    ],
)
def test_prose_is_more_readable_than_markup(text: str, low: float, high: float) -> None:
    assert low <= readability(text) <= high
