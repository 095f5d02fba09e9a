"""The words of mails: subject, people, names of files, and every text that is no file."""

from __future__ import annotations

import email
import email.policy
import re
from collections import Counter
from email.header import decode_header, make_header
from email.message import Message

from retriever.reading.account.decoding import certain_text
from retriever.reading.account.markup import html_text
from retriever.reading.account.words import count_words

_HEADERS = ("subject", "from", "to", "cc")
_START = re.compile(rb"(?:\A|\r?\n\r?\n)From [^\r\n]*\d\d?:\d\d[^\r\n]*\r?\n(?=[!-9;-~]+:)")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_EMLX = re.compile(rb"\d{1,9}[ \t]*\r?\n")
_CLOSED = (
    *("multipart/encrypted", "message/rfc822", "message/delivery-status"),
    *("application/pkcs7-mime", "application/x-pkcs7-mime"),
)
# Files inside a text, and encodings that look like words of another text.
_CODED = re.compile(r"^begin [0-7]{3,4} |^=ybegin |-----BEGIN PGP MESSAGE-----", re.MULTILINE)
_MAX_ENCODED = 1_000  # words of one header: decoding takes the square of their number
_SEVEN_BIT = ("utf-7", "hz", "hz-gb-2312", "iso-2022-kr")


def eml_words(data: bytes) -> Counter[str]:
    """The words of a message, without its attachments."""
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if body.startswith(b"From ") or _EMLX.match(body):
        body = body.partition(b"\n")[2]
    return _message_words(email.message_from_bytes(body, policy=email.policy.compat32))


def mbox_words(data: bytes) -> Counter[str]:
    """The words of all messages of a mailbox."""
    count: Counter[str] = Counter()
    for mail in _START.split(data)[1:]:
        count += _message_words(email.message_from_bytes(_QUOTED.sub(rb"\1", mail)))
    return count


def _message_words(message: Message) -> Counter[str]:
    return count_words(*(_header(message, key) for key in _HEADERS)) + _part_words(message)


def _part_words(part: Message) -> Counter[str]:
    """The words of a part and those inside; of several forms of a text the most of each word."""
    kind = part.get_content_type()
    if kind in _CLOSED or "pkcs7-mime" in kind:
        return Counter()
    payload = part.get_payload()
    if isinstance(payload, list):
        count: Counter[str] = Counter()
        for inner in (each for each in payload if isinstance(each, Message)):
            found = _part_words(inner)
            count = count | found if kind == "multipart/alternative" else count + found
        return count
    name = part.get_filename()
    if name or str(part.get("content-disposition") or "").lower().startswith("attachment"):
        certain = isinstance(name, str) and name.isascii() and "=?" not in name
        return count_words(str(name) if certain else "")
    if kind not in ("text/plain", "text/html"):
        return Counter()
    return count_words(_text(part, html=kind == "text/html"))


def _text(part: Message, *, html: bool) -> str:
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, TypeError, LookupError, AssertionError):
        return ""
    text = certain_text(payload) if isinstance(payload, bytes) else None
    if text is None or _CODED.search(text) or _charset(part) in _SEVEN_BIT:
        return ""
    text = text.replace("\x00", "")
    if html:
        return html_text(text)
    if str(part.get_param("delsp", "") or "").lower() == "yes":
        text = re.sub(r" \r?\n", "", text)
    return text


def _charset(part: Message) -> str:
    try:
        return str(part.get_content_charset() or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _header(message: Message, key: str) -> str:
    """A header's words; none where it cannot be decoded with certainty."""
    value = message.get(key)
    try:
        given = "" if value is None else str(value)
        few = given.count("=?") <= _MAX_ENCODED
        text = str(make_header(decode_header(given))) if few else ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    text = " ".join(text.split())  # headers are folded into lines
    return "" if "=?" in text or not text.isprintable() else text


__all__ = ["eml_words", "mbox_words"]
