"""Suggestions below the search box while a query is typed: words, titles and paths of the index.

They are a component of ours beside Streamlit's text field (`scripts/suggestions.js`), in a fragment
of its own: the page is not drawn again while one types.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.types import RetrieverError
from ui.highlighting import replace_unprintable
from ui.resources import SharedIndex

_SCRIPT = Path(__file__).with_name("scripts") / "suggestions.js"
_KEY = "suggestions"
_COUNT = 8
_KINDS = {"word": "", "title": "title", "path": "file or folder"}

_HTML = (
    '<ul class="wva-suggestions" id="wva-suggestions" role="listbox" aria-label="Suggestions" '
    'hidden></ul><p class="wva-told" role="status"></p>'
)

_CSS = """
.wva-suggestions { position: fixed; z-index: 1000; margin: 0; padding: .3rem; list-style: none;
  max-height: 60vh; overflow-y: auto; border-radius: .5rem; box-sizing: border-box;
  color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent);
  box-shadow: 0 6px 24px rgb(0 0 0 / .18); font-family: var(--st-font); }
.wva-suggestions[hidden] { display: none; }
.wva-suggestions li { display: flex; gap: 1rem; justify-content: space-between; margin: 0;
  padding: .35rem .7rem; border-radius: .35rem; cursor: pointer; overflow-wrap: anywhere; }
.wva-suggestions li:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
.wva-suggestions li[aria-selected=true] {
  background: color-mix(in srgb, var(--st-primary-color) 22%, transparent); }
.wva-suggestions small { opacity: .75; white-space: nowrap; }
.wva-told { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  margin: 0; }
"""


@st.fragment
def show_suggestions(shared: SharedIndex) -> None:
    """Put the list of suggestions on the page; it shows itself while one types."""
    try:
        generation = shared.index.generation
    except RetrieverError:
        return  # the index is gone: the page says so when it is drawn again
    typed = str((st.session_state.get(_KEY) or {}).get("typed") or "")
    _component()(
        key=_KEY,
        data={
            "key": f"{shared.place} {generation}",
            "typed": typed,
            "items": suggestions(shared, typed),
        },
        on_typed_change=lambda: None,
    )


def suggestions(shared: SharedIndex, typed: str) -> list[dict[str, Any]]:
    """What the text may become: each with the new text, how it is shown, and its kind."""
    if not typed.strip():
        return []
    try:
        found = shared.index.suggest(typed, _COUNT)
    except RetrieverError:
        return []
    return [
        {"text": one.text, "shown": replace_unprintable(one.text), "kind": _KINDS[one.kind]}
        for one in found
    ]


def _component() -> Callable[..., object]:
    # Registered in each run: a server's registry may be newer than this module.
    return st.components.v2.component(
        "wva_suggestions", html=_HTML, css=_CSS, js=_SCRIPT.read_text("utf-8"), isolate_styles=False
    )


__all__ = ["show_suggestions", "suggestions"]
