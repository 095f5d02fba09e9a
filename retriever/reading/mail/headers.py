"""Mail headers as text: decodes encoded words, guesses raw bytes, splits addresses.

Headers are read as they are in the file, because the standard library loses raw bytes or fails at a
damaged address.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses
from itertools import islice

from retriever.reading.encodings import decode
from retriever.reading.facts import clean_fact
from retriever.reading.terminal_output import drop_terminal_codes

_MAX_HEADER = 100_000  # characters of one header
_MAX_ADDRESSES = 20_000  # characters of them that are split into addresses
_MAX_PEOPLE = 100
_MAX_ENCODED = 1_000  # words of one header: the library takes the square of their number
_ENCODED = re.compile(r"=\?")
_FOLDED = re.compile(r"\r?\n[ \t]*")


def header(message: Message, key: str) -> str:
    """A header's value on one line; empty if there is none."""
    return decode_value(next(iter(_raw(message, key)), ""))


def _raw(message: Message, key: str) -> list[str]:
    """All raw values of a header; the library's own access loses raw bytes."""
    return [str(value) for name, value in message.raw_items() if name.lower() == key]


def header_values(message: Message, key: str) -> str:
    """All values of a header that may occur more than once, on one line."""
    return ", ".join(filter(None, map(decode_value, _raw(message, key))))


def header_lines(message: Message, without: Collection[str] = ()) -> str:
    """All headers as lines "Name: value", but for the names `without`, in small letters."""
    return "\n".join(
        f"{name}: {decode_value(str(value))}"
        for name, value in message.raw_items()
        if name.lower() not in without
    )


def decode_value(raw: str) -> str:
    """Decode encoded words and raw bytes, and unfold lines."""
    raw = _FOLDED.sub(" ", raw[:_MAX_HEADER])
    beyond = next(islice(_ENCODED.finditer(raw), _MAX_ENCODED, None), None)
    end = len(raw) if beyond is None else beyond.start()
    try:
        pieces = decode_header(raw[:end]) if "=?" in raw else []
        pieces.append((raw[end:] if pieces else raw, None))
        text = "".join(_piece(value, charset) for value, charset in pieces)
    except (MessageError, ValueError, TypeError, LookupError):
        text = _piece(raw, None)
    return " ".join(drop_terminal_codes(text).split())


def _piece(value: str | bytes, charset: str | None) -> str:
    if isinstance(value, str):
        try:
            value = value.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:
            return str(value)
    return decode(value, charset or "") or value.decode("utf-8", "replace")


def _addresses(message: Message, key: str) -> list[tuple[str, str]]:
    """Pairs of name and address; split before decoding, since a name may hold a comma."""
    raw = [_FOLDED.sub(" ", value)[:_MAX_ADDRESSES] for value in _raw(message, key)]
    try:
        pairs = getaddresses(raw)[:_MAX_PEOPLE]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return []
    return [(clean_fact(decode_value(name)), clean_fact(address)) for name, address in pairs]


def people(message: Message, key: str) -> str:
    """The people in a header, as "Ada <ada@example.org>, Bob <…>"."""
    named = [
        f"{name} <{address}>" if name else address for name, address in _addresses(message, key)
    ]
    return ", ".join(filter(None, named)) or clean_fact(header(message, key))


def author(message: Message) -> str:
    """The sender: a name, or else an address."""
    return next((name or address for name, address in _addresses(message, "from")), "")


__all__ = ["author", "decode_value", "header", "header_lines", "header_values", "people"]
