"""Keyboard shortcuts, and a word on a lost server: scripts that are put into the page once.

No text of a document gets into it.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_SCRIPTS = Path(__file__).with_name("scripts")

KEYS = (
    ("/", "to the search box"),
    ("j, k", "next and previous passage; an open document follows"),
    ("Enter", "open the passage"),
    ("←, →", "turn the page"),
    ("n, p", "next and previous hit in this document"),
    ("w", "why this passage"),
    ("m", "more of the passage, or less"),
    ("c", "copy it with its source"),
    ("o", "open the file in its own program"),
    ("Esc", "close the document; leave the search box"),
)
"""The keys of the page, and what they do."""

HELP = "Keys: " + " · ".join(f"`{key}` {what}" for key, what in KEYS)


def install_shortcuts() -> None:
    """Put the scripts into the page."""
    texts = (_SCRIPTS.joinpath(f"{name}.js").read_text("utf-8") for name in ("keys", "connection"))
    st.html(f"<script>{''.join(texts)}</script>", unsafe_allow_javascript=True)


__all__ = ["HELP", "KEYS", "install_shortcuts"]
