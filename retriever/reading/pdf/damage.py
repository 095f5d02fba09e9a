"""What a damaged or cut PDF has lost: pages, and the contents of pages.

PDF libraries take a reference to a missing object for nothing: a page with lost contents looks like
a blank one, and a lost page is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pypdf
from pypdf.generic import IndirectObject, NullObject

LOST_PAGE = "the page is missing: the file is damaged or was cut"
LOST_CONTENT = "its content is missing: the file is damaged or was cut"
LOST_PART = "a part of its content is missing: the file is damaged or was cut"
LOST_FONTS = "its fonts are missing: the file is damaged or was cut"

_MAX_NODES = 100_000  # of the page tree
_MAX_PARTS = 10_000  # of a page's content
_MIN_PACKED = 32  # bytes: an empty stream is no longer when it is packed
_SHOWS_TEXT = re.compile(rb"[)>\]]\s*T[jJ]\b")


def pages_with_gaps(reader: pypdf.PdfReader, pages: list[Any]) -> list[Any]:
    """The pages, with None in place of a lost one; `pages` are those that pypdf finds."""
    try:
        root = _get(reader.root_object, "/Pages")
        count = _get(root, "/Count")
        lost = count - len(pages) if isinstance(count, int) else 0
        leaves = list(_leaves(root)) if lost > 0 else []
    except Exception:  # noqa: BLE001 - what pypdf finds is there
        return pages
    gaps = leaves.count(None)
    if not gaps or gaps > lost or len(leaves) - gaps != len(pages):
        return pages
    if gaps == 1:  # a lost branch holds several pages
        at = leaves.index(None)
        leaves[at : at + 1] = [None] * lost
    found = iter(pages)
    return [None if leaf is None else next(found) for leaf in leaves]


def _leaves(root: Any) -> Iterator[Any]:
    """The pages of the page tree in order; None for each reference that leads nowhere."""
    waiting, seen = [root], set[int]()
    while waiting and len(seen) < _MAX_NODES:
        node = waiting.pop()
        kids = _get(node, "/Kids")
        if not hasattr(node, "raw_get"):
            yield None
        elif isinstance(kids, list):
            if id(node) not in seen:
                seen.add(id(node))
                waiting += map(_target, reversed(kids))
        else:
            seen.add(id(node))
            yield node


def lost_reason(page: Any) -> str:
    """Why a page without text is not a blank one; empty if it may be one."""
    parts = list(_parts(page))
    if None in parts or any(map(_is_cut, parts)):
        return LOST_CONTENT
    resources = _get(page, "/Resources")
    if _get(resources, "/Font") or _get(resources, "/XObject"):
        return ""
    content = page.get_contents()
    shows_text = content is not None and _SHOWS_TEXT.search(content.get_data())
    return LOST_FONTS if shows_text else ""


def has_lost_part(page: Any) -> bool:
    """Whether one of several parts of the page's content is missing."""
    return None in list(_parts(page))


def _parts(page: Any) -> Iterator[Any]:
    """The streams of a page's content; None for each reference that leads to none."""
    contents = page.raw_get("/Contents") if "/Contents" in page else []
    target = _target(contents)
    for part in target[:_MAX_PARTS] if isinstance(target, list) else [target]:
        found = _target(part)
        if not isinstance(found, NullObject):
            yield found if hasattr(found, "get_data") else None


def _is_cut(stream: Any) -> bool:
    """Whether a stream that holds bytes gives none."""
    packed = getattr(stream, "_data", b"")
    return len(packed) >= _MIN_PACKED and not stream.get_data()


def _target(value: Any) -> Any:
    """The target of a reference; None if there is none, or it cannot be read."""
    try:
        return value.get_object() if isinstance(value, IndirectObject) else value
    except Exception:  # noqa: BLE001 - an object that cannot be read is lost
        return None


def _get(thing: Any, key: str) -> Any:
    return _target(thing.get(key)) if hasattr(thing, "get") else None


__all__ = [
    "LOST_CONTENT",
    "LOST_FONTS",
    "LOST_PAGE",
    "LOST_PART",
    "has_lost_part",
    "lost_reason",
    "pages_with_gaps",
]
