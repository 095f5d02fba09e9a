"""Bytes → text for the count: what is certain, and `UNKNOWN` for every other letter."""

from __future__ import annotations

import codecs

from retriever.reading.account.words import UNKNOWN

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_NULS = 0.2  # of the bytes: with more it may be UTF-16


def certain_text(data: bytes) -> str | None:
    """The text by its mark or as UTF-8; else its ASCII letters; None if they are none either."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace").removeprefix("\ufeff")
    if data.count(0) > _MAX_NULS * len(data) or b"\x1b$" in data:
        return None  # UTF-16 without a mark; ISO 2022, whose Chinese is made of ASCII letters
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None if 0 in data else data.decode("ascii", "replace")


__all__ = ["UNKNOWN", "certain_text"]
