"""Word documents: all visible text of the body, in order."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import docx
import pytest
from docx.enum.style import WD_STYLE_TYPE

from retriever.reading.formats import read_bytes
from retriever.reading.office.docx import read_docx
from retriever.reading.office.docx_body import styles_of
from retriever.reading.options import ReadOptions
from retriever.types import Document, LeftOut, PageState, ReadError

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
    return read_docx(data, "a.docx", ReadOptions()).pages[0].text


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
        "# The Title\n\n# Chapter\n\nFirst paragraph.\n\n- one\n\nName: Ada | Age: 36\n\n"
        "After the table.\n\n### Deeper"
    )


def test_facts():
    document = docx.Document()
    document.add_paragraph("x")
    core = document.core_properties
    core.title, core.author, core.keywords = "On Trust", "Ada Lovelace", "trust"
    core.created = datetime(2024, 3, 7, 10, 30, tzinfo=UTC)
    found = read_docx(saved(document), "a.docx", ReadOptions())
    assert (found.title, found.author) == ("On Trust", "Ada Lovelace")
    assert found.date.startswith("2024-03-07T10:30:00")
    assert found.metadata == {"keywords": "trust"}
    assert [page.number for page in found.pages] == [None]


def test_facts_of_the_template_are_nobodys():
    found = read_docx(saved(docx.Document()), "a.docx", ReadOptions())
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
    assert (
        text == "in a control\n\ninserted linked\ttab\nline\n\nin a box\n\nmerged | b\nmerged | c"
    )


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
            read_docx(with_parts(document=document), f"{name}.docx", ReadOptions())
    page = read_docx(
        with_parts(document=body(words("a" * 60_000_000))), "large.docx", ReadOptions()
    ).pages[0]
    assert (page.state, page.text) == (PageState.TOO_LONG, "")


def test_a_file_of_the_disk_is_not_pulled_in(tmp_path):
    (tmp_path / "secret").write_text("SECRET")
    entity = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    text = text_of(with_parts(document=entity + body(words("seen &s;")).split("?>", 1)[1]))
    assert text == "seen"


def related(xml: str, **parts: str | bytes) -> bytes:
    """A document with parts that it is related to: `header_xml1="<w:hdr>…"` is word/header1.xml."""
    source = zipfile.ZipFile(io.BytesIO(with_parts(document=body(xml))))
    contents = {name: source.read(name) for name in source.namelist()}
    relations = ""
    for key, content in parts.items():
        kind, ending = key.split("_")
        name = f"{kind}{ending[-1]}.{ending[:-1]}"
        contents[f"word/{name}"] = content if isinstance(content, bytes) else content.encode()
        relations += (
            f'<Relationship Id="{kind}{ending[-1]}" Target="{name}" Type="http://schemas.'
            f'openxmlformats.org/officeDocument/2006/relationships/{kind}"/>'
        )
    path = "word/_rels/document.xml.rels"
    before = contents[path].decode()
    contents[path] = before.replace("</Relationships>", relations + "</Relationships>").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def part(kind: str, xml: str) -> str:
    return f'<w:{kind} {W} xmlns:r="r">{xml}</w:{kind}>'


def read(data: bytes) -> Document:
    return read_bytes(data, "a.docx", ReadOptions())


def labelled(document: Document) -> dict[str, str]:
    return {page.label: page.text for page in document.pages}


def test_headers_footers_and_comments_are_parts_of_their_own():
    number = (
        "<w:p><w:r><w:t>Page </w:t></w:r><w:fldSimple w:instr=' PAGE '><w:r><w:t>3</w:t></w:r>"
        "</w:fldSimple></w:p>"
    )
    found = read(
        related(
            words("Dear customer.") + "<w:sectPr><w:headerReference w:id='header2'/></w:sectPr>",
            header_xml1=part("hdr", words("Our file K-77")),
            header_xml2=part("hdr", words("First page")),
            header_xml3=part("hdr", words("Our file K-77")),
            footer_xml1=part("ftr", words("Account 99") + number),
            comments_xml1=part(
                "comments",
                f"<w:comment w:author='Ada L.'>{words('Void?')}{words('Ask.')}</w:comment>"
                f"<w:comment>{words('Yes.')}</w:comment>",
            ),
        )
    )
    assert labelled(found) == {
        "": "Dear customer.",
        "headers and footers": "First page\n\nOur file K-77\n\nAccount 99",
        "comments": "Ada L.: Void?\n\nAsk.\n\nYes.",
    }
    assert found.left_out == (LeftOut("page numbers", "Page 3"),)


def test_what_is_left_out_is_told_by_kind():
    found = read(
        with_parts(
            document=body(
                "<w:p><w:del><w:r><w:delText>ten</w:delText></w:r></w:del><w:ins><w:r><w:t>twelve"
                "</w:t></w:r></w:ins></w:p><w:p><w:moveFrom><w:r><w:t>moved</w:t></w:r>"
                "</w:moveFrom>"
                "<w:moveTo><w:r><w:t>moved</w:t></w:r></w:moveTo></w:p><w:p><w:r><w:instrText>REF x"
                "</w:instrText></w:r><w:r><w:t>see 9.4</w:t></w:r></w:p><w:p><w:r><w:ruby>"
                "<w:rt><w:r>"
                "<w:t>とうきょう</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>東京</w:t></w:r></w:rubyBase>"
                "</w:ruby></w:r><w:r><w:t>都庁</w:t></w:r></w:p><w:del>"
                f"{words('gone')}</w:del>"
            )
        )
    )
    assert labelled(found) == {"": "twelve\n\nmoved\n\nsee 9.4\n\n東京都庁"}
    assert found.left_out == tuple(
        LeftOut(kind, text)
        for kind, text in [
            ("deleted text", "ten"),
            ("deleted text", "moved"),
            ("field codes", "REF x"),
            ("ruby", "とうきょう"),
            ("deleted text", "gone"),
        ]
    )


def test_imported_parts_are_read_in_place_in_any_format():
    chunk = "<w:altChunk xmlns:r='r' r:id='aFChunk{}'/>".format
    mail = "MIME-Version: 1.0\nContent-Type: text/html\n\n<p>of a web archive</p>"
    found = read(
        related(
            words("before") + chunk(1) + words("between") + chunk(2) + chunk(3) + words("after"),
            aFChunk_html1="<p>an imported <b>chapter</b></p>",
            aFChunk_mht2=mail,
            aFChunk_docx3=with_parts(document=body(words("of another file"))),
        )
    )
    assert labelled(found) == {
        "": "before\n\nan imported chapter\n\nbetween\n\nof a web archive\n\nof another file"
        "\n\nafter"
    }
    broken = read(related(words("before") + chunk(1), aFChunk_docx1=b"PK\x03\x04 broken"))
    assert [page.state for page in broken.pages] == [PageState.TEXT, PageState.FAILED]
    assert broken.pages[1].label == "imported part 1"


def test_charts_diagrams_watermarks_and_drop_down_fields():
    chart = (
        "<c:chartSpace xmlns:c='c' xmlns:a='a'><c:chart><c:title><a:t>Sales</a:t></c:title>"
        "<c:plotArea><c:barChart><c:ser><c:tx><c:v>Revenue</c:v></c:tx><c:cat><c:pt idx='0'>"
        "<c:v>2023"
        "</c:v></c:pt></c:cat><c:val><c:pt idx='0'><c:v>10.50</c:v></c:pt></c:val></c:ser>"
        "</c:barChart>"
        "<c:valAx><c:title><a:t>in euro</a:t></c:title></c:valAx></c:plotArea></c:chart>"
        "</c:chartSpace>"
    )
    diagram = (
        "<d:m xmlns:d='d' xmlns:a='a'><d:pt><d:t><a:p><a:t>Plan</a:t></a:p></d:t></d:pt></d:m>"
    )
    mark = "<w:p><w:r><w:pict><v:textpath xmlns:v='v' string='DRAFT'/></w:pict></w:r></w:p>"
    choice = (
        "<w:p><w:r><w:fldChar><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='red'/>"
        "<w:listEntry w:val='blue'/></w:ddList></w:ffData></w:fldChar></w:r></w:p>"
    )
    found = read(
        related(
            "<w:p><w:r><w:t>text</w:t></w:r><w:r>"
            "<c:chart xmlns:c='c' xmlns:r='r' r:id='chart1'/></w:r>"
            "<w:r><d:relIds xmlns:d='d' xmlns:r='r' r:dm='diagramData1'/></w:r></w:p>" + choice,
            chart_xml1=chart,
            diagramData_xml1=diagram,
            header_xml1=part("hdr", mark),
        )
    )
    assert labelled(found) == {
        "": "text\n\nSales\nin euro\n2023 | Revenue: 10.5\n\n- Plan\n\nblue",
        "headers and footers": "DRAFT",
    }


def test_tables_keep_the_names_of_their_columns():
    def row(*cells: str, first: str = "") -> str:
        return f"<w:tr>{first}{''.join(cells)}</w:tr>"

    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{words(text)}</w:tc>"

    span, down = "<w:gridSpan w:val='2'/>", "<w:vMerge w:val='{}'/>".format
    head = "<w:trPr><w:tblHeader/></w:trPr>"
    text = text_of(
        with_parts(
            document=body(
                "<w:tbl>"
                + row(cell("Region", down("restart")), cell("Q1", span), first=head)
                + row(cell("", down("")), cell("plan"), cell("actual"), first=head)
                + row(cell("North", down("restart")), cell("much"), cell(""))
                + row(cell("", down("continue")), cell(""), cell("little"))
                + row(cell("none"), first="<w:trPr><w:gridBefore w:val='2'/></w:trPr>")
                + "</w:tbl>"
                + words("between")
                + "<w:tbl>"
                + row(cell("Word"), cell("Sense"), first=head)
                + row(
                    cell("cat"), "<w:tc><w:tbl>" + row(cell("in"), cell("side")) + "</w:tbl></w:tc>"
                )
                + "</w:tbl><w:tbl>"
                + row(f"<w:tc>{words('framed')}{words('twice')}</w:tc>")
                + "</w:tbl>"
            )
        )
    )
    assert text == (
        "Region: North | Q1 plan: much\nRegion: North | Q1 actual: little\nQ1 actual: none\n\n"
        "between\n\nWord: cat | Sense: in | side\n\nframed\n\ntwice"
    )


def test_a_strict_file_is_read_as_a_usual_one():
    document = docx.Document()
    document.add_heading("Title of it", level=1)
    document.add_paragraph("one", style="List Bullet")
    document.core_properties.title = "On Trust"
    source = zipfile.ZipFile(io.BytesIO(saved(document)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith((".xml", ".rels")):
                for kind in ("officeDocument", "wordprocessingml", "drawingml"):
                    content = content.replace(
                        f"http://schemas.openxmlformats.org/{kind}/2006/".encode(),
                        f"http://purl.oclc.org/ooxml/{kind}/".encode(),
                    )
            archive.writestr(name, content)
    found = read(buffer.getvalue())
    assert found.pages[0].text == "# Title of it\n\n- one"
    assert found.title == "On Trust"


def test_embedded_files_are_read():
    inner = with_parts(document=body(words("in the annex")))
    found = read(related(words("outside"), package_docx1=inner))
    assert labelled(found) == {"": "outside", "attachment package1.docx": "in the annex"}
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000)
    found = read(related(words("outside"), oleObject_bin1=ole))
    assert [(page.label, page.state.value) for page in found.pages[1:]] == [
        ("embedded objects", "skipped")
    ]


@pytest.mark.parametrize("kind", ["header", "footer", "comments", "footnotes"])
def test_parts_without_relations_are_still_read(kind):
    source = zipfile.ZipFile(io.BytesIO(with_parts(document=body(words("text")))))
    buffer = io.BytesIO()
    roots = {"header": "hdr", "footer": "ftr"}
    inner = {"comments": "comment", "footnotes": "footnote"}.get(kind, "sdt")
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            if name != "word/_rels/document.xml.rels":
                archive.writestr(name, source.read(name))
        xml = part(roots.get(kind, kind), f"<w:{inner}>{words('besides')}</w:{inner}>")
        archive.writestr(f"word/{kind}.xml", xml)
    assert "besides" in " ".join(labelled(read(buffer.getvalue())).values())


def test_styles_are_what_the_styles_say_that_they_are_based_on() -> None:
    document = docx.Document()
    kinds = {"Far": "Near", "Near": "Heading 2", "Points": "List Bullet", "Plain": "Normal"}
    for name in kinds:
        document.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
    for name, base in kinds.items():
        document.styles[name].base_style = document.styles[base]
    one, other = (
        document.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH) for name in ("Round", "And Round")
    )
    one.base_style, other.base_style = other, one
    found = styles_of(document)
    assert (found.levels["Far"], found.levels["Near"], found.levels["Heading2"]) == (2, 2, 2)
    assert {"Points", "ListBullet"} <= found.lists
    ids = {"Plain", "Normal", one.style_id, other.style_id}
    assert not ids & (found.lists | found.levels.keys())
