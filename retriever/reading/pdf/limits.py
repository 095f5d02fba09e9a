"""Finds PDF pages that would exhaust a library without limits, before the library opens them.

A page is a bomb if its content unpacks to more than pypdf's limits, if it shows millions of
characters, or if its forms draw each other so often that a small file becomes endless.
"""

from __future__ import annotations

import re
from typing import Any

from pypdf.errors import LimitReachedError

MAX_COST = 2_000_000
"""Characters that a page shows, repeated forms included; PDFium takes 300 bytes for each."""

_FORM_COST = 400  # cost of a form without text
_MAX_DEPTH = 30
_MIN_CHECKED = 100_000  # bytes of content; smaller ones are not checked
_DO = re.compile(rb"/([^\s/<>\[\](){}%]+)\s+Do\b")
_SHOWN = re.compile(rb"\((?:[^()\\]|\\.)*+\)|<[0-9A-Fa-f\s]*+>", re.DOTALL)


def cost(page: Any) -> int:
    """The number of characters the page shows; above MAX_COST it may be endless.

    Raises LimitReachedError if the content itself is too large. Forms that draw each other do not
    raise it: pypdf has limits for them and extracts the rest of the page.
    """
    content = page.get_contents()
    data: bytes = content.get_data() if content is not None else b""
    return _cost(data, page.get("/Resources"), {}, 0)


def _cost(content: bytes, resources: Any, known: dict[int, int], depth: int) -> int:
    """The cost of drawing this content and its forms, recursively."""
    found = len(content)
    if found > _MIN_CHECKED:
        found = sum(len(shown) for shown in _SHOWN.findall(content))
    if found > MAX_COST:
        raise LimitReachedError(f"its content stream shows {found:,} characters")
    objects = _resolve(_resolve(resources, {}).get("/XObject"), {}) if b"Do" in content else {}
    for name in _DO.findall(content) if objects else ():
        form = _resolve(objects.get("/" + name.decode("latin-1")), None)
        if form is not None and form.get("/Subtype") == "/Form":
            found += _FORM_COST + _cost_of_form(form, resources, known, depth)
        if found > MAX_COST:
            break
    return found


def _cost_of_form(form: Any, resources: Any, known: dict[int, int], depth: int) -> int:
    if depth > _MAX_DEPTH:
        return 0
    if id(form) not in known:
        known[id(form)] = MAX_COST  # during the recursion: a form that draws itself is endless
        inner = form.get("/Resources") or resources
        known[id(form)] = _cost(form.get_data(), inner, known, depth + 1)
    return known[id(form)]


def _resolve(value: Any, default: Any) -> Any:
    value = value.get_object() if hasattr(value, "get_object") else value
    return value if hasattr(value, "get") else default
