"""Every word of generated office files is on a page or named as left out, once and in order."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import count

import docx
import openpyxl
import pptx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pptx.util import Inches

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Document

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
    for name, urn in [
        *[("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing")],
        ("style", "style"),
    ]
)

# A document is a list of blocks; a block is its kind and its parts. Words are put in by `Words`.
INLINE = st.sampled_from(["word", "word", "deleted", "note", "comment", "box"])
PARAGRAPH = st.tuples(st.just("p"), st.lists(INLINE, min_size=1, max_size=4))
HEADING = st.tuples(st.just("h"), st.integers(1, 6))
ITEMS = st.tuples(st.just("list"), st.lists(st.integers(0, 2), min_size=1, max_size=4))
CELL = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 2), st.booleans())


def tables(cells: st.SearchStrategy) -> st.SearchStrategy:
    rows = st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=4)
    return st.tuples(st.just("table"), rows, st.integers(0, 2))


TABLE = tables(st.one_of(CELL, CELL, st.tuples(st.just("nested"), tables(CELL))))
BLOCKS = st.lists(st.one_of(PARAGRAPH, HEADING, ITEMS, TABLE), max_size=6)
EDGES = st.lists(st.integers(0, 2), max_size=2)


def template() -> dict[str, bytes]:
    """The parts of an empty Word file."""
    buffer = io.BytesIO()
    docx.Document().save(buffer)
    source = zipfile.ZipFile(buffer)
    dropped = ("word/stylesWithEffects.xml", "docProps/thumbnail.jpeg", "word/theme/theme1.xml")
    return {name: source.read(name) for name in source.namelist() if name not in dropped}


TEMPLATE = template()


class Words:
    """Gives words that occur nowhere else, and remembers them."""

    def __init__(self) -> None:
        self._numbers = count(100)
        self.all: list[str] = []
        self.repeated: set[str] = set()
        self.plain: list[str] = []  # those of paragraphs and lists: in order, once

    def word(self, *, plain: bool = False) -> str:
        word = f"area{next(self._numbers)}one"
        self.all.append(word)
        if plain:
            self.plain.append(word)
        return word

    def words(self, number: int) -> str:
        """Words of a table, which may be repeated: merged cells, and names of columns."""
        words = [self.word() for _ in range(number)]
        self.repeated.update(words)
        return " ".join(words)


class Docx:
    """Renders blocks as Word does."""

    def __init__(self) -> None:
        self.words = Words()
        self.notes = ""
        self.comments = ""

    def blocks(self, blocks: list) -> str:
        return "".join(getattr(self, block[0])(*block[1:]) for block in blocks)

    def run(self, text: str) -> str:
        return f'<w:r><w:t xml:space="preserve">{text} </w:t></w:r>'

    def p(self, inline: list[str]) -> str:
        return f"<w:p>{''.join(getattr(self, kind)() for kind in inline)}</w:p>"

    def word(self) -> str:
        return self.run(self.words.word(plain=True))

    def deleted(self) -> str:
        return f"<w:del><w:r><w:delText>{self.words.word()}</w:delText></w:r></w:del>"

    def note(self) -> str:
        self.notes += f"<w:footnote><w:p>{self.run(self.words.word())}</w:p></w:footnote>"
        return "<w:r><w:footnoteReference/></w:r>"

    def comment(self) -> str:
        author = self.words.word()
        inner = f"<w:p>{self.run(self.words.word())}</w:p>"
        self.comments += f"<w:comment w:author='{author}'>{inner}</w:comment>"
        return "<w:r><w:commentReference/></w:r>"

    def box(self) -> str:
        inner = f"<w:txbxContent><w:p>{self.run(self.words.word())}</w:p></w:txbxContent>"
        choice = f"<mc:Choice>{inner}</mc:Choice><mc:Fallback>{inner}</mc:Fallback>"
        return f"<w:r><mc:AlternateContent xmlns:mc='mc'>{choice}</mc:AlternateContent></w:r>"

    def h(self, level: int) -> str:
        outline = f"<w:pPr><w:outlineLvl w:val='{level - 1}'/></w:pPr>"
        return f"<w:p>{outline}{self.run(self.words.word(plain=True))}</w:p>"

    def list(self, levels: list[int]) -> str:
        return "".join(
            f"<w:p><w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='1'/></w:numPr></w:pPr>"
            f"{self.run(self.words.word(plain=True))}</w:p>"
            for level in levels
        )

    def table(self, rows: list, header: int) -> str:
        written = ""
        for at, cells in enumerate(rows):
            mark = "<w:trPr><w:tblHeader/></w:trPr>" if at < header else ""
            written += f"<w:tr>{mark}{''.join(map(self.cell, cells))}</w:tr>"
        return f"<w:tbl>{written}</w:tbl>"

    def cell(self, cell: tuple) -> str:
        if cell[0] == "nested":
            return f"<w:tc>{self.blocks([cell[1]])}<w:p/></w:tc>"
        number, columns, _, merged = cell
        down = "<w:vMerge/>" if merged and not number else "<w:vMerge w:val='restart'/>"
        properties = f"<w:tcPr><w:gridSpan w:val='{columns}'/>{down if merged else ''}</w:tcPr>"
        return f"<w:tc>{properties}<w:p>{self.run(self.words.words(number))}</w:p></w:tc>"

    def file(self, blocks: list, edges: list[int]) -> bytes:
        body = self.blocks(blocks)
        parts = {"footnotes": self.notes, "comments": self.comments}
        parts |= {
            f"header{at}": f"<w:p>{self.run(self.words.words(number))}</w:p>"
            for at, number in enumerate(edges, 1)
        }
        contents = dict(TEMPLATE)
        root = "<w:{0} xmlns:w='{1}'>{2}</w:{0}>".format
        contents["word/document.xml"] = root("document", W, f"<w:body>{body}</w:body>").encode()
        relations = ""
        for name, inner in parts.items():
            kind = name.rstrip("0123456789")
            contents[f"word/{name}.xml"] = root(kind, W, inner).encode()
            relations += f"<Relationship Id='{name}' Type='{R}/{kind}' Target='{name}.xml'/>"
        path = "word/_rels/document.xml.rels"
        listed = contents[path].decode().replace("</Relationships>", f"{relations}</Relationships>")
        return zipped({**contents, path: listed.encode()})


class Odt(Docx):
    """Renders blocks as LibreOffice does."""

    def run(self, text: str) -> str:
        return f"<text:span>{text}<text:s/></text:span>"

    def p(self, inline: list[str]) -> str:
        return f"<text:p>{''.join(getattr(self, kind)() for kind in inline)}</text:p>"

    def deleted(self) -> str:
        inner = f"<text:deletion><text:p>{self.words.word()}</text:p></text:deletion>"
        return f"<text:tracked-changes>{inner}</text:tracked-changes>"

    def note(self) -> str:
        inner = f"<text:note-body><text:p>{self.words.word()}</text:p></text:note-body>"
        return f"<text:note><text:note-citation>1</text:note-citation>{inner}</text:note>"

    def comment(self) -> str:
        author = f"<dc:creator xmlns:dc='dc'>{self.words.word()}</dc:creator>"
        text = f"<text:p>{self.words.word()}</text:p>"
        return f"<office:annotation>{author}{text}</office:annotation>"

    def box(self) -> str:
        inner = f"<draw:text-box><text:p>{self.words.word()}</text:p></draw:text-box>"
        return f"<draw:frame>{inner}</draw:frame>"

    def h(self, level: int) -> str:
        word = self.words.word(plain=True)
        return f"<text:h text:outline-level='{level}'>{word}</text:h>"

    def list(self, levels: list[int]) -> str:
        written = ""
        for level in levels:
            inner = f"<text:p>{self.words.word(plain=True)}</text:p>"
            kind = "list-header" if level == 2 else "list-item"
            inner = f"<text:{kind}>{inner}</text:{kind}>"
            for _ in range(level):
                inner = f"<text:list-item><text:list>{inner}</text:list></text:list-item>"
            written += inner
        return f"<text:list>{written}</text:list>"

    def table(self, rows: list, header: int) -> str:
        lines = [
            f"<table:table-row>{''.join(map(self.cell, row))}</table:table-row>" for row in rows
        ]
        head = "".join(lines[:header])
        head = f"<table:table-header-rows>{head}</table:table-header-rows>" if head else ""
        return f"<table:table>{head}{''.join(lines[header:])}</table:table>"

    def cell(self, cell: tuple) -> str:
        if cell[0] == "nested":
            return f"<table:table-cell>{self.blocks([cell[1]])}</table:table-cell>"
        number, columns, rows, covered = cell
        kind = "covered-table-cell" if covered and not number else "table-cell"
        spans = f"table:number-columns-spanned='{columns}' table:number-rows-spanned='{rows}'"
        return f"<table:{kind} {spans}><text:p>{self.words.words(number)}</text:p></table:{kind}>"

    def file(self, blocks: list, edges: list[int]) -> bytes:
        body = self.blocks(blocks)
        headers = "".join(
            f"<style:header><text:p>{self.words.words(number)}</text:p></style:header>"
            for number in edges
        )
        page = f"<style:master-page>{headers}</style:master-page>"
        content = f"<office:body><office:text>{body}</office:text></office:body>"
        return zipped(
            {
                "mimetype": b"application/vnd.oasis.opendocument.text",
                "content.xml": f"<office:d {ODF}>{content}</office:d>".encode(),
                "styles.xml": f"<office:d {ODF}>{page}</office:d>".encode(),
            }
        )


class Rtf(Docx):
    """Renders blocks as Rich Text; tables are not nested."""

    def run(self, text: str) -> str:
        return f"{{\\b {text} }}"

    def p(self, inline: list[str]) -> str:
        return f"\\pard {''.join(getattr(self, kind)() for kind in inline)}\\par\n"

    def deleted(self) -> str:
        return f"{{\\deleted {self.words.word()}}}"

    def note(self) -> str:
        return f"{{\\super\\chftn {{\\footnote \\pard {self.words.word()}}}}}"

    def comment(self) -> str:
        author = f"{{\\*\\atnauthor {self.words.word()}}}"
        return f"{author}{{\\*\\annotation {{\\*\\atnref 1}}{self.words.word()}}}"

    def box(self) -> str:
        word = self.words.word()
        old = f"{{\\shprslt {{\\*\\do {{\\dptxbxtext {word}\\par}}}}}}"
        return f"{{\\shp{{\\*\\shpinst{{\\shptxt {word}\\par}}}}{old}}}"

    def h(self, level: int) -> str:
        return f"{{\\outlinelevel{level} {self.words.word(plain=True)}\\par}}"

    def list(self, levels: list[int]) -> str:
        return "".join(f"\\ls1\\ilvl{n} {self.words.word(plain=True)}\\par\n" for n in levels)

    def table(self, rows: list, header: int) -> str:
        written = ""
        for at, cells in enumerate(rows):
            edges = "".join(f"\\cellx{n}" for n in range(len(cells)))
            head = "\\trhdr" if at < header else ""
            texts = "".join(f"\\intbl {self.cell(cell)}\\cell " for cell in cells)
            written += f"\\trowd{head}{edges}{texts}\\row "
        return written

    def cell(self, cell: tuple) -> str:
        return self.words.words(1 if cell[0] == "nested" else cell[0])

    def file(self, blocks: list, edges: list[int]) -> bytes:
        headers = "".join(f"{{\\header {self.words.words(number)}}}" for number in edges)
        return f"{{\\rtf1\\ansi {headers}{self.blocks(blocks)}}}".encode()


def zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def found_words(document: Document) -> Iterator[str]:
    for page in document.pages:
        yield from re.findall(r"area\d+one", page.text)
    for left in document.left_out:
        yield from re.findall(r"area\d+one", left.text)


def check(renderer: Docx, data: bytes, name: str) -> None:
    document = read_bytes(data, name, ReadOptions())
    found = Counter(found_words(document))
    assert set(found) == set(renderer.words.all)
    assert {word for word, times in found.items() if times > 1} <= renderer.words.repeated
    plain = set(renderer.words.plain)
    text = re.findall(r"area\d+one", document.pages[0].text)
    assert [word for word in text if word in plain] == renderer.words.plain


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=BLOCKS, edges=EDGES)
def test_word(blocks, edges):
    renderer = Docx()
    check(renderer, renderer.file(blocks, edges), "a.docx")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=BLOCKS, edges=EDGES)
def test_opendocument(blocks, edges):
    renderer = Odt()
    check(renderer, renderer.file(blocks, edges), "a.odt")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=BLOCKS, edges=EDGES)
def test_rich_text(blocks, edges):
    renderer = Rtf()
    check(renderer, renderer.file(blocks, edges), "a.rtf")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.lists(st.integers(0, 2), max_size=4), max_size=6),
    merged=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2), st.integers(0, 2)),
    comments=st.booleans(),
)
def test_excel(rows, merged, comments):
    words = Words()
    sheet = openpyxl.Workbook().active
    column, row, right, down = merged
    place = {"start_column": column, "end_column": column + right}
    sheet.merge_cells(**place, start_row=row, end_row=row + down)
    for at, numbers in enumerate(rows, 1):
        for column, number in enumerate(numbers, 1):
            cell = sheet.cell(at, column)
            if not isinstance(cell, openpyxl.cell.cell.MergedCell):
                cell.value = words.words(number) or None
                if comments and number:
                    cell.comment = openpyxl.comments.Comment(words.word(), words.word())
    sheet.oddHeader.left.text = words.word()
    buffer = io.BytesIO()
    sheet.parent.save(buffer)
    found = read_bytes(buffer.getvalue(), "a.xlsx", ReadOptions())
    assert set(found_words(found)) == set(words.all)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cells=st.lists(st.integers(0, 2), min_size=9, max_size=9),
    first=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    last=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    lines=st.integers(0, 3),
)
def test_powerpoint(cells, first, last, lines):
    words = Words()
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = words.word(plain=True)
    slide.placeholders[1].text_frame.text = "\n".join(words.word(plain=True) for _ in range(lines))
    table = slide.shapes.add_table(3, 3, Inches(1), Inches(5), Inches(4), Inches(1)).table
    for at, number in enumerate(cells):
        table.cell(at // 3, at % 3).text = words.words(number)
    table.cell(*first).merge(table.cell(*last))
    slide.notes_slide.notes_text_frame.text = words.words(lines)
    buffer = io.BytesIO()
    show.save(buffer)
    found = read_bytes(buffer.getvalue(), "a.pptx", ReadOptions())
    assert set(found_words(found)) == set(words.all)
    text = re.findall(r"area\d+one", found.pages[0].text)
    assert [word for word in text if word in words.plain] == words.plain
