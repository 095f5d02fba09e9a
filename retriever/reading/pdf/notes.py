"""What people wrote on and about the pages of a PDF: comments, and bookmarks.

Sticky notes, comments on marked or struck text, and replies are annotations. Their text is no part
of the page's own text: it becomes a page of its own, labelled "notes on page 3", so that it is
found even if the page is an image. Bookmarks mostly repeat headings; those whose words no page has
become a page, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import unescape
from typing import Any

from retriever.reading.pages import make_page, unify_lines
from retriever.types import LeftOut, Page

_MAX_NOTES = 5_000  # of one page
_MAX_BOOKMARKS = 5_000
_HIDDEN = 0b10
_OTHERS = frozenset(
    # Read elsewhere or drawn by programs; "/Popup" is the window of another note.
    {"/Widget", "/FreeText", "/Popup", "/PrinterMark", "/TrapNet", "/Watermark"}
)
_OTHER = re.compile(r"[\W_]+")
_TAG = re.compile(r"<[^<>]*>")
_BLOCK_END = re.compile(r"</p>|<br ?/?>")


def notes_page(number: int, more: Iterable[str], page: Any) -> tuple[list[Page], list[LeftOut]]:
    """The page of the notes on a page, after the lines `more`; and what of them is left out."""
    texts = ["\n".join(more)]
    left_out: list[LeftOut] = []
    for note in _notes(page):
        text = _text(note)
        if not text:
            continue
        kind = _left_out_kind(note)
        if kind:
            left_out.append(LeftOut(kind, text))
        else:
            author = " ".join(_string(note, "/T").split())
            texts.append(f"{author}: {text}" if author else text)
    whole = "\n\n".join(filter(None, texts))
    return ([_labelled(f"notes on page {number}", whole)] if whole else []), left_out


def _notes(page: Any) -> Iterator[Any]:
    annotations = _resolve(page.get("/Annots")) if page is not None else None
    for entry in annotations[:_MAX_NOTES] if isinstance(annotations, list) else ():
        note = _resolve(entry)
        if hasattr(note, "get") and _resolve(note.get("/Subtype")) not in _OTHERS:
            yield note


def _left_out_kind(note: Any) -> str:
    """The kind of a note that nobody wrote to be read; empty for others."""
    flags = _resolve(note.get("/F"))
    if isinstance(flags, int) and flags & _HIDDEN:
        return "hidden text"
    if _resolve(note.get("/StateModel")) is not None:
        return "review states"
    return "link descriptions" if _resolve(note.get("/Subtype")) == "/Link" else ""


def _text(note: Any) -> str:
    """The text of a note: plain, or else that of its rich text."""
    plain = _string(note, "/Contents")
    rich = _BLOCK_END.sub("\n", _string(note, "/RC")) if not plain.strip() else ""
    lines = unify_lines(plain if plain.strip() else unescape(_TAG.sub("", rich))).split("\n")
    return "\n".join(line.strip() for line in lines).strip()


def bookmarks_page(root: Any, texts: Iterable[str]) -> tuple[list[Page], list[LeftOut]]:
    """A page of the bookmarks whose words are on none of the pages; the others are left out."""
    new: list[str] = []
    known: list[str] = []
    titles = list(_bookmarks(root))
    said = "\n".join(map(_letters, texts if titles else ()))
    for title in titles:
        (known if _letters(title) in said else new).append(title)
    page = [_labelled("bookmarks", "\n".join(new))] if new else []
    return page, [LeftOut("bookmarks", "\n".join(known))] if known else []


def _bookmarks(root: Any) -> Iterator[str]:
    """The titles of the document's outline in order; loops end."""
    outlines = _resolve(root.get("/Outlines"))
    waiting = [_resolve(outlines.get("/First"))] if hasattr(outlines, "get") else []
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_BOOKMARKS:
        entry = waiting.pop()
        if not hasattr(entry, "get") or id(entry) in seen:
            continue
        seen.add(id(entry))
        if title := " ".join(_string(entry, "/Title").split()):
            yield title
        waiting += [_resolve(entry.get("/Next")), _resolve(entry.get("/First"))]


def _labelled(label: str, text: str) -> Page:
    return replace(make_page(None, text), label=label)


def _letters(text: str) -> str:
    return _OTHER.sub("", text.casefold())


def _string(thing: Any, key: str) -> str:
    value = _resolve(thing.get(key))
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _resolve(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


__all__ = ["bookmarks_page", "notes_page"]
