"""The text inside a signed message (S/MIME): it is wrapped in the signature, not encrypted.

Only as much of CMS (RFC 5652) is read as leads to the text: no signature is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_SIGNED = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_OBJECT, _OCTETS, _SEQUENCE, _CONTENT = 0x06, 0x04, 0x30, 0xA0
_CONSTRUCTED = 0x20
_MAX_DEPTH = 20


class _Element(NamedTuple):
    """A value of BER: its tag, where it begins, where it ends, and where the next one begins."""

    tag: int
    start: int
    end: int
    next: int


def signed_content(data: bytes) -> bytes | None:
    """The message that is signed; None if the data is no signed message, or is damaged."""
    try:
        return _content(data)
    except (IndexError, StopIteration, ValueError):
        return None


def _content(data: bytes) -> bytes | None:
    outer = _element(data, 0)
    kind, wrapped = _some(data, outer, 2)
    if data[kind.start : kind.end] != _SIGNED or wrapped.tag != _CONTENT:
        return None
    signed = _element(data, wrapped.start)
    inside = next(
        each
        for each in _children(data, signed)
        if each.tag == _SEQUENCE and data[each.start] == _OBJECT
    )
    _, content = _some(data, inside, 2)
    return b"".join(_octets(data, _element(data, content.start), 0))


def _some(data: bytes, parent: _Element, count: int) -> list[_Element]:
    found = [each for each, _ in zip(_children(data, parent), range(count), strict=False)]
    if len(found) < count:
        raise ValueError
    return found


def _children(data: bytes, parent: _Element) -> Iterator[_Element]:
    at = parent.start
    while at < parent.end:
        child = _element(data, at)
        yield child
        at = child.next


def _octets(data: bytes, element: _Element, depth: int) -> Iterator[bytes]:
    """The bytes of a string, which may come in pieces."""
    if depth > _MAX_DEPTH:
        raise ValueError
    if element.tag == _OCTETS:
        yield data[element.start : element.end]
        return
    for child in _children(data, element):
        yield from _octets(data, child, depth + 1)


def _element(data: bytes, at: int, depth: int = 0) -> _Element:
    tag, length, start = data[at], data[at + 1], at + 2
    if depth > _MAX_DEPTH or tag & 0x1F == 0x1F:
        raise ValueError
    if length == 0x80:  # the end is marked by two zeros
        end = start
        while data[end : end + 2] != b"\x00\x00":
            end = _element(data, end, depth + 1).next
        return _Element(tag, start, end, end + 2)
    if length > 0x80:
        size = length - 0x80
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise ValueError
    return _Element(tag, start, start + length, start + length)


__all__ = ["signed_content"]
