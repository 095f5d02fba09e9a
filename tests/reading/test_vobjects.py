"""Calendars and address cards: what people wrote there, unfolded and decoded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Document, PageState


def read(source: str | bytes, name: str) -> Document:
    data = source if isinstance(source, bytes) else source.encode()
    return read_bytes(data, name, ReadOptions())


def event(*lines: str) -> str:
    return "\r\n".join(
        ["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR\r\n"]
    )


def test_an_invitation():
    found = read(
        event(
            *[
                "UID:77@example.org",
                "DTSTART;TZID=Europe/Oslo:20240312T090000",
                "DTEND:20240312T100000Z",
            ],
            "DESCRIPTION:Agenda:\\nBudget for the orchard\\; plan\\nElection of the new treas",
            " urer\\, and lunch",
            *["LOCATION:Barn hall\\, second floor", "SUMMARY;LANGUAGE=en:Harvest council"],
            'ORGANIZER;CN="Lovelace, Ada":mailto:ada@example.org',
            "ATTENDEE;CN=Bob;PARTSTAT=NEEDS-ACTION:MAILTO:bob@example.org",
            *["ATTENDEE:mailto:cid@example.org", "RRULE:FREQ=WEEKLY;BYDAY=MO"],
            *["BEGIN:VALARM", "DESCRIPTION:Reminder", "END:VALARM"],
        ),
        "invite.ics",
    )
    assert found.pages[0].text.split("\n") == [
        "Harvest council",
        "Start: 2024-03-12 09:00 Europe/Oslo",
        "End: 2024-03-12 10:00 UTC",
        "Repeats: FREQ=WEEKLY;BYDAY=MO",
        "Location: Barn hall, second floor",
        "Organizer: Lovelace, Ada <ada@example.org>",
        "Attendee: Bob <bob@example.org>",
        "Attendee: cid@example.org",
        "Agenda:",
        "Budget for the orchard; plan",
        "Election of the new treasurer, and lunch",
    ]
    assert (found.format, found.title, found.date) == ("calendar", "Harvest council", "2024-03-12")
    assert [(one.kind, one.text) for one in found.left_out] == [
        ("metadata", "UID: 77@example.org"),
        ("metadata", "DESCRIPTION: Reminder"),
    ]


def test_a_calendar_of_several_events_and_tasks():
    found = read(
        "BEGIN:VCALENDAR\nX-WR-CALNAME:Team\nBEGIN:VEVENT\nSUMMARY:Plan\nDTSTART;VALUE=DATE:20240312\n"
        "END:VEVENT\nBEGIN:VTODO\nSUMMARY:Dig\nDUE:20240401T080030\nEND:VTODO\nEND:VCALENDAR\n",
        "a.ics",
    )
    assert found.pages[0].text == (
        "Team\n\nPlan\nStart: 2024-03-12\n\nDig\nDue: 2024-04-01 08:00:30"
    )
    assert (found.title, found.date) == ("Team", "")


def test_a_fold_may_divide_a_letter():
    source = event("SUMMARY:Grüße").encode()
    at = source.index("ü".encode()) + 1
    found = read(source[:at] + b"\r\n " + source[at:], "a.ics")
    assert found.pages[0].text == "Grüße"


def test_descriptions_in_html():
    found = read(
        event("SUMMARY:Plan", "DESCRIPTION:See <b>all</b> beds.<br>Then rest.",
              "X-ALT-DESC;FMTTYPE=text/html:<p>See all beds. Then rest.</p><p>Bring boots</p>"),
        "a.ics",
    )  # fmt: skip
    assert found.pages[0].text == "Plan\nSee all beds.\nThen rest."
    assert [(one.kind, one.text) for one in found.left_out] == [("alternative text", "Bring boots")]


def test_lines_that_were_not_folded_go_on():
    found = read(event("SUMMARY:Plan", "DESCRIPTION:First", "second, without a blank"), "a.ics")
    assert found.pages[0].text == "Plan\nFirst\nsecond, without a blank"


CARDS = """\
BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg;;Dr.
TEL;CELL;PREF:+47 555 0101
ADR;HOME;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:;;Stra=C3=9Fe 1;K=
=C3=B6ln;;50667;Germany
NOTE;ENCODING=QUOTED-PRINTABLE:line one=0D=0Aline two
PHOTO;ENCODING=BASE64;TYPE=JPEG:/9j/4AAQSkZJRgAB
END:VCARD

BEGIN:VCARD
VERSION:3.0
FN:Ada Lovelace
N:Lovelace;Ada;;;
ORG:Mill\\, Weir & Co;Gears
item1.TEL;TYPE=WORK,VOICE:tel:+44-20-1
EMAIL;TYPE=INTERNET:ada@example.org
BDAY:18151210
X-SKYPE:ada.l
UID:1-2-3
END:VCARD
"""


def test_address_cards():
    found = read(CARDS, "all.vcf")
    assert found.format == "contacts"
    assert [block.split("\n") for block in found.pages[0].text.split("\n\n")] == [
        [
            "Dr. Jörg Müller",
            "Telephone (cell): +47 555 0101",
            "Address (home): Straße 1, Köln, 50667, Germany",
            "Note: line one",
            "line two",
        ],
        [
            "Ada Lovelace",
            "Organization: Mill, Weir & Co, Gears",
            "Telephone (work, voice): +44-20-1",
            "E-mail: ada@example.org",
            "Birthday: 1815-12-10",
            "Skype: ada.l",
        ],
    ]
    assert [one.text for one in found.left_out] == ["VERSION: 2.1", "VERSION: 3.0\nUID: 1-2-3"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(encoding):
    found = read(event("SUMMARY:Grüße an die Mädchen").encode(encoding), "a.ics")
    assert found.pages[0].text == "Grüße an die Mädchen"


def test_what_is_neither_is_read_as_text():
    (page,) = read("Words about a calendar.", "a.ics").pages
    assert (page.text, page.state) == ("Words about a calendar.", PageState.TEXT)
    assert page.reason == "no event or card found in it: read as plain text"
    assert read("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "a.ics").pages[0].state is PageState.EMPTY


def test_an_invitation_is_told_by_its_bytes_in_a_mail():
    body = event("SUMMARY:Harvest council")
    head = "From: a@example.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\n"
    part = "Content-Type: application/octet-stream\n\n"
    assert read(f"{head}{part}{body}--B--\n", "a.eml").pages[1].text == "Harvest council"
    alone = read(f"From: a@example.org\nContent-Type: text/calendar\n\n{body}", "a.eml")
    assert [page.text for page in alone.pages] == ["From: a@example.org", "Harvest council"]


NAMES = [
    "SUMMARY",
    "LOCATION",
    "DESCRIPTION",
    "UID",
    "X-OTHER",
    "COMMENT",
    "CATEGORIES",
    "ATTENDEE",
]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 8)), max_size=8), st.integers(5, 40)
)
def test_every_word_is_shown_or_left_out_once(properties, width):
    words: list[str] = []
    lines = []
    for name, count in properties:
        mine = [f"w{len(words) + at:03}" for at in range(count)]
        words += mine
        lines.append(name + ":" + "\\, ".join(mine))
    folded = [re.sub(rf"(.{{{width}}})(?=.)", "\\1\r\n ", line) for line in lines]
    found = read(event(*folded), "a.ics")
    text = "\n".join([page.text for page in found.pages] + [one.text for one in found.left_out])
    assert sorted(re.findall(r"\bw\d{3}\b", text)) == words
