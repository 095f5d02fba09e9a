"""How values are stored in Milvus: keys of passages, and texts that are not plain UTF-8."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import numpy as np

from retriever.arrays import Keys

MAX_BYTES = 65_535
"""The longest VARCHAR, in bytes of UTF-8."""

_MARK = "\ue000"  # private use: it begins the four hexadecimal digits of what cannot be stored
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ue000-\ue002]")
_STORED = re.compile(f"{_MARK}([0-9a-f]{{4}})")
_FIRST = 2**63
_PLAIN = re.compile(r"[0-9A-Za-z_.:-]{1,60}")


def key_of(chunk_id: str) -> int:
    """A passage's primary key: its id as a signed number, in the same order as ids.

    Raises ValueError for a text that is no passage's id.

    >>> key_of("0000000000000000") < key_of("00000000000000ff") < key_of("ffffffffffffffff")
    True
    """
    if len(chunk_id) != 16:
        raise ValueError(chunk_id)
    return int(chunk_id, 16) - _FIRST


def id_of(key: int) -> str:
    """The passage's id with this key.

    >>> id_of(key_of("00c0ffee00c0ffee"))
    '00c0ffee00c0ffee'
    """
    return f"{key + _FIRST:016x}"


def keys_of(chunk_ids: Iterable[str]) -> Keys:
    """The keys (n,) of ids; a text that is no passage's id is left out."""
    found = []
    for id_ in chunk_ids:
        try:
            found.append(key_of(id_))
        except ValueError:
            continue
    return np.array(found, dtype=np.int64)


def document_name(document_id: str) -> str:
    """A document's id as it stands in rows: a hash of an id that is long or has odd characters.

    >>> document_name("00c0ffee00c0ffee"), len(document_name("a" * 99))
    ('00c0ffee00c0ffee', 41)
    """
    if _PLAIN.fullmatch(document_id):
        return document_id
    data = document_id.encode("utf-8", "surrogatepass")
    return "~" + hashlib.sha256(data).hexdigest()[:40]


def stored(text: str) -> str:
    r"""A text as VARCHAR can hold it: without control characters and lone surrogates.

    >>> loaded(stored("a\0\ud800é\ue000\n")) == "a\0\ud800é\ue000\n"
    True
    """
    return _UNSTORABLE.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", text)


def loaded(text: str) -> str:
    """The inverse of `stored`."""
    if _MARK not in text:
        return text
    return _STORED.sub(lambda found: chr(int(found[1], 16)), text)


def segments(text: str, most: int = MAX_BYTES) -> list[str]:
    """A `stored` text in parts of at most `most` bytes of UTF-8; one empty part for no text.

    >>> segments("aéb", 2)
    ['a', 'é', 'b']
    """
    data = text.encode()
    if len(data) <= most:
        return [text]
    parts, start = [], 0
    while start < len(data):
        end = min(start + most, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # not within a character
            end -= 1
        parts.append(data[start:end].decode())
        start = end
    return parts


def quoted(text: str) -> str:
    r"""A text as a literal of Milvus' expressions.

    Its own escapes are few, so that all others stand as they are; `stored` has no control
    characters beside tabs and line ends.

    >>> print(quoted('a"b\\c'))
    "a\"b\\c"
    """
    escaped = stored(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def listed(texts: Iterable[str]) -> str:
    """Texts as a list in Milvus' expressions.

    >>> print(listed(["a", "b"]))
    ["a", "b"]
    """
    return f"[{', '.join(map(quoted, texts))}]"


__all__ = [
    "MAX_BYTES",
    "document_name",
    "id_of",
    "key_of",
    "keys_of",
    "listed",
    "loaded",
    "quoted",
    "segments",
    "stored",
]
