"""Files inside of a PDF: embedded in the document, pinned to a page, or all that a portfolio is.

pypdf finds the plain list of embedded files; PDF also allows trees of lists, files that belong to
an annotation and files associated with the document, so all of these are walked here and each file
is taken once. An invoice's copy for programs is left out: its page says the same.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pypdf
from pypdf.errors import LimitReachedError
from pypdf.generic import IndirectObject

from retriever.readers.attached import attached_pages, unique_label
from retriever.readers.context import ReadOptions
from retriever.readers.facts import clean_fact
from retriever.readers.pdf.opening import LockedError, opened, pdf_error_text
from retriever.types import Page, PageState, ReadError

VERSION = 1

MAX_FILES = 500
"""Files read of one PDF."""

_MAX_ALL = 300_000_000  # bytes of all files together
_MAX_ONE = 100_000_000
_MAX_NAME = 100
_MAX_NODES = 5_000  # of the tree of lists
_MAX_ANNOTATIONS = 5_000  # of one page
_LIMITS = pypdf.Configuration(
    zlib_maximum_output_length=_MAX_ONE,
    lzw_maximum_output_length=_MAX_ONE,
    run_length_maximum_output_length=_MAX_ONE,
    stream_decoding_work_maximum_length=2 * _MAX_ONE,
)
# What the standards for electronic invoices name: CII (in Factur-X, ZUGFeRD, XRechnung), UBL.
_INVOICES = re.compile(
    rb"urn:(?:un:unece:uncefact:data:|oasis:names:specification:ubl:|ferd:|factur-x)"
)
_HEAD = 4_096  # bytes in which an XML file names its standards
_INVOICE = "not read: the invoice's copy for programs"


@dataclass(frozen=True, slots=True)
class _File:
    """A file as the PDF lists it: its name, and the stream that holds it."""

    name: str
    stream: Any


def attachments(data: bytes, options: ReadOptions) -> tuple[Page, ...]:
    """The pages of the files inside of the PDF, labelled "attachment NAME"; none for most PDFs.

    A PDF that does not open, or only with another password, has none: reading it says why.
    """
    with warnings.catch_warnings(), pypdf.apply_configuration(_LIMITS):
        warnings.simplefilter("ignore")
        try:
            file = opened(data, options.passwords)
        except (LockedError, ReadError):
            return ()
        return tuple(_read(_files(file.reader, file.pages), options))


def _read(files: Iterable[_File], options: ReadOptions) -> Iterator[Page]:
    taken: set[str] = set()
    total = 0
    for count, file in enumerate(files):
        if count == MAX_FILES or total > _MAX_ALL:
            reason = f"only the first {count:,} attached files are read"
            yield Page(None, "", PageState.TOO_LONG, reason, unique_label("further files", taken))
            return
        try:
            content = bytes(file.stream.get_data())
        except LimitReachedError as error:
            yield _told(file, PageState.TOO_LONG, f"too large: {pdf_error_text(error)}", taken)
            continue
        except Exception as error:  # noqa: BLE001 - one damaged file must not take the others with it
            yield _told(
                file, PageState.FAILED, f"cannot be unpacked: {pdf_error_text(error)}", taken
            )
            continue
        total += len(content)
        if content.lstrip().startswith((b"<", b"\xef\xbb\xbf<")) and _INVOICES.search(
            content[:_HEAD]
        ):
            yield _told(file, PageState.SKIPPED, _INVOICE, taken)
            continue
        yield from attached_pages(file.name, content, options, taken)


def _told(file: _File, state: PageState, reason: str, taken: set[str]) -> Page:
    return Page(None, "", state, reason, unique_label(f"attachment {file.name}", taken))


# Where files are listed


def _files(reader: pypdf.PdfReader, pages: Iterable[Any]) -> Iterator[_File]:
    """Every file once, in the order of lists, pages, and the document's associated files."""
    seen: set[int] = set()
    for name, entry in _specifications(reader, pages):
        file = _file(name, entry)
        if file is not None and id(file.stream) not in seen:
            seen.add(id(file.stream))  # the reader keeps its objects, so ids last
            yield file


def _specifications(reader: pypdf.PdfReader, pages: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """A name and what may be a file's specification, wherever one can stand."""
    root = _resolved(reader.root_object)
    yield from _listed(_get(_get(root, "/Names"), "/EmbeddedFiles"))
    for page in pages:
        for annotation in _items(_get(page, "/Annots"), _MAX_ANNOTATIONS):
            if _get(annotation, "/Subtype") == "/FileAttachment":
                yield "", _get(annotation, "/FS")
    for entry in _items(_get(root, "/AF"), MAX_FILES):
        yield "", entry


def _listed(tree: Any) -> Iterator[tuple[str, Any]]:
    """The names and values of a name tree; loops and endless ones are cut."""
    waiting, seen = [tree], set[int]()
    while waiting and len(seen) < _MAX_NODES:
        node = waiting.pop()
        if not hasattr(node, "get") or id(node) in seen:
            continue
        seen.add(id(node))
        pairs = _items(_get(node, "/Names"), 4 * MAX_FILES)
        yield from ((name if isinstance(name, str) else "", value) for name, value in _twos(pairs))
        waiting += reversed(list(_items(_get(node, "/Kids"), _MAX_NODES)))


def _twos(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    each = iter(items)
    return zip(each, each, strict=False)


def _file(listed: str, entry: Any) -> _File | None:
    """The file of a specification; None where it only names a file that lies elsewhere."""
    streams = _get(entry, "/EF")
    for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"):
        stream = _get(streams, key)
        if hasattr(stream, "get_data"):
            names = (_get(entry, "/UF"), _get(entry, "/F"), listed)
            name = next((clean_fact(name) for name in names if isinstance(name, str) and name), "")
            # Folders that somebody wrote before the name are none of ours.
            return _File(
                name.replace("\\", "/").rsplit("/", 1)[-1][:_MAX_NAME] or "unnamed", stream
            )
    return None


def _resolved(thing: Any) -> Any:
    """What a reference stands for; None where it leads nowhere."""
    try:
        return thing.get_object() if isinstance(thing, IndirectObject) else thing
    except Exception:  # noqa: BLE001 - damaged lists must not take the others with them
        return None


def _get(thing: Any, key: str) -> Any:
    if not hasattr(thing, "get"):
        return None
    try:
        return _resolved(thing.get(key))
    except Exception:  # noqa: BLE001 - as in _resolved
        return None


def _items(thing: Any, most: int) -> Iterator[Any]:
    if isinstance(thing, list):
        yield from map(_resolved, thing[:most])


__all__ = ["MAX_FILES", "attachments"]
