"""Repairs a PDF without a usable cross-reference table.

Every object in the file is found by its header, objects in compressed object streams are written
out, and a new table is appended. The old bytes do not change, but for an object that the end of
the file cuts: it is blanked.
"""

from __future__ import annotations

import re
import zlib

_MAX_BYTES = 100_000_000
_MAX_OBJECTS = 200_000
_MAX_UNPACKED = 30_000_000  # bytes of all object streams together
_OBJECT = re.compile(rb"(?<![0-9])(\d{1,7})[ \t\r\n]+(\d{1,5})[ \t\r\n]+obj\b")
_STREAM = re.compile(rb"stream\r?\n")
_END = re.compile(rb"endobj|trailer|startxref")
_NUMBER = re.compile(rb"/(N|First)\s+(\d{1,7})")


def repair(data: bytes) -> bytes:
    """The file with a new cross-reference table; ValueError if it has no objects."""
    if len(data) > _MAX_BYTES:
        raise ValueError("too large to repair")
    start = max(0, data.find(b"%PDF-"))
    body = bytearray(data[start:])
    places = {
        int(match[1]): match.start()
        for _, match in zip(range(_MAX_OBJECTS), _OBJECT.finditer(body), strict=False)
    }
    end, cut = len(body), _cut_object(body, places)
    _unpack_streams(body, places)
    if cut is not None:  # readers also find objects by their headers
        begin = places.pop(cut)
        body[begin:end] = b" " * (end - begin)
    root = _catalog(body, places)
    if root is None:
        raise ValueError("no catalog in it")
    body += _table(places, root, _encryption(body), len(body))
    return bytes(body)


def _cut_object(body: bytearray, places: dict[int, int]) -> int | None:
    """The number of the last object if the file ends inside of it: half of it is misleading."""
    last = max(places, key=lambda number: places[number], default=None)
    if last is None or not _END.search(body) or _END.search(body, places[last]):
        return None
    return last


def _unpack_streams(body: bytearray, places: dict[int, int]) -> None:
    """Append the objects of compressed object streams."""
    left = _MAX_UNPACKED
    for place in list(places.values()):
        head = bytes(body[place : place + 400])
        if b"/ObjStm" not in head or left <= 0:
            continue
        plain = _inflate(body, place, left)
        left -= len(plain) + 1_000  # many empty streams take time, too
        for number, content in _stream_objects(plain, head):
            if number not in places:
                places[number] = len(body) + 1
                body += b"\n%d 0 obj\n%s\nendobj\n" % (number, content)


def _inflate(body: bytearray, place: int, limit: int) -> bytes:
    """The data of the stream at `place`, at most `limit` bytes; empty if damaged."""
    begin = _STREAM.search(body, place, place + 2_000)
    if not begin:
        return b""
    inflater = zlib.decompressobj()
    try:
        packed = bytes(body[begin.end() : begin.end() + limit])
        return inflater.decompress(packed, limit)
    except zlib.error:
        return b""


def _stream_objects(plain: bytes, head: bytes) -> list[tuple[int, bytes]]:
    """Numbers and contents of the objects in an unpacked object stream."""
    numbers = {key: int(value) for key, value in _NUMBER.findall(head)}
    if len(numbers) < 2:
        return []
    first, count = numbers[b"First"], numbers[b"N"]
    index = [int(value) for value in plain[:first].split()[: 2 * count] if value.isdigit()]
    starts = [first + offset for offset in index[1::2]]
    ends = [*starts[1:], len(plain)]
    return [(number, plain[a:b]) for number, a, b in zip(index[::2], starts, ends, strict=False)]


def _catalog(body: bytearray, places: dict[int, int]) -> int | None:
    """The number of the document catalog: from a trailer, or found by its type."""
    for match in reversed(list(re.finditer(rb"/Root\s+(\d{1,7})\s+\d+\s+R", body))):
        if int(match[1]) in places:
            return int(match[1])
    for number, place in places.items():
        if re.search(rb"/Type\s*/Catalog\b", _object_at(body, place)):
            return number
    return None


def _object_at(body: bytearray, place: int) -> bytes:
    return bytes(body[place : place + 2_000]).split(b"endobj")[0]


def _encryption(body: bytearray) -> bytes:
    """The encryption entry of a trailer; without it, the text would be garbage."""
    entries = [re.search(pattern, body) for pattern in (_ENCRYPT, _IDENTITY)]
    return b" ".join(match[0] for match in entries if match)


_ENCRYPT = re.compile(rb"/Encrypt\s+\d{1,7}\s+\d+\s+R")
_IDENTITY = re.compile(rb"/ID\s*\[\s*<[0-9A-Fa-f\s]*>\s*<[0-9A-Fa-f\s]*>\s*\]")


def _table(places: dict[int, int], root: int, encryption: bytes, at: int) -> bytes:
    lines = [b"\nxref"]
    for number in sorted(places):
        lines += [b"%d 1" % number, b"%010d 00000 n " % places[number]]
    trailer = b"<< /Size %d /Root %d 0 R %s >>" % (max(places) + 1, root, encryption)
    lines += [b"trailer", trailer, b"startxref", b"%d" % (at + 1), b"%%EOF", b""]
    return b"\n".join(lines)
