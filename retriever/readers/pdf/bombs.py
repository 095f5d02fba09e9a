"""Pages of a PDF that would take a library without limits down, found before it sees them.

A page is a bomb when its content unpacks to more than anybody writes on a page (pypdf's limits say
so), when it shows millions of characters, or when its forms draw each other, or themselves, so
often that a small file becomes endless.
"""

from __future__ import annotations

import re
from typing import Any

from pypdf.errors import LimitReachedError

VERSION = 1

MAX_COST = 2_000_000
"""Characters that a page shows, forms drawn again counted again: each costs PDFium 300 bytes."""

_FORM_COST = 400  # of drawing a form that shows nothing
_MAX_DEPTH = 30
_MIN_CHECKED = 100_000  # bytes of content that are not worth a closer look
_DO = re.compile(rb"/([^\s/<>\[\](){}%]+)\s+Do\b")
_SHOWN = re.compile(rb"\((?:[^()\\]|\\.)*+\)|<[0-9A-Fa-f\s]*+>", re.DOTALL)


def cost(page: Any) -> int:
    """Characters that the page shows, or will never be done showing if it is above MAX_COST.

    Raises LimitReachedError for content that is too much by itself; for forms that draw each other
    pypdf has limits of its own, and tells what the page holds besides.
    """
    content = page.get_contents()
    data: bytes = content.get_data() if content is not None else b""
    return _cost(data, page.get("/Resources"), {}, 0)


def _cost(content: bytes, resources: Any, known: dict[int, int], depth: int) -> int:
    """What it costs to draw this content, the forms it draws, and so on."""
    found = len(content)
    if found > _MIN_CHECKED:
        found = sum(len(shown) for shown in _SHOWN.findall(content))
    if found > MAX_COST:
        raise LimitReachedError(f"its content stream shows {found:,} characters")
    objects = _resolved(_resolved(resources, {}).get("/XObject"), {}) if b"Do" in content else {}
    for name in _DO.findall(content) if objects else ():
        form = _resolved(objects.get("/" + name.decode("latin-1")), None)
        if form is not None and form.get("/Subtype") == "/Form":
            found += _FORM_COST + _cost_of_form(form, resources, known, depth)
        if found > MAX_COST:
            break
    return found


def _cost_of_form(form: Any, resources: Any, known: dict[int, int], depth: int) -> int:
    if depth > _MAX_DEPTH:
        return 0
    if id(form) not in known:
        known[id(form)] = MAX_COST  # while it is looked at: one that draws itself has no end
        inner = form.get("/Resources") or resources
        known[id(form)] = _cost(form.get_data(), inner, known, depth + 1)
    return known[id(form)]


def _resolved(value: Any, default: Any) -> Any:
    value = value.get_object() if hasattr(value, "get_object") else value
    return value if hasattr(value, "get") else default
