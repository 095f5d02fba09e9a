"""Text that users added to a PDF: values of form fields, and free text annotations.

pypdf extracts the page's own content; form values are stored in annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_NOTICE = re.compile(r"please wait|not be able to display|adobe\s+(?:acrobat\s+)?reader", re.I)
_MAX_FIELDS = 5_000  # of one page
_PASSWORD = 1 << 13  # field flag: a password field
_PUSH_BUTTON = 1 << 16  # field flag: a button without a value
_HIDDEN = 0b10


def field_lines(page: Any) -> Iterator[str]:
    """Each filled field of the page as "label: value", and free text annotations."""
    annotations = _resolve(page.get("/Annots"))
    for entry in list(annotations or ())[:_MAX_FIELDS]:
        annotation = _resolve(entry)
        if not hasattr(annotation, "get") or _number(annotation.get("/F")) & _HIDDEN:
            continue
        kind = annotation.get("/Subtype")
        if kind == "/FreeText":
            yield _text(annotation.get("/Contents"))
        elif kind == "/Widget":
            yield _field(annotation)


def _field(widget: Any) -> str:
    """A property of a field; fields inherit name, type and value from a parent."""
    kind = _inherited_value(widget, "/FT")
    flags = _number(_inherited_value(widget, "/Ff"))
    if kind == "/Btn":
        value = "" if flags & _PUSH_BUTTON else _button_value(widget)
    elif kind in ("/Tx", "/Ch") and not flags & _PASSWORD:
        value = _text(_inherited_value(widget, "/V"))
    else:
        return ""
    label = _text(_inherited_value(widget, "/TU")) or _text(_inherited_value(widget, "/T"))
    return f"{label}: {value}" if value and label else value


def _button_value(widget: Any) -> str:
    """The value of a ticked box or a chosen radio button; empty if it is off."""
    state = _text(widget.get("/AS") or _inherited_value(widget, "/V")).lstrip("/")
    if state in ("", "Off"):
        return ""
    return "yes" if state.isdigit() or state in ("On", "Yes") else state


def needs_adobe(reader: Any, text: str) -> bool:
    """Whether the only page is the notice that replaces an XFA form."""
    try:
        form = _resolve(_resolve(reader.trailer["/Root"]).get("/AcroForm"))
        return bool(form and form.get("/XFA")) and bool(_NOTICE.search(text))
    except Exception:  # noqa: BLE001 - a damaged form does not make the page unreadable
        return False


def _inherited_value(field: Any, key: str) -> Any:
    for _ in range(10):  # damaged files contain cycles of parents
        value = _resolve(field.get(key))
        if value is not None:
            return value
        field = _resolve(field.get("/Parent"))
        if not hasattr(field, "get"):
            break
    return None


def _resolve(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


def _number(value: Any) -> int:
    resolved = _resolve(value)
    return int(resolved) if isinstance(resolved, int) else 0


def _text(value: Any) -> str:
    resolved = _resolve(value)
    if isinstance(resolved, list):
        return ", ".join(filter(None, map(_text, resolved[:100])))
    return " ".join(resolved.split()) if isinstance(resolved, str) else ""
