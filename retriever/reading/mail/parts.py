"""The MIME parts of a mail: its own text, its attachments, and what cannot be read.

Of alternative forms of a text the first is used, which by convention is plain text, unless it only
points to the HTML form. A nested mail is an attachment.
"""

from __future__ import annotations

import base64
import email.policy
from dataclasses import dataclass, field
from email.message import Message
from mimetypes import MimeTypes

from retriever.reading.encodings import decode
from retriever.reading.facts import clean_fact
from retriever.reading.mail.headers import decode_value, header
from retriever.reading.markup.html import main_text, parse
from retriever.reading.pages import MAX_CHARACTERS
from retriever.types import ReadError

MAX_LEAVES = 2_000
"""Maximum number of parts of one mail."""

_MAX_STUB = 300  # characters: a shorter plain text may only point to the HTML form
# Fixed, because the machine's own table differs between systems.
_ENDINGS = MimeTypes(filenames=())


@dataclass(slots=True)
class MailParts:
    """The parts of a mail: its texts in order, its attachments, and why text is missing."""

    texts: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    encrypted: str = ""
    leaves: int = 0


def collect_parts(message: Message, parts: MailParts) -> None:
    """Sort the parts of a message, including itself, in order."""
    kind = message.get_content_type()
    parts.leaves += 1
    if parts.leaves > MAX_LEAVES:
        return
    special = _SPECIAL.get(kind)
    if special is not None:
        special(message, parts)
    elif kind.startswith("multipart/"):
        for inner in _children(message):
            collect_parts(inner, parts)
    elif kind in ("text/plain", "text/html") and not _is_file(message):
        parts.texts.append(_html_text(message) if kind == "text/html" else _plain_text(message))
    elif not _is_inline_picture(message, kind):
        parts.files.append((_file_name(message, kind, parts), _bytes(message)))


def _take_pgp(message: Message, parts: MailParts) -> None:
    parts.encrypted = "PGP"


def _take_status(message: Message, parts: MailParts) -> None:
    """A delivery status: blocks of lines like headers."""
    parts.texts += [str(each) for each in _children(message)]


def _take_best(message: Message, parts: MailParts) -> None:
    """Choose one of several forms of a text; keep the attachments of all."""
    forms: list[str] = []
    for inner in _children(message):
        form = MailParts(leaves=parts.leaves)
        collect_parts(inner, form)
        parts.files += [each for each in form.files if each not in parts.files]
        parts.encrypted = parts.encrypted or form.encrypted
        parts.leaves = form.leaves
        forms.append("\n\n".join(form.texts).strip())
    plain = next((text for text in forms if text), "")
    fullest = max(forms, key=len, default="")
    stub = len(plain) < _MAX_STUB and len(fullest) > 3 * len(plain)
    parts.texts.append(fullest if stub else plain)


def _take_smime(message: Message, parts: MailParts) -> None:
    if str(message.get_param("smime-type", "")).lower() == "signed-data":
        parts.files.append(("signed text.p7m", _bytes(message)))
    else:
        parts.encrypted = "S/MIME"


def _take_mail(message: Message, parts: MailParts) -> None:
    """Add a nested mail as a file."""
    if str(message.get("content-transfer-encoding")).strip().lower() == "base64":
        parts.files.append(
            ("mail.eml", _wrapped_mail(message))
        )  # against the standard, but it occurs
        return
    for inner in _children(message):
        subject = clean_fact(header(inner, "subject")) or "mail"
        name = subject.replace("/", "-").replace("\\", "-")[:100] + ".eml"
        try:
            parts.files.append((name, inner.as_bytes(policy=email.policy.compat32)))
        # The library cannot serialise every message that it can parse.
        except Exception:  # noqa: BLE001 - see the line above
            parts.files.append((name, str(inner.get_payload()).encode("utf-8", "replace")))


_SPECIAL = {
    "multipart/encrypted": _take_pgp,
    "multipart/alternative": _take_best,
    "message/rfc822": _take_mail,
    "message/delivery-status": _take_status,
    "application/pkcs7-mime": _take_smime,
    "application/x-pkcs7-mime": _take_smime,
}


def _wrapped_mail(message: Message) -> bytes:
    inner = "".join(str(each.get_payload()) for each in _children(message))
    try:
        return base64.b64decode(inner)
    except ValueError:
        return b""


def _children(message: Message) -> list[Message]:
    payload = message.get_payload()
    if isinstance(payload, list):
        return [each for each in payload if isinstance(each, Message)]
    # Declared as multipart, but without parts: the payload is its text.
    message.set_type("text/plain")
    return [message] if isinstance(payload, str) and payload.strip() else []


def _is_file(message: Message) -> bool:
    """Whether a text part is an attachment."""
    disposition = str(message.get("content-disposition") or "").strip().lower()
    return disposition.startswith("attachment") or bool(_stated_name(message))


def _is_inline_picture(message: Message, kind: str) -> bool:
    """Whether it is a picture shown inside the HTML; those are not attachments."""
    disposition = str(message.get("content-disposition") or "").strip().lower()
    shown = "content-id" in message and not disposition.startswith("attachment")
    return shown and kind.startswith("image/")


def _stated_name(message: Message) -> str:
    try:
        return clean_fact(decode_value(message.get_filename() or ""))
    except (ValueError, TypeError, LookupError, AttributeError):
        return ""


def _file_name(message: Message, kind: str, parts: MailParts) -> str:
    stated = _stated_name(message)
    if stated:
        return stated
    return f"part {len(parts.files) + 1}{_ENDINGS.guess_extension(kind) or ''}"


# Bytes to text


def _bytes(message: Message) -> bytes:
    try:
        payload = message.get_payload(decode=True)
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError):
        payload = str(message.get_payload()).encode("utf-8", "replace")
    return payload if isinstance(payload, bytes) else b""


def _text(message: Message) -> str:
    """The text of a part; its declared charset is used unless the bytes contradict it."""
    data = _bytes(message)
    if len(data) > 4 * MAX_CHARACTERS:
        raise ReadError(f"its text is too long: {len(data):,} bytes")
    try:
        charset = str(message.get_content_charset() or "")
    except (ValueError, TypeError, LookupError, AttributeError):
        charset = ""
    return (decode(data, charset) or data.decode("utf-8", "replace")).replace("\x00", "")


def _plain_text(message: Message) -> str:
    text = _text(message)
    if str(message.get_param("format", "") or "").lower() != "flowed":
        return text
    return join_flowed(text, delete=str(message.get_param("delsp", "") or "").lower() == "yes")


def join_flowed(text: str, *, delete: bool = False) -> str:
    r"""Join the lines of flowed paragraphs (RFC 3676).

    >>> join_flowed("One \nparagraph.\n-- \nAda\n")
    'One paragraph.\n-- \nAda\n'
    """
    lines: list[str] = []
    flowing = False
    depth = 0
    for line in text.replace("\r\n", "\n").split("\n"):
        body = line.lstrip(">")
        quoted = len(line) - len(body)
        body = body.removeprefix(" ")
        signature = body == "-- "
        if flowing and quoted == depth and not signature:
            lines[-1] += body
        else:
            lines.append(">" * quoted + (" " if quoted and body else "") + body)
        flowing, depth = body.endswith(" ") and not signature, quoted
        if flowing and delete:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def _html_text(message: Message) -> str:
    root = parse(_text(message))
    return "" if root is None else main_text(root)


__all__ = ["MAX_LEAVES", "MailParts", "collect_parts", "join_flowed"]
