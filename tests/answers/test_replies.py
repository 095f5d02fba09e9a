"""Replies that keep to the form asked for only more or less."""

from __future__ import annotations

import json
from typing import Any

import pytest

from retriever.answers.replies import read_sentences

HALF = {"text": "Half.", "citations": [{"passage": 1, "quote": "half of your plate"}]}
READ = [("Half.", [(1, "half of your plate")])]
FORM = '{"sentences": [{"text": "One sentence.", "citations": [{"passage": 1, "quote": "a b c"}]}]}'


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps({"sentences": [HALF]}),
        f"Here it is:\n```json\n{json.dumps({'sentences': [HALF]}, indent=1)}\n```",
        f"<think>The form is {FORM}.</think>\n{json.dumps({'sentences': [HALF]})}",
        json.dumps({"sentences": [HALF, {"text": "More.", "citations": []}]})[:-30],  # cut off
        json.dumps([HALF]),
        json.dumps(HALF),
        json.dumps({"sentences": [HALF, None, 5, {"text": None}, {"citations": []}]}),
    ],
)
def test_a_sentence_is_read_whatever_is_around_it(reply: str) -> None:
    assert read_sentences(reply) == READ


@pytest.mark.parametrize(
    ("citations", "read"),
    [
        ({"passage": "[1]", "quote": "a b c"}, [(1, "a b c")]),
        ([{"passage": "passage 2", "quote": None}], [(2, "")]),
        ([1, "3"], [(1, ""), (3, "")]),
        ([{"passage": float("inf"), "quote": "a b c"}, {"quote": "a b c"}, None], []),
        (None, []),
    ],
)
def test_citations_are_read_whatever_their_shape(
    citations: Any, read: list[tuple[int, str]]
) -> None:
    reply = json.dumps({"sentences": [{"text": "Half.", "citations": citations}]})
    assert read_sentences(reply) == [("Half.", read)]


def test_numbers_that_a_model_writes_into_its_text_are_not_shown_as_checked_ones() -> None:
    said = json.dumps({"sentences": [{**HALF, "text": "Half [7]."}]})
    assert read_sentences(said) == READ
    assert read_sentences('{"sentences": ["Half [7]."]}') == [("Half.", [(7, "")])]


def test_a_quotation_may_hold_raw_line_breaks() -> None:
    said = '{"sentences": [{"text": "Half.", "citations": [{"passage": 1, "quote": "half\nof"}]}]}'
    assert read_sentences(said) == [("Half.", [(1, "half\nof")])]


@pytest.mark.parametrize(
    "reply", ["", "{}", "[]", '{"sentences": null}', '{"sentences": []}', "<think>So long …"]
)
def test_nothing_is_said(reply: str) -> None:
    assert read_sentences(reply) == []
