"""Word documents: all visible text of the body, in order."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import docx
import pytest

from retriever.reading.office.docx import read_docx
from retriever.types import PageState, ReadError

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def with_parts(**parts: str | None) -> bytes:
    """An empty document with some parts replaced (document="…") or removed (styles=None)."""
    names = {"document": "word/document.xml", "styles": "word/styles.xml"}
    names["core"] = "docProps/core.xml"
    source = zipfile.ZipFile(io.BytesIO(saved(docx.Document())))
    contents = {name: source.read(name) for name in source.namelist()}
    for key, text in parts.items():
        if text is None:
            del contents[names[key]]
        else:
            contents[names[key]] = text.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def body(xml: str) -> str:
    return f'<?xml version="1.0"?><w:document {W}><w:body>{xml}</w:body></w:document>'


def words(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def text_of(data: bytes) -> str:
    return read_docx(data, "a.docx").pages[0].text


def test_body_order_headings_lists_and_tables():
    document = docx.Document()
    document.add_heading("The Title", level=0)
    document.add_heading("Chapter", level=1)
    document.add_paragraph("First paragraph.")
    document.add_paragraph("one", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells],
        ["Name", "Age", "Ada", "36"],
        strict=True,
    ):
        cell.text = text
    document.add_paragraph("After the table.")
    document.add_heading("Deeper", level=3)
    document.sections[0].header.paragraphs[0].text = "HEADER"
    document.sections[0].footer.paragraphs[0].text = "FOOTER"
    assert text_of(saved(document)) == (
        "# The Title\n\n# Chapter\n\nFirst paragraph.\n\n- one\n\nName | Age\nAda | 36\n\n"
        "After the table.\n\n### Deeper"
    )


def test_facts():
    document = docx.Document()
    document.add_paragraph("x")
    core = document.core_properties
    core.title, core.author, core.keywords = "On Trust", "Ada Lovelace", "trust"
    core.created = datetime(2024, 3, 7, 10, 30, tzinfo=UTC)
    found = read_docx(saved(document), "a.docx")
    assert (found.title, found.author) == ("On Trust", "Ada Lovelace")
    assert found.date.startswith("2024-03-07T10:30:00")
    assert found.metadata == {"keywords": "trust"}
    assert [page.number for page in found.pages] == [None]


def test_facts_of_the_template_are_nobodys():
    found = read_docx(saved(docx.Document()), "a.docx")
    assert (found.title, found.author, found.date) == ("", "", "")
    assert found.pages[0].state is PageState.EMPTY


def test_what_the_library_leaves_out():
    text = text_of(
        with_parts(
            document=body(
                f"<w:sdt><w:sdtContent>{words('in a control')}</w:sdtContent></w:sdt>"
                "<w:p><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins>"
                "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
                "<w:hyperlink><w:r><w:t> linked</w:t></w:r></w:hyperlink>"
                "<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>line</w:t></w:r></w:p>"
                f"<w:p><w:r><w:txbxContent>{words('in a box')}</w:txbxContent></w:r></w:p>"
                "<w:tbl><w:tr><w:tc><w:tcPr><w:vMerge w:val='restart'/></w:tcPr>"
                f"{words('merged')}</w:tc><w:tc>{words('b')}</w:tc></w:tr><w:tr><w:tc><w:tcPr>"
                f"<w:vMerge/></w:tcPr>{words('')}</w:tc><w:tc>{words('c')}</w:tc></w:tr></w:tbl>"
            )
        )
    )
    assert text == "in a control\n\ninserted linked\ttab\nline\n\nin a box\n\nmerged | b\nc"


def test_heading_levels_by_outline_and_by_id():
    text = text_of(
        with_parts(
            styles=None,
            document=body(
                "<w:p><w:pPr><w:pStyle w:val='Heading2'/></w:pPr><w:r><w:t>By id</w:t></w:r></w:p>"
                "<w:p><w:pPr><w:outlineLvl w:val='2'/></w:pPr><w:r><w:t>By level</w:t></w:r></w:p>"
            ),
        )
    )
    assert text == "## By id\n\n### By level"


@pytest.mark.parametrize("missing", ["styles", "core"])
def test_a_damaged_package_still_gives_its_text(missing):
    assert (
        text_of(with_parts(document=body(words("still here")), **{missing: None})) == "still here"
    )


def test_bombs_and_foreign_files():
    bombs = {
        "entities": '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
        + "]>"
        + body(words("&j;")).split("?>", 1)[1],
        "depth": body("<w:sdt>" * 5_000 + words("x") + "</w:sdt>" * 5_000),
    }
    for name, document in bombs.items():
        with pytest.raises(ReadError, match="broken: its parts cannot be read"):
            read_docx(with_parts(document=document), f"{name}.docx")
    page = read_docx(with_parts(document=body(words("a" * 60_000_000))), "large.docx").pages[0]
    assert (page.state, page.text) == (PageState.TOO_LONG, "")


def test_a_file_of_the_disk_is_not_pulled_in(tmp_path):
    (tmp_path / "secret").write_text("SECRET")
    entity = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    text = text_of(with_parts(document=entity + body(words("seen &s;")).split("?>", 1)[1]))
    assert text == "seen"
