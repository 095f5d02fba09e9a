"""A model's tokenizer in a process without the model: only the library `tokenizers` is imported."""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Tokenizer


def plain_tokenizer(tokenizer: str) -> Tokenizer:
    """A tokenizer from its JSON, which neither cuts nor pads texts."""
    made = Tokenizer.from_str(tokenizer)
    made.no_truncation()
    made.no_padding()
    return made


def span_finder(tokenizer: str) -> Callable[[str], list[tuple[int, int]]]:
    """The `token_spans` of an embedder, from its `tokenizer_json`."""
    made = plain_tokenizer(tokenizer)

    def token_spans(text: str) -> list[tuple[int, int]]:
        offsets: list[tuple[int, int]] = made.encode(text, add_special_tokens=False).offsets
        return offsets

    return token_spans
