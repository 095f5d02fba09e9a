"""A model's tokenizer in a process without the model: only the library `tokenizers` is imported.

Byte-level tokenizers divide a text before each run of white space, whatever stands around it. So
the tokens of a word with the white space before it are always the same, and are remembered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

Spans = list[tuple[int, int]]

_PIECE = re.compile(r"\s*+\S++|\s++")
_UNCERTAIN = re.compile("[\x1c-\x1f\u180e]")  # white space for some, not for others
_LONGEST = 32  # characters of a piece that is remembered
_REMEMBERED = 200_000  # pieces


def plain_tokenizer(tokenizer: str) -> Tokenizer:
    """A tokenizer from its JSON, which neither cuts nor pads texts."""
    made = Tokenizer.from_str(tokenizer)
    made.no_truncation()
    made.no_padding()
    return made


def span_finder(tokenizer: str) -> Callable[[str], Spans]:
    """The `token_spans` of an embedder, from its `tokenizer_json`."""
    made = plain_tokenizer(tokenizer)

    def token_spans(text: str) -> Spans:
        offsets: Spans = made.encode(text, add_special_tokens=False).offsets
        return offsets

    divides = _divides_at_white_space(json.loads(tokenizer))
    return _Remembering(token_spans) if divides else token_spans


def token_counter(tokenizer: str) -> Callable[[Sequence[str]], list[int]]:
    """How many tokens each text has, without special ones, from an embedder's `tokenizer_json`."""
    made = plain_tokenizer(tokenizer)

    def counts(texts: Sequence[str]) -> list[int]:
        return [len(one.ids) for one in made.encode_batch(list(texts), add_special_tokens=False)]

    divides = _divides_at_white_space(json.loads(tokenizer))
    return _Counting(counts) if divides else counts


def _divides_at_white_space(facts: Mapping[str, Any]) -> bool:
    """Whether no token crosses from a word to the white space behind it, nor depends on it.

    True for the pattern of GPT-2, which is built into `ByteLevel`.
    """
    step = facts["pre_tokenizer"] or {}
    steps = step.get("pretokenizers", [step])
    ending = facts["post_processor"] or {}
    return (
        facts["normalizer"] is None
        and facts["model"]["type"] == "BPE"
        and not facts["model"].get("dropout")
        and [one.get("type") for one in steps if one.get("type") != "Digits"] == ["ByteLevel"]
        and all(one.get("use_regex", True) for one in steps)
        and not any(one.get("add_prefix_space") for one in steps)
        and ending.get("type", "TemplateProcessing") == "TemplateProcessing"
        and not any(map(_takes_white_space, facts["added_tokens"]))
    )


def _takes_white_space(token: Mapping[str, Any]) -> bool:
    """Whether an added token has white space, takes that beside it, or depends on it."""
    taking = token["lstrip"] or token["rstrip"] or token["single_word"]
    return bool(taking or re.search(r"\s|\A\Z", token["content"]))


class _Remembering:
    """Finds the tokens of a text piece by piece."""

    def __init__(self, token_spans: Callable[[str], Spans]) -> None:
        self._token_spans = token_spans
        self._known: dict[str, Spans] = {}

    def __call__(self, text: str) -> Spans:
        if _UNCERTAIN.search(text):
            return self._token_spans(text)
        known = self._known
        found: Spans = []
        at = 0
        for piece in _PIECE.findall(text):
            spans = known.get(piece)
            if spans is None:
                spans = self._divide(piece)
            if len(spans) == 1:  # nearly all
                first, last = spans[0]
                found.append((at + first, at + last))
            else:
                found += [(at + first, at + last) for first, last in spans]
            at += len(piece)
        return found

    def _divide(self, piece: str) -> Spans:
        spans = self._token_spans(piece)
        if len(piece) <= _LONGEST:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[piece] = spans
        return spans


class _Counting:
    """Counts the tokens of texts piece by piece. Threads may share it."""

    def __init__(self, counts: Callable[[Sequence[str]], list[int]]) -> None:
        self._counts = counts
        self._known: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> list[int]:
        return [self._count(text) for text in texts]

    def _count(self, text: str) -> int:
        if _UNCERTAIN.search(text):
            return self._counts([text])[0]
        pieces = _PIECE.findall(text)
        found = list(map(self._known.get, pieces))
        if None in found:
            new = [piece for piece, count in zip(pieces, found, strict=True) if count is None]
            counts = self._counts(new)
            self._remember(new, counts)
            return sum(filter(None, found)) + sum(counts)
        return sum(filter(None, found))

    def _remember(self, pieces: Sequence[str], counts: Sequence[int]) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        for piece, count in zip(pieces, counts, strict=True):
            if len(piece) <= _LONGEST:
                self._known[piece] = count


__all__ = ["plain_tokenizer", "span_finder", "token_counter"]
