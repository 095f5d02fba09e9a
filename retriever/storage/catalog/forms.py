"""The forms of stored values: SQLite keeps any value in any column.

A seal tells whether a row is what was written, but not who has written it. In an index from
elsewhere a title may be a number and a setting any JSON, so each value is compared with the form
that this program writes before it is used.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retriever.arrays import MAX_DIMENSION
from retriever.storage.adapter import is_adapter

UNDECODED = (*(AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError),)
"""What decoding a value of another form raises."""

_SCALARS = (str, int, float)


def check(values: Sequence[object], *kinds: type | tuple[type, ...]) -> None:
    """Raise TypeError unless each value is of its kind; `object` stands for any."""
    for value, kind in zip(values, kinds, strict=True):
        if not isinstance(value, kind):
            raise TypeError(f"a {type(value).__name__} stands where there is none")


def scalars(stored: str) -> Mapping[str, Any]:
    """The JSON object of texts, numbers, and true or false; UNDECODED for anything else."""
    found = json.loads(stored)
    if not _is_object(found) or not all(isinstance(one, _SCALARS) for one in found.values()):
        raise TypeError("it is not an object of plain values")
    return dict(found)


def counts(stored: str) -> Mapping[str, int]:
    """The JSON object of whole numbers; UNDECODED for anything else."""
    found = json.loads(stored)
    if not _is_object(found) or not all(map(_is_number, found.values())):
        raise TypeError("it is not an object of numbers")
    return dict(found)


def setting(name: str, stored: object) -> Any:
    """The value of a setting of the index; UNDECODED if it has not the form of this one."""
    if not isinstance(stored, str):
        raise TypeError("it is not a text")
    value = json.loads(stored)
    if not _SETTINGS.get(name, _is_any)(value):
        raise TypeError("it has another form")
    return value


def strange_settings(connection: sqlite3.Connection) -> list[str]:
    """The names of the settings of an index that have another form than this program writes.

    Those that every index has, and this one lacks, are among them.
    """
    rows = connection.execute("SELECT name, value FROM meta").fetchall()
    has_vectors = connection.execute("SELECT EXISTS (SELECT 1 FROM vectors)").fetchone()[0]
    needed = ("identity", "generation", *(["dimension"] if has_vectors else []))
    found = [name for name in needed if name not in {name for name, _ in rows}]
    for name, stored in rows:
        try:
            setting(name, stored)
        except UNDECODED:
            found.append(str(name))
    return found


def _is_any(value: object) -> bool:
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and set(value) <= set("0123456789abcdef") and not len(value) % 2


def _is_dimension(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_DIMENSION


def _is_chunking(value: Any) -> bool:
    if not _is_object(value) or value.keys() != {"size", "overlap"}:
        return False
    size, overlap = value["size"], value["overlap"]
    return _is_number(size) and _is_number(overlap) and size >= 8 and overlap <= size // 2


def _is_embedder(value: Any) -> bool:
    if not _is_object(value):
        return False
    prompts, layers = value.get("prompts"), value.get("layers")
    return (
        all(_is_text(value.get(name)) for name in ("model", "weights", "pooling"))
        and _is_text(value.get("revision", ""))
        and _is_dimension(value.get("dimension"))
        and isinstance(layers, list)
        and all(type(layer) is int for layer in layers)
        and _is_object(prompts)
        and prompts.keys() <= {"passage", "query", "sentence"}
        and all(
            _is_text(one) or (name == "query" and _is_texts(one)) for name, one in prompts.items()
        )
    )


def _is_scale(value: Any) -> bool:
    """Whether it is a match scale, or one of another version, which is not used."""
    if not _is_object(value) or not _is_object(value.get("facts", {})):
        return False
    sides = (value.get(name) for name in ("dense", "keyword", "hybrid"))
    return "version" not in value or all(
        isinstance(side, list) and all(isinstance(score, (int, float)) for score in side)
        for side in sides
    )


_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "adapter": is_adapter,
    "analyser": _is_number,
    "background": _is_scale,
    "chunking": _is_chunking,
    "dimension": _is_dimension,
    "embedder": _is_embedder,
    "factory": _is_text,
    "generation": _is_number,
    "identity": _is_text,
    "last_run": _is_object,
    "mounts": _is_texts,
    "ocr": _is_text,
    "password_salt": _is_hex,
    "program": _is_text,
    "progress": _is_object,
    "uploads_root": _is_text,
    "wished_model": _is_text,
}


__all__ = ["UNDECODED", "check", "counts", "scalars", "setting", "strange_settings"]
