"""Quotations: what a careful reader calls the same words, and what not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.answers.quotes import find_quote

TEXT = (
    "Memorized secrets SHALL be at least 8 characters in length, if chosen by the sub-\n"
    "scriber. The verifier SHALL NOT permit a “hint”—it is unsafe.\nEinheitliche Größe gilt."
)


def found(quote: str, text: str = TEXT) -> str | None:
    span = find_quote(quote, text)
    return None if span is None else text[span.start : span.end]


@pytest.mark.parametrize(
    ("quote", "stands"),
    [
        ("Memorized secrets SHALL be", "Memorized secrets SHALL be"),
        ("memorized  secrets\nshall be at", "Memorized secrets SHALL be at"),
        ("chosen by the subscriber", "chosen by the sub-\nscriber."),
        ('SHALL NOT permit a "hint" - it is unsafe', "SHALL NOT permit a “hint”—it is unsafe."),
        ("einheitliche GRÖSSE gilt", "Einheitliche Größe gilt."),
        ("Memorized secrets … if chosen by", "Memorized secrets SHALL be at least 8 characters in "
         "length, if chosen by"),
        # One word in ten may be mistyped.
        ("Memorized secrets SHALL be at least 8 charakters in length, if chosen",
         "Memorized secrets SHALL be at least 8 characters in length, if chosen"),
    ],
)  # fmt: skip
def test_the_same_words_are_found_in_the_documents_form(quote: str, stands: str) -> None:
    assert found(quote) == stands


@pytest.mark.parametrize(
    "quote",
    [
        "Memorized secrets SHALL be at least 9 characters in length, if chosen",  # a number
        "The verifier SHALL permit a hint",  # the negation is left out
        "Memorized secrets SHALL NOT be at least 8 characters",  # one is added
        "Remorized secrets SHALL be at least 8 characters in length, if chosen",
        "The verifier SHALL NOT permit … Memorized secrets",  # in another order
        "at least",  # stands in too many texts
        "",
        "…",
        "!?",
    ],
)
def test_other_words_are_not_found(quote: str) -> None:
    assert found(quote) is None


def test_scripts_without_spaces() -> None:
    text = "密码的长度至少为八个字符。用户可以自己选择。"
    assert found("长度至少为八个", text) == "长度至少为八个"
    assert found("长度至少为九个", text) is None


WORDS = st.lists(
    st.sampled_from(["tea", "Milk", "not", "8", "café", "länger", "secret", "authentication"]),
    min_size=3,
    max_size=20,
)


@given(WORDS, st.data())
def test_every_run_of_words_is_found_whatever_stands_between_them(
    words: list[str], data: st.DataObject
) -> None:
    text = words[0] + "".join(
        data.draw(st.sampled_from([" ", ", ", "\n", " – ", "; "])) + word for word in words[1:]
    )
    first = data.draw(st.integers(0, len(words) - 3))
    last = data.draw(st.integers(first + 3, len(words)))
    quote = " ".join(words[first:last]).upper()
    stands = found(quote, text)
    assert stands is not None
    assert stands in text
    plain = "".join(char if char.isalnum() else " " for char in stands).split()
    assert [one.casefold() for one in plain] == [one.casefold() for one in words[first:last]]


@given(WORDS, st.integers(0, 19), st.sampled_from(["9", "never", "tea"]))
def test_a_word_more_is_never_found(words: list[str], at: int, more: str) -> None:
    text = " ".join(words)
    changed = [*words[:at], more, *words[at:]]
    naive = " ".join(changed).casefold() in text.casefold()
    assert (found(" ".join(changed), text) is not None) == naive  # it is longer than the text


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("temperature is 5 degrees", "the temperature is -5 degrees"),
        ("temperature is -5 degrees", "the temperature is 5 degrees"),
        ("with p < 0.05 it holds", "with p > 0.05 it holds"),
        ("it costs €5 a day", "it costs $5 a day"),
        ("the rate was 5 %", "the rate was 5 ‰"),
        ("उसका पता यहाँ", "उसका पिता यहाँ"),  # "her address here", "her father here"
        ("ສະບາຍດີບໍ່", "ສະບາຍດບໍ່"),
    ],
)
def test_a_sign_and_a_vowel_are_not_left_out(quote: str, text: str) -> None:
    assert found(quote, text) is None
    assert found(text, quote) is None
    assert found(quote, f"… {quote} …") == quote


def test_signs_may_be_written_in_other_ways() -> None:
    assert found("at \u22125 degrees, p<0.05, 50 %", "at -5 degrees, p < 0.05, 50%") is not None
