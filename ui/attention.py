"""The files of a collection that need their owner, each with its remedy beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from retriever.indexing.coverage import FileCoverage
from retriever.interface.attention import Attention, Need, needs_attention
from retriever.interface.jobs import Jobs
from retriever.reading.pictures import tesseract
from ui import add_documents, removal
from ui.highlighting import count_text, escape_html, escape_markdown, replace_unprintable
from ui.resources import SharedIndex
from ui.widget_keys import widget_key

_SHOWN = 12


def attention_text(count: int) -> str:
    """How many files need their owner.

    >>> attention_text(1), attention_text(3)
    ('1 file needs attention', '3 files need attention')
    """
    return f"{count_text(count, 'file')} need{'s' if count == 1 else ''} attention"


def show_attention(shared: SharedIndex, jobs: Jobs, *, busy: str) -> None:
    """Show the files that need their owner; `busy` says why nothing can be done now."""
    found = needs_attention(shared.coverage_report().files)
    if not found:
        return
    with st.container(border=True, key="attention"):
        st.html(f'<h3 class="wva-part">⚠ {attention_text(len(found))}</h3>')
        _show_all_scans(shared, jobs, found, busy)
        for one in found[:_SHOWN]:
            _show_one(shared, jobs, one, busy)
        if len(found) > _SHOWN:
            st.caption(f"and {len(found) - _SHOWN:,} more in the list of files below")


def _show_all_scans(shared: SharedIndex, jobs: Jobs, found: Sequence[Attention], busy: str) -> None:
    scans = [_place(one.file) for one in found if one.need is Need.OCR]
    missing = tesseract.unavailable_reason()
    if scans and missing:
        st.caption(escape_markdown(f"Scans can be read with an OCR program. {missing}."))
    elif len(scans) > 1:
        st.button(
            f"Read all {len(scans):,} scans (OCR)",
            key="attend-scans",
            icon=":material/document_scanner:",
            disabled=bool(busy),
            on_click=add_documents.start_ocr,
            args=(shared, jobs, scans),
        )


def _show_one(shared: SharedIndex, jobs: Jobs, one: Attention, busy: str) -> None:
    name = replace_unprintable(one.file.path)
    with st.container(key=_key("attend", one.file)):
        words, remedy, remove = st.columns([6, 5, 2], vertical_alignment="center", gap="small")
        words.html(
            f'<p class="wva-needy"><b><bdi>{escape_html(name)}</bdi></b> '
            f"<span>{escape_html(one.sentence)}</span></p>"
        )
        with remedy:
            if one.need is Need.PASSWORD:
                _ask_password(shared, jobs, one.file, busy)
            elif one.need is Need.OCR and not tesseract.unavailable_reason():
                _offer_ocr(shared, jobs, one.file, busy)
        with remove:
            if st.button(
                f"Remove {escape_markdown(name)}",
                key=_key("attend-remove", one.file),
                type="tertiary",
                disabled=bool(busy),
            ):
                removal.confirm_removal(shared, [one.file])


def _ask_password(shared: SharedIndex, jobs: Jobs, file: FileCoverage, busy: str) -> None:
    name = escape_markdown(replace_unprintable(file.path))
    with st.form(_key("attend-form", file), clear_on_submit=True, border=False):
        field, ok = st.columns([3, 1], vertical_alignment="bottom", gap="small")
        password = field.text_input(
            f"Password of {name}",
            type="password",
            key=_key("attend-password", file),
            autocomplete="off",
            placeholder="Password",
            label_visibility="collapsed",
        )
        if ok.form_submit_button("OK", disabled=bool(busy)) and password:
            add_documents.run_and_redraw(
                lambda: add_documents.try_password(shared, jobs, password, [_place(file)])
            )


def _offer_ocr(shared: SharedIndex, jobs: Jobs, file: FileCoverage, busy: str) -> None:
    name = escape_markdown(replace_unprintable(file.path))
    st.button(
        f"Read it (OCR): {name}",
        key=_key("attend-ocr", file),
        disabled=bool(busy),
        on_click=add_documents.start_ocr,
        args=(shared, jobs, [_place(file)]),
    )


def _key(name: str, file: FileCoverage) -> str:
    return widget_key(name, file.root, file.path)


def _place(file: FileCoverage) -> Path:
    return Path(file.root, file.path)


__all__ = ["attention_text", "show_attention"]
