"""Keys of widgets that belong to a thing in a list: by the thing, not by its place in the list.

A click on a page that is a moment old then never reaches what has moved to that place.
"""

from __future__ import annotations

import hashlib


def widget_key(name: str, *thing: str) -> str:
    """The key of the widget `name` of a thing.

    >>> widget_key("remove", "/docs", "a.txt")
    'remove-ef92fc3d'
    """
    data = "\0".join(thing).encode("utf-8", "surrogatepass")
    return f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"


__all__ = ["widget_key"]
