"""A model's tokenizer in a process without the model: only the library `tokenizers` is imported."""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Tokenizer


def span_finder(tokenizer: str) -> Callable[[str], list[tuple[int, int]]]:
    """The `token_spans` of an embedder, from its `tokenizer_json`."""
    made = Tokenizer.from_str(tokenizer)
    made.no_truncation()
    made.no_padding()

    def token_spans(text: str) -> list[tuple[int, int]]:
        offsets: list[tuple[int, int]] = made.encode(text, add_special_tokens=False).offsets
        return offsets

    return token_spans
