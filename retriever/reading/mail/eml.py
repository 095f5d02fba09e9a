"""E-mail: a message (.eml, Apple's .emlx) or a mailbox (.mbox), with attachments.

The text of a message begins with its From, To and Cc lines, because people search for "the mail Ada
wrote to Bob". Its subject is the document's title. If a message has a plain and an HTML form, the
plain form is read unless it only points to the HTML. Quoted replies and signatures are kept: the
quoted mail may exist nowhere else.

The lenient parser returns headers as raw strings, so a damaged address, date or encoded word cannot
lose the mail. No link is followed and no picture fetched.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable, Iterator, Mapping
from email.errors import MessageError
from email.message import Message

from retriever.reading.attached import attached_pages, unique_label
from retriever.reading.encodings import decode
from retriever.reading.facts import MAX_FACT, clean_fact, clean_title, iso_date, scalars
from retriever.reading.mail.headers import (
    author,
    header,
    header_lines,
    header_values,
    people,
)
from retriever.reading.mail.parts import MAX_LEAVES, MailParts, collect_parts
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import drop_controls, error_text, make_page, too_long_page
from retriever.types import Document, LeftOut, Page, PageState, ReadError

_MAX_BYTES = 120_000_000  # a parsed mail takes ten times its size in memory
_MAX_MAILS = 20_000
_MBOX_FROM = re.compile(
    rb"(?:\A|(?<=\n)\r?\n)From [^\r\n]{0,300}?\d\d?:\d\d[^\r\n]{0,20}\d{4}[^\r\n]{0,12}\r?\n"
    rb"(?=[!-9;-~]{1,100}:)"
)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_EMLX = re.compile(rb"(\d{1,9})[ \t]*\r?\n")
_HEADER_LINE = re.compile(rb"[!-9;-~]{1,100}:[ \t\r\n]")
_SHOWN = (
    *("subject", "from", "to", "cc", "bcc", "reply-to", "date"),
    *("newsgroups", "organization", "keywords", "comments", "summary"),
)
_ENCRYPTED = "encrypted with {}: decrypt it in the mail program and save it anew"


def read_eml(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read one message: its text, then the pages of its attachments."""
    if len(data) > _MAX_BYTES:
        return Document(name, "eml", (too_long_page(None, f"{len(data):,} bytes"),))
    message = _parse(_without_wrapping(data))
    title = clean_title(header(message, "subject"), name)
    left_out: list[LeftOut] = []
    # A nested mail has no title of its own, so its subject goes into the text.
    titled = bool(title) and options.depth == 0
    pages = [*_mail_pages(message, options, set(), "", left_out, titled=titled)]
    addresses = {key: people(message, key) for key in ("from", "to", "cc")}
    return Document(
        path=name,
        format="eml",
        pages=tuple(pages),
        title=title,
        author=author(message),
        date=_date(message),
        metadata=scalars({key: value for key, value in addresses.items() if value}),
        left_out=(*left_out, *_wrapping(data)),
    )


def read_mbox(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a mailbox: each mail is a page, labelled with its number and subject.

    A document has one date: that of the newest mail. Each page states the date of its mail.
    """
    starts = [match.end() for match in _MBOX_FROM.finditer(data)]
    if not starts:
        raise ReadError("not a mailbox: no line in it begins a mail")
    ends = [*(match.start() for match in _MBOX_FROM.finditer(data)), len(data)][1:]
    pages: list[Page] = []
    taken: set[str] = set()
    dates: list[str] = []
    left_out = _texts_left_out(
        "text before the first mail", data[: starts[0]].rpartition(b"From ")[0]
    )
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        if number > _MAX_MAILS:
            reason = f"more than {_MAX_MAILS:,} mails in one file: split it"
            pages.append(Page(number, "", PageState.TOO_LONG, reason, f"mail {number} and later"))
            break
        pages += _mbox_mail(data[start:end], number, options, taken, left_out, dates)
    return Document(name, "mbox", tuple(pages), date=_newest(dates), left_out=tuple(left_out))


def _mbox_mail(
    data: bytes,
    number: int,
    options: ReadOptions,
    taken: set[str],
    left_out: list[LeftOut],
    dates: list[str],
) -> Iterator[Page]:
    label = f"mail {number}"
    if len(data) > _MAX_BYTES:
        page = too_long_page(number, f"{len(data):,} bytes")
        yield Page(number, "", page.state, page.reason, unique_label(label, taken))
        return
    try:
        message = _parse(_QUOTED_FROM.sub(rb"\1", data))
        dates.append(_date(message))
        subject = clean_fact(header(message, "subject"))[:100]
        label = f"{label}: {subject}" if subject else label
        first, *rest = _mail_pages(message, options, taken, f"{label}, ", left_out, titled=False)
    except ReadError as error:
        first, rest = Page(number, "", PageState.FAILED, str(error)), []
    yield Page(number, first.text, first.state, first.reason, unique_label(label, taken))
    yield from rest


def _date(message: Message) -> str:
    """The date of a mail; of one without, the time when it was delivered or received."""
    stated = [header(message, key) for key in ("date", "resent-date", "delivery-date")]
    stated.append(header(message, "received").rpartition(";")[2].strip())
    return next(filter(None, map(iso_date, stated)), "")


def _newest(dates: Iterable[str]) -> str:
    """The latest date as it is written; the hours between time zones do not count."""
    return max(dates, key=lambda date: date[: len("2024-03-07T10:30:00")], default="")


def _without_wrapping(data: bytes) -> bytes:
    """Remove the length that Apple's files begin with, or a mailbox's From line."""
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if match := _EMLX.match(body):
        return body[match.end() : match.end() + int(match[1])]
    if body.startswith(b"From "):
        return body.partition(b"\n")[2]
    return body


def _wrapping(data: bytes) -> list[LeftOut]:
    """What Apple's files hold after the mail: facts of the mail program."""
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    match = _EMLX.match(body)
    return _texts_left_out("metadata", body[match.end() + int(match[1]) :]) if match else []


def _texts_left_out(kind: str, data: bytes) -> list[LeftOut]:
    text = decode(data) or ""
    return [LeftOut(kind, text)] if text.strip() else []


def _parse(data: bytes) -> Message:
    head = data[:4_096]
    if not _HEADER_LINE.match(head):
        raise ReadError("not an e-mail: it begins with no header such as From or Subject")
    try:
        return email.message_from_bytes(data, policy=email.policy.compat32)
    except RecursionError:
        raise ReadError("its parts are nested too deeply") from None
    except (MessageError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ReadError(f"broken: {error_text(error)}") from None


# Text of a mail


def _mail_pages(
    message: Message,
    options: ReadOptions,
    taken: set[str],
    prefix: str,
    left_out: list[LeftOut],
    *,
    titled: bool,
) -> Iterator[Page]:
    """The page of a mail, then those of its attachments, with `prefix` before their labels."""
    parts = MailParts(left_out=left_out)
    shown = _shown_headers(message, titled=titled)
    unshown = header_lines(message, {*shown, *(["subject"] if titled else [])})
    if unshown.strip():
        left_out.append(LeftOut("mail headers", unshown))
    collect_parts(message, parts)
    options.extend_deadline(PAGE_SECONDS)
    yield _own_page(shown, clean_fact(header(message, "subject")), parts)
    for name, data in parts.files:
        yield from attached_pages(name, data, options, taken, prefix)
    if parts.leaves > MAX_LEAVES:
        reason = f"more than {MAX_LEAVES:,} parts in one mail"
        label = unique_label(f"{prefix}further parts", taken)
        yield Page(None, "", PageState.FAILED, reason, label)


def _shown_headers(message: Message, *, titled: bool) -> dict[str, str]:
    """The headers that a person may look for, by name in small letters.

    The subject is not among them if it is the document's title, and its date is the document's.
    """
    keys = [key for key in _SHOWN if not (titled and key in ("subject", "date"))]
    values = {key: " ".join(drop_controls(header_values(message, key)).split()) for key in keys}
    if values["reply-to"] in values["from"]:
        values["reply-to"] = ""
    return {key: value for key, value in values.items() if value}


def _begin(value: str) -> str:
    """The begin of a header; of a long one, such as a list of recipients, up to a blank."""
    if len(value) <= MAX_FACT:
        return value
    return value[: value.rfind(" ", 0, MAX_FACT)] if " " in value[:MAX_FACT] else value[:MAX_FACT]


def _own_page(shown: Mapping[str, str], subject: str, parts: MailParts) -> Page:
    """The page of the mail's own text; without text, its headers alone, at least its subject.

    What is left of long headers stands behind the text.
    """
    body = "\n\n".join(text for text in (text.strip("\n") for text in parts.texts) if text.strip())
    if parts.encrypted and not body:
        return Page(None, "", PageState.ENCRYPTED, _ENCRYPTED.format(parts.encrypted))
    page = make_page(None, body)
    if page.state not in (PageState.TEXT, PageState.EMPTY):
        return page
    lines = [f"{key.title()}: {_begin(value)}" for key, value in shown.items()]
    rests = {key: value[len(_begin(value)) :].strip() for key, value in shown.items()}
    further = [f"{key.title()}: {rest}" for key, rest in rests.items() if re.search(r"\w", rest)]
    if not lines and not page.text and subject:
        lines = [f"Subject: {subject}"]
    note = "" if page.text else "no text of its own"
    if any(one.kind == "encrypted text" for one in parts.left_out):
        note = "a part of its text is encrypted with PGP"
    names = f"Attachments: {', '.join(parts.names)}" if parts.names else ""
    text = "\n\n".join(filter(None, ["\n".join(lines), page.text, names, *further]))
    return Page(None, text, reason=note) if text else page


__all__ = ["read_eml", "read_mbox"]
