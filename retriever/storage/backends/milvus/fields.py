"""The fields of documents in rows of passages: in forms in which an expression can compare them.

- **Texts** are in NFC. Three characters stay as they are that NFC makes ASCII letters of, since an
  ASCII text equals itself alone (see `retriever.storage.comparing`).
- A **format** has the file's ending beside it: `pdf|pdf`.
- A **metadata value** is stored by what it is, under names with a prefix: a text `t:`, a number, or
  a text that is one, `n:`, true or false `b:`, and a text that is a date by its period, `f:`, `l:`.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from retriever.storage.backends.milvus.values import MAX_BYTES, segments, stored
from retriever.storage.comparing import bare_format, comparable, kind_of, number_of, period_of
from retriever.types import Scalar

SINGLE_FORMS = {"K": "\u212a", ";": "\u037e", "`": "\u1fef"}
"""ASCII characters, and those that NFC makes of them."""

TEXT, NUMBER, TRUTH, FIRST, LAST, KIND = "t:", "n:", "b:", "f:", "l:", "k:"
"""The prefixes of names in the field of metadata. `KIND` is there for each value."""

_LARGEST = sys.float_info.max
_SINGLE = re.compile(f"([{''.join(SINGLE_FORMS.values())}])")
_WORD = re.compile("[a-z0-9]{1,20}")


def text_field(text: str, most: int = MAX_BYTES) -> str:
    """A text as it is compared, in at most so many bytes.

    >>> text_field("e\u0301 \u212a") == "\u00e9 \u212a"
    True
    """
    return segments(stored(_in_nfc(text)), most)[0]


def _in_nfc(text: str) -> str:
    if text.isascii() or not _SINGLE.search(text):
        return unicodedata.normalize("NFC", text)
    parts = _SINGLE.split(text)
    for at in range(1, len(parts), 2):
        following = "".join(parts[at + 1 : at + 3])
        if following and unicodedata.combining(following[0]):  # then NFC makes no ASCII of it
            return unicodedata.normalize("NFC", text)
    return "".join(
        part if at % 2 else unicodedata.normalize("NFC", part) for at, part in enumerate(parts)
    )


def format_field(format_: str, path: str) -> str:
    """A format and the ending of a path; what is no plain word is left out.

    >>> format_field("Markdown", "notes/a.MD"), format_field("txt", "a.b/c")
    ('markdown|md', 'txt|')
    """
    ending = path.rpartition(".")[2] if "." in path else ""
    return "|".join(map(format_word, (format_, ending)))


def format_word(text: str) -> str:
    """The name of a format or ending as it is compared; empty if it is no plain word."""
    name = bare_format(text)
    return name if _WORD.fullmatch(name) else ""


def metadata_field(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Metadata by what the values are; None without any."""
    found: dict[str, Any] = {}
    for name, value in metadata.items():
        if kind_of(value) is not None:
            for prefix, field in _value_fields(comparable(value)).items():
                found[prefix + stored(name)] = field
    return found or None


def _value_fields(value: Scalar) -> dict[str, Any]:
    fields: dict[str, Any] = {KIND: str(kind_of(value))}
    if isinstance(value, bool):
        return fields | {TRUTH: "true" if value else "false"}
    number = number_of(value)
    if number is not None:  # JSON has no infinity
        fields[NUMBER] = min(max(number, -_LARGEST), _LARGEST)
    if isinstance(value, str):
        fields[TEXT] = text_field(value)
        when = period_of(value) if number is None else None
        if when is not None:
            fields |= {FIRST: when.first, LAST: when.last}
    return fields


__all__ = [
    "FIRST",
    "KIND",
    "LAST",
    "NUMBER",
    "SINGLE_FORMS",
    "TEXT",
    "TRUTH",
    "format_field",
    "format_word",
    "metadata_field",
    "text_field",
]
