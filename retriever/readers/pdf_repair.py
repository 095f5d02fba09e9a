"""A PDF whose table of objects is lost, made readable: the objects themselves are still there.

Every object that stands in the file is found by its header, those inside of compressed object
streams are written out, and a new table is put at the end. Nothing of the old bytes is changed.
"""

from __future__ import annotations

import re
import zlib

VERSION = 1

_MAX_BYTES = 100_000_000
_MAX_OBJECTS = 200_000
_MAX_STREAM = 30_000_000
_OBJECT = re.compile(rb"(?<![0-9])(\d{1,7})[ \t\r\n]+(\d{1,5})[ \t\r\n]+obj\b")
_STREAM = re.compile(rb"stream\r?\n")
_NUMBER = re.compile(rb"/(N|First)\s+(\d{1,7})")


def repaired(data: bytes) -> bytes:
    """The same file with its objects listed anew; ValueError if there is nothing to list."""
    if len(data) > _MAX_BYTES:
        raise ValueError("too large to repair")
    start = max(0, data.find(b"%PDF-"))
    body = bytearray(data[start:])
    places = {
        int(match[1]): match.start()
        for _, match in zip(range(_MAX_OBJECTS), _OBJECT.finditer(body), strict=False)
    }
    _unpack_streams(body, places)
    root = _catalog(body, places)
    if root is None:
        raise ValueError("no catalog in it")
    body += _table(places, root, _encryption(body), len(body))
    return bytes(body)


def _unpack_streams(body: bytearray, places: dict[int, int]) -> None:
    """Write the objects of compressed object streams behind the others."""
    for place in list(places.values()):
        head = bytes(body[place : place + 400])
        if b"/ObjStm" not in head:
            continue
        for number, content in _stream_objects(bytes(body[place:]), head):
            if number not in places:
                places[number] = len(body) + 1
                body += b"\n%d 0 obj\n%s\nendobj\n" % (number, content)


def _stream_objects(rest: bytes, head: bytes) -> list[tuple[int, bytes]]:
    begin = _STREAM.search(rest)
    numbers = {key: int(value) for key, value in _NUMBER.findall(head)}
    if not begin or len(numbers) < 2:
        return []
    try:
        plain = zlib.decompressobj().decompress(rest[begin.end() :], _MAX_STREAM)
    except zlib.error:
        return []
    index = [int(value) for value in plain[: numbers[b"First"]].split() if value.isdigit()]
    starts = [numbers[b"First"] + offset for offset in index[1::2]]
    ends = [*starts[1:], len(plain)]
    return [(number, plain[a:b]) for number, a, b in zip(index[::2], starts, ends, strict=False)]


def _catalog(body: bytearray, places: dict[int, int]) -> int | None:
    """The number of the document's catalog: as a trailer says, or the object that is one."""
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
    """What a trailer says of the encryption, so that no garbage is read."""
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
