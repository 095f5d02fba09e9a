"""Rich Text: text, tables and facts, also of damaged files."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.markup.rtf import read_rtf
from retriever.reading.options import ReadOptions
from retriever.types import Document, ReadError


def labelled(document: Document) -> dict[str, str]:
    return {page.label: page.text for page in document.pages}


def read(source: str) -> Document:
    return read_rtf(f"{{\\rtf1\\ansi\\ansicpg1252 {source}}}".encode("cp1252"), "a.rtf")


RTF = (
    rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title The Garden}{\author Ada Lovelace}"
    rb"{\creatim\yr2024\mo3\dy7}}{\header page head}Dark \b earth\b0  and caf\'e9 \u8364?.\par"
    rb"{\pict\pngblip "
    + b"89504e47" * 40
    + rb"}\trowd Ada\cell 1815\cell\row Bob\cell 1900\cell\row}"
)


def test_rich_text():
    found = read_rtf(RTF, "a.rtf")
    assert labelled(found) == {
        "": "Dark earth and café €.\nAda | 1815\nBob | 1900",
        "headers and footers": "page head",
    }
    assert (found.title, found.author, found.date) == ("The Garden", "Ada Lovelace", "2024-03-07")
    assert read_bytes(RTF, "a.doc.txt", ReadOptions()).format == "rtf"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(RTF)), put=st.binary(max_size=9), cut=st.integers(0, 40))
def test_damaged_rich_text_raises_nothing_but_read_errors(at, put, cut):
    try:
        found = read_bytes(RTF[:at] + put + RTF[at + cut :], "a.rtf", ReadOptions())
    except ReadError:
        return
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert not re.search(r"[\x00-\x08\ufdd0-\ufdd3]", page.text)


def test_characters_of_two_halves():
    assert labelled(read(r"End \u-10179?\u-8703? and \uc2\u-10179 xx\u-8703 xx!")) == {
        "": "End 😁 and 😁!"
    }


def test_notes_headers_comments_and_what_is_left_out():
    found = read(
        r"{\header Our file K-77\par}{\headerf Our file K-77}{\footer Page {\field{\*\fldinst PAGE}"
        r"{\fldrslt 3}} of 9}Dear{\footnote {\super 1} A sloth.} customer{\*\atnid AL}"
        r"{\*\atnauthor Ada L.}\chatn{\*\annotation {\*\atnref 1}Void?} {\deleted gone }pay."
        r"\par See {\field{\*\fldinst REF x}{\fldrslt clause 9}}."
        r"{\footnote\ftnalt An end{\i  note}.}"
    )
    assert labelled(found) == {
        "": "Dear customer pay.\nSee clause 9.\n\n1 A sloth.\n\nAn end note.",
        "headers and footers": "Our file K-77",
        "comments": "Ada L.: Void?",
    }
    assert [(left.kind, left.text) for left in found.left_out] == [
        ("deleted text", "gone"),
        ("field codes", "PAGE"),
        ("field codes", "REF x"),
        ("page numbers", "Page 3 of 9"),
    ]


def test_deleted_text_ends_where_the_file_says():
    found = read(r"kept {\b\deleted gone\deleted0  too} {\deleted more} and this")
    assert found.pages[0].text.split() == ["kept", "too", "and", "this"]
    assert [left.text for left in found.left_out] == ["gone", "more"]


def test_boxes_objects_formulas_and_pictures():
    found = read(
        r"before {\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt \pard in a box\par}}{\shprslt{\*\do"
        r"{\dptxbxtext in a box\par}}}}after {\object\objemb{\*\objclass X}{\*\objdata 0a0b}"
        r"{\result shown}} {\mmath{\*\moMath{\mf{\mfPr{\mtype bar}}"
        r"{\mnum{\mr a+b}}{\mden{\mr c}}}}}{\pict\bin5 }}{{{}{\upr{OLD}{\*\ud{new}}}"
    )
    (text,) = labelled(found).values()
    assert text.split() == ["before", "in", "a", "box", "after", "shown", "a+b", "c", "new"]


def test_tables_keep_the_names_of_their_columns():
    def row(*cells: str, properties: str = "") -> str:
        edges = "".join(f"{cell}\\cellx{n}" for n, cell in enumerate(properties.split(","), 1))
        shape = rf"\trowd {edges}\pard\intbl "
        return shape + "".join(f"{cell}\\cell " for cell in cells) + r"{\trowd\row}"

    plain = row("Name", "Phone", "Room") + row("Ada", "", "14") + row("Bob", "555|6", "")
    assert labelled(read(rf"Staff\par {plain}\pard after")) == {
        "": "Staff\nName: Ada | Room: 14\nName: Bob | Phone: 555|6\nafter"
    }
    merged = (
        row("Region", "City", "Sales")
        + row("North", r"Oslo\par harbour", "10", properties=r"\clvmgf,,")
        + row("", "Bergen", "11", properties=r"\clvmrg,,")
    )
    merged = merged.replace(r"{\trowd\row}", r"\row ")
    assert labelled(read(merged)) == {
        "": "Region: North | City: Oslo harbour | Sales: 10\n"
        "Region: North | City: Bergen | Sales: 11"
    }
    marked = (
        r"\trowd\trhdr\cellx1\cellx2 Word\cell Sense\cell\row "
        r"\trowd\cellx1\cellx2 cat\cell animal\cell\row"
    )
    assert labelled(read(marked)) == {"": "Word: cat | Sense: animal"}
