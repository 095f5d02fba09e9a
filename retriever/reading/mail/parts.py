"""The MIME parts of a mail: its own text, its attachments, and what cannot be read.

Of alternative forms of a text one is used: plain text, which by convention is the first, unless
another form says much more. Words that only another form has are left out as "alternative text". A
nested mail is an attachment.
"""

from __future__ import annotations

import base64
import email.policy
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from mimetypes import MimeTypes

from retriever.reading.alternatives import best_form, is_other_text, only_in
from retriever.reading.encodings import decode
from retriever.reading.facts import clean_fact
from retriever.reading.mail.encoded_files import take_encoded_files
from retriever.reading.mail.headers import decode_value, header, header_lines
from retriever.reading.mail.smime import signed_content
from retriever.reading.markup.html import extract, parse
from retriever.reading.pages import MAX_CHARACTERS
from retriever.reading.plain.text import OVERWRITTEN, drop_nuls
from retriever.reading.terminal_output import (
    drop_bare_colours,
    drop_overwritten,
    drop_terminal_codes,
)
from retriever.types import LeftOut, ReadError

MAX_LEAVES = 2_000
"""Maximum number of parts of one mail."""

# Fixed, because the machine's own table differs between systems.
_ENDINGS = MimeTypes(filenames=())
_OTHER_ENDINGS = {
    "text/calendar": ".ics",
    "text/x-vcalendar": ".ics",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/directory": ".vcf",
    "application/ics": ".ics",
    "application/ms-tnef": ".dat",
    "application/vnd.ms-tnef": ".dat",
}
_HTML = frozenset({"text/html", "text/x-amp-html", "text/watch-html", "application/xhtml+xml"})
_ENRICHED = frozenset({"text/enriched", "text/richtext"})
_TEXTS = frozenset({"text/plain", *_HTML, *_ENRICHED})

_AFTER_BASE64 = re.compile(r"\A[A-Za-z0-9+/=\r\n]*\n([^\n]*[^A-Za-z0-9+/=\s].*)", re.DOTALL)
# Up to the next line that begins a block, so that a text of many beginnings is read in linear time.
_PGP_BODY = r"(?:(?!-----(?:BEGIN|END) PGP )[^\n]*\n)*+"
_PGP_BLOCK = re.compile(
    r"^-----BEGIN PGP (?P<kind>SIGNATURE|MESSAGE|PUBLIC KEY BLOCK|PRIVATE KEY BLOCK)-----\n"
    rf"{_PGP_BODY}-----END PGP (?P=kind)-----[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
_PGP_SIGNED = re.compile(
    r"^-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z-]+: [^\n]*\n)*\n"
    rf"(?P<text>{_PGP_BODY})(?=-----BEGIN PGP SIGNATURE-----)",
    re.MULTILINE,
)
_PGP_KINDS = {"SIGNATURE": "signatures", "MESSAGE": "encrypted text"}


@dataclass(slots=True)
class MailParts:
    """The parts of a mail: its texts in order, its attachments, and why text is missing.

    `names` are those that the mail gives its attachments, `left_out` is the text that is on no page
    on purpose.
    """

    texts: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    encrypted: str = ""
    leaves: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


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
        _take_all(message, parts)
    elif kind in _TEXTS and not _is_file(message):
        parts.texts.append(_READ.get(kind, _plain_text)(message, parts))
    elif kind.startswith("message/") and message.is_multipart():
        _take_fields(message, parts)
    elif _is_inline_picture(message, kind):
        _leave_out(parts, "names of pictures", _stated_name(message))
    else:
        parts.files.append((_file_name(message, kind, parts), _bytes(message)))


def _leave_out(parts: MailParts, kind: str, text: str) -> None:
    if text.strip():
        parts.left_out.append(LeftOut(kind, text))


def _take_all(message: Message, parts: MailParts) -> None:
    """Take every part, and what stands after the last: lists put their footers there."""
    if message.is_multipart():
        _leave_out(parts, "text for old mail programs", _surrounding(message.preamble))
    for inner in _children(message):
        collect_parts(inner, parts)
    if message.is_multipart():
        parts.texts.append(_surrounding(message.epilogue))


def _surrounding(text: object) -> str:
    """The text before or after the parts; the parser keeps its raw bytes as surrogates."""
    if not isinstance(text, str) or not text.strip():
        return ""
    data = text.encode("utf-8", "surrogateescape")
    return drop_nuls(decode(data) or data.decode("utf-8", "replace")).strip()


def _take_pgp(message: Message, parts: MailParts) -> None:
    parts.encrypted = "PGP"


def _take_fields(message: Message, parts: MailParts) -> None:
    """A report on delivery, receipt or abuse: blocks of lines like headers."""
    for block in _children(message):
        lines = [header_lines(block), "" if block.is_multipart() else _text(block).strip()]
        parts.texts.append("\n".join(filter(None, lines)))


def _take_headers(message: Message, parts: MailParts) -> None:
    """The headers of a mail that came back."""
    block = email.message_from_bytes(_bytes(message), policy=email.policy.compat32)
    parts.texts.append(header_lines(block) or _plain_text(message, parts))


def _take_best(message: Message, parts: MailParts) -> None:
    """Choose one of several forms of a text, and later ones that are another text.

    The attachments of all are kept.
    """
    forms: list[str] = []
    inside: list[list[LeftOut]] = []
    _leave_out(parts, "text for old mail programs", _surrounding(message.preamble))
    for inner in _children(message):
        form = MailParts(leaves=parts.leaves)
        collect_parts(inner, form)
        parts.files += [each for each in form.files if each not in parts.files]
        parts.names += form.names
        parts.encrypted = parts.encrypted or form.encrypted
        parts.leaves = form.leaves
        forms.append("\n\n".join(filter(str.strip, form.texts)).strip())
        inside.append(form.left_out)
    taken = best_form(forms)
    read = [forms[taken]] if forms else []
    for at, form_left_out in enumerate(inside):
        parts.left_out += form_left_out
        if at > taken and is_other_text(forms[at], "\n".join(read)):
            read.append(forms[at])
        elif at != taken:
            _leave_out(parts, "alternative text", only_in(forms[at], forms[taken]))
    parts.texts += [*read, _surrounding(message.epilogue)]


def _take_smime(message: Message, parts: MailParts) -> None:
    data = _bytes(message)
    content = signed_content(data)
    if content is not None:
        collect_parts(email.message_from_bytes(content, policy=email.policy.compat32), parts)
    elif str(message.get_param("smime-type", "")).lower() == "signed-data":
        parts.files.append(("signed text.p7m", data))
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
    "message/global": _take_mail,
    "message/news": _take_mail,
    "message/partial": _take_mail,
    "text/rfc822-headers": _take_headers,
    "message/global-headers": _take_headers,
    "message/rfc822-headers": _take_headers,
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
        parts.names.append(stated)
        return stated
    ending = _OTHER_ENDINGS.get(kind) or _ENDINGS.guess_extension(kind) or ""
    return f"part {len(parts.files) + 1}{ending}"


# Bytes to text


def _bytes(message: Message) -> bytes:
    try:
        payload = message.get_payload(decode=True)
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError):
        payload = str(message.get_payload()).encode("utf-8", "replace")
    return payload if isinstance(payload, bytes) else b""


def _text(message: Message) -> str:
    """The text of a part."""
    data, footer = _split_base64(message)
    return _decoded(message, data) + (f"\n\n{footer}" if footer else "")


def _decoded(message: Message, data: bytes) -> str:
    """Decode the bytes of a part; its declared charset is used unless they contradict it."""
    if len(data) > 4 * MAX_CHARACTERS:
        raise ReadError(f"its text is too long: {len(data):,} bytes")
    try:
        charset = str(message.get_content_charset() or "")
    except (ValueError, TypeError, LookupError, AttributeError):
        charset = ""
    return drop_nuls(decode(data, charset) or data.decode("utf-8", "replace"))


def _plain_text(message: Message, parts: MailParts) -> str:
    """The text of a plain part, without the files and signatures that old programs put there."""
    data, footer = _split_base64(message)
    data, files = take_encoded_files(data)
    parts.files += files
    parts.names += [name for name, _ in files]
    text = drop_bare_colours(drop_terminal_codes(_decoded(message, data)))
    text, overwritten = drop_overwritten(f"{text}\n\n{footer}" if footer else text)
    _leave_out(parts, OVERWRITTEN, overwritten)
    if "-----BEGIN PGP" in text:
        text = _without_pgp(text.replace("\r\n", "\n"), parts)
    if str(message.get_param("format", "") or "").lower() != "flowed":
        return text
    return join_flowed(text, delete=str(message.get_param("delsp", "") or "").lower() == "yes")


def _split_base64(message: Message) -> tuple[bytes, str]:
    """The bytes of a part, and the text that a mailing list has put behind them as it stands."""
    if str(message.get("content-transfer-encoding")).strip().lower() == "base64":
        payload = str(message.get_payload())
        if footer := _AFTER_BASE64.search(payload):
            coded = payload[: footer.start(1)]
            with suppress(ValueError):
                return base64.b64decode(coded), _surrounding(footer[1])
    return _bytes(message), ""


def _without_pgp(text: str, parts: MailParts) -> str:
    """The text without the armour of PGP; a text that is nothing but encrypted stays."""
    if _PGP_BLOCK.sub("", text).strip() == "" and "BEGIN PGP MESSAGE" in text:
        parts.encrypted = "PGP"
        return ""

    def signed(match: re.Match[str]) -> str:
        _leave_out(parts, "signatures", match[0][: match.start("text") - match.start()])
        return re.sub(r"^- ", "", match["text"], flags=re.MULTILINE)

    def block(match: re.Match[str]) -> str:
        _leave_out(parts, _PGP_KINDS.get(match["kind"], "keys"), match[0])
        return ""

    return _PGP_BLOCK.sub(block, _PGP_SIGNED.sub(signed, text))


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


def _html_text(message: Message, parts: MailParts) -> str:
    root = parse(_text(message))
    if root is None:
        return ""
    found = extract(root)
    parts.left_out += found.left_out
    return found.text


def _enriched_text(message: Message, parts: MailParts) -> str:
    return plain_of_enriched(_text(message))


def plain_of_enriched(text: str) -> str:
    r"""The words of enriched text (RFC 1896): no commands, and a line break only where two are.

    >>> plain_of_enriched("<bold>More</bold> soil,\nif a << b.\n\n<x><param>red</param>Ada</x>")
    'More soil, if a < b.\nAda'
    """
    text = re.sub(r"<param>.*?</param>", "", text.replace("\r\n", "\n"), flags=re.DOTALL)
    text = re.sub(r"<nl>", "\n\n", text)
    text = re.sub(r"</?[A-Za-z][A-Za-z0-9-]{0,60}>", "", text.replace("<<", "\x00"))
    text = re.sub(r"\n+", lambda match: match[0][1:] or " ", text)
    return text.replace("\x00", "<")


_READ: dict[str, Callable[[Message, MailParts], str]] = {
    **dict.fromkeys(_HTML, _html_text),
    **dict.fromkeys(_ENRICHED, _enriched_text),
}

__all__ = ["MAX_LEAVES", "MailParts", "collect_parts", "join_flowed", "plain_of_enriched"]
