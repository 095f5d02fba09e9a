"""Calendars (.ics .vcs) and address cards (.vcf): every event and every card as a paragraph.

Both consist of the same lines, `NAME;PARAMETER=x:value` (RFC 5545 and 6350), which are unfolded,
decoded and unescaped. What programs write for each other (identifiers, time zones, alarms) is left
out as "metadata".
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from retriever.reading.alternatives import only_in
from retriever.reading.encodings import decode
from retriever.reading.facts import clean_title, iso_date
from retriever.reading.markup.html import main_text, parse
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page, unify_lines
from retriever.reading.plain.text import decode_text
from retriever.types import Document, LeftOut, Page

_FOLD = re.compile(rb"\r?\n[ \t]|\r(?!\n)[ \t]")
_SOFT_BREAK = re.compile(
    rb"^([^:\r\n]{0,300}ENCODING=QUOTED-PRINTABLE[^:\r\n]{0,300}:(?:[^\r\n]*=\r?\n)+[^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_OLD = re.compile(rb"^VERSION:(?:1\.0|2\.1)\s*$", re.MULTILINE)  # these fold only at blanks
_LINE = re.compile(
    r"(?:[\w-]{1,60}\.)?(?P<name>[A-Za-z][\w-]{0,60})(?P<parameters>(?:;(?:\"[^\"]*\"|[^:\";])*)*):(?P<value>.*)",
    re.DOTALL,
)
_PARAMETER = re.compile(r";([^=;:]+)(?:=((?:\"[^\"]*\"|[^;\"])*))?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SEPARATOR = re.compile(r"(?<!\\)(?:\\\\)*;")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z?))?")
_TAG = re.compile(
    r"</?(?:br|p|div|span|a|b|i|u|ul|ol|li|html|body|font|table)\b[^<>]*>", re.IGNORECASE
)
_SCHEME = re.compile(r"(?:mailto|tel|sms|geo|xmpp|skype):", re.IGNORECASE)

_EVENTS = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"})
# What is shown of an event, with its name for a reader.
_EVENT = {
    "SUMMARY": "",
    "DTSTART": "Start",
    "DTEND": "End",
    "DUE": "Due",
    "DURATION": "Duration",
    "COMPLETED": "Completed",
    "FREEBUSY": "Busy",
    "RRULE": "Repeats",
    "LOCATION": "Location",
    "ORGANIZER": "Organizer",
    "ATTENDEE": "Attendee",
    "CONTACT": "Contact",
    "RESOURCES": "Resources",
    "CATEGORIES": "Categories",
    "URL": "URL",
    "ATTACH": "Attachment",
    "CONFERENCE": "Conference",
    "DESCRIPTION": "",
    "COMMENT": "Comment",
    "REQUEST-STATUS": "Request status",
}
_CALENDAR = {"X-WR-CALNAME": "", "X-WR-CALDESC": "", "NAME": "", "DESCRIPTION": ""}
_CARD = {"FN": "", "ADR": "Address", "ORG": "Organization", "TEL": "Telephone", "EMAIL": "E-mail"}
_CARD |= {"BDAY": "Birthday", "URL": "URL", "N": "Name", "IMPP": "Chat", "LABEL": "Address label"}
_CARD_METADATA = frozenset(
    [
        *["VERSION", "PRODID", "UID", "REV", "CLASS", "KEY", "PHOTO"],
        *["LOGO", "SOUND", "SOURCE", "PROFILE", "MAILER", "CLIENTPIDMAP", "XML"],
        *["CALURI", "CALADRURI", "FBURL", "SORT-STRING", "GEO", "TZ", "X-ABUID"],
        *["X-ADDRESSBOOKSERVER-KIND", "X-ABADR", "X-IMAGEHASH", "X-IMAGETYPE", "X-WAB-GENDER"],
    ]
)
_TIMES = frozenset({"DTSTART", "DTEND", "DUE", "COMPLETED", "BDAY", "ANNIVERSARY"})
_PEOPLE = frozenset({"ORGANIZER", "ATTENDEE"})
_NO_TYPES = frozenset({"PREF", "INTERNET", "X400", "QUOTED-PRINTABLE", "BASE64", "B", "UTF-8"})


@dataclass(frozen=True, slots=True)
class _Property:
    """A line: its name in capitals, its parameters, and its value as it is written."""

    name: str
    parameters: Mapping[str, str]
    value: str

    @property
    def text(self) -> str:
        """The value decoded and without escapes; empty if it is binary."""
        return _unescaped(self.decoded)

    @property
    def decoded(self) -> str:
        encoding = self.parameters.get("ENCODING", "").upper()
        charset = self.parameters.get("CHARSET", "")
        if encoding == "QUOTED-PRINTABLE" or "QUOTED-PRINTABLE" in self.parameters:
            return decode(binascii.a2b_qp(self.value), charset) or self.value
        if encoding in ("B", "BASE64") or "BASE64" in self.parameters:
            return _from_base64(self.value, charset)
        return "" if self.value.startswith("data:") and ";base64," in self.value else self.value

    @property
    def fields(self) -> list[str]:
        """The parts of a structured value, such as an address."""
        ends = [match.end() for match in _SEPARATOR.finditer(self.decoded)]
        starts = [0, *ends]
        pieces = [
            self.decoded[start : end - 1] if end else self.decoded[start:]
            for start, end in zip(starts, [*ends, None], strict=True)
        ]
        return [_unescaped(piece).strip() for piece in pieces]


@dataclass(slots=True)
class _Component:
    """What stands between BEGIN and END."""

    name: str
    properties: list[_Property] = field(default_factory=list)


def read_calendar(data: bytes, name: str) -> Document:
    """Read a calendar into one page: an event a paragraph."""
    return _read(data, name, "calendar")


def read_contacts(data: bytes, name: str) -> Document:
    """Read address cards into one page: a card a paragraph."""
    return _read(data, name, "contacts")


def _read(data: bytes, name: str, format_: str) -> Document:
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, format_, (too_long_page(None, f"{len(data):,} bytes"),))
    components = list(_components(data))
    if not components:
        note = "no event or card found in it: read as plain text"
        page = make_page(None, decode_text(data), "nothing but blanks in it", note)
        return Document(name, format_, (page,))
    left_out: list[LeftOut] = []
    blocks = [_paragraph(each, left_out) for each in components]
    shown = [each for each, block in zip(components, blocks, strict=True) if block]
    title, date = _facts(shown)
    return Document(
        name,
        format_,
        (_page("\n\n".join(filter(None, blocks))),),
        title=clean_title(title, name),
        date=date,
        left_out=tuple(left_out),
    )


def _page(text: str) -> Page:
    return make_page(None, text, "no event or card with text in it")


def _facts(shown: list[_Component]) -> tuple[str, str]:
    """The title and date: of the calendar, or of the one event or card."""
    events = [each for each in shown if each.name != "VCALENDAR"]
    whole = [each for each in shown if each.name == "VCALENDAR"] or (
        events if len(events) == 1 else []
    )
    titles = ("X-WR-CALNAME", "NAME", "SUMMARY", "FN")
    found = [one.text for each in whole for one in each.properties if one.name in titles]
    only = events[0].properties if len(events) == 1 else []
    dates = [iso_date(_time(one)[:10]) for one in only if one.name == "DTSTART"]
    return next(iter(found), ""), next(iter(dates), "")


# Lines


def _components(data: bytes) -> Iterator[_Component]:
    """The components in the order of their beginnings; a line outside of all counts to none."""
    open_: list[_Component] = []
    done: list[_Component] = []
    for line in _properties(data):
        if line.name == "BEGIN":
            open_.append(_Component(line.value.strip().upper()))
            done.append(open_[-1])
        elif line.name == "END" and open_:
            open_.pop()
        elif open_:
            open_[-1].properties.append(line)
    yield from done


def _properties(data: bytes) -> Iterator[_Property]:
    if b"\x00" not in data:
        # Before decoding: a fold may divide the bytes of a letter.
        data = _SOFT_BREAK.sub(lambda match: re.sub(rb"=\r?\n[ \t]?", b"", match[1]), data)
        data = _FOLD.sub(b" " if _OLD.search(data) else b"", data)
    pending: list[str] = []
    lines: list[str | None] = [*unify_lines(decode_text(data)).split("\n"), None]
    for line in lines:
        if pending and (line is None or _LINE.fullmatch(line)):
            if match := _LINE.fullmatch("\n".join(pending)):
                yield _property(match)
            pending = []
        if line is not None and (pending or line.strip()):
            pending.append(line)  # a line without a name goes on from the one before


def _property(match: re.Match[str]) -> _Property:
    parameters: dict[str, str] = {}
    for key, value in _PARAMETER.findall(match["parameters"]):
        name = key.strip().upper()
        parameters[name] = ",".join(filter(None, [parameters.get(name), value.strip('"')]))
    return _Property(match["name"].upper(), parameters, match["value"].rstrip("\n"))


def _from_base64(value: str, charset: str) -> str:
    try:
        data = binascii.a2b_base64(value)
    except binascii.Error:
        return ""
    return "" if b"\x00" in data else decode(data, charset) or ""


def _unescaped(value: str) -> str:
    r"""A value without its escapes.

    >>> _unescaped(r"Barn\, second floor\nBudget")
    'Barn, second floor\nBudget'
    """
    return _ESCAPE.sub(
        lambda match: "\n" if match[1] in "nN" else match[1] if match[1] in ',;:\\"' else match[0],
        value,
    )


# Paragraphs


def _paragraph(component: _Component, left_out: list[LeftOut]) -> str:
    """The paragraph of an event or card; empty for what only programs use."""
    card = component.name == "VCARD"
    labels = _CARD if card else _EVENT if component.name in _EVENTS else _CALENDAR
    known = component.name in _EVENTS or component.name in ("VCARD", "VCALENDAR")
    lines: list[tuple[int, str]] = []
    unread: list[str] = []
    full_name = next((one.text for one in component.properties if one.name == "FN"), "")
    order = list(labels)
    for one in component.properties:
        shown = known and (one.name in labels or (card and one.name not in _CARD_METADATA))
        line = _card_line(one, full_name) if card else _event_line(one, labels.get(one.name, ""))
        if shown:
            place = int(one.name != "FN") if card else order.index(one.name)
            lines += [(place, line)] if line else []  # a name that FN states, too, has none
        elif one.name == "X-ALT-DESC":
            taken = "\n".join(text for _, text in lines)
            left_out += _alternative(one, component, taken)
        elif text := one.text.strip():
            unread.append(f"{one.name}: {text}")
    if metadata := "\n".join(filter(None, unread)):
        left_out.append(LeftOut("metadata", metadata))
    return "\n".join(line for _, line in sorted(lines, key=lambda pair: pair[0]))


def _alternative(one: _Property, component: _Component, taken: str) -> list[LeftOut]:
    """What the HTML description says beyond the plain one."""
    plain = "\n".join(each.text for each in component.properties if each.name == "DESCRIPTION")
    text = only_in(_plain(one.text), f"{taken}\n{plain}")
    return [LeftOut("alternative text", text)] if text.strip() else []


def _event_line(one: _Property, label: str) -> str:
    if one.name in _TIMES:
        text = _time(one)
    elif one.name in _PEOPLE:
        text = _person(one)
    else:
        text = _plain(one.text).strip()
    return f"{label}: {text}" if label and text else text


def _card_line(one: _Property, full_name: str) -> str:
    if one.name == "FN":
        return one.text.strip()
    if one.name == "N":
        family, given, additional, prefix, suffix = [*one.fields, "", "", "", ""][:5]
        named = " ".join(filter(None, [prefix, given, additional, family, suffix]))
        if set(named.split()) <= set(full_name.split()):
            return ""
        return f"Name: {named}" if full_name else named
    if one.name in ("ADR", "ORG"):
        text = ", ".join(filter(None, one.fields))
    else:
        text = _time(one) if one.name in _TIMES else _SCHEME.sub("", _plain(one.text).strip(), 1)
    label = _CARD.get(one.name) or one.name.removeprefix("X-").replace("-", " ").capitalize()
    types = ", ".join(_types(one))
    return f"{label}{f' ({types})' if types else ''}: {text}" if text else ""


def _types(one: _Property) -> list[str]:
    """What a number or address is for: "home", "cell"; vCard 2.1 has them without TYPE=."""
    stated = one.parameters.get("TYPE", "").split(",")
    bare = [key for key, value in one.parameters.items() if not value]
    kinds = [kind.strip() for kind in [*stated, *bare] if kind.strip()]
    return [kind.lower() for kind in kinds if kind.upper() not in _NO_TYPES]


def _person(one: _Property) -> str:
    """A person: "Ada <ada@example.org>"."""
    address = _SCHEME.sub("", one.text.strip(), 1)
    name = one.parameters.get("CN", "").replace("^'", '"').replace("^n", " ").strip()
    return f"{name} <{address}>" if name and name != address else address


def _time(one: _Property) -> str:
    """A time for a reader: "2024-03-12 09:00 UTC"."""
    value = one.text.strip()
    match = _TIME.fullmatch(value)
    if not match:
        return value
    year, month, day, hour, minute, second, zulu = match.groups()
    if not hour:
        return f"{year}-{month}-{day}"
    clock = f"{hour}:{minute}" + (f":{second}" if second and second != "00" else "")
    zone = "UTC" if zulu else one.parameters.get("TZID", "").strip("/")
    return f"{year}-{month}-{day} {clock} {zone}".rstrip()


def _plain(text: str) -> str:
    """The text, without tags if it is HTML, as some calendars write descriptions."""
    if not _TAG.search(text):
        return text
    root = parse(text.replace("\n", "<br>"))
    return text if root is None else main_text(root)


__all__ = ["read_calendar", "read_contacts"]
