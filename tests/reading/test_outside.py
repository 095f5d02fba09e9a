"""A document reaches nothing outside itself: no file beside it, and no server.

A file with a secret lies in the same folder, and a server on this machine counts who connects. Each
document names both in all the ways that its format has.
"""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from pptx.util import Inches

from retriever.reading.formats import FORMATS, read_bytes, read_document
from retriever.reading.options import ReadOptions
from tests.pdfs import pdf_file, text_page
from tests.reading.test_epub import CONTAINER, book, chapter
from tests.reading.test_opendocument import saved as saved_odf

WALRUS = "Walrus7731"  # what stands in the other file
SEEN = "Ordinary words that are read."


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked."""
    asked: list[str] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append("connected")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)


# The same text with everything that a format may name, made of (address of a file, of a server)

Maker = Callable[[str, str], bytes]


def marked_up(file: str, url: str) -> str:
    """HTML, which Markdown, e-mails, books and notebooks may hold too."""
    return "".join(
        f'<link rel="stylesheet" href="{at}"/><script src="{at}"></script><img src="{at}"/>'
        f'<iframe src="{at}"></iframe><object data="{at}"></object><embed src="{at}"/>'
        f'<video src="{at}" poster="{at}"></video><style>@import "{at}";</style>'
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<image xlink:href="{at}"/><use href="{at}#x"/></svg>'
        f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{at}" parse="text"/>'
        f'<form action="{at}"><input type="image" src="{at}"/></form>'
        for at in (file, f"{url}/x")
    )


def html(file: str, url: str) -> bytes:
    head = f'<!DOCTYPE html SYSTEM "{url}/dtd"><html><head><base href="{url}/">'
    refresh = f'<meta http-equiv="refresh" content="0; url={file}"></head>'
    return f"{head}{refresh}<body><p>{SEEN}</p>{marked_up(file, url)}</body></html>".encode()


def xhtml(file: str, url: str) -> bytes:
    return with_entities(f"<html><body><p>{SEEN} MARK</p></body></html>".encode(), file, url)


def markdown(file: str, url: str) -> bytes:
    front = f"---\ntitle: !include {file}\nother: !!python/object/apply:os.getcwd []\n---\n"
    links = f"![x]({file}) ![y]({url}/y.png) [z]: {url}/z\n\n{{% include '{file}' %}}\n"
    return f"{front}{SEEN}\n\n{links}\n\n{marked_up(file, url)}\n".encode()


def rst(file: str, url: str) -> bytes:
    path = file.removeprefix("file://")
    blocks = [
        f".. include:: {path}",
        f".. literalinclude:: {path}",
        f".. raw:: html\n   :file: {path}",
        f".. raw:: html\n   :url: {url}/raw",
        f".. csv-table::\n   :file: {path}",
        f".. csv-table::\n   :url: {url}/table",
        f".. image:: {url}/picture.png",
        f".. figure:: {file}",
        f".. code:: python\n   :include: {path}",
        f".. math::\n   \\input{{{path}}}",
    ]
    return "\n\n".join([SEEN, *blocks, SEEN]).encode()


def latex(file: str, url: str) -> bytes:
    path = file.removeprefix("file://")
    words = (
        rf"\input{{{path}}} \include{{{path}}} \verbatiminput{{{path}}} \lstinputlisting{{{path}}}"
    )
    more = rf"\immediate\write18{{curl {url}}} \openin1={path} \read1 to\x \x"
    body = f"{SEEN} {words} {more}"
    return rf"\documentclass{{article}}\begin{{document}} {body} \end{{document}}".encode()


def rtf(file: str, url: str) -> bytes:
    fields = "".join(
        rf'{{\field{{\*\fldinst {name} "{at}" }}{{\fldrslt shown}}}}'
        for name in ("INCLUDETEXT", "INCLUDEPICTURE", "DDEAUTO", "HYPERLINK")
        for at in (file, url)
    )
    return rf"{{\rtf1 {SEEN} {fields}{{\*\template {url}}}}}".encode()


def mail(file: str, url: str) -> bytes:
    head = f"Subject: Read me\nContent-Location: {url}\nContent-Type: multipart/mixed; boundary=x\n"
    page = f"<html><body><p>{SEEN}</p>{marked_up(file, url)}</body></html>"
    path = file.removeprefix("file://")
    parts = [
        f"Content-Type: text/html\n\n{page}\n",
        *(
            f"Content-Type: message/external-body; {where}\n\nContent-Type: text/plain\n\n\n"
            for where in (f'access-type=local-file; name="{path}"', f'access-type=URL; URL="{url}"')
        ),
    ]
    return (head + "".join(f"\n--x\n{part}" for part in parts) + "\n--x--\n").encode()


def notebook(file: str, url: str) -> bytes:
    cell = {
        "cell_type": "markdown", "metadata": {}, "source": [SEEN, "\n\n", marked_up(file, url)],
        "attachments": {"a.png": {"image/png": file}},
    }  # fmt: skip
    return json.dumps(
        {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    ).encode()


def pdf(file: str, url: str) -> bytes:
    """Actions when it is opened, and a stream that lies in another file."""
    data = pdf_file([text_page(SEEN)])
    path = file.removeprefix("file://")
    actions = (
        f"/OpenAction << /S /URI /URI ({url}) /Next [<< /S /GoToR /F ({path}) /D [0] >>"
        f" << /S /Launch /F ({path}) >> << /S /JavaScript /JS (app.launchURL\\('{url}'\\)) >>"
        f" << /S /SubmitForm /F ({url}) >> << /S /ImportData /F ({path}) >>] >> "
    )
    return data.replace(b"/Type /Catalog", b"/Type /Catalog " + actions.encode(), 1)


def with_entities(xml: bytes, file: str, url: str) -> bytes:
    """XML with a DTD elsewhere; MARK becomes what stands in a file, and on a server."""
    text = re.sub(r"^<\?xml.*?\?>\s*", "", xml.decode())
    root = re.search(r"<([\w:]+)", text)
    assert root
    doctype = (
        f'<!DOCTYPE {root[1]} SYSTEM "{url}/dtd" [<!ENTITY f SYSTEM "{file}">'
        f'<!ENTITY h SYSTEM "{url}/h"><!ENTITY % p SYSTEM "{url}/p">%p;]>'
    )
    include = (
        f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{file}" parse="text"/>&f;&h;'
    )
    return f'<?xml version="1.0"?>{doctype}{text.replace("MARK", include)}'.encode()


def poisoned(data: bytes, file: str, url: str) -> bytes:
    """A ZIP of XML: entities in every part, and every relationship leads outside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if b"MARK" in content:
                content = with_entities(content, file, url)
            elif name.endswith(".rels") and name != "_rels/.rels":
                more = "".join(
                    f'<Relationship Id="x{number}" TargetMode="External" Target="{at}" Type="http://'
                    f'schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}"/>'
                    for number, (kind, at) in enumerate(
                        (kind, at)
                        for kind in ("image", "attachedTemplate", "oleObject", "externalLink")
                        for at in (file, url)
                    )
                )
                content = content.replace(b"</Relationships>", f"{more}</Relationships>".encode())
            new.writestr(name, content)
    return buffer.getvalue()


def saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def word(file: str, url: str) -> bytes:
    document = docx.Document()
    document.add_paragraph(SEEN)
    document.add_paragraph("MARK")
    return poisoned(saved(document), file, url)


def slides(file: str, url: str) -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    box = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(5), Inches(1))
    box.text_frame.text = f"{SEEN} MARK"
    return poisoned(saved(deck), file, url)


def workbook(file: str, url: str, *, entities: bool = False) -> bytes:
    book = openpyxl.Workbook()
    path = file.removeprefix("file://")
    for row in (
        [SEEN, "MARK" if entities else ""],
        [f'=WEBSERVICE("{url}")', f"='{path}'!A1", f"=cmd|' /C curl {url}'!A0", "x"],
    ):
        book.active.append(row)
    return poisoned(saved(book), file, url)


def open_document(kind: str, body: str) -> Maker:
    return lambda file, url: poisoned(saved_odf(kind, body), file, url)


TEXT = f"<text:p>{SEEN}</text:p><text:p>MARK</text:p>"


def epub(file: str, url: str) -> bytes:
    page = chapter(f"<p>{SEEN} MARK</p>{marked_up(file, url)}")
    up = chapter(f"<p>{SEEN}</p>")
    data = book(**{"one a": page, "container": CONTAINER, "three": up})
    return poisoned(data, file, url)


def plain(file: str, url: str) -> bytes:
    return f"{SEEN}\n{file}\n{url}\nfile,{url}\n".encode()


MAKERS: dict[str, Maker] = {
    "a.html": html,
    "a.xhtml": xhtml,
    "a.md": markdown,
    "a.rst": rst,
    "a.tex": latex,
    "a.rtf": rtf,
    "a.eml": mail,
    "a.ipynb": notebook,
    "a.pdf": pdf,
    "a.docx": word,
    "a.pptx": slides,
    "a.xlsx": workbook,
    "a.odt": open_document("text", TEXT),
    "a.odp": open_document(
        "presentation", f"<draw:page><draw:frame>{TEXT}</draw:frame></draw:page>"
    ),
    "a.ods": open_document(
        "spreadsheet",
        "<table:table><table:table-row><table:table-cell>"
        f"{TEXT}</table:table-cell></table:table-row></table:table>",
    ),
    "a.epub": epub,
    "a.txt": plain,
    "a.csv": plain,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_document_reaches_nothing_outside_itself(
    name: str, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    url, asked = server
    asked.clear()
    secret = tmp_path / "secret.txt"
    secret.write_text(WALRUS)
    path = tmp_path / name
    path.write_bytes(MAKERS[name](secret.as_uri(), url))
    assert WALRUS.encode() not in path.read_bytes()
    document = read_document(path, name, ReadOptions())
    text = "\n".join(page.text for page in document.pages)
    assert "Ordinary words" in text
    assert WALRUS not in f"{text}{document.title}{document.author}{document.metadata}"
    assert not asked


def test_entities_in_a_workbook_reach_nothing(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    url, asked = server
    asked.clear()
    (tmp_path / "secret.txt").write_text(WALRUS)
    data = workbook((tmp_path / "secret.txt").as_uri(), url, entities=True)
    document = read_bytes(data, "a.xlsx", ReadOptions())
    assert all(WALRUS not in page.text + page.reason for page in document.pages)
    assert not asked


def test_the_server_would_have_noticed(server: tuple[str, list[str]]) -> None:
    url, asked = server
    asked.clear()
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)  # the other side closes when it has noted it
    assert asked


def test_every_format_that_can_name_something_is_tried() -> None:
    tried = {
        one for name in MAKERS for one, format_ in FORMATS.items() if name[1:] in format_.endings
    }
    data_alone = {"jsonl", "json", "mbox", "subtitles", "calendar", "contacts", "xls"}
    not_read_alone = {"image", "old", "locked"}
    assert set(FORMATS) - tried == data_alone | not_read_alone
