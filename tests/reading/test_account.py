"""Every word of generated documents is on a page or named as left out, in order, once.

One generated tree of blocks is written in each format. All its words differ, so that each can be
looked for by itself, without the code that counts.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Any

import openpyxl
import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.account import COUNTS, take_account
from retriever.reading.account.words import count_words, unexplained
from retriever.reading.formats import FORMATS, read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Account, Document, Page, PageState

# Trees of blocks

_NAMES = [
    *["pagination", "navigation", "menu", "cookies", "gdpr", "modal", "popup", "sidebar", "share"],
    *["newsletter", "footer", "breadcrumbs", "ads", "related-posts", "sr-only", "note", "x", "toc"],
]
_ROLES = ["alert", "complementary", "dialog", "note", "navigation", "doc-footnote", "tabpanel"]
_WORDS_OF_TAGS = st.sampled_from(
    ["", "hidden", 'style="display:none"', 'aria-hidden="true"']
    + [f'id="{name}"' for name in _NAMES]
    + [f'class="{name}"' for name in _NAMES]
    + [f'role="{name}"' for name in _ROLES]
)
_ATTRIBUTES = st.tuples(_WORDS_OF_TAGS, st.integers(0, 50))  # the number chooses among tags
_LEAVES = st.one_of(
    st.tuples(st.just("paragraph"), _ATTRIBUTES, st.integers(1, 12)),
    st.tuples(st.just("heading"), _ATTRIBUTES, st.integers(1, 3)),
    st.tuples(st.just("table"), _ATTRIBUTES, st.tuples(st.integers(1, 4), st.integers(1, 4))),
    st.tuples(st.just("note"), _ATTRIBUTES, st.integers(1, 5)),
)
TREES = st.lists(
    st.recursive(
        _LEAVES,
        lambda inner: st.tuples(
            st.sampled_from(["section", "list", "quote", "aside", "main", "details"]),
            _ATTRIBUTES,
            st.lists(inner, min_size=1, max_size=3),
        ),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


@dataclass
class Writer:
    """Hands out words that differ, and remembers which may stand several times or elsewhere."""

    given: list[str] = field(default_factory=list)
    loose: set[str] = field(default_factory=set)

    def words(self, many: int, *, loose: bool = False) -> str:
        found = [self._word() for _ in range(many)]
        if loose:
            self.loose.update(found)
        return " ".join(found)

    def _word(self) -> str:
        number, word = len(self.given), ""
        while number or not word:
            number, at = divmod(number, 20)
            word = "bcdfghjklmnprstvwxyz"[at] + "aeiou"[at % 5] + word
        self.given.append(f"{word}q")
        return self.given[-1]

    def table(self, size: tuple[int, int]) -> list[list[str]]:
        """Rows of cells; the names of columns are repeated in every row."""
        return [[self.words(1, loose=True) for _ in range(size[1])] for _ in range(size[0])]


Tree = list[Any]


def flat(tree: Tree) -> Iterator[Any]:
    """The blocks without those that only hold others."""
    for block in tree:
        if isinstance(block[2], list):
            yield from flat(block[2])
        else:
            yield block


# Formats

_SECTIONS = [
    *[
        "section",
        "div",
        "article",
        "header",
        "footer",
        "nav",
        "form",
        "fieldset",
        "figure",
        "dialog",
    ],
    *[
        "span",
        "center",
        "noscript",
        "template",
        "dl",
        "menu",
        "hgroup",
        "search",
        "x-card",
        "label",
    ],
]
_PARAGRAPHS = [
    *["p", "div", "pre", "dt", "dd", "figcaption", "textarea", "option", "legend", "caption", "li"],
    *["address", "button", "h1", "h6", "code", "title", "output", "svg", "th", "summary", "center"],
]
_HTML_TAGS = {"quote": "blockquote", "aside": "aside", "main": "main"}


def html_blocks(writer: Writer, tree: Tree) -> str:
    return "\n".join(_html_block(writer, *block) for block in tree)  # some are inline


def _html_block(writer: Writer, kind: str, mark: tuple[str, int], inner: Any) -> str:
    attributes, number = mark
    start = f" {attributes}".rstrip()
    if kind == "paragraph":
        tag = _PARAGRAPHS[number % len(_PARAGRAPHS)]
        if tag in ("textarea", "title", "option", "svg"):  # these hold text alone
            return f"<{tag}{start}>{writer.words(inner)}</{tag}>"
        first, *rest = writer.words(inner).split()
        return f"<{tag}{start}><b>{first[0]}</b>{first[1:]} {' '.join(rest)}</{tag}>"
    if kind == "heading":
        return f"<h2{start}><button>{writer.words(inner)}</button></h2>"
    if kind == "table":
        rows = writer.table(inner)
        cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
        return f"<table{start}>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
    if kind == "note":
        return f'<aside epub:type="footnote"{start}>{writer.words(inner)}</aside>'
    if kind == "list":
        items = "".join(f"<li>{_html_block(writer, *block)}</li>" for block in inner)
        return f"<ul{start}>{items}</ul>"
    if kind == "details":
        title = writer.words(1)
        return f"<details{start}><summary>{title}</summary>{html_blocks(writer, inner)}</details>"
    tag = _HTML_TAGS.get(kind) or _SECTIONS[number % len(_SECTIONS)]
    return f"<{tag}{start}>{html_blocks(writer, inner)}</{tag}>"


def html_page(writer: Writer, tree: Tree) -> bytes:
    title = writer.words(2, loose=True)
    return f"<html><title>{title}</title><body>{html_blocks(writer, tree)}</body>".encode()


def _packed(parts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def epub_book(writer: Writer, tree: Tree) -> bytes:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/><manifest>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/></spine></package>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf"/></rootfiles></container>'
    )
    chapter = (
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
        f"<body>{html_blocks(writer, tree)}</body></html>"
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": container}
    return _packed({**parts, "book.opf": package, "a.xhtml": chapter})


def markdown_blocks(writer: Writer, tree: Tree, indent: str = "") -> Iterator[str]:
    for kind, attributes, inner in tree:
        if kind == "heading":
            yield f"{indent}## {writer.words(inner)}\n\n"
        elif kind == "table":
            rows = [f"| {' | '.join(row)} |" for row in writer.table(inner)]
            rows.insert(1, "|---" * inner[1] + "|")
            yield "".join(f"{indent}{row}\n" for row in rows) + "\n"
        elif kind == "note":
            yield f"{indent}Then <b {writer.words(inner)} and a>{writer.words(1)}\n\n"
        elif kind == "paragraph":
            yield f"{indent}{writer.words(inner)} <b>{writer.words(1)}</b> "
            yield f"$p<i {writer.words(1)}$\n\n"
        elif kind == "list":
            yield f"{indent}- {writer.words(1)}\n\n"
            yield from markdown_blocks(writer, inner, indent + "  ")
        elif kind == "quote":
            yield from markdown_blocks(writer, inner, f"{indent}> ")
        else:
            yield f"{indent}<div {attributes[0]}>\n\n"
            yield from markdown_blocks(writer, inner, indent)
            yield f"{indent}</div>\n\n"


def markdown_file(writer: Writer, tree: Tree) -> bytes:
    return "".join(markdown_blocks(writer, tree)).encode()


_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def _run(text: str) -> str:
    """A paragraph whose first word is cut into two runs."""
    return (
        f"<w:p><w:r><w:t>{text[:2]}</w:t></w:r>"
        f'<w:r><w:t xml:space="preserve">{text[2:]}</w:t></w:r></w:p>'
    )


def docx_blocks(writer: Writer, tree: Tree) -> Iterator[str]:
    for kind, _, inner in tree:
        if kind in ("paragraph", "heading"):
            yield _run(writer.words(inner))
        elif kind == "table":
            rows = (
                "".join(f"<w:tc>{_run(cell)}</w:tc>" for cell in row) for row in writer.table(inner)
            )
            yield f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl><w:p/>"
        elif kind == "note":
            yield f"<w:p><w:del><w:r><w:delText>{writer.words(inner, loose=True)}</w:delText>"
            yield "</w:r></w:del></w:p>"
        elif kind == "list":
            cells = "".join(docx_blocks(writer, inner))
            yield f"<w:tbl><w:tr><w:tc>{cells}</w:tc></w:tr></w:tbl><w:p/>"
        elif kind == "aside":
            box = "".join(docx_blocks(writer, inner))
            yield f"<w:p><w:r><w:pict><w:txbxContent>{box}</w:txbxContent></w:pict></w:r></w:p>"
        else:
            content = "".join(docx_blocks(writer, inner))
            yield f"<w:sdt><w:sdtContent>{content}</w:sdtContent></w:sdt>"


def docx_file(writer: Writer, tree: Tree) -> bytes:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relations = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    body = "".join(docx_blocks(writer, tree))
    notes = {name: writer.words(2, loose=True) for name in ("header", "footer", "comments")}
    tags = {"header": "hdr", "footer": "ftr", "comments": "comments"}
    inner = {
        name: f"<w:comment>{_run(text)}</w:comment>" if name == "comments" else _run(text)
        for name, text in notes.items()
    }
    types = "".join(
        f'<Override PartName="/word/{name}.xml" ContentType="{kind}.{name}+xml"/>' for name in notes
    )
    links = "".join(
        f'<Relationship Id="r{name}" Type="{office}/{name}" Target="{name}.xml"/>' for name in notes
    )
    section = "".join(
        f'<w:{name}Reference xmlns:r="{office}" w:type="default" r:id="r{name}"/>'
        for name in ("header", "footer")
    )
    return _packed(
        {
            "[Content_Types].xml": (
                '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
                '<Default Extension="rels" '
                'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                f'<Override PartName="/word/document.xml" ContentType="{kind}.document.main+xml"/>'
                f"{types}</Types>"
            ),
            "_rels/.rels": (
                f'<Relationships {relations}><Relationship Id="a" '
                f'Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>'
            ),
            "word/_rels/document.xml.rels": f"<Relationships {relations}>{links}</Relationships>",
            "word/document.xml": (
                f"<w:document {_W}><w:body>{body}<w:sectPr>{section}</w:sectPr></w:body>"
                "</w:document>"
            ),
            **{
                f"word/{name}.xml": f"<w:{tags[name]} {_W}>{inner[name]}</w:{tags[name]}>"
                for name in notes
            },
        }
    )


_ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "draw", "style", "presentation")
)


def odf_blocks(writer: Writer, tree: Tree) -> Iterator[str]:
    for kind, _, inner in tree:
        if kind == "paragraph":
            text = writer.words(inner)
            yield f"<text:p><text:span>{text[:2]}</text:span>{text[2:]}</text:p>"
        elif kind == "heading":
            yield f'<text:h text:outline-level="2">{writer.words(inner)}</text:h>'
        elif kind == "table":
            yield _odf_table(writer.table(inner))
        elif kind == "note":
            body = writer.words(inner, loose=True)
            yield f"<text:p>{writer.words(1)}<text:note><text:note-body><text:p>{body}</text:p>"
            yield "</text:note-body></text:note></text:p>"
        elif kind == "list":
            yield f"<text:list><text:list-header><text:p>{writer.words(1)}</text:p>"
            yield "</text:list-header>"
            for block in inner:
                item = "".join(odf_blocks(writer, [block]))
                yield f"<text:list-item>{item}</text:list-item>"
            yield "</text:list>"
        elif kind == "aside":
            content = "".join(odf_blocks(writer, inner))
            yield f"<table:table><table:table-row><table:table-cell>{content}"
            yield "</table:table-cell></table:table-row></table:table>"
        else:
            yield f"<text:section>{''.join(odf_blocks(writer, inner))}</text:section>"


def _odf_table(rows: list[list[str]]) -> str:
    cells = (
        "".join(
            '<table:table-cell office:value-type="string"><text:p>'
            f"{cell}</text:p></table:table-cell>"
            for cell in row
        )
        for row in rows
    )
    found = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    return f"<table:table>{found}</table:table>"


def _odf_file(kind: str, content: str) -> bytes:
    mime = f"application/vnd.oasis.opendocument.{kind}"
    tag = "presentation" if kind == "presentation" else kind
    return _packed(
        {
            "mimetype": mime,
            "META-INF/manifest.xml": "<manifest/>",
            "content.xml": (
                f"<office:document-content {_ODF}><office:body><office:{tag}>{content}"
                f"</office:{tag}></office:body></office:document-content>"
            ),
        }
    )


def odt_file(writer: Writer, tree: Tree) -> bytes:
    return _odf_file("text", "".join(odf_blocks(writer, tree)))


def ods_file(writer: Writer, tree: Tree) -> bytes:
    return _odf_file("spreadsheet", "".join(map(_odf_table, _tables(writer, tree))))


def odp_file(writer: Writer, tree: Tree) -> bytes:
    boxes = (
        f"<draw:frame><draw:text-box><text:p>{writer.words(_size(block))}</text:p></draw:text-box>"
        "</draw:frame>"
        for block in flat(tree)
    )
    return _odf_file("presentation", f"<draw:page>{''.join(boxes)}</draw:page>")


def _tables(writer: Writer, tree: Tree) -> list[list[list[str]]]:
    """The blocks as tables: a text is a cell."""
    return [
        writer.table(block[2]) if block[0] == "table" else [[writer.words(block[2], loose=True)]]
        for block in flat(tree)
    ]


def _size(block: Any) -> int:
    return block[2][0] * block[2][1] if block[0] == "table" else block[2]


def rtf_blocks(writer: Writer, tree: Tree) -> Iterator[str]:
    for kind, _, inner in tree:
        if kind == "paragraph":
            text = writer.words(inner)
            yield rf"{{\b {text[:2]}}}{text[2:]}\par "
        elif kind == "heading":
            yield rf"\outlinelevel1 {writer.words(inner)}\par "
        elif kind == "table":
            for row in writer.table(inner):
                yield r"\trowd " + "".join(rf"\cellx{at}000" for at in range(1, len(row) + 1))
                yield " " + "".join(rf"\intbl {cell}\cell " for cell in row) + r"\row "
            yield r"\pard "
        elif kind == "note":
            note = writer.words(inner, loose=True)
            yield rf"{writer.words(1)}{{\footnote {note}}}\par "
        else:
            yield "{" + "".join(rtf_blocks(writer, inner)) + "}"


def rtf_file(writer: Writer, tree: Tree) -> bytes:
    return rf"{{\rtf1\ansi {''.join(rtf_blocks(writer, tree))}}}".encode()


def pptx_file(writer: Writer, tree: Tree) -> bytes:
    show = pptx.Presentation()
    for block in tree:
        slide = show.slides.add_slide(show.slide_layouts[6])
        for at, inner in enumerate(flat([block])):
            place = (0, at * 500_000, 5_000_000, 400_000)
            if inner[0] == "table":
                frame = slide.shapes.add_table(*inner[2], *place)
                for cells, row in zip(frame.table.rows, writer.table(inner[2]), strict=True):
                    for cell, text in zip(cells.cells, row, strict=True):
                        cell.text = text
            else:
                slide.shapes.add_textbox(*place).text_frame.text = writer.words(inner[2])
        slide.notes_slide.notes_text_frame.text = writer.words(2, loose=True)
    return _saved(show)


def xlsx_file(writer: Writer, tree: Tree) -> bytes:
    book = openpyxl.Workbook()
    for table in _tables(writer, tree):
        sheet = book.create_sheet()
        for row in table:
            sheet.append([*row, 7, None, 2.5])
    return _saved(book)


def _saved(made: Any) -> bytes:
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def eml_file(writer: Writer, tree: Tree) -> bytes:
    return _message(writer, tree).as_bytes()


def _message(writer: Writer, tree: Tree) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = writer.words(2, loose=True)
    message["From"] = f"{writer.words(1, loose=True)} <a@example.org>"
    message.set_content(writer.words(1) + "\n" + "\n".join(_plain_lines(writer, tree)))
    message.add_alternative(html_page(writer, tree).decode(), subtype="html")
    message.add_attachment(html_page(writer, tree[:1]), maintype="text", subtype="html",
        filename=f"{writer.words(1, loose=True)}.html")  # fmt: skip
    return message


def _plain_lines(writer: Writer, tree: Tree) -> Iterator[str]:
    return (writer.words(_size(block)) for block in flat(tree))


def mbox_file(writer: Writer, tree: Tree) -> bytes:
    mails = (_message(writer, [block]).as_bytes() for block in tree)
    return b"".join(b"From a@b Mon Jan  1 10:00:00 2024\n" + mail + b"\n" for mail in mails)


def notebook_file(writer: Writer, tree: Tree) -> bytes:
    cells: list[dict[str, Any]] = []
    for kind, _, inner in flat(tree):
        text = writer.words(_size((kind, _NO, inner)))
        if kind == "heading":
            cells.append({"cell_type": "markdown", "source": ["# ", text]})
            continue
        forms = {"text/plain": writer.words(1, loose=True), "text/markdown": writer.words(1),
            "text/html": f"<b>{writer.words(1, loose=True)}</b>"}  # fmt: skip
        outputs = [
            {"output_type": "stream", "text": [f"\x1b[31m{writer.words(1)}\x1b[0m"]},
            {"output_type": "display_data", "data": forms},
            {"output_type": "error", "ename": writer.words(1), "evalue": writer.words(1)},
        ]
        cells.append({"cell_type": "code", "source": text, "outputs": outputs})
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}).encode()


def csv_file(writer: Writer, tree: Tree) -> bytes:
    rows = [writer.words(3, loose=True).split() for block in flat(tree) for _ in range(3)]
    return "".join(f"{','.join(row)}\n" for row in rows).encode()


def text_file(writer: Writer, tree: Tree) -> bytes:
    return "\n\n".join(f"\x1b[1m{line}\x1b[0m" for line in _plain_lines(writer, tree)).encode()


def json_file(writer: Writer, tree: Tree) -> bytes:
    return json.dumps(_values(writer, tree)).encode()


def jsonl_file(writer: Writer, tree: Tree) -> bytes:
    return b"".join(json_file(writer, [block]) + b"\n" for block in tree)


def _values(writer: Writer, tree: Tree) -> dict[str, Any]:
    """The blocks as values of different kinds, each with a name."""
    found: dict[str, Any] = {}
    for kind, _, inner in tree:
        name = writer.words(1, loose=True)
        if isinstance(inner, list):
            found[name] = _values(writer, inner)
        elif kind == "table":
            columns = [writer.words(1, loose=True) for _ in range(inner[1])]
            found[name] = [
                {column: writer.words(1, loose=True) for column in columns} for _ in range(inner[0])
            ]
        else:
            found[name] = writer.words(inner, loose=True)
    return found


FILES: dict[str, Callable[[Writer, Tree], bytes]] = {
    "a.html": html_page,
    "a.epub": epub_book,
    "a.md": markdown_file,
    "a.docx": docx_file,
    "a.odt": odt_file,
    "a.ods": ods_file,
    "a.odp": odp_file,
    "a.rtf": rtf_file,
    "a.pptx": pptx_file,
    "a.xlsx": xlsx_file,
    "a.eml": eml_file,
    "a.mbox": mbox_file,
    "a.ipynb": notebook_file,
    "a.csv": csv_file,
    "a.json": json_file,
    "a.jsonl": jsonl_file,
    "a.txt": text_file,
}


def found_words(*texts: str) -> list[str]:
    return re.findall(r"[a-z]+q\b", " ".join(texts))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=20, deadline=None)
@given(tree=TREES)
def test_every_word_is_on_a_page_or_named_in_order_and_once(name: str, tree: Tree) -> None:
    writer = Writer()
    document = read_bytes(FILES[name](writer, tree), name, ReadOptions())
    facts = [document.title, document.author, *map(str, document.metadata.values())]
    pages = found_words(*(page.text for page in document.pages))
    named = found_words(*(part.text for part in document.left_out))
    elsewhere = {*found_words(*facts), *found_words(*(page.label for page in document.pages))}
    assert set(writer.given) - {*pages, *named, *elsewhere} == set(), "lost"
    strict = [word for word in writer.given if word not in writer.loose]
    counts = Counter(pages) + Counter(named)
    assert [word for word in strict if counts[word] != 1] == [], "not once"
    kept = [word for word in pages if word not in writer.loose]
    assert kept == sorted(kept, key=writer.given.index), "not in order"
    account = document.account
    assert account is not None
    assert not account.uncounted
    assert account.missing == ()
    assert account.source >= len(writer.given)


def test_the_formats_with_a_count_are_all_tried() -> None:
    tried = {read_bytes(make(Writer(), _TREE), name, ReadOptions()).format
        for name, make in FILES.items()}  # fmt: skip
    assert tried == COUNTS.keys() - {"code"}


_NO = ("", 0)
_TREE: Tree = [("paragraph", _NO, 5), ("table", _NO, (3, 3)), ("paragraph", _NO, 20)]


@pytest.mark.parametrize("name", FILES)
def test_a_reader_that_loses_a_word_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES[name](Writer(), _TREE)
    good = read_bytes(data, name, ReadOptions())
    lost = found_words(*(page.text for page in good.pages))[-1]
    format_ = FORMATS[good.format]

    def lossy(data: bytes, name: str, options: ReadOptions) -> Document:
        document = format_.read(data, name, options)
        pages = [replace(page, text=page.text.replace(lost, "")) for page in document.pages]
        return replace(document, pages=tuple(pages))

    monkeypatch.setitem(FORMATS, good.format, replace(format_, read=lossy))
    account = read_bytes(data, name, ReadOptions()).account
    assert account is not None
    assert account.missing == (lost,)
    assert account.unexplained == 1


# The comparison


@pytest.mark.parametrize(
    ("source", "found", "missing"),
    [
        ("the cat saw the dog", "the dog saw the cat", ""),
        ("the cat saw the dog", "the cat saw dog", "the"),
        ("foot note", "footnote", ""),
        ("footnote", "foot note", ""),
        ("foot note and foot note", "footnote and", "foot note"),
        ("co\N{SOFT HYPHEN}lumn ﬁve", "column five", ""),
        ("Straße 10\N{SUPERSCRIPT TWO}", "STRASSE 10 2", ""),
        ("n g r a m", "ngram", ""),
        ("a b c", "", "a b c"),
        ("", "more words than there are", ""),
        ("whale whale", "whale tail", "whale"),
    ],
)
def test_words_are_compared_wherever_blanks_fall(source: str, found: str, missing: str) -> None:
    lost = unexplained(count_words(source), count_words(found))
    assert sorted(lost.elements()) == sorted(missing.split())


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_comparison_takes_any_text(source: str, found: str) -> None:
    assert not unexplained(count_words(source), count_words(source, found))
    lost = unexplained(count_words(source), count_words(found))
    assert lost.total() <= count_words(source).total()


@pytest.mark.parametrize("format_", COUNTS)
@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_have_an_account(format_: str, data: bytes) -> None:
    document = Document("x", format_, (Page(None, "text"),))
    assert take_account(data, document).pages <= 2


def test_words_of_pages_that_could_not_be_read_are_no_fault() -> None:
    pages = (Page(1, "alpha"), Page(2, "", PageState.FAILED, "broken"))
    account = take_account(b"<p>alpha beta", Document("x", "html", pages))
    assert account == Account(uncounted="not all of it could be read")


@pytest.mark.parametrize(
    "data",
    [
        b"<p title='" + b"x" * 50_000,
        b'<a b="' * 20_000,
        b"<!--" * 20_000,
        b"<script>" * 20_000,
        b"<" * 50_000,
        b"&" * 50_000,
        b"<x y='" * 10_000 + b">" * 10_000,
    ],
)
@pytest.mark.parametrize("format_", ["html", "markdown"])
@pytest.mark.timeout(10)
def test_hostile_markup_is_counted_in_linear_time(format_: str, data: bytes) -> None:
    take_account(data, Document("x", format_, (Page(None, "text"),)))


def test_the_words_of_a_sheet_are_those_that_every_program_shows() -> None:
    sheet = openpyxl.Workbook()
    for row in (["id", 7], ["#N/A", 12345678901234567890], ["a_x0009_b", 1 / 3], ["percent", 0.5]):
        sheet.active.append(row)
    sheet.active["B4"].number_format = "0%"
    counted = COUNTS["xlsx"](_saved(sheet))
    assert sorted(counted.elements()) == ["0", "333333333333333", "7", "a", "b", "id", "percent"]


def test_a_file_in_a_file_has_its_own_account_and_is_part_of_the_other() -> None:
    message = EmailMessage()
    message["Subject"] = "greetings"
    message.set_content("body words")
    message.add_attachment(b"<p>inner page<nav>home</nav>", maintype="text", subtype="html",
        filename="inner.html")  # fmt: skip
    data = message.as_bytes()
    whole = read_bytes(data, "a.eml", ReadOptions())
    assert whole.account is not None
    assert (whole.account.source, whole.account.pages) == (5 + 3, 5 + 2)
    assert whole.account.left_out["navigation"] == 1
    inner = Document("inner.html", "html", (Page(None, "inner page"),))
    own = replace(whole, pages=whole.pages[:1])
    assert "page" in take_account(data, own, [inner]).missing


def test_what_is_too_large_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retriever.reading.account.MAX_BYTES", 10)
    account = read_bytes(b"<p>more than ten bytes", "a.html", ReadOptions()).account
    assert account == Account(uncounted="too large to count")
    monkeypatch.undo()
    monkeypatch.setattr("retriever.reading.account.packages.MAX_TEXT", 10)
    account = read_bytes(docx_file(Writer(), _TREE), "a.docx", ReadOptions()).account
    assert account is not None
    assert account.uncounted == "too large to count"


def test_words_between_colours_without_escape_characters_are_counted():
    found = read_bytes(b"[31mERROR[0m turbine [1] [note]\n" * 3, "a.log", ReadOptions())
    assert found.account is not None
    assert (found.account.pages, found.account.unexplained) == (9, 0)
