"""Keyboard shortcuts: / for the search box, j and k for the next and previous one, Enter opens it.

Streamlit has no shortcuts; this is a script that is put into the page once. No text of a document
gets into it.
"""

from __future__ import annotations

import streamlit as st

HELP = "Keys: `/` search box, `j` next result, `k` previous one, `Enter` opens it, `Esc` lets go."

_SCRIPT = """<script>
(() => {
  if (window.wvaKeys) return;
  window.wvaKeys = true;
  const cards = () => [...document.querySelectorAll(".wva-card")];
  const typing = (e) => e.closest("input, textarea, select, [contenteditable], [role=dialog]");
  const opener = (card) =>
    card.closest('[class*="st-key-result-"]')?.querySelector('[class*="st-key-open-"] button')
    || card.querySelector("summary");
  const step = (by) => {
    const all = cards();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement.closest?.(".wva-card"));
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by;
    const card = all[Math.max(0, Math.min(all.length - 1, next))];
    card.tabIndex = -1;
    card.focus({preventScroll: true});
    card.scrollIntoView({block: "nearest", behavior: "smooth"});
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const here = document.activeElement || document.body;
    if (typing(here)) {
      if (event.key === "Escape") here.blur();
      return;
    }
    if (event.key === "/") {
      const box = document.querySelector(".st-key-q input");
      if (box) { box.focus(); box.select(); event.preventDefault(); }
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Enter" && here.classList.contains("wva-card")) {
      opener(here)?.click();
      event.preventDefault();
    } else if (event.key === "Escape") here.blur();
  });
})();
</script>"""


def install_shortcuts() -> None:
    """Put the script into the page."""
    st.html(_SCRIPT, unsafe_allow_javascript=True)


__all__ = ["HELP", "install_shortcuts"]
