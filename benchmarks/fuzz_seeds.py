"""Small files of every format that is read, to be changed by `benchmarks.fuzz`."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tests.pdfs import pdf_file, placed, text_page

LINES = (
    "The cat sleeps on the roof of the house.",
    "A dog barks at the postman every morning.",
    "Rain fell in 2023-04-05 for 3.5 hours: 12 %.",
)
PROSE = "\n".join(LINES)


def packed(members: Mapping[str, str | bytes]) -> bytes:
    """A ZIP archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    """The members of a ZIP archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _saved(made: Any) -> bytes:
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def _docx() -> bytes:
    import docx

    made = docx.Document()
    made.core_properties.title = "Notes"
    made.add_heading("Animals", 1)
    for line in LINES:
        made.add_paragraph(line)
    table = made.add_table(2, 2)
    for row in table.rows:
        for cell in row.cells:
            cell.text = "value 1"
    made.sections[0].header.paragraphs[0].text = "Page header"
    return _without(_saved(made), "docProps/thumbnail.jpeg", "word/theme/theme1.xml")


def _pptx() -> bytes:
    import pptx

    made = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text = LINES[0]
    slide.placeholders[1].text = LINES[1]
    slide.notes_slide.notes_text_frame.text = LINES[2]
    return _without(_saved(made), "docProps/thumbnail.jpeg")


def _xlsx() -> bytes:
    made: Any = importlib.import_module("openpyxl").Workbook()
    sheet = made.active
    for row in (["Name", "Born", "Share"], ["Ada", 1815, 0.5], ["Bob", 1900, 0.25], [LINES[0]]):
        sheet.append(row)
    sheet["B2"].number_format = "#,##0.00 [$€-1]"
    sheet.merge_cells("A4:C4")
    return _without(_saved(made), "xl/theme/theme1.xml")


def _without(data: bytes, *names: str) -> bytes:
    return packed({name: one for name, one in members(data).items() if name not in names})


_SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
    for name, urn in (
        *(("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing")),
        ("presentation", "presentation"),
    )
)


def _open(kind: str, body: str) -> bytes:
    content = (
        f"<office:document-content {_SPACES}><office:body><office:{kind}>{body}"
        f"</office:{kind}></office:body></office:document-content>"
    )
    mime = f"application/vnd.oasis.opendocument.{kind}"
    return packed({"mimetype": mime, "content.xml": content})


_CELLS = (
    '<table:table table:name="One"><table:table-row table:number-rows-repeated="2">'
    '<table:table-cell office:value-type="float" office:value="3" '
    'table:number-columns-repeated="3"><text:p>3</text:p></table:table-cell></table:table-row>'
    f"<table:table-row><table:table-cell><text:p>{LINES[0]}</text:p></table:table-cell>"
    "</table:table-row></table:table>"
)
_SLIDE = (
    '<draw:page draw:name="p1"><draw:frame><draw:text-box>'
    f"<text:p>{LINES[0]}</text:p></draw:text-box></draw:frame></draw:page>"
)
_TEXT = (
    '<text:h text:outline-level="1">Animals</text:h>'
    f'<text:p>{LINES[0]}<text:s text:c="3"/>x</text:p>'
    f"<text:list><text:list-item><text:p>{LINES[1]}</text:p></text:list-item></text:list>{_CELLS}"
)


def _epub() -> bytes:
    chapter = (
        f"<html><head><title>One</title></head><body><h1>Rain</h1><p>{PROSE}</p></body></html>"
    )
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/>'
            "</rootfiles></container>",
            "b.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A book</dc:title></metadata>'
            '<manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="a"/></spine></package>',
            "a.xhtml": chapter,
        }
    )


def _picture(kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (40, 30), 200).save(buffer, kind)
    return buffer.getvalue()


def _mail() -> bytes:
    head = "From: Ada <a@example.org>\r\nTo: b@example.org\r\nSubject: =?utf-8?q?Rain?=\r\n"
    return (
        f"{head}Date: Mon, 3 Apr 2023 10:00:00 +0200\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\n'
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{PROSE}\r\n--b1\r\n"
        "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        "<p>Hello=20there</p>\r\n--b1\r\nContent-Disposition: attachment; filename=a.csv\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\nYSxiCjEsMgo=\r\n--b1--\r\n"
    ).encode()


def _notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"# Title\n{PROSE}"]},
        {
            "cell_type": "code",
            "metadata": {},
            "source": ["print(1)"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "execute_result", "data": {"text/html": "<b>2</b>"}},
            ],
        },
    ]
    made = {"cells": cells, "metadata": {"title": "N"}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made).encode()


_CARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nN:Lovelace;Ada;;;\nEMAIL:a@example.org\nEND:VCARD\n"
_EVENT = (
    "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nSUMMARY:Tea\nDTSTART;TZID=Europe/Berlin:"
    "20230405T100000\nRRULE:FREQ=DAILY;COUNT=3\nDESCRIPTION:With milk\nEND:VEVENT\nEND:VCALENDAR\n"
)
_CUE = (
    "1\n00:00:01,000 --> 00:00:04,000\n<i>Hello</i> there\n\n"
    "2\n00:00:05,000 --> 00:00:06,000\nYes\n"
)
_ASS = (
    "[Script Info]\nTitle: T\n[Events]\nFormat: Layer, Start, End, Style, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:02.00,Default,{\\i1}Hello\\Nthere\n"
)
_TEX = (
    "\\documentclass{article}\\title{Rain}\\begin{document}\\section{One}Text \\emph{here} $a^2$."
    "\\begin{itemize}\\item one\\end{itemize}% note\n\\end{document}\n"
)
_RST = (
    f"Title\n=====\n\n:author: Ada\n\n{PROSE}\n\n* one\n\n  * two\n\n.. note:: careful\n\n"
    "+---+---+\n| a | b |\n+---+---+\n\n|x| [1]_ `link <y>`_\n\n.. |x| replace:: z\n.. [1] note\n"
)
_MARKDOWN = (
    f"---\ntitle: Notes\ntags: [a, b]\n---\n\n# Title\n\n{PROSE}\n\n> quoted\n\n- one\n  - two\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n\n<b>bold</b> [link](x) ![p](y)\n"
)
_HTML = (
    "<!doctype html><html><head><title>Rain</title><meta name=author content=Ada></head><body>"
    f"<h1>One</h1><p>{PROSE}</p><ul><li>a<li>b</ul><table><tr><th colspan=2>x</th></tr><tr><td>1"
    "<td>2</table><script>var x = 1;</script><!-- note --><pre>code</pre>&amp;&#65;</body></html>"
)
_RTF = (
    r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}{\info{\title Rain}}\b Bold\b0  text \'e9 \u8364? end\par "
    r"\trowd\cellx100\cellx200 a\cell b\cell\row {\footnote note}{\*\generator x}}"
)
_MAILBOX = (
    b"From a@example.org Mon Apr  3 10:00:00 2023\n" + _mail().replace(b"\r\n", b"\n") + b"\n"
)
_PYTHON = '"""About it."""\n\nimport os  # note\n\n\ndef name(a: int) -> str:\n    return f"{a}"\n'

SEEDS: dict[str, Callable[[], bytes]] = {
    "txt": lambda: PROSE.encode(),
    "md": lambda: _MARKDOWN.encode(),
    "html": lambda: _HTML.encode(),
    "rst": lambda: _RST.encode(),
    "tex": lambda: _TEX.encode(),
    "csv": lambda: b'name,born,note\nAda,1815,"a, b"\nBob,1900,"x\ny"\n',
    "tsv": lambda: b"name\tborn\nAda\t1815\nBob\t1900\n",
    "jsonl": lambda: b'{"title": "A", "text": "b c", "n": [1, 2]}\n{"text": "d", "x": {"y": 1}}\n',
    "json": lambda: b'[{"title": "A", "text": "b c"}, {"text": "d", "x": {"y": [1.5, null]}}]',
    "eml": _mail,
    "mbox": lambda: _MAILBOX * 2,
    "srt": lambda: _CUE.encode(),
    "vtt": lambda: b"WEBVTT\n\nNOTE x\n\n" + _CUE.replace(",", ".").encode(),
    "ass": lambda: _ASS.encode(),
    "ics": lambda: _EVENT.encode(),
    "vcf": lambda: _CARD.encode(),
    "ipynb": _notebook,
    "py": lambda: _PYTHON.encode(),
    "yaml": lambda: b"a: &a [1, 2]\nb: *a\n# note\nc: |\n  text\n",
    "log": lambda: b"\x1b[31mERROR\x1b[0m 12:00:01 failed\rdone\x08\n" * 3,
    "rtf": lambda: _RTF.encode(),
    "pdf": lambda: pdf_file(
        [text_page(*LINES), placed((72, 700, "Column"), (300, 700, "Other"))], b"/Title (Rain)"
    ),
    "docx": _docx,
    "pptx": _pptx,
    "xlsx": _xlsx,
    "odt": lambda: _open("text", _TEXT),
    "ods": lambda: _open("spreadsheet", _CELLS),
    "odp": lambda: _open("presentation", _SLIDE),
    "epub": _epub,
    "png": lambda: _picture("PNG"),
    "tif": lambda: _picture("TIFF"),
    "jpg": lambda: _picture("JPEG"),
    "webp": lambda: _picture("WEBP"),
    "bmp": lambda: _picture("BMP"),
}
"""Makes the seed of a format, by the ending of its name."""


@cache
def seed(ending: str) -> bytes:
    """The seed of a format, made once."""
    return SEEDS[ending]()


__all__ = ["LINES", "PROSE", "SEEDS", "members", "packed", "seed"]
