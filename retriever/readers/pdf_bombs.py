"""Pages of a PDF that would take a library without limits down, found before it sees them.

A page is a bomb when its content unpacks to more than anybody writes on a page (pypdf's limits say
so), or when its forms draw each other, or themselves, so often that a small file becomes endless.
"""

from __future__ import annotations

import re
from typing import Any

VERSION = 1

MAX_DRAWN = 5_000
"""Forms drawn on one page, each time counted."""

_DEEPEST = 30
_DO = re.compile(rb"/([^\s/<>\[\](){}%]+)\s+Do\b")


def is_endless(page: Any) -> bool:
    """Whether the page's forms draw each other too often. LimitReachedError for too much content.

    pypdf has limits for that, and tells what the page holds besides.
    """
    content = page.get_contents()
    data: bytes = content.get_data() if content is not None else b""
    return b"Do" in data and _drawn(data, page.get("/Resources"), {}, 0) > MAX_DRAWN


def _drawn(content: bytes, resources: Any, known: dict[int, int], depth: int) -> int:
    """How often forms are drawn by this content, by the forms it draws, and so on."""
    objects = _resolved(_resolved(resources, {}).get("/XObject"), {})
    count = 0
    for name in _DO.findall(content):
        key = "/" + name.decode("latin-1")
        form = _resolved(objects.get(key), None)
        if form is not None and form.get("/Subtype") == "/Form":
            count += 1 + _drawn_by(form, resources, known, depth)
        if count > MAX_DRAWN:
            break
    return count


def _drawn_by(form: Any, resources: Any, known: dict[int, int], depth: int) -> int:
    if depth > _DEEPEST:
        return 0
    if id(form) not in known:
        known[id(form)] = MAX_DRAWN  # while it is looked at: one that draws itself has no end
        inner = form.get("/Resources") or resources
        known[id(form)] = _drawn(form.get_data(), inner, known, depth + 1)
    return known[id(form)]


def _resolved(value: Any, default: Any) -> Any:
    value = value.get_object() if hasattr(value, "get_object") else value
    return value if hasattr(value, "get") else default
