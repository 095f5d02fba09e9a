"""Files inside a PDF: embedded in the document, attached to a page, or in a portfolio.

pypdf lists only the simple name tree of embedded files. PDF also allows nested name trees, files of
annotations and associated files of the document, so all of these are read here; each file once. The
machine-readable copy in an electronic invoice is skipped, because its page says the same.
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

from retriever.reading.attached import attached_pages, unique_label
from retriever.reading.facts import clean_fact
from retriever.reading.options import ReadOptions
from retriever.reading.pdf.open import LockedError, open_pdf, pdf_error_text
from retriever.types import Page, PageState, ReadError

MAX_FILES = 500
"""Maximum number of files of one PDF."""

_MAX_ALL = 300_000_000  # bytes of all files together
_MAX_ONE = 100_000_000
_MAX_NAME = 100
_MAX_NODES = 5_000  # of a name tree
_MAX_ANNOTATIONS = 5_000  # of one page
_LIMITS = pypdf.Configuration(
    zlib_maximum_output_length=_MAX_ONE,
    lzw_maximum_output_length=_MAX_ONE,
    run_length_maximum_output_length=_MAX_ONE,
    stream_decoding_work_maximum_length=2 * _MAX_ONE,
)
# Formats of electronic invoices: CII (in Factur-X, ZUGFeRD, XRechnung) and UBL.
_INVOICES = re.compile(
    rb"urn:(?:un:unece:uncefact:data:|oasis:names:specification:ubl:|ferd:|factur-x)"
)
_HEAD = 4_096  # bytes searched for the XML namespaces
_INVOICE = "not read: the invoice's copy for programs"


@dataclass(frozen=True, slots=True)
class _File:
    """An embedded file: its name and its stream."""

    name: str
    stream: Any


def attachments(data: bytes, options: ReadOptions) -> tuple[Page, ...]:
    """The pages of the files inside the PDF, labelled "attachment NAME"; usually none.

    A PDF that does not open has none; `read_pdf` reports the reason.
    """
    with warnings.catch_warnings(), pypdf.apply_configuration(_LIMITS):
        warnings.simplefilter("ignore")
        try:
            file = open_pdf(data, options.passwords)
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
            yield _reason_page(
                file, PageState.TOO_LONG, f"too large: {pdf_error_text(error)}", taken
            )
            continue
        except Exception as error:  # noqa: BLE001 - one damaged file must not take the others with it
            yield _reason_page(
                file, PageState.FAILED, f"cannot be unpacked: {pdf_error_text(error)}", taken
            )
            continue
        total += len(content)
        if content.lstrip().startswith((b"<", b"\xef\xbb\xbf<")) and _INVOICES.search(
            content[:_HEAD]
        ):
            yield _reason_page(file, PageState.SKIPPED, _INVOICE, taken)
            continue
        yield from attached_pages(file.name, content, options, taken)


def _reason_page(file: _File, state: PageState, reason: str, taken: set[str]) -> Page:
    return Page(None, "", state, reason, unique_label(f"attachment {file.name}", taken))


# Where files are listed


def _files(reader: pypdf.PdfReader, pages: Iterable[Any]) -> Iterator[_File]:
    """Every file once: from name trees, then pages, then the document's associated files."""
    seen: set[int] = set()
    for name, entry in _specifications(reader, pages):
        file = _file(name, entry)
        if file is not None and id(file.stream) not in seen:
            seen.add(id(file.stream))  # the reader keeps its objects alive, so ids are unique
            yield file


def _specifications(reader: pypdf.PdfReader, pages: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Names and candidate file specifications, from all places that may have them."""
    root = _resolve(reader.root_object)
    yield from _name_tree(_get(_get(root, "/Names"), "/EmbeddedFiles"))
    for page in pages:
        for annotation in _items(_get(page, "/Annots"), _MAX_ANNOTATIONS):
            if _get(annotation, "/Subtype") == "/FileAttachment":
                yield "", _get(annotation, "/FS")
    for entry in _items(_get(root, "/AF"), MAX_FILES):
        yield "", entry


def _name_tree(tree: Any) -> Iterator[tuple[str, Any]]:
    """The names and values of a name tree; loops and too many nodes are cut off."""
    waiting, seen = [tree], set[int]()
    while waiting and len(seen) < _MAX_NODES:
        node = waiting.pop()
        if not hasattr(node, "get") or id(node) in seen:
            continue
        seen.add(id(node))
        pairs = _items(_get(node, "/Names"), 4 * MAX_FILES)
        yield from ((name if isinstance(name, str) else "", value) for name, value in _pairs(pairs))
        waiting += reversed(list(_items(_get(node, "/Kids"), _MAX_NODES)))


def _pairs(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    each = iter(items)
    return zip(each, each, strict=False)


def _file(listed: str, entry: Any) -> _File | None:
    """The file of a specification; None if it refers to an external file."""
    streams = _get(entry, "/EF")
    for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"):
        stream = _get(streams, key)
        if hasattr(stream, "get_data"):
            names = (_get(entry, "/UF"), _get(entry, "/F"), listed)
            name = next((clean_fact(name) for name in names if isinstance(name, str) and name), "")
            # Drop folders before the name.
            return _File(
                name.replace("\\", "/").rsplit("/", 1)[-1][:_MAX_NAME] or "unnamed", stream
            )
    return None


def _resolve(thing: Any) -> Any:
    """The target of a reference; None if it has none."""
    try:
        return thing.get_object() if isinstance(thing, IndirectObject) else thing
    except Exception:  # noqa: BLE001 - damaged lists must not take the others with them
        return None


def _get(thing: Any, key: str) -> Any:
    if not hasattr(thing, "get"):
        return None
    try:
        return _resolve(thing.get(key))
    except Exception:  # noqa: BLE001 - as in _resolved
        return None


def _items(thing: Any, most: int) -> Iterator[Any]:
    if isinstance(thing, list):
        yield from map(_resolve, thing[:most])


__all__ = ["MAX_FILES", "attachments"]
