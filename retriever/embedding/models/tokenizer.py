"""A model's tokenizer by the library `tokenizers` alone, called as one of transformers is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import Encoding, Tokenizer

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""The files that transformers makes a fast tokenizer of."""


class OwnTokenizer:
    """The tokenizer of a `tokenizer.json`, without padding and truncation.

    `agrees` says whether transformers makes the same one: other files can change it.
    """

    is_fast = True

    def __init__(self, backend_tokenizer: Tokenizer) -> None:
        backend_tokenizer.no_padding()
        backend_tokenizer.no_truncation()
        self.backend_tokenizer = backend_tokenizer

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The tokenizer of the model in a folder."""
        return cls(Tokenizer.from_file(str(folder / TOKENIZER_FILES[0])))

    @staticmethod
    def files_digest(folder: Path) -> str:
        """SHA-256 of all files that say what the tokenizer is."""
        digest = hashlib.sha256()
        for name in TOKENIZER_FILES:
            path = folder / name
            digest.update(path.read_bytes() if path.is_file() else b"")
            digest.update(b"\0")
        return digest.hexdigest()

    def agrees(self, other: Any) -> bool:
        """Whether a tokenizer of transformers gives the same tokens."""
        if getattr(other, "split_special_tokens", False):
            return False
        return bool(OwnTokenizer(other.backend_tokenizer).to_json() == self.to_json())

    def to_json(self) -> str:
        """All that the tokenizer is, as JSON."""
        return str(self.backend_tokenizer.to_str())

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        return_offsets_mapping: bool = False,
        verbose: bool = True,  # as transformers has it; there is nothing to say
    ) -> dict[str, Any]:
        """The `input_ids` of one text or several, and if wanted their `offset_mapping`."""
        del verbose
        texts = [text] if isinstance(text, str) else list(text)
        found: list[Encoding] = self.backend_tokenizer.encode_batch(
            texts, add_special_tokens=add_special_tokens
        )
        columns: dict[str, Any] = {"input_ids": [one.ids for one in found]}
        if return_offsets_mapping:
            columns["offset_mapping"] = [one.offsets for one in found]
        if isinstance(text, str):
            return {name: rows[0] for name, rows in columns.items()}
        return columns
