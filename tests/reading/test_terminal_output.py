"""Terminal output: what a terminal would show, and no code of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.reading.terminal_output import drop_overwritten, drop_terminal_codes
from retriever.types import PageState

ESC = "\x1b"
SHOWN = {
    "colours": (f"{ESC}[32mINFO{ESC}[0m {ESC}[1;38;5;208mturbine{ESC}[22m", "INFO turbine"),
    "colours by colons": (f"{ESC}[38:2:1:2:3mred{ESC}[m", "red"),
    "erase": (f"a{ESC}[Kb{ESC}[2K{ESC}[?25lc{ESC}[?2004h", "abc"),
    "cursor shape": (f"{ESC}[2 qword{ESC}[!p", "word"),
    "title": (f"{ESC}]0;user@host: ~\x07$ ls", "$ ls"),
    "title, other end": (f"{ESC}]2;title{ESC}\\$ ls", "$ ls"),
    "hyperlink": (f"see {ESC}]8;;https://example.org{ESC}\\the page{ESC}]8;;{ESC}\\ now", None),
    "title of screen": (f"{ESC}kbash{ESC}\\$ ls", "$ ls"),
    "picture": (f"a{ESC}Pq#0;2;0;0;0#0~~@@{ESC}\\b", "ab"),
    "message": (f"a{ESC}_Gi=1;AAAA{ESC}\\b", "ab"),
    "character set": (f"{ESC}(Bplain{ESC})0", "plain"),
    "line drawing": (f"{ESC}(0lqk{ESC}(B box", "┌─┐ box"),
    "save, restore, keypad": (f"{ESC}7a{ESC}8{ESC}=b{ESC}>{ESC}c", "ab"),
    "cursor right": (f"left{ESC}[10Cright", "left right"),
    "column": (f"left{ESC}[40Gright", "left right"),
    "place": (f"top{ESC}[2;1Hnext{ESC}[Bmore", "top\nnext\nmore"),
    "screen": (f"{ESC}[2J{ESC}[HTop of it", "Top of it"),
    "eight bits": ("\x9b31mred\x9b0m", "red"),
    "as cat shows it": ("^[[31mred^[[0m", "red"),
    "cut": (f"word {ESC}[3", "word "),
    "lone": (f"word{ESC}", "word"),
    "unended title": (f"{ESC}]0;words of the title", "words of the title"),
    "bell": ("done\x07", "done"),
    "bold": ("N\bNA\bAM\bME\bE", "NAME"),
    "bold thrice": ("N\bN\bNo", "No"),
    "underlined": ("_\bl_\bs and x\b_y\b_", "ls and xy"),
    "bullet": ("+\bo item", "• item"),
    "accents": ("cafe\b' nai\b\"ve", "café naïve"),
    "typed and erased": ("sl\b \b\b \bls", "ls"),
    "spinner": ("-\b\\\b|\b/\b done", " done"),
}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_a_terminal_shows(name):
    written, shown = SHOWN[name]
    assert drop_terminal_codes(written) == (shown or "see the page now")


def test_progress_is_kept_in_its_last_state():
    bars = "".join(f"Epoch 1: {n}%|{'█' * n}| {n}/9\r" for n in range(9))
    text, dropped = drop_overwritten(f"begin\n{bars}Epoch 1: 9%|█| 9/9\nend\n")
    assert text == "begin\nEpoch 1: 9%|█| 9/9\nend\n"
    assert dropped.count("Epoch") == 9


@pytest.mark.parametrize(
    "text",
    [
        *["one\rtwo\nthree", "1 2\r3 4", "1.5\r2.5\n", "Downloading a\rDone\n", "a\r\nb\r\r\nc"],
        *["Ada 12\rBob 13\rCid 14\n", "Year 1901\rYear 1902\n"],
    ],
)
def test_no_words_are_taken_for_progress(text):
    assert drop_overwritten(text) == (text, "")


@given(st.lists(st.sampled_from([f"{ESC}[1m", f"{ESC}[3;4H", f"{ESC}]0;t\x07", "ab", "\n", " "])))
def test_no_words_are_lost_or_joined_by_moves(pieces):
    kept = [piece for piece in pieces if piece == "ab"]
    shown = drop_terminal_codes("".join(pieces))
    assert shown.count("ab") == len(kept)
    assert set(shown) <= set("ab \n")


LINE = f"{ESC}[90m10:00{ESC}[0m {ESC}[31mERROR{ESC}[0m turbine\n"


def nested(source: str) -> bytes:
    cell = {"cell_type": "code", "source": "f()", "outputs": [{"text": source}]}
    return json.dumps({"cells": [cell]}).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.log", (LINE * 20).encode()),
        ("a.txt", (LINE * 20).encode()),
        ("a.md", f"# Build\n\n{LINE * 20}".encode()),
        ("a.rst", f"Build\n=====\n\n{LINE * 20}".encode()),
        ("a.diff", (LINE * 20).encode()),
        ("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{LINE}".encode()),
        ("a.ipynb", nested(LINE)),
        ("a.eml", f"From: a@example.org\nSubject: log\n\n{LINE * 20}".encode()),
        ("a.mbox", f"From a Tue Mar  5 10:00:00 2024\nSubject: log\n\n{LINE}".encode()),
        ("a.csv", f"time,level\n10:00,{ESC}[31mERROR{ESC}[0m turbine\n".encode()),
        ("a.jsonl", (json.dumps({"line": LINE}) + "\n").encode()),
    ],
)
def test_every_plain_format_is_read_without_them(name, data):
    (page,) = read_bytes(data, name, ReadOptions()).pages
    assert page.state is PageState.TEXT
    assert "ERROR turbine" in page.text
    assert not set(page.text) & {ESC, "\ufffd"}
    assert "[0m" not in page.text


def test_a_recording_of_script():
    recording = (
        'Script started on 2024-03-01 10:00:00+01:00 [TERM="xterm"]\r\n'
        f"{ESC}[?2004h{ESC}]0;ada@mill: ~\x07ada@mill:~$ mkae\b\b\b{ESC}[Kake grind\r\n"
        f"{ESC}[?2004l\rgrinding  10%\rgrinding 100%\r\n{ESC}[1mdone{ESC}[0m\r\n"
    )
    found = read_bytes(recording.encode(), "typescript.txt", ReadOptions())
    assert found.pages[0].text.split("\n")[1:] == [
        *["ada@mill:~$ make grind", "grinding 100%", "done"],
    ]
    assert [(one.kind, one.text) for one in found.left_out] == [
        ("overwritten progress", "grinding  10%")
    ]


def test_colours_that_have_lost_their_escape_character():
    found = read_bytes(b"[32mok[0m the mill\n[31mbad[0m the weir", "a.log", ReadOptions())
    assert found.pages[0].text == "ok the mill\nbad the weir"
