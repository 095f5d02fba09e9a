"""Where the words of a collection's files are, and the text that is left out on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from retriever.indexing.coverage import FileCoverage
from retriever.interface.terminal.reports import word_lines
from retriever.storage.records import LeftOutTexts
from ui.highlighting import count_text, replace_unprintable
from ui.resources import SharedIndex

_MAX_SHOWN = 20_000  # characters of one kind


def show_left_out(shared: SharedIndex, files: Sequence[FileCoverage]) -> None:
    """Show the totals of the words, and the left-out text of one of these files."""
    for line in word_lines(shared.coverage_report().totals["words"]):
        st.caption(replace_unprintable(line[0].upper() + line[1:]))
    leaving = [file for file in files if file.account and any(file.account.left_out.values())]
    if not leaving:
        return
    with st.expander(f"Left out on purpose: text of {count_text(len(leaving), 'file')}"):
        chosen = st.selectbox(
            "Left out of",
            range(len(leaving)),
            index=None,
            key="left-out",
            format_func=lambda at: replace_unprintable(leaving[at].path),
            placeholder="Choose a file",
            label_visibility="collapsed",
        )
        if chosen is not None and chosen < len(leaving):
            file = leaving[chosen]
            with shared.index.backend.reading() as catalog:
                texts = catalog.left_out(file.document)
            _show_texts(file, texts)


def _show_texts(file: FileCoverage, texts: LeftOutTexts) -> None:
    counts = {} if file.account is None else file.account.left_out
    for kind in dict.fromkeys(part.kind for part in texts.parts):
        st.caption(replace_unprintable(f"{kind}: {count_text(counts.get(kind, 0), 'word')}"))
        found = "\n".join(part.text for part in texts.parts if part.kind == kind)
        more = " …" if len(found) > _MAX_SHOWN else ""
        lines = (replace_unprintable(line) for line in found[:_MAX_SHOWN].split("\n"))
        st.text("\n".join(lines) + more)
    if texts.cut:
        st.caption("Only the first of it is stored.")


__all__ = ["show_left_out"]
