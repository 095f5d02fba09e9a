"""E-books (.epub): chapters in reading order, each a page with a number and its title.

A page is one item of the book's spine; items that the spine does not name follow. Its label is its
title in the table of contents, else its first heading, else "part 3". The table of contents and a
cover without text are left out. Chapters with DRM are reported as encrypted, not as empty;
obfuscated fonts do not count as DRM.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urldefrag

from lxml import etree

from retriever.reading.archives import DAMAGED, broken_reason, local_name, too_large_reason, tree
from retriever.reading.attached import unique_label
from retriever.reading.facts import clean_author, clean_fact, clean_title, iso_date, scalars
from retriever.reading.markup.html import extract, main_text, parse
from retriever.reading.markup.html_sizes import word_count
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import error_text, make_page, too_long_page
from retriever.reading.plain.text import decode_text
from retriever.types import Document, LeftOut, Page, PageState, ReadError

_MAX_ITEMS = 5_000
_MAX_ITEM = 40_000_000  # bytes of one chapter
_MAX_TAGS = 2_000_000  # as in html.py
_MAX_LABEL = 120
_MAX_CONTENTS = 5  # words beside the headings of a page that only holds the contents
# A part may also be missing, encrypted (RuntimeError), or no XML.
_DAMAGED = (*DAMAGED, KeyError, RuntimeError, zlib.error, etree.LxmlError)
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_LOCKED = "locked by digital rights management (DRM): only the seller's own program opens it"
_SHOWN_FACTS = ("language", "publisher", "subject", "description")
_FACTS = frozenset(["title", "creator", "date", *_SHOWN_FACTS])
_OTHER_FACTS = frozenset(["contributor", "rights", "identifier", "source", "relation", "coverage"])
_EMPTY_TAG = re.compile(r"<([a-zA-Z][\w:-]*)((?:\s[^<>]*?)?)/>")
_VOID = frozenset(
    ["br", "hr", "img", "input", "link", "meta", "col", "wbr", "source", "area", "base", "embed"]
)
_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""")


@dataclass(slots=True)
class _Item:
    """A file of the book: its place in the archive and its manifest entry."""

    path: str
    kind: str = ""
    properties: str = ""


@dataclass(slots=True)
class _Book:
    """The package file: items by id, reading order, metadata."""

    items: dict[str, _Item] = field(default_factory=dict)
    spine: list[str] = field(default_factory=list)
    facts: dict[str, list[str]] = field(default_factory=dict)
    contents: str = ""  # id of the older table of contents
    left_out: list[LeftOut] = field(default_factory=list)


def read_epub(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read an EPUB file."""
    large = too_large_reason(data, "an EPUB book")
    if large:
        return Document(name, "epub", (too_long_page(None, large),))
    book = _book(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pages = tuple(_pages(archive, data, book, options))
    if not pages:
        raise ReadError("broken: none of the parts its reading order names is in it")
    if all(page.state is PageState.EMPTY for page in pages):
        reason = "only pictures in it: its text cannot be read"
        pages = tuple(replace(page, state=PageState.SCANNED, reason=reason) for page in pages)
    facts = {key: ", ".join(values[:20]) for key, values in book.facts.items()}
    return Document(
        path=name,
        format="epub",
        pages=pages,
        title=clean_title((book.facts.get("title") or [""])[0], name),
        author=clean_author(facts.get("creator")),
        date=iso_date((book.facts.get("date") or [""])[0]),
        metadata=scalars({key: facts.get(key) for key in _SHOWN_FACTS}),
        left_out=tuple(book.left_out),
    )


# The package


def _book(data: bytes) -> _Book:
    try:
        path = _package_path(data)
        root = tree(data, path)
    except _DAMAGED as error:
        raise ReadError(broken_reason(error, "an EPUB book")) from None
    folder = posixpath.dirname(path)
    book = _Book()
    for element in root.iter(etree.Element):
        kind = local_name(element)
        if kind == "item":
            _add_item(book, element, folder)
        elif kind == "spine":
            book.contents = element.get("toc", "")
        elif kind == "itemref" and element.get("idref"):
            book.spine.append(element.get("idref", ""))
        elif kind in _FACTS or kind in _OTHER_FACTS:
            _add_fact(book, element, kind)
    book.spine = list(dict.fromkeys(book.spine))
    main = _main_title(root)
    if main:
        book.facts["title"] = [main]
    return book


def _add_fact(book: _Book, element: etree._Element, kind: str) -> None:
    text = "".join(element.itertext())
    if kind == "description":  # often a page of its own
        described = parse(text)
        text = "" if described is None else main_text(described)
    value = clean_fact(text)
    if value and kind in _FACTS:
        book.facts.setdefault(kind, []).append(value)
    elif value:
        book.left_out.append(LeftOut("metadata", value))


def _main_title(root: etree._Element) -> str:
    """The title that is marked as the main one, of several."""
    ids = {
        (element.get("refines") or "").lstrip("#")
        for element in root.iter("{*}meta")
        if element.get("property") == "title-type" and (element.text or "").strip() == "main"
    }
    found = (element for element in root.iter("{*}title") if element.get("id") in ids)
    return next((clean_fact("".join(element.itertext())) for element in found), "")


def _package_path(data: bytes) -> str:
    """The path of the package file: from the container, or else by its ending."""
    try:
        for element in tree(data, "META-INF/container.xml").iter(etree.Element):
            if local_name(element) == "rootfile" and element.get("full-path"):
                return str(element.get("full-path"))
    except (KeyError, etree.LxmlError):
        pass
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = [name for name in archive.namelist() if name.lower().endswith(".opf")]
    if not found:
        raise KeyError("it has no list of its parts")
    return found[0]


def _add_item(book: _Book, element: etree._Element, folder: str) -> None:
    href = element.get("href")
    if href:
        item = _Item(_resolve(folder, href), element.get("media-type", ""))
        item.properties = element.get("properties", "")
        book.items[element.get("id", href)] = item


def _resolve(folder: str, href: str) -> str:
    """Resolve a link to the name of an archive member.

    >>> _resolve("OEBPS/text", "../a%20b.xhtml#c")
    'OEBPS/a b.xhtml'
    """
    path = unquote(urldefrag(href.strip())[0])
    return posixpath.normpath(posixpath.join(folder, path)).lstrip("/")


# The pages


def _pages(
    archive: zipfile.ZipFile, data: bytes, book: _Book, options: ReadOptions
) -> Iterator[Page]:
    titles = _contents(data, book)
    locked = _encrypted_files(data)
    taken: set[str] = set()
    number = 0
    left_out: tuple[LeftOut, ...]
    for item in _in_order(book):
        if number >= _MAX_ITEMS:
            reason = f"more than {_MAX_ITEMS:,} parts in one book"
            label = unique_label("further parts", taken)
            yield Page(number + 1, "", PageState.TOO_LONG, reason, label)
            return
        options.extend_deadline(PAGE_SECONDS)
        if item.path in locked:
            page, heading, left_out = Page(None, "", PageState.ENCRYPTED, _LOCKED), "", ()
        else:
            page, heading, left_out = _chapter(archive, item)
        if _is_frame(item, page):
            book.left_out += [*_contents_page(page), *left_out]
            continue
        book.left_out += left_out
        number += 1
        label = titles.get(item.path) or heading or f"part {number}"
        yield Page(number, page.text, page.state, page.reason, unique_label(label, taken))


def _in_order(book: _Book) -> list[_Item]:
    """The items in reading order; then those that the spine does not name, which links lead to."""
    named = [book.items[key] for key in book.spine if key in book.items]
    known = {item.path for item in named}
    pages = (item for item in book.items.values() if "html" in item.kind)
    return named + [item for item in pages if item.path not in known]


def _is_frame(item: _Item, page: Page) -> bool:
    """Whether an item is a table of contents or a cover without text."""
    if "nav" in item.properties.split():
        # Only headings: a page with more text holds a contents list of its own.
        lines = (line for line in page.text.split("\n") if not line.startswith("#"))
        return sum(map(word_count, lines)) < _MAX_CONTENTS
    stem = posixpath.basename(item.path).lower()
    return page.state is PageState.EMPTY and stem.startswith(("cover", "nav", "toc", "titlepage"))


def _contents_page(page: Page) -> list[LeftOut]:
    return [LeftOut("navigation", page.text)] if page.text else []


def _chapter(archive: zipfile.ZipFile, item: _Item) -> tuple[Page, str, tuple[LeftOut, ...]]:
    """The page of an item, without its number, its first heading, and what is left out."""
    try:
        found = archive.getinfo(item.path)
        if found.flag_bits & 1:
            return Page(None, "", PageState.ENCRYPTED, "its archive is under a password"), "", ()
        if found.file_size > _MAX_ITEM:
            return too_long_page(None, f"{found.file_size:,} bytes"), "", ()
        source = archive.read(found)
    except KeyError:
        return Page(None, "", PageState.FAILED, f"missing in the file: {item.path[:200]}"), "", ()
    except _DAMAGED as error:
        return Page(None, "", PageState.FAILED, f"broken: {error_text(error)}"), "", ()
    if source.count(b"<") > _MAX_TAGS:
        return too_long_page(None, f"{source.count(b'<'):,} tags"), "", ()
    try:
        return _read_chapter(source)
    except ReadError as error:
        return Page(None, "", PageState.FAILED, str(error)), "", ()


def _read_chapter(source: bytes) -> tuple[Page, str, tuple[LeftOut, ...]]:
    stated = _ENCODING.search(source[:1_000])
    text = decode_text(source, stated[1].decode("ascii") if stated else "")
    root = parse(_EMPTY_TAG.sub(_close_anchor, text))
    if root is None:
        return make_page(None, "", "no text in it"), "", ()
    pictures = any(local_name(element) in ("img", "image") for element in root.iter(etree.Element))
    empty = "no text in it but a picture" if pictures else "no text in it"
    heads = (
        " ".join("".join(element.itertext()).split())[:_MAX_LABEL]
        for element in root.iter("h1", "h2", "h3")
    )
    first = next(filter(None, heads), "")
    found = extract(root, book=True)
    return make_page(None, found.text, empty), first, found.left_out


def _close_anchor(match: re.Match[str]) -> str:
    """Expand `<a id="x"/>`: it is complete in XHTML, but stays open in HTML."""
    tag, attributes = match.groups()
    if tag.lower() in _VOID:
        return match[0]
    return f"<{tag}{attributes}></{tag}>"


# Contents and encryption


def _contents(data: bytes, book: _Book) -> dict[str, str]:
    """Titles from the tables of contents by item; the first title wins."""
    titles: dict[str, str] = {}
    newer = [item for item in book.items.values() if "nav" in item.properties.split()]
    older = [item for item in book.items.values() if item.kind == "application/x-dtbncx+xml"]
    for item in [*newer[:1], *older[:1]]:
        try:
            root = tree(data, item.path)
        except _DAMAGED:
            continue
        folder = posixpath.dirname(item.path)
        for href, title in _entries(root):
            titles.setdefault(_resolve(folder, href), title)
    return titles


def _entries(root: etree._Element) -> Iterator[tuple[str, str]]:
    """Pairs of link and title, in order, from both kinds of table of contents."""
    for element in root.iter(etree.Element):
        kind = local_name(element)
        if kind == "a" and element.get("href") and not _in_other_list(element):
            title = "".join(element.itertext())
            href = element.get("href", "")
        elif kind == "navPoint":
            label = next((each for each in element if local_name(each) == "navLabel"), None)
            content = next((each for each in element if local_name(each) == "content"), None)
            title = "" if label is None else "".join(label.itertext())
            href = "" if content is None else content.get("src", "")
        else:
            continue
        shown = clean_fact(title)[:_MAX_LABEL]
        if shown and href:
            yield href, shown


def _in_other_list(link: etree._Element) -> bool:
    """Whether an entry belongs to a page list or landmarks, which name no chapters."""
    for above in link.iterancestors():
        if local_name(above) == "nav":
            kinds = [value for key, value in above.attrib.items() if key.endswith("type")]
            return any(kind in ("page-list", "landmarks") for kind in kinds)
    return False


def _encrypted_files(data: bytes) -> frozenset[str]:
    """The encrypted files of the book, without obfuscated fonts."""
    try:
        root = tree(data, "META-INF/encryption.xml")
    except _DAMAGED:
        return frozenset()
    found: set[str] = set()
    for entry in root.iter(etree.Element):
        if local_name(entry) != "EncryptedData":
            continue
        inside = list(entry.iter(etree.Element))
        methods = [
            each.get("Algorithm") for each in inside if local_name(each) == "EncryptionMethod"
        ]
        if any(method in _FONTS for method in methods):
            continue
        links = [each.get("URI", "") for each in inside if local_name(each) == "CipherReference"]
        found.update(_resolve("", link) for link in links)
    return frozenset(found)


__all__ = ["read_epub"]
