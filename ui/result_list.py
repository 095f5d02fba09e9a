"""The list of results as one component: drawn at once, and without flicker when a hit is opened.

Streamlit would draw each result with its buttons one by one. The HTML comes from `ui.cards`, which
escapes it; the script (`scripts/result_list.js`) tells which button was clicked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

_SCRIPT = Path(__file__).with_name("scripts") / "result_list.js"
_KEY = "results"

_HTML = (
    '<section class="wva-results" aria-label="Results">'
    '<p class="wva-status" role="status"></p><div class="wva-shown"></div></section>'
)


def show_result_list(
    html: str, *, search: str, said: str, current: str, on_act: Callable[[str, str], None]
) -> None:
    """Show the list; `on_act` is called with the name of a button and the passage's id.

    `search` names the search, `said` is announced to screen readers, `current` is the id of the
    opened passage.
    """

    def acted() -> None:
        told = st.session_state[_KEY].get("act") or {}
        on_act(str(told.get("act", "")), str(told.get("id", "")))

    _component()(
        key=_KEY,
        data={"html": html, "search": search, "said": said, "current": current},
        on_act_change=acted,
    )


def _component() -> Callable[..., object]:
    # Registered in each run: a server's registry may be newer than this module.
    return st.components.v2.component(
        "wva_result_list", html=_HTML, js=_SCRIPT.read_text("utf-8"), isolate_styles=False
    )


__all__ = ["show_result_list"]
