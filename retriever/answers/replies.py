"""Reading a model's reply: the sentences it wrote, and what it says to cite for each.

Models keep to a form more or less. What they think aloud is left out, a reply that was cut off
gives the sentences that are whole, and where there is none of the JSON asked for, it is read as
text with numbers in brackets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from retriever.text.sentences import split_sentences

Cited = list[tuple[int, str]]
"""Numbers of passages, each with a quotation; it is "" where there is only the number."""

_THOUGHT = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*\Z", re.DOTALL)
_BEHIND_STOP = re.compile(r"([.!?])(\s*\[\d[\d,; ]*\])")
_MARKER = re.compile(r"\s*\[(\d+(?:\s*[,;]\s*\d+)*)\]")
_NUMBER = re.compile(r"\d{1,9}")
_DECODER = json.JSONDecoder(strict=False)  # quotations are copied with their line breaks


def read_sentences(reply: str) -> list[tuple[str, Cited]]:
    """The sentences of a reply, each with what it cites; their texts have no numbers in brackets.

    >>> read_sentences('<think>Eight?</think> {"sentences": [{"text": "Eight [2]."}]}')
    [('Eight.', [(2, '')])]
    """
    reply = _THOUGHT.sub("", reply)
    found = list(_objects(reply))
    if whole := next((one for one in found if "sentences" in one), None):
        given = whole["sentences"]
        found = given if isinstance(given, list) else []
    elif not (found := [one for one in found if "text" in one and "citations" in one]):
        return [] if reply.strip() in ("{}", "[]") else list(_of_text(reply))
    return [read for one in found for read in _of_json(one)]


def _objects(reply: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a reply that are whole."""
    at = reply.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(reply, at)
            yield value
        except (ValueError, RecursionError):
            end = at + 1
        at = reply.find("{", end)


def _of_json(sentence: Any) -> Iterator[tuple[str, Cited]]:
    """A sentence of the JSON asked for; nothing for what is none."""
    if isinstance(sentence, str):
        yield from _of_text(sentence)
    elif isinstance(sentence, dict) and isinstance(sentence.get("text"), str):
        # A number in the text is what the model says: those that are shown are of checked quotes.
        text, marked = _without_markers(sentence["text"])
        if text:
            yield text, _citations(sentence.get("citations")) or marked


def _citations(given: Any) -> Cited:
    """The citations of a sentence; those without the number of a passage are none."""
    found: Cited = []
    for one in given if isinstance(given, list) else [given]:
        number, quote = (
            (one.get("passage"), one.get("quote")) if isinstance(one, dict) else (one, "")
        )
        if named := _NUMBER.search(str(number)):
            found.append((int(named[0]), quote.strip() if isinstance(quote, str) else ""))
    return found


def _of_text(reply: str) -> Iterator[tuple[str, Cited]]:
    """The sentences of a text in which numbers in brackets cite passages, without quotations."""
    # "word. [1]" becomes "word [1].", so that a number stays with its sentence.
    reply = _BEHIND_STOP.sub(r"\2\1", reply)
    for one in split_sentences(reply):
        text, marked = _without_markers(reply[one.start : one.end])
        if text:
            yield text, marked


def _without_markers(text: str) -> tuple[str, Cited]:
    """A text without its numbers in brackets, and these."""
    numbers = [int(n) for found in _MARKER.findall(text) for n in _NUMBER.findall(found)]
    return _MARKER.sub("", text).strip(), [(number, "") for number in numbers]


__all__ = ["Cited", "read_sentences"]
