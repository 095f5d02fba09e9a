"""Word documents: the body in order, headings as `# …`, tables as rows, notes at the end.

Headers and footers, and comments, are parts of their own, if there are any; so is each embedded
file. Deleted text, field codes, readings (ruby) and page numbers are left out. python-docx resolves
the styles; a Word file stores no page numbers.

mammoth 1.13 is no alternative: it loses equations, simple fields, outline levels and headings by a
derived style, joins words at a page break, and expands entities.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from retriever.reading import archives
from retriever.reading.facts import package_facts
from retriever.reading.office import package
from retriever.reading.office.docx_body import Body, Related, Styles, child_of, join, styles_of
from retriever.reading.office.package import Package
from retriever.reading.options import ReadOptions
from retriever.reading.pages import make_page, too_long_page
from retriever.types import Document, LeftOut, Page, PageState, ReadError

_DESCRIPTION = "a Word document"
_USUAL_MAIN = "word/document.xml"
_EDGES = ("header", "footer")
_NOTES = ("footnotes", "endnotes")


def read_docx(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a DOCX file: a page with its text, and one each for headers and comments."""
    large = archives.too_large_reason(data, _DESCRIPTION)
    if large:
        return Document(name, "docx", (too_long_page(None, large),))
    data = package.usual(data)
    styles, facts, error = _styles_and_facts(data, name)
    try:
        reader = _Reader(Package(data), styles, options)
        pages = tuple(reader.pages(reader.body(data)))
    # Damaged packages raise many types of exception; the user sees one message.
    except Exception as fault:  # noqa: BLE001 - see the line above
        raise ReadError(archives.broken_reason(error or fault, _DESCRIPTION)) from None
    return Document(path=name, format="docx", pages=pages, left_out=tuple(reader.left_out), **facts)


def _styles_and_facts(data: bytes, name: str) -> tuple[Styles, dict[str, Any], Exception | None]:
    """The styles, and title, author, date and metadata; damaged ones count as missing."""
    import docx  # slow to import, and not always needed

    try:
        document = docx.Document(io.BytesIO(data))
        styles = styles_of(document)
    except Exception as error:  # noqa: BLE001 - the text is what counts
        return Styles(), {}, error
    try:
        core = document.core_properties
        return styles, package_facts(core, core.author, name), None
    except Exception as error:  # noqa: BLE001 - properties are optional
        return styles, {}, error


class _Reader:
    """Reads the parts of one package."""

    def __init__(self, package: Package, styles: Styles, options: ReadOptions) -> None:
        self._package = package
        self._styles = styles
        self._options = options
        self._further: list[Page] = []  # parts that could not be read to text
        self.left_out: list[LeftOut] = []
        main = package.main
        self._main = main if main in package.names else _USUAL_MAIN

    def body(self, data: bytes) -> etree._Element:
        """The body of the document. Raises an exception of any type if it cannot be read."""
        body = child_of(archives.tree(data, self._main), "body")
        if body is None:
            raise ReadError("it has no body")
        return body

    def pages(self, body: etree._Element) -> Iterator[Page]:
        """The text with its notes; headers and footers; comments; embedded files."""
        notes = (("", text) for text in self._notes())
        text = join([*self._reads(self._main).blocks(body), *notes])
        edges = "\n\n".join(dict.fromkeys(self._edges(body)))
        comments = "\n\n".join(self._comments())
        yield make_page(None, text, "no text in it")
        for label, part in (("headers and footers", edges), ("comments", comments)):
            if part.strip():
                page = make_page(None, part)
                yield Page(None, page.text, page.state, page.reason, label)
        yield from self._further
        parts = [self._main, *self._parts(*_EDGES, *_NOTES)]
        yield from self._package.embedded_pages(parts, self._options)

    def _reads(self, part: str) -> Body:
        """A reader for the elements of a part."""
        targets = {one.id: one.target for one in self._package.relations(part)}

        def tree(relation: str) -> etree._Element | None:
            return self._package.tree(targets.get(relation, ""))

        def imported(relation: str) -> Iterable[str]:
            return self._imported(targets.get(relation, ""))

        return Body(self._styles, self.left_out, Related(tree, imported))

    def _parts(self, *kinds: str) -> list[str]:
        """The parts of some kinds, each once; by their usual names if the relations are damaged."""
        found = [
            one.target
            for kind in kinds
            for one in self._package.relations(self._main)
            if one.kind == kind
        ]
        names = (name for name in sorted(self._package.names) if name.startswith("word/"))
        usual = [
            name
            for name in names
            if name.endswith(".xml") and Path(name).stem.rstrip("0123456789") in kinds
        ]
        return list(dict.fromkeys(found)) or ([] if self._package.relations(self._main) else usual)

    def _trees(self, *kinds: str) -> Iterator[tuple[Body, etree._Element]]:
        for part in self._parts(*kinds):
            tree = self._package.tree(part)
            if tree is not None:
                yield self._reads(part), tree

    def _notes(self) -> Iterator[str]:
        """Footnotes and endnotes, without separators."""
        for body, root in self._trees(*_NOTES):
            for note in root:
                if not archives.attribute(note, "type"):
                    yield " ".join(body.text(note).split())

    def _edges(self, body: etree._Element) -> Iterator[str]:
        """The texts of headers and footers, in the order of the sections that use them."""
        targets = {one.id: one.target for one in self._package.relations(self._main)}
        references = body.iter("{*}headerReference", "{*}footerReference")
        used = [targets.get(archives.attribute(one, "id"), "") for one in references]
        for part in dict.fromkeys([*used, *self._parts(*_EDGES)]):
            tree = self._package.tree(part)
            if tree is not None:
                yield from filter(None, [self._reads(part).text(tree)])

    def _comments(self) -> Iterator[str]:
        """The comments with their authors."""
        for body, root in self._trees("comments"):
            for comment in root:
                text = body.text(comment)
                author = " ".join(archives.attribute(comment, "author").split())
                if text:
                    yield f"{author}: {text}" if author else text

    def _imported(self, part: str) -> Iterator[str]:
        """The texts of a file that Word imports in place (altChunk), in any format."""
        blob = self._package.blob(part)
        if blob is None:
            return
        try:
            pages = self._options.inner(blob, _imported_name(part, blob)).pages
        except ReadError as error:
            pages = (Page(None, "", PageState.FAILED, str(error)),)
        for page in pages:
            if page.state.readable:
                yield page.text
            elif page.state is not PageState.EMPTY:
                label = f"imported part {len(self._further) + 1}"
                self._further.append(Page(None, "", page.state, page.reason, label))


def _imported_name(part: str, blob: bytes) -> str:
    """The name by which an imported file is read: HTML unless it says something else."""
    from retriever.reading.formats import supported

    name = posixpath.basename(part)
    if blob[:200].lstrip().lower().startswith((b"mime-version", b"content-type")):
        return f"{name}.eml"  # a web page in one file (MHTML)
    return name if supported(Path(name)) else f"{name}.html"
