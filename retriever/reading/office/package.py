"""Office Open XML packages: their parts, the relations between them, and Strict ones as usual ones.

The libraries for Word, Excel and PowerPoint files give neither all parts nor the parts of damaged
packages. A part that is missing or damaged counts as absent here: the main part decides whether a
file can be read.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from retriever.reading import archives
from retriever.reading.attached import attached_pages
from retriever.reading.office import passwords
from retriever.reading.options import ReadOptions
from retriever.types import Page, PageState, ReadError

_STRICT = b"http://purl.oclc.org/ooxml/"
_STRICT_NAME = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_RENAMED = {  # names of Strict packages that differ otherwise
    b"relationships/extendedProperties": b"relationships/extended-properties",
    b"relationships/customProperties": b"relationships/custom-properties",
    b"2006/extendedProperties": b"2006/extended-properties",
    b"2006/customProperties": b"2006/custom-properties",
}
_MARKUP = (".xml", ".rels", ".vml")
_DECLARATION = b"<!DOCTYPE"
_HEAD = 4_096  # bytes at the beginning of a part; before the declaration are only comments
_EMBEDDED = frozenset(["package", "oleObject"])
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DAMAGED = (KeyError, *archives.DAMAGED)


class Relation(NamedTuple):
    """A relation of a part: its id, the last word of its type ("comments"), and the other part."""

    id: str
    kind: str
    target: str


class Package:
    """The parts of a package, by their paths."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        self.names = frozenset(self._archive.namelist())

    @cached_property
    def main(self) -> str:
        """The path of the main part; empty if it is not stated."""
        found = (one.target for one in self.relations("") if one.kind == "officeDocument")
        return next(found, "")

    def blob(self, part: str) -> bytes | None:
        """The bytes of a part; None if it is absent or damaged."""
        try:
            return self._archive.read(part)
        except (*_DAMAGED, RuntimeError, zipfile.error):
            return None

    def tree(self, part: str) -> etree._Element | None:
        """The root of an XML part; None if it is absent or damaged."""
        blob = self.blob(part)
        try:
            return None if blob is None else archives.parsed(blob)
        except (etree.XMLSyntaxError, ValueError):
            return None

    def relations(self, part: str) -> list[Relation]:
        """The relations of a part to other parts of the package, in the order of the file."""
        folder, name = posixpath.split(part)
        root = self.tree(posixpath.join(folder, "_rels", f"{name}.rels"))
        return [] if root is None else list(_relations(root, folder))

    def related(self, part: str, kind: str) -> list[str]:
        """The paths of the parts that are related to a part as `kind`, each once."""
        return list(dict.fromkeys(one.target for one in self.relations(part) if one.kind == kind))

    def embedded_pages(self, parts: list[str], options: ReadOptions) -> list[Page]:
        """The pages of the files embedded in some parts, each file once."""
        files = (
            one.target for part in parts for one in self.relations(part) if one.kind in _EMBEDDED
        )
        pages: list[Page] = []
        taken: set[str] = set()
        objects = 0
        for path in dict.fromkeys(files):
            blob = self.blob(path)
            if blob is None:
                continue
            if blob.startswith(_OLE) and not _is_workbook(blob):
                objects += 1
            else:
                pages += attached_pages(posixpath.basename(path), blob, options, taken)
        if objects:
            reason = f"not read: {objects:,} embedded objects of other programs"
            pages.append(Page(None, "", PageState.SKIPPED, reason, "embedded objects"))
        return pages


def _is_workbook(blob: bytes) -> bool:
    try:
        return passwords.kind(blob) == "xls"
    except ReadError:
        return False


def _relations(root: etree._Element, folder: str) -> Iterator[Relation]:
    for one in root:
        target = archives.attribute(one, "Target")
        if target and archives.attribute(one, "TargetMode") != "External":
            kind = archives.attribute(one, "Type").rsplit("/", 1)[-1]
            path = posixpath.normpath(posixpath.join("/", folder, unquote(target)))
            yield Relation(archives.attribute(one, "Id"), kind, path.lstrip("/"))


def usual(data: bytes) -> bytes:
    """A Strict package (ISO 29500) with the names of the usual form, without entities.

    The two forms differ in the names of namespaces and relations. The libraries know the usual ones
    only, and take a Strict file for an empty or damaged one. Where a part declares entities, which
    no Office program does, they lose the text beside one. Other packages are unchanged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            if _STRICT not in source.read("_rels/.rels") and not _declares_entities(source):
                return data
            changed = io.BytesIO()
            with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
                for part in source.infolist():
                    with source.open(part) as content:
                        target.writestr(part.filename, _renamed(part.filename, content.read()))
            return changed.getvalue()
    except (*_DAMAGED, RuntimeError):
        return data  # the reader says what is wrong with the file


def _declares_entities(source: zipfile.ZipFile) -> bool:
    """Whether a part of markup has a document type declaration, which stands at its beginning."""
    for part in source.infolist():
        if part.filename.lower().endswith(_MARKUP):
            with suppress(*_DAMAGED, RuntimeError, zlib.error), source.open(part) as content:
                if _DECLARATION in content.read(_HEAD):
                    return True
    return False


def _without_entities(content: bytes) -> bytes:
    if _DECLARATION not in content[:_HEAD] or len(content) > archives.MAX_PART:
        return content
    try:
        return bytes(etree.tostring(archives.parsed(content), encoding="UTF-8", standalone=True))
    except (etree.XMLSyntaxError, ValueError):
        return content


def _renamed(name: str, content: bytes) -> bytes:
    if name.lower().endswith(_MARKUP):
        content = _without_entities(content)
    if not name.lower().endswith(_MARKUP) or _STRICT not in content:
        return content
    content = _STRICT_NAME.sub(rb"http://schemas.openxmlformats.org/\1/2006/", content)
    for strict, other in _RENAMED.items():
        content = content.replace(strict, other)
    return content
