"""PowerPoint, Excel and OLE containers: their text, what is left out, and passwords."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from datetime import date, datetime, time, timedelta

import openpyxl
import pptx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msoffcrypto.format.ooxml import OOXMLFile
from openpyxl.worksheet.worksheet import Worksheet
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from retriever.reading import archives, extras
from retriever.reading.formats import read_bytes
from retriever.reading.office import pptx as pptx_reader
from retriever.reading.office import xlsx
from retriever.reading.office.pptx import read_pptx
from retriever.reading.office.xlsx import read_xls, read_xlsx
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.types import Document, LeftOut, PageState, ReadError

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff"
    "3f0005fe02fe0def46b80000000049454e44ae426082"
)


def saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def changed(data: bytes, **parts: bytes | None) -> bytes:
    """A package with parts replaced or removed; in the keys, `__` means / and `_` means a point."""
    source = zipfile.ZipFile(io.BytesIO(data))
    contents = {name: source.read(name) for name in source.namelist()}
    for key, content in parts.items():
        name = key.replace("__", "/").replace("_", ".")
        contents[name] = content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
    return buffer.getvalue()


def sheet_of(*table: list) -> Worksheet:
    sheet = openpyxl.Workbook().active
    sheet.title = "Prices"
    for row in table:
        sheet.append(row)
    return sheet


def book(sheet: Worksheet) -> Document:
    return read_xlsx(saved(sheet.parent), "a.xlsx", ReadOptions())


def locked(data: bytes, password: str) -> bytes:
    buffer = io.BytesIO()
    OOXMLFile(io.BytesIO(data)).encrypt(password, buffer)
    return buffer.getvalue()


# PowerPoint


def show() -> pptx.presentation.Presentation:
    return pptx.Presentation()


def box(slide, text: str, left: float, top: float, height: float = 1) -> None:
    shape = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(height))
    shape.text_frame.text = text


def texts(document) -> list[str]:
    return [page.text for page in read_pptx(saved(document), "a.pptx", ReadOptions()).pages]


def test_title_list_notes_and_facts():
    document = show()
    cover = document.slides.add_slide(document.slide_layouts[0])
    cover.shapes.title.text = "On Trust"
    cover.placeholders[1].text = "A talk"
    slide = document.slides.add_slide(document.slide_layouts[1])
    slide.shapes.title.text = "Three\vreasons"
    frame = slide.placeholders[1].text_frame
    frame.text = "first"
    for level, text in ((1, "below"), (0, "second")):
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = text, level
    slide.notes_slide.notes_text_frame.text = "Say it slowly.\nThen stop."
    document.core_properties.author = "Ada Lovelace"
    document.core_properties.created = datetime(2024, 3, 7, 10, 30)
    extensions: list[float] = []
    found = read_pptx(saved(document), "a.pptx", ReadOptions(extend_deadline=extensions.append))
    assert [(page.number, page.label) for page in found.pages] == [(1, "slide 1"), (2, "slide 2")]
    assert found.pages[0].text == "# On Trust\n\nA talk"
    assert found.pages[1].text == (
        "# Three reasons\n\n- first\n  - below\n- second\n\nNotes: Say it slowly.\nThen stop."
    )
    assert (found.title, found.author, found.date[:10]) == (
        "On Trust",
        "Ada Lovelace",
        "2024-03-07",
    )
    assert extensions == [PAGE_SECONDS] * 2


def test_reading_order_groups_tables_and_charts():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[6])
    box(slide, "right", 5, 1.2)
    box(slide, "below", 1, 3)
    box(slide, "left", 1, 1)
    group = slide.shapes.add_group_shape()
    box(group, "in a group", 1, 4)
    table = slide.shapes.add_table(3, 2, Inches(1), Inches(5), Inches(4), Inches(1)).table
    for at, text in enumerate(["Name", "Born", "Ada", "1815", "Mary", "1797"]):
        table.cell(at // 2, at % 2).text = text
    numbers = CategoryChartData()
    numbers.categories = ["2023", "2024"]
    numbers.add_series("Revenue", (10.5, 12))
    where = (Inches(1), Inches(6), Inches(3), Inches(1))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *where, numbers).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Sales"
    assert texts(document) == [
        "left\n\nright\n\nbelow\n\nin a group\n\nName: Ada | Born: 1815\n"
        "Name: Mary | Born: 1797\n\nSales\n2023 | Revenue: 10.5\n2024 | Revenue: 12"
    ]


def test_footers_are_read_once_and_numbers_are_left_out():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[1])
    slide.shapes.title.text = "Title"
    body = slide.placeholders[1]
    body.text_frame.text = "Kept."
    for kind, idx in (("ftr", 11), ("sldNum", 12), ("dt", 10)):
        copy = pptx.oxml.parse_xml(pptx.oxml.xmlchemy.serialize_for_reading(body.element))
        mark = copy.find(".//{*}nvPr/{*}ph")
        mark.set("type", kind)
        mark.set("idx", str(idx))
        copy.find(".//{*}t").text = f"text of {kind}"
        slide.shapes._spTree.append(copy)
    found = read_pptx(saved(document), "a.pptx", ReadOptions())
    assert {page.label: page.text for page in found.pages} == {
        "slide 1": "# Title\n\nKept.",
        "headers and footers": "text of ftr\n\ntext of dt",
    }
    assert found.left_out == (LeftOut("slide numbers and dates", "text of sldNum"),)


def test_comments_notes_and_the_text_of_layouts():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[6])
    box(slide, "on the slide", 1, 1)
    notes = slide.notes_slide
    notes.notes_text_frame.text = "Slowly."
    place = (Inches(1), Inches(1), Inches(1), Inches(1))
    notes.shapes._spTree.append(slide.shapes.add_textbox(*place).element)
    notes.shapes[-1].text_frame.text = "beside the notes"
    logo = slide.shapes.add_textbox(*place)
    logo.text_frame.text = "Acme, confidential"
    slide.slide_layout.shapes._spTree.append(logo.element)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    people = "<p:l xmlns:p='p'><p:cmAuthor id='4' name='Ada'/></p:l>"
    old = "<p:l xmlns:p='p'><p:cm authorId='4'><p:text>Why so?</p:text></p:cm></p:l>"
    new = (
        "<p:l xmlns:p='p' xmlns:a='a'><p:cm><p:replyLst><p:reply authorId='4'><p:txBody><a:p><a:r>"
        "<a:t>An answer</a:t></a:r></a:p></p:txBody></p:reply></p:replyLst><p:txBody><a:p><a:r>"
        "<a:t>A question</a:t></a:r></a:p></p:txBody></p:cm></p:l>"
    )
    for owner, name, xml in (
        (document.part, "commentAuthors", people),
        (slide.part, "comments", old),
        (slide.part, "comments", new),
    ):
        path = pptx.opc.packuri.PackURI(f"/ppt/{name}{len(xml)}.xml")
        part = pptx.opc.package.Part(path, "application/xml", owner.package, xml.encode())
        owner.relate_to(part, kind + name)
    pages = read_pptx(saved(document), "a.pptx", ReadOptions()).pages
    assert {page.label: page.text for page in pages} == {
        "slide 1": "on the slide\n\nNotes: Slowly.\nbeside the notes\n\nComment: Ada: Why so?\n\n"
        "Comment: A question\n\nComment: Ada: An answer",
        "headers and footers": "Acme, confidential",
    }


def test_merged_cells_of_a_slide():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[6])
    table = slide.shapes.add_table(4, 3, Inches(1), Inches(1), Inches(4), Inches(2)).table
    cells = ["Region", "Q1", "", "", "plan", "actual", "North", "10", "11", "", "", "21"]
    for at, text in enumerate(cells):
        table.cell(at // 3, at % 3).text = text
    for first, last in (((0, 0), (1, 0)), ((0, 1), (0, 2)), ((2, 0), (3, 0))):
        table.cell(*first).merge(table.cell(*last))
    assert texts(document) == [
        "Region: North | Q1 plan: 10 | Q1 actual: 11\nRegion: North | Q1 actual: 21"
    ]


def strict(data: bytes) -> bytes:
    """A package with the names of Strict Open XML."""
    source = zipfile.ZipFile(io.BytesIO(data))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            for kind in ("officeDocument", "spreadsheetml", "presentationml", "drawingml"):
                usual = f"http://schemas.openxmlformats.org/{kind}/2006/".encode()
                content = content.replace(usual, f"http://purl.oclc.org/ooxml/{kind}/".encode())
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_strict_presentation_is_read_as_a_usual_one():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[0])
    slide.shapes.title.text = "On Trust"
    slide.notes_slide.notes_text_frame.text = "Slowly."
    page = read_pptx(strict(saved(document)), "a.pptx", ReadOptions()).pages[0]
    assert (page.text, page.reason) == ("# On Trust\n\nNotes: Slowly.", "")


def test_formulas_stored_twice_and_diagrams_are_read():
    document = show()
    slide = document.slides.add_slide(document.slide_layouts[6])
    box(slide, "in both forms", 1, 1)
    shape = slide.shapes[0].element
    wrapper = pptx.oxml.parse_xml(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        '<mc:Choice Requires="a14"/><mc:Fallback/></mc:AlternateContent>'
    )
    shape.addprevious(wrapper)
    wrapper[0].append(shape)
    assert texts(document) == ["in both forms"]
    diagram = (
        b'<d:dataModel xmlns:d="d" xmlns:a="a"><d:ptLst><d:pt><d:t><a:p><a:r><a:t>Plan</a:t></a:r>'
        b"</a:p></d:t></d:pt><d:pt/><d:pt><d:t><a:p><a:r><a:t>Do</a:t></a:r></a:p></d:t></d:pt>"
        b"</d:ptLst></d:dataModel>"
    )
    assert pptx_reader._diagram(diagram) == "- Plan\n- Do"


def test_slides_without_text():
    document = show()
    blank = document.slide_layouts[6]
    document.slides.add_slide(blank)
    document.slides.add_slide(blank).shapes.add_picture(
        io.BytesIO(PNG), 0, 0, Inches(10), Inches(7)
    )
    document.slides.add_slide(blank).shapes.add_picture(io.BytesIO(PNG), 0, 0, Inches(1), Inches(1))
    hidden = document.slides.add_slide(blank)
    hidden.element.set("show", "0")
    box(hidden, "secret", 1, 1)
    pages = read_pptx(saved(document), "a.pptx", ReadOptions()).pages
    states = [PageState.EMPTY, PageState.SCANNED, PageState.EMPTY, PageState.TEXT]
    assert [page.state for page in pages] == states
    assert "OCR" in pages[1].reason
    assert (pages[3].text, pages[3].reason) == ("secret", "a hidden slide")
    assert read_pptx(saved(show()), "a.pptx", ReadOptions()).pages[0].state is PageState.EMPTY


def test_a_damaged_slide_or_theme_leaves_the_others():
    document = show()
    for title in ("One", "Two"):
        document.slides.add_slide(document.slide_layouts[5]).shapes.title.text = title
    data = changed(saved(document), ppt__slides__slide1_xml=b"<broken")
    pages = read_pptx(data, "a.pptx", ReadOptions()).pages
    assert [page.state for page in pages] == [PageState.FAILED, PageState.TEXT]
    assert pages[1].text == "Two"
    assert "damaged" in pages[1].reason
    nothing = changed(data, ppt__slides__slide2_xml=b"")
    with pytest.raises(ReadError, match="broken: its parts cannot be read as a PowerPoint"):
        read_pptx(nothing, "a.pptx", ReadOptions())


def test_a_bomb_of_a_presentation_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(archives, "MAX_PART", 5_000)
    page = read_pptx(saved(show()), "a.pptx", ReadOptions()).pages[0]
    assert page.state is PageState.TOO_LONG


def test_more_slides_than_are_read(monkeypatch):
    monkeypatch.setattr(pptx_reader, "MAX_SLIDES", 2)
    document = show()
    for _ in range(3):
        box(document.slides.add_slide(document.slide_layouts[6]), "words", 1, 1)
    pages = read_pptx(saved(document), "a.pptx", ReadOptions()).pages
    assert [page.state for page in pages] == [PageState.TEXT, PageState.TEXT, PageState.TOO_LONG]


# Excel


def test_values_as_the_sheet_shows_them():
    sheet = sheet_of(
        ["Name", "Date", "Moment", "Time", "Share", "Price", "Sold", "Sum", "Error", "Length"],
        ["Ada", date(2024, 3, 7), datetime(2024, 3, 7, 10, 30), time(9, 5), 0.125, 12.5, True],
    )
    sheet["E2"].number_format = "0.0%"
    sheet["H2"], sheet["I2"], sheet["J2"] = 0.1 + 0.2, "#N/A", timedelta(hours=30)
    document = book(sheet)
    assert [(page.number, page.label) for page in document.pages] == [(1, "sheet Prices")]
    assert document.pages[0].text == (
        "Error\n"
        "Name: Ada | Date: 2024-03-07 | Moment: 2024-03-07 10:30 | Time: 09:05 | Share: 12.5% | "
        "Price: 12.5 | Sold: TRUE | Sum: 0.3 | Length: 30:00"
    )


def test_sheets_hidden_empty_and_with_gaps():
    sheet = sheet_of()
    sheet["C4"], sheet["D4"], sheet["C5"], sheet["D5"] = "Town", "People", "Ulm", 126_000
    sheet["C7"], sheet["D7"] = "Bonn", 330_000
    secret = sheet.parent.create_sheet("Old")
    secret.sheet_state = "hidden"
    secret["A1"] = "still here"
    sheet.parent.create_sheet("None")
    pages = book(sheet).pages
    assert [page.label for page in pages] == ["sheet Prices", "sheet Old", "sheet None"]
    assert pages[0].text == "Town: Ulm | People: 126000\nTown: Bonn | People: 330000"
    assert (pages[1].text, pages[1].reason) == ("still here", "a hidden sheet")
    assert (pages[2].state, pages[2].reason) == (PageState.EMPTY, "no cells with text in it")


def test_a_form_of_two_columns_has_no_names_of_columns():
    sheet = sheet_of(["Name", "Ada"], ["Town", "London"], ["Job", "Countess"])
    assert book(sheet).pages[0].text == "Name | Ada\nTown | London\nJob | Countess"


def test_formulas_give_their_stored_results_or_say_that_there_are_none():
    sheet = sheet_of(["n", "double"], [4, "=A2*2"], [5, "=A3*2"])
    page = book(sheet).pages[0]
    assert page.text == "double\nn: 4\nn: 5"
    assert page.reason.startswith("2 formulas have no stored result")
    data = saved(sheet.parent)
    part = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    part = part.replace(b"<f>A2*2</f><v></v>", b"<f>A2*2</f><v>8</v>")
    part = part.replace(b"<f>A2*2</f><v/>", b"<f>A2*2</f><v>8</v>")
    part = part.replace(b"<f>A2*2</f><v />", b"<f>A2*2</f><v>8</v>")
    page = read_xlsx(changed(data, xl__worksheets__sheet1_xml=part), "a.xlsx", ReadOptions()).pages[
        0
    ]
    assert page.text.split("\n")[0] == "n: 4 | double: 8"
    assert page.reason.startswith("1 formula has no stored result")


def test_large_sheets_are_parts_and_end_somewhere(monkeypatch):
    sheet = sheet_of(["n", "square"], *([n, n * n] for n in range(1_100)))
    extensions: list[float] = []
    pages = read_xlsx(
        saved(sheet.parent), "a.xlsx", ReadOptions(extend_deadline=extensions.append)
    ).pages
    assert [page.label.removeprefix("sheet Prices, ") for page in pages] == [
        *("rows 2–501", "rows 502–1001", "rows 1002–1101"),
    ]
    assert {page.number for page in pages} == {1}
    assert len(extensions) == 3
    monkeypatch.setattr(xlsx, "MAX_CELLS", 2_400)
    pages = book(sheet).pages
    assert [page.state for page in pages] == [*[PageState.TEXT] * 2, PageState.TOO_LONG]
    assert pages[2].label == "sheet Prices, rows after 800"


def test_a_cell_in_the_last_corner_costs_nothing():
    sheet = sheet_of(["first"])
    sheet["XFD1048576"] = "last"
    assert book(sheet).pages[0].text == "first\nlast"


def test_broken_workbooks():
    data = saved(sheet_of(["a", 1]).parent)
    with pytest.raises(ReadError, match="broken: its parts cannot be read as an Excel workbook"):
        read_xlsx(changed(data, xl__workbook_xml=b"<broken"), "a.xlsx", ReadOptions())
    part = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    cut = changed(data, xl__worksheets__sheet1_xml=part[: part.index(b"</row>")])
    page = read_xlsx(cut, "a.xlsx", ReadOptions()).pages[0]
    assert (page.state, page.label) == (PageState.FAILED, "sheet Prices")


def test_a_bomb_of_a_workbook_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(archives, "MAX_PART", 100)
    assert book(sheet_of(["a"])).pages[0].state is PageState.TOO_LONG


def with_sheet_parts(sheet: Worksheet, **parts: tuple[str, str]) -> bytes:
    """A workbook whose first sheet is related to parts: `a_xml=("drawing", "<xdr:wsDr…")`."""
    data = saved(sheet.parent)
    path = "xl/worksheets/_rels/sheet1.xml.rels"
    names = zipfile.ZipFile(io.BytesIO(data))
    begin = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>"
    listed = names.read(path).decode() if path in names.namelist() else f"{begin}</Relationships>"
    new = "".join(
        f"<Relationship Id='{key}' Target='../{key}.xml' Type='http://x/{kind}'/>"
        for key, (kind, _) in parts.items()
    )
    listed = listed.replace("</Relationships>", f"{new}</Relationships>")
    contents = {name: names.read(name) for name in names.namelist()}
    contents |= {f"xl/{key}.xml": xml.encode() for key, (_, xml) in parts.items()}
    contents[path] = listed.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def labelled(data: bytes) -> dict[str, str]:
    return {page.label: page.text for page in read_xlsx(data, "a.xlsx", ReadOptions()).pages}


def test_merged_cells_and_two_rows_of_names():
    sheet = sheet_of(
        ["Sales of all regions"],
        ["Region", "Q1", None, "Q2", None],
        [None, "plan", "actual", "plan", "actual"],
        ["North", 10, 11, 12, 13],
        [None, 20, 21, None, 23],
        ["South", "closed"],
        [None, 30, 31, 32, 33],
    )
    for cells in ("A1:E1", "A2:A3", "B2:C2", "D2:E2", "A4:A5", "A6:A7", "B6:E6"):
        sheet.merge_cells(cells)
    assert book(sheet).pages[0].text.split("\n") == [
        "Sales of all regions",
        "Region: North | Q1 plan: 10 | Q1 actual: 11 | Q2 plan: 12 | Q2 actual: 13",
        "Region: North | Q1 plan: 20 | Q1 actual: 21 | Q2 actual: 23",
        "Region: South | Q1 plan: closed",
        "Region: South | Q1 plan: 30 | Q1 actual: 31 | Q2 plan: 32 | Q2 actual: 33",
    ]


def test_a_merged_cell_that_reaches_below_the_table():
    sheet = sheet_of(["Region", "City"], ["North", "Oslo"], [None, "Bergen"])
    sheet.merge_cells("A2:A500")
    assert book(sheet).pages[0].text == "Region | City\nNorth | Oslo\nNorth | Bergen"


def test_the_filter_or_a_table_names_the_columns():
    words = [["Word", "Sense"], ["cat", "animal"], ["oak", "tree"]]
    assert book(sheet_of(*words)).pages[0].text.startswith("Word | Sense")
    sheet = sheet_of(["About words"], *words)
    sheet.auto_filter.ref = "A2:B4"
    expected = "About words\nWord: cat | Sense: animal\nWord: oak | Sense: tree"
    assert book(sheet).pages[0].text == expected
    sheet = sheet_of(["About words"], *words)
    sheet.add_table(openpyxl.worksheet.table.Table(displayName="T", ref="A2:B4"))
    assert book(sheet).pages[0].text == expected


def test_numbers_as_formatted_and_escaped_characters():
    sheet = sheet_of(
        ["Zip", "Price", "Month", "Note"], [1234, 3.1, date(2024, 3, 1), "a_x000D_\nb"]
    )
    sheet["A2"].number_format, sheet["B2"].number_format = "00000", '0.00 "EUR"'
    sheet["C2"].number_format = "mmmm yyyy"
    assert book(sheet).pages[0].text == (
        "Zip: 01234 | Price: 3.10 EUR | Month: March 2024 (2024-03-01) | Note: a b"
    )


def test_comments_of_cells():
    sheet = sheet_of(["Name", "Born"], ["Ada", 1815])
    sheet["B2"].comment = openpyxl.comments.Comment("Is this right?", "Mary")
    document = book(sheet)
    assert [page.label for page in document.pages] == ["sheet Prices", "sheet Prices, comments"]
    assert document.pages[1].text == "B2, Mary: Is this right?"
    sheet["B2"].comment = openpyxl.comments.Comment("[Threaded comment] … Comment: why?", "tc=1")
    threads = (
        "<ThreadedComments xmlns='x'><threadedComment ref='B2' personId='7'><text>why?</text>"
        "</threadedComment><threadedComment ref='B2'><text>so.</text></threadedComment>"
        "</ThreadedComments>"
    )
    data = with_sheet_parts(sheet, threads=("threadedComment", threads))
    assert labelled(data)["sheet Prices, comments"] == "B2: why?\n\nB2: so."
    found = read_xlsx(data, "a.xlsx", ReadOptions())
    assert [left.kind for left in found.left_out] == ["copies of comments"]


def test_text_boxes_charts_headers_and_errors():
    sheet = sheet_of(["n", "square"], [2, 4], [3, "#N/A"])
    sheet.oddHeader.center.text = "Our file & &[Page]"
    sheet.oddFooter.left.text = "&D"
    drawing = (
        "<x:wsDr xmlns:x='x' xmlns:a='a' xmlns:r='r'><x:sp><x:txBody><a:p><a:r><a:t>boxed "
        "</a:t></a:r><a:r><a:t>words</a:t></a:r></a:p><a:p><a:r><a:t>below</a:t></a:r></a:p></x:txBody></x:sp>"
        "</x:wsDr>"
    )
    data = with_sheet_parts(sheet, boxes=("drawing", drawing))
    assert labelled(data) == {
        "sheet Prices": "n: 2 | square: 4\nn: 3",
        "sheet Prices, text boxes": "boxed words\nbelow",
        "headers and footers": "Our file &",
    }
    found = read_xlsx(data, "a.xlsx", ReadOptions())
    assert [(left.kind, left.text) for left in found.left_out] == [("errors in cells", "#N/A")]


def test_a_strict_workbook_is_read_as_a_usual_one():
    data = strict(saved(sheet_of(["Item", "Price"], ["pelican", 12]).parent))
    assert labelled(data) == {"sheet Prices": "Item: pelican | Price: 12"}


def test_facts_of_a_workbook():
    sheet = sheet_of(["a", "b"])
    properties = sheet.parent.properties
    properties.title, properties.creator = "Price list", "Ada Lovelace"
    found = book(sheet)
    assert (found.title, found.author, found.format) == ("Price list", "Ada Lovelace", "xlsx")


# OLE containers


def container(**streams: bytes) -> bytes:
    """A compound file as specified in [MS-CFB], with streams above the size of mini streams."""
    sectors: list[bytes] = []
    table: list[int] = []
    entries = [("Root Entry", 5, 0xFFFFFFFE, 0, 1)]
    for at, (name, content) in enumerate(streams.items(), 1):
        content = content.ljust(4_096, b"\0")
        content += bytes(-len(content) % 512)
        count = len(content) // 512
        following = at + 1 if at < len(streams) else 0xFFFFFFFF
        entries.append((name.replace("_", " "), 2, len(sectors), len(content), following))
        table += [*range(len(sectors) + 1, len(sectors) + count), 0xFFFFFFFE]
        sectors += [content[i : i + 512] for i in range(0, len(content), 512)]
    listing = len(sectors)
    directory = b""
    for name, kind, start, size, link in entries:
        wide = name.encode("utf-16-le") + b"\0\0"
        right, child = (0xFFFFFFFF, link) if kind == 5 else (link, 0xFFFFFFFF)
        directory += wide.ljust(64, b"\0") + struct.pack("<HBB", len(wide), kind, 1)
        directory += struct.pack("<III", 0xFFFFFFFF, right, child) + bytes(36)
        directory += struct.pack("<IQ", start, size)
    directory += bytes(-len(directory) % 512)
    count = len(directory) // 512
    table += [*range(listing + 1, listing + count), 0xFFFFFFFE, 0xFFFFFFFD]
    sectors += [directory[i : i + 512] for i in range(0, len(directory), 512)]
    table += [0xFFFFFFFF] * (128 - len(table))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, listing)
    head += struct.pack("<IIIIII", 0, 4_096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<I", len(sectors)) + b"\xff" * 432
    return head + b"".join(sectors) + struct.pack("<128I", *table)


def old_sheet(*table: list[str | float], locked: bytes = b"") -> bytes:
    """An XLS file of one sheet "Old": records of BIFF8 as specified in [MS-XLS]."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    begin = struct.pack("<HHHHII", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0, 6)
    cells = b""
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            place = struct.pack("<HHH", row, column, 0)
            if isinstance(value, str):
                content = struct.pack("<HB", len(value), 0) + value.encode("latin-1")
                cells += record(0x0204, place + content)
            else:
                cells += record(0x0203, place + struct.pack("<d", value))
    name = struct.pack("<BB", 3, 0) + b"Old"
    head = record(0x0809, begin) + (record(0x002F, locked) if locked else b"")
    offset = len(head) + len(record(0x0085, bytes(6) + name)) + 4
    book = head + record(0x0085, struct.pack("<IBB", offset, 0, 0) + name)
    sheet = record(0x0809, begin[:2] + b"\x10\0" + begin[4:]) + cells + record(0x000A, b"")
    return container(Workbook=book + record(0x000A, b"") + sheet)


def test_an_old_workbook():
    document = read_bytes(old_sheet(["Name", "Born"], ["Ada", 1815.0]), "a.xls", ReadOptions())
    assert document.format == "xls"
    assert [(page.number, page.label, page.text) for page in document.pages] == [
        (1, "sheet Old", "Name: Ada | Born: 1815")
    ]
    with pytest.raises(ReadError, match="broken"):
        read_xls(container(Workbook=b"nothing"), "a.xls", ReadOptions())


def test_an_old_workbook_under_a_password():
    data = old_sheet(["Name"], locked=struct.pack("<HHH", 0, 1, 1))
    for passwords, said in (
        ((), "is encrypted"),
        (("Ada",), "the one that was given does not fit"),
    ):
        document = read_bytes(data, "a.xls", ReadOptions(passwords=passwords))
        assert [page.state for page in document.pages] == [PageState.ENCRYPTED]
        assert document.pages[0].reason.endswith(said)


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("WordDocument", r"an old Word document \(.doc\) is not read; save it as .docx or .pdf"),
        ("PowerPoint_Document", r"an old PowerPoint presentation \(.ppt\) is not read"),
        ("Unknown", "an older Office file"),
    ],
)
def test_what_is_not_read_is_named(stream, said):
    with pytest.raises(ReadError, match=said):
        read_bytes(container(**{stream: b"x"}), "a.docx", ReadOptions())
    if stream != "Unknown":  # so it is where only its bytes can be searched
        with pytest.raises(ReadError, match=said):
            read_bytes(container(**{stream: b"x"})[:-600], "a.docx", ReadOptions())


@pytest.fixture(scope="module")
def secret() -> bytes:
    return locked(saved(sheet_of(["Name", "Born"], ["Ada", 1815]).parent), "Ada1815")


@pytest.mark.parametrize(
    ("passwords", "said"),
    [
        ((), "password needed: the document is encrypted"),
        (("wrong",), "password needed: the one that was given does not fit"),
        (("wrong", "ada1815"), "password needed: none of the 2 that were given fits"),
    ],
)
def test_a_locked_workbook_is_one_encrypted_page(secret, passwords, said):
    document = read_bytes(secret, "a.xlsx", ReadOptions(passwords=passwords))
    assert document.format == "xlsx"
    assert [(page.state, page.reason) for page in document.pages] == [(PageState.ENCRYPTED, said)]


def test_the_right_password_among_others_opens_it(secret):
    document = read_bytes(secret, "a.xlsx", ReadOptions(passwords=("wrong", "Ada1815")))
    assert (document.format, document.pages[0].text) == ("xlsx", "Name: Ada | Born: 1815")
    assert document.pages[0].reason == ""
    assert document.path == "a.xlsx"
    other = read_bytes(secret, "a.docx", ReadOptions(passwords=("Ada1815",)))
    assert other.pages[0].reason.endswith("but it is an Excel workbook: read as that")


def test_what_office_locks_by_itself_opens_by_itself():
    data = locked(saved(sheet_of(["only", "against", "changes"]).parent), "VelvetSweatshop")
    assert read_bytes(data, "a.xlsx", ReadOptions()).pages[0].text == "only | against | changes"


def test_a_damaged_lock(secret):
    page = read_bytes(secret[:2_000], "a.xlsx", ReadOptions(passwords=("Ada1815",))).pages[0]
    assert page.state is PageState.ENCRYPTED
    assert "cannot be opened" in page.reason


# Missing libraries


@pytest.mark.parametrize(
    ("module", "name", "data", "said"),
    [
        ("pptx", "a.pptx", saved(pptx.Presentation()), "PowerPoint files need python-pptx"),
        ("openpyxl", "a.xlsx", saved(openpyxl.Workbook()), "Excel workbooks need openpyxl"),
        ("python_calamine", "a.xls", old_sheet(["a"]), "old Excel workbooks need python-calamine"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(monkeypatch, module, name, data, said):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ReadError, match=said) as caught:
        read_bytes(data, name, ReadOptions())
    assert str(caught.value).endswith("pip install 'wva-retriever[office]'")


def test_locked_without_the_library(monkeypatch, secret):
    monkeypatch.setitem(sys.modules, "msoffcrypto", None)
    page = read_bytes(secret, "a.xlsx", ReadOptions(passwords=("Ada1815",))).pages[0]
    assert page.state is PageState.ENCRYPTED
    assert "need msoffcrypto-tool: pip install" in page.reason


def test_a_library_that_does_not_start_is_told_from_one_that_is_missing(monkeypatch, tmp_path):
    (tmp_path / "half_installed.py").write_text("import module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ReadError, match=r"does not start .*: install it again"):
        extras.load("half_installed", "office", "Such files")
    assert "office" in extras.installed_extras()
    monkeypatch.setitem(extras.EXTRAS, "none", {"module_that_is_not_there": "nothing"})
    assert "none" not in extras.installed_extras()


SEEDS = {
    "a.pptx": saved(show()),
    "a.xlsx": saved(sheet_of(["Name", "Born"], ["Ada", 1815]).parent),
    "a.xls": old_sheet(["Name", "Born"], ["Ada", 1815.0]),
}


@pytest.mark.parametrize("name", sorted(SEEDS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_bytes_raise_nothing_but_read_errors(name, data):
    bytes_ = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(bytes_) - 1))
        bytes_[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=12))
    if data.draw(st.booleans()):
        del bytes_[data.draw(st.integers(0, len(bytes_))) :]
    try:
        found = read_bytes(bytes(bytes_), name, ReadOptions())
    except ReadError:
        return
    assert found.pages
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert page.state.readable or page.reason
        page.text.encode()
