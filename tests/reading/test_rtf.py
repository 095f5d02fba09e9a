"""Rich Text: text, tables and facts, also of damaged files."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.markup.rtf import read_rtf
from retriever.reading.options import ReadOptions
from retriever.types import Document, Page, ReadError


def only(document: Document) -> Page:
    (page,) = document.pages
    return page


RTF = (
    rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title The Garden}{\author Ada Lovelace}"
    rb"{\creatim\yr2024\mo3\dy7}}{\header page head}Dark \b earth\b0  and caf\'e9 \u8364?.\par"
    rb"{\pict\pngblip "
    + b"89504e47" * 40
    + rb"}\trowd Ada\cell 1815\cell\row Bob\cell 1900\cell\row}"
)


def test_rich_text():
    found = read_rtf(RTF, "a.rtf")
    assert only(found).text == "Dark earth and café €.\nAda | 1815\nBob | 1900"
    assert (found.title, found.author, found.date) == ("The Garden", "Ada Lovelace", "2024-03-07")
    assert read_bytes(RTF, "a.doc.txt", ReadOptions()).format == "rtf"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(RTF)), put=st.binary(max_size=9), cut=st.integers(0, 40))
def test_damaged_rich_text_raises_nothing_but_read_errors(at, put, cut):
    try:
        page = only(read_bytes(RTF[:at] + put + RTF[at + cut :], "a.rtf", ReadOptions()))
    except ReadError:
        return
    assert page.state.readable == bool(page.text.strip())
    assert not re.search(r"[\x00-\x08]", page.text)
