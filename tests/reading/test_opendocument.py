"""OpenDocument texts, sheets and slides, written by the test as the standard defines them."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Document, PageState, ReadError

SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
    for name, urn in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "presentation": "presentation",
        "meta": "meta",
        "m": "manifest",
    }.items()
)
MIME = "application/vnd.oasis.opendocument."


def saved(kind: str, body: str, **parts: str) -> bytes:
    content = (
        f"<office:document-content {SPACES}><office:body><office:{kind}>{body}"
        f"</office:{kind}></office:body></office:document-content>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", MIME + kind)
        archive.writestr("content.xml", content)
        for name, text in parts.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


def read(data: bytes, name: str) -> Document:
    return read_bytes(data, name, ReadOptions())


def test_a_text():
    data = saved(
        "text",
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>DELETED</text:p>"
        "</text:deletion></text:changed-region></text:tracked-changes>"
        '<text:h text:outline-level="2">On <text:span>trust</text:span></text:h>'
        '<text:p>One<text:s text:c="3"/>two<text:line-break/>three<text:note><text:note-citation>1'
        "</text:note-citation><text:note-body><text:p>A note.</text:p></text:note-body></text:note>"
        " four<office:annotation><text:p>COMMENT</text:p></office:annotation>.</text:p>"
        "<text:list><text:list-item><text:p>first</text:p><text:list><text:list-item>"
        "<text:p>below</text:p></text:list-item></text:list></text:list-item></text:list>"
        "<text:section><table:table><table:table-row><table:table-cell><text:p>Ada</text:p>"
        "</table:table-cell><table:table-cell><text:p>1815</text:p></table:table-cell>"
        "</table:table-row></table:table></text:section>"
        "<text:p><draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box></draw:frame></text:p>",
        meta_xml=f'<office:document-meta {SPACES} xmlns:dc="dc"><office:meta><dc:title>On Trust'
        "</dc:title><meta:initial-creator>Ada Lovelace</meta:initial-creator>"
        "<meta:creation-date>2024-03-07T10:30:00</meta:creation-date></office:meta>"
        "</office:document-meta>",
    )
    found = read(data, "a.odt")
    assert (found.format, found.title, found.author) == ("odt", "On Trust", "Ada Lovelace")
    assert found.date == "2024-03-07T10:30:00"
    assert [(page.number, page.label) for page in found.pages] == [(None, ""), (None, "comments")]
    assert found.pages[1].text == "COMMENT"
    assert [(left.kind, left.text) for left in found.left_out] == [
        ("deleted text", "DELETED"),
        ("note numbers", "1"),
    ]
    assert found.pages[0].text == (
        "## On trust\n\nOne two\nthree four.\n\n- first\n  - below\n\n"
        "Ada | 1815\n\nboxed\n\nA note."
    )
    assert read(data, "a.docx").pages[0].reason.endswith("an OpenDocument text: read as that")


def cell(text: str, **attributes: str) -> str:
    stated = " ".join(
        f'{"office" if "value" in key else "table"}:{key.replace("_", "-")}="{value}"'
        for key, value in attributes.items()
    )
    return f"<table:table-cell {stated}><text:p>{text}</text:p></table:table-cell>"


def test_sheets():
    row = "<table:table-row{}>{}</table:table-row>".format
    many = ' table:number-rows-repeated="1048576"'
    data = saved(
        "spreadsheet",
        '<table:table table:name="Prices">'
        + row("", cell("Name") + cell("Date") + cell("Share") + cell("Price"))
        + row(
            "",
            cell("Ada")
            + cell("07.03.24", value_type="date", date_value="2024-03-07T00:00:00")
            + cell("12,5 %", value_type="percentage", value="0.125")
            + cell("1.234,5", value_type="float", value="1234.5")
            + '<table:table-cell table:number-columns-repeated="16380"/>',
        )
        + row(many, cell("again", number_columns_repeated="16384"))
        + row(many, "<table:table-cell/>")
        + '</table:table><table:table table:name="Empty"/>',
    )
    found = read(data, "a.ods")
    assert [(page.number, page.label) for page in found.pages] == [
        (1, "sheet Prices"),
        (2, "sheet Empty"),
    ]
    assert found.pages[0].text == (
        "Name: Ada | Date: 07.03.24 (2024-03-07) | Share: 12,5 % | Price: 1.234,5\nName: again"
    )
    assert found.pages[1].state is PageState.EMPTY


def test_slides():
    frame = (
        '<draw:frame presentation:class="{}"><draw:text-box>{}</draw:text-box></draw:frame>'.format
    )
    data = saved(
        "presentation",
        "<draw:page>"
        + frame(
            "outline", "<text:list><text:list-item><text:p>a</text:p></text:list-item></text:list>"
        )
        + frame("title", "<text:p>Title</text:p>")
        + frame("footer", "<text:p>FOOTER</text:p>")
        + "<presentation:notes>"
        + frame("notes", "<text:p>Slowly.</text:p>")
        + "</presentation:notes></draw:page><draw:page/>",
    )
    pages = read(data, "a.odp").pages
    assert [(page.number, page.label, page.state) for page in pages] == [
        (1, "slide 1", PageState.TEXT),
        (2, "slide 2", PageState.EMPTY),
        (None, "headers and footers", PageState.TEXT),
    ]
    assert pages[0].text == "# Title\n\n- a\n\nNotes: Slowly."
    assert pages[2].text == "FOOTER"


def paragraph(text: str) -> str:
    return f"<text:p>{text}</text:p>"


def row(*cells: str) -> str:
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def labelled(data: bytes, name: str) -> dict[str, str]:
    return {page.label: page.text for page in read(data, name).pages}


def test_list_headers_and_what_lists_hold():
    item = "<text:list-item>{}</text:list-item>".format
    data = saved(
        "text",
        f"<text:list><text:list-header>{paragraph('To carry:')}</text:list-header>"
        + item(paragraph("lamp") + paragraph("and oil"))
        + item(f"<text:list>{item(paragraph('rope'))}</text:list>")
        + item(f"<table:table>{row(cell('n'), cell('9'))}</table:table>")
        + "</text:list>",
    )
    assert labelled(data, "a.odt") == {
        "": "To carry:\n- lamp\n- and oil\n  - rope\n- n | 9",
    }


def test_tables_in_tables_once_with_names_and_merged_cells():
    inner = f"<table:table>{row(cell('in'), cell('side'))}</table:table>"
    outer = (
        "<table:table><table:table-header-rows>"
        + row(cell("Region"), cell("Q1", number_columns_spanned="2"), "<table:covered-table-cell/>")
        + row(cell(""), cell("plan"), cell("actual"))
        + "</table:table-header-rows><table:table-rows>"
        + row(cell("North", number_rows_spanned="2"), cell("much"), cell(""))
        + row(
            "<table:covered-table-cell/>", cell(""), f"<table:table-cell>{inner}</table:table-cell>"
        )
        + "</table:table-rows></table:table>"
    )
    assert labelled(saved("text", outer), "a.odt") == {
        "": "Region: North | Q1 plan: much\nRegion: North | Q1 actual: in | side",
    }


def test_headers_comments_ruby_boxes_and_objects():
    styles = (
        f"<office:document-styles {SPACES} xmlns:style='s'><office:master-styles>"
        f"<style:master-page><style:header>{paragraph('Our file K-77')}</style:header>"
        f"<style:header-left>{paragraph('Our file K-77')}</style:header-left><style:footer>"
        f"{paragraph('Page <text:page-number>1</text:page-number>')}</style:footer>"
        "</style:master-page></office:master-styles></office:document-styles>"
    )
    chart = (
        f"<office:document-content {SPACES} xmlns:chart='c'><office:body><office:chart>"
        f"<chart:chart><chart:title>{paragraph('Sales')}</chart:title><table:table>"
        + row(cell("Year"), cell("Sold"))
        + row(cell("2023"), cell("10"))
        + row(cell("2024"), cell("12"))
        + "</table:table></chart:chart></office:chart></office:body></office:document-content>"
    )
    comment = (
        "<office:annotation><dc:creator xmlns:dc='dc'>Ada</dc:creator><dc:date xmlns:dc='dc'>2024"
        f"</dc:date>{paragraph('Void?')}{paragraph('Ask.')}</office:annotation>"
    )
    ruby = (
        "<text:ruby><text:ruby-base>東京</text:ruby-base><text:ruby-text>とうきょう</text:ruby-text>"
        "</text:ruby>都庁"
    )
    box = (
        "<draw:frame><draw:text-box><table:table>"
        + row(cell("Name"), cell("Born"))
        + row(cell("Ada"), cell("1815"))
        + "</table:table></draw:text-box></draw:frame>"
    )
    drawn = "<draw:frame><draw:object xmlns:x='x' x:href='./Object 1'/></draw:frame>"
    data = saved(
        "text",
        paragraph(f"Visit {comment}{ruby}{box}.") + paragraph(drawn),
        styles_xml=styles,
        **{"Object 1__content_xml": chart},
    )
    found = read(data, "a.odt")
    assert {page.label: page.text for page in found.pages} == {
        "": "Visit 東京都庁.\n\nName: Ada | Born: 1815\n\nSales\n\n"
        "Year: 2023 | Sold: 10\nYear: 2024 | Sold: 12",
        "comments": "Ada: Void?\nAsk.",
        "headers and footers": "Our file K-77",
    }
    assert [(left.kind, left.text) for left in found.left_out] == [
        ("ruby", "とうきょう"),
        ("page numbers", "1"),
        ("page numbers", "Page"),
    ]


def test_a_filter_names_the_columns():
    table = (
        '<table:table table:name="S 1">'
        + row(cell("About words"))
        + row(cell("Word"), cell("Sense"))
        + row(cell("cat"), cell("animal"))
        + "</table:table><table:database-ranges><table:database-range "
        + 'table:target-range-address="{}.A2:{}.B3" table:display-filter-buttons="true"/>'
        + "</table:database-ranges>"
    )
    rows = {
        "'S 1'": "Word: cat | Sense: animal",
        "$'S 1'": "Word: cat | Sense: animal",
        "other": "Word | Sense\ncat | animal",
    }
    for name, text in rows.items():
        found = labelled(saved("spreadsheet", table.format(name, name)), "a.ods")
        assert found == {"sheet S 1": f"About words\n{text}"}


def test_placeholders_of_fields_are_no_headers():
    header = (
        "<text:p><text:sheet-name>???</text:sheet-name> (<text:title>???</text:title>)</text:p>"
    )
    styles = (
        f"<office:document-styles {SPACES} xmlns:style='s'><style:master-page><style:header>"
        f"{header}</style:header></style:master-page></office:document-styles>"
    )
    found = read(saved("text", paragraph("text"), styles_xml=styles), "a.odt")
    assert [page.text for page in found.pages] == ["text"]
    assert [left.kind for left in found.left_out] == ["page numbers"]


def test_cells_as_displayed_with_comments_and_boxes():
    comment = f"<office:annotation>{paragraph('Right?')}</office:annotation>"
    box = f"<draw:custom-shape>{paragraph('boxed')}</draw:custom-shape>"
    data = saved(
        "spreadsheet",
        '<table:table table:name="S"><table:table-header-rows>'
        + row(cell("Zip"), cell("Note"))
        + "</table:table-header-rows>"
        + row(
            cell("01234", value_type="float", value="1234"),
            f"<table:table-cell>{comment}{box}{paragraph('a<text:s/>b<text:line-break/>c')}"
            "</table:table-cell>",
        )
        + row(cell("all", number_rows_spanned="2"), cell("x"))
        + row("<table:covered-table-cell/>", cell("y"))
        + f"<table:shapes>{box.replace('boxed', 'drawn')}</table:shapes></table:table>",
    )
    assert labelled(data, "a.ods") == {
        "sheet S": "Zip: 01234 | Note: a b c\nZip: all | Note: x\nZip: all | Note: y",
        "sheet S, comments": "B2, Right?",
        "sheet S, text boxes": "boxed\n\ndrawn",
    }


def test_locked_and_broken():
    manifest = (
        f"<m:manifest {SPACES}><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>"
    )
    page = read(saved("text", "", **{"META-INF__manifest_xml": manifest}), "a.odt").pages[0]
    assert page.state is PageState.ENCRYPTED
    assert page.reason.startswith("password needed")
    with pytest.raises(ReadError, match="broken: its parts cannot be read as an OpenDocument"):
        read(saved("text", "<text:p>not closed"), "a.odt")
    with pytest.raises(ReadError, match="no text, table or presentation"):
        read(saved("drawing", ""), "a.odt")


SEED = saved("text", "<text:p>Some words</text:p>")


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, len(SEED) - 1), junk=st.binary(max_size=20), cut=st.integers(0, 40))
def test_damaged_bytes_raise_nothing_but_read_errors(at, junk, cut):
    try:
        found = read(SEED[:at] + junk + SEED[at + cut :], "a.odt")
    except ReadError:
        return
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert page.state.readable or page.reason
