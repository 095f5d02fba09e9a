"""Subtitles: every spoken word once, under its time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.plain.subtitles import read_subtitles
from retriever.types import PageState

SRT = """1
00:00:06,000 --> 00:00:08,500
{\\an8}<i>Dark earth</i>
and seeds.

2
00:00:08,600 --> 00:00:10,000
- Who is there?
- Bob &amp; Ada.

3
01:02:03,000 --> 01:02:04,000
The end.
"""
TEXT = "[00:00:06] Dark earth and seeds.\n- Who is there?\n- Bob & Ada.\n\n[01:02:03] The end."


def text_of(source: str, name: str = "a.srt") -> str:
    (page,) = read_subtitles(source.encode(), name).pages
    return page.text


def test_paragraphs_begin_with_their_time():
    found = read_subtitles(SRT.encode(), "a.srt")
    assert found.pages[0].text == TEXT
    assert (found.format, found.pages[0].number, found.pages[0].reason) == ("subtitles", None, "")


@pytest.mark.parametrize(
    "damaged",
    [
        SRT.replace("\n\n", "\n"),
        SRT.replace("\n2\n", "\nseven\n\n"),
        re.sub(r"^\d\n", "", SRT, flags=re.M),
        SRT.replace("\n", "\r\n"),
        SRT.replace(",", "."),
        SRT.replace(" --> ", "-->"),
        "\ufeff" + SRT,
    ],
)
def test_damaged_numbers_and_blanks_cost_nothing(damaged):
    assert text_of(damaged).replace(" seven", "") == TEXT


def test_webvtt():
    source = """WEBVTT Kind: captions

STYLE
::cue { color: red }

NOTE a comment

intro
00:01.000 --> 00:04.000 align:start position:0%
<v Ada>Dark <c.red>earth</c><00:00:02.000><c> here</c>

00:05.000 --> 00:06.000
<v.loud Ada>More.

00:06.500 --> 00:07.000
<v Bob>No.
"""
    assert text_of(source, "a.vtt") == "[00:00:01] Ada: Dark earth here More. Bob: No."


def test_lines_that_roll_up_are_said_once():
    source = """WEBVTT

00:00:00.000 --> 00:00:02.000
hello<00:00:01.000><c> everyone</c>

00:00:02.000 --> 00:00:02.010
hello everyone

00:00:02.010 --> 00:00:04.000
hello everyone
and<00:00:03.000><c> welcome</c>

00:00:04.000 --> 00:00:04.010
and welcome

00:00:04.010 --> 00:00:06.000
and welcome
back
"""
    assert text_of(source, "a.vtt") == "[00:00:00] hello everyone and welcome back"


def test_what_is_said_twice_is_kept():
    source = "00:00:01.000 --> 00:00:02.000\nNo.\n\n00:00:03.000 --> 00:00:04.000\nNo.\n"
    assert text_of(source) == "[00:00:01] No. No."


def test_a_long_speech_is_cut_at_the_end_of_a_sentence():
    cues = [
        f"00:{n // 60:02}:{n % 60:02},000 --> 00:{(n + 3) // 60:02}:{(n + 3) % 60:02},000\n"
        f"seeds {n}{'.' if n % 9 == 0 else ''}\n"
        for n in range(0, 150, 3)
    ]
    paragraphs = text_of("\n".join(cues)).split("\n\n")
    assert all(paragraph.endswith(".") for paragraph in paragraphs[:-1])
    starts = [int(p[4:6]) * 60 + int(p[7:9]) for p in paragraphs]
    assert starts == [0, 30, 66, 102, 138]  # after 27, 63, 99 and 135


def test_other_kinds():
    sbv = "0:00:01.000,0:00:02.000\nDark earth,\n\n0:00:02.500,0:00:03.000\n12:30, 14:45.\n"
    assert text_of(sbv, "a.sbv") == "[00:00:01] Dark earth, 12:30, 14:45."
    ass = (
        "[Script Info]\nTitle: x\n[Events]\nFormat: Layer, Start, …\n"
        "Dialogue: 0,0:00:05.00,0:00:06.00,Default,Bob,0,0,0,,Second, with\\Na comma\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\i1}First{\\i0}\n"
        "Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}\n"
    )
    assert text_of(ass, "a.ass") == "[00:00:01] First\n\n[00:00:05] Bob: Second, with a comma"


def test_without_times_it_is_plain_text():
    (page,) = read_subtitles(b"Only words.\n\nMore.", "a.srt").pages
    assert (page.text, page.reason) == (
        "Only words.\n\nMore.",
        "no times found in it: read as plain text",
    )
    (page,) = read_subtitles(b"1\n00:00:01,000 --> 00:00:02,000\n\n", "a.srt").pages
    assert (page.state, page.reason) == (PageState.EMPTY, "nothing is said in it")


WORDS = st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)


@given(cues=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5), WORDS), max_size=30))
def test_every_word_is_there_in_order(cues):
    lines, words, now = [], [], 0
    for number, (pause, length, said) in enumerate(cues):
        begin = now + pause
        now = begin + length
        lines.append(f"{number}\n{clock(begin)} --> {clock(now)}\n{said} n{number}\n")
        words += [*said.split(), f"n{number}"]
    (page,) = read_subtitles("\n".join(lines).encode(), "a.srt").pages
    assert re.sub(r"\[[\d:]+\]", "", page.text).split() == words


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},500"


@given(st.text("01:,.->\n <v{\\", max_size=200))
def test_any_text_gives_a_page(source):
    (page,) = read_subtitles(source.encode() or b" ", "a.vtt").pages
    assert page.state.readable == bool(page.text.strip())


def test_what_is_not_said_is_named():
    source = """WEBVTT - The mill at night

STYLE
::cue { color: red }

NOTE a comment
of two lines

intro
00:01.000 --> 00:04.000
<v Ada>Dark earth <laughs>
<v.loud Bob>Yes, a <b and c> d.

2
00:05.000 --> 00:06.000
More.
"""
    found = read_subtitles(source.encode(), "a.vtt")
    assert found.title == "The mill at night"
    assert found.pages[0].text == (
        "[00:00:01] Ada: Dark earth <laughs> Bob: Yes, a <b and c> d. More."
    )
    assert [(one.kind, one.text) for one in found.left_out] == [
        ("metadata", "WEBVTT - The mill at night"),
        ("styles", "STYLE"),
        ("styles", "::cue { color: red }"),
        ("comments", "NOTE a comment"),
        ("comments", "of two lines"),
        ("names of cues", "intro"),
    ]


def test_what_a_styled_script_does_not_say():
    source = (
        "[Script Info]\nTitle: The mill\n; made by hand\n\n[Events]\nFormat: Layer, Start\n"
        "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,to be checked\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,Ada,0,0,0,,Dark\\Nearth\n"
    )
    found = read_subtitles(source.encode(), "a.ass")
    assert (found.title, found.pages[0].text) == ("The mill", "[00:00:01] Ada: Dark earth")
    assert [one.kind for one in found.left_out] == [
        *["metadata", "metadata", "comments", "metadata", "metadata", "comments"]
    ]
