"""A script that checks files before they are transferred, since Streamlit has one limit for all.

What it lets through is checked again when it is stored.
"""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

from retriever.interface.upload_limits import bare_names, endings

_SCRIPT = Path(__file__).with_name("scripts") / "uploads.js"


def install_upload_guard() -> None:
    """Put the script into the page, and the place where it says what it refuses."""
    limits = json.dumps({"endings": endings(), "names": bare_names()})
    script = _SCRIPT.read_text("utf-8").replace("LIMITS", limits, 1)
    st.html('<div class="wva-refused" role="alert"></div>')
    st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


__all__ = ["install_upload_guard"]
