"""ZIP packages that contain XML: Office, OpenDocument and EPUB files.

The sizes in the central directory are checked before anything is unpacked. Python's zipfile never
unpacks more of a part than the size stated there.
"""

from __future__ import annotations

import io
import zipfile

from lxml import etree

from retriever.reading.pages import error_text
from retriever.types import ReadError

MAX_PART = 50_000_000
"""Bytes of one XML part: a document of a million words. Its tree takes 15 times that memory."""

MAX_TOTAL = 20 * MAX_PART
_MAX_PARTS = 20_000
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx")
# zipfile raises NotImplementedError for a compression method that it does not know.
DAMAGED = (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError)
"""What zipfile raises for a damaged archive."""


def too_large_reason(data: bytes, what: str, streamed: str = "") -> str:
    """Describe what is too large to unpack; empty if nothing is.

    `what` names the format in the ReadError for a package that cannot be opened ("a Word
    document"). Parts whose names begin with `streamed` are never held in memory as a whole; only
    the limit on the total size applies to them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except DAMAGED as error:
        raise ReadError(broken_reason(error, what)) from None
    if len(parts) > _MAX_PARTS:
        return f"{len(parts):,} parts"
    held = (
        part.file_size
        for part in parts
        if part.filename.lower().endswith(_MARKUP)
        and not (streamed and part.filename.startswith(streamed))
    )
    largest = max(held, default=0)
    if largest > MAX_PART:
        return f"{largest:,} bytes of markup"
    if sum(part.file_size for part in parts) > MAX_TOTAL:
        return "more than can be unpacked"
    return ""


def broken_reason(error: BaseException, what: str) -> str:
    """The reason for a package with damaged parts, with the library's message."""
    return f"broken: its parts cannot be read as {what} ({error_text(error).rstrip('.')})"


def tree(data: bytes, part: str) -> etree._Element:
    """The root of an XML part.

    Raises KeyError, BadZipFile or XMLSyntaxError if the part cannot be read.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return parsed(archive.read(part))


def parsed(content: bytes) -> etree._Element:
    """The root of XML. Entities are left out, not expanded, and nothing is fetched.

    Comments are left out, too: the text around both is one. Raises XMLSyntaxError.

    >>> parsed(b"<!DOCTYPE p [<!ENTITY e SYSTEM 'x'>]><p>one &e;<!-- -->two</p>").text
    'one two'
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    root = etree.fromstring(content, parser)
    etree.strip_tags(root, etree.Entity)
    return root


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace; empty for comments and instructions.

    >>> local_name(etree.fromstring('<w:p xmlns:w="urn:w"/>'))
    'p'
    """
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def attribute(element: etree._Element, name: str) -> str:
    """An element's attribute in any namespace; empty if it has none.

    >>> attribute(etree.fromstring('<p xmlns:w="urn:w" w:val="7"/>'), "val")
    '7'
    """
    found = (str(v) for k, v in element.attrib.items() if k.rsplit("}", 1)[-1] == name)
    return next(found, "")


def first_forms(root: etree._Element) -> etree._Element:
    """Replace content in several forms, for new and old programs, by the first form; in place."""
    for wrapper in [*root.iter("{*}AlternateContent")]:
        parent, choice = wrapper.getparent(), next(iter(wrapper), None)
        if parent is not None and choice is not None:
            at = parent.index(wrapper)
            parent[at : at + 1] = list(choice)
    return root
