"""The page About: the map of an index, passages that stand out, pages without text, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from retriever.explaining.corpus_map import NEIGHBOURS, Survey
from retriever.indexing.coverage import page_groups
from retriever.types import Chunk
from ui import chart, controls
from ui.cards import place_html
from ui.collection_picker import CollectionPicker, show_sidebar
from ui.highlighting import count_text, escape_html, join_parts, replace_unprintable, unwrap_lines
from ui.resources import SharedIndex

_SNIPPET = 240
_MAX_FILES = 200


def show_about(picker: CollectionPicker) -> None:
    """Show the page."""
    st.html('<div class="wva-head"><h1>About this index</h1></div>')
    controls.update_address_index(picker.link_name, picker.implied)
    controls.remember_visit(picker.page)
    index = picker.shared_index()
    if index is None:
        st.info("There is no collection yet: make one on the page Collections.")
        return
    show_sidebar(index, named=True)
    if not index.info()["chunks"]:
        st.info("There is nothing in this collection yet.")
        return
    with st.spinner("Looking at the vectors …"):
        found = index.survey()
    _show_map(index, found)
    _show_outstanding(found)
    _show_unread(index)
    _show_sizes(index)


def _show_map(index: SharedIndex, found: Survey) -> None:
    st.html('<h3 class="wva-part">What it is about</h3>')
    total = index.info()["chunks"]
    many = count_text(len(found.chunks), "passage")
    sample = many if len(found.chunks) == total else f"A fixed sample of {many} of {total:,}"
    st.caption(
        f"{sample}. Passages with similar meaning are close together. The map shows the two main "
        f"directions, {found.shown:.0%} of the variance. Click a point to read its passage."
    )
    by = st.segmented_control(
        "Colours", ["Subject", "Folder"], default="Subject", required=True, key="colours",
        label_visibility="collapsed",
    )  # fmt: skip
    clicked = chart.show_map(found, str(by or "Subject"))
    if clicked is not None:
        _show_passage(clicked)
    sizes = Counter(found.clusters.tolist())
    rows = "".join(
        f"<dt>{escape_html(name or f'group {at + 1}')}</dt>"
        f"<dd>{count_text(sizes[at], 'passage')}</dd>"
        for at, name in enumerate(found.names)
        if sizes[at]
    )
    with st.expander(f"{count_text(len(sizes), 'subject')} by their most telling words"):
        st.html(f'<dl class="wva-facts">{rows}</dl>')


def _show_passage(chunk: Chunk) -> None:
    text = escape_html(unwrap_lines(chunk.text))
    st.html(
        f'<article class="wva-card wva-clicked"><header>{place_html(chunk)}</header>'
        f'<p class="wva-text" dir="auto">{text}</p></article>'
    )


def _show_outstanding(found: Survey) -> None:
    st.html('<h3 class="wva-part">What stands out</h3>')
    repeated, hubs, middle = st.tabs(["Repeated", "Near many others", "Near the mean"])
    with repeated:
        st.caption("Groups of passages with nearly the same text, often boilerplate or copies.")
        rows = [(group[0], f"{len(group)} times") for group in found.twins]
        _show_list(rows, "No two passages of the sample have nearly the same text.")
    with hubs:
        st.caption(
            f"Passages among the {NEIGHBOURS} nearest neighbours of many others: found for "
            "questions of all kinds, whether they answer them or not."
        )
        rows = [(hub.chunk, f"near {hub.count} others") for hub in found.hubs]
        _show_list(rows, "There are too few passages.")
    with middle:
        st.caption(
            "Passages nearest to the mean of all vectors. It is subtracted before a search, which "
            "leaves little of these."
        )
        _show_list([(chunk, f"cosine {near:.2f}") for chunk, near in found.middle], "")


def _show_list(rows: Sequence[tuple[Chunk, str]], nothing: str) -> None:
    if not rows:
        st.caption(nothing)
        return
    items = "".join(
        f"<li><span class='wva-count'>{escape_html(said)}</span> {_snippet(chunk)}"
        f"<small><bdi>{escape_html(join_parts([chunk.path, chunk.place]))}</bdi></small></li>"
        for chunk, said in rows
    )
    st.html(f'<ul class="wva-files">{items}</ul>')


def _snippet(chunk: Chunk) -> str:
    text = " ".join(chunk.text.split())
    return escape_html(text if len(text) <= _SNIPPET else f"{text[:_SNIPPET].rstrip()} …")


def _show_unread(index: SharedIndex) -> None:
    """Show the pages without text, with the reason and what to do."""
    st.html('<h3 class="wva-part">Pages without text</h3>')
    rows = [
        {
            "File": replace_unprintable(file.path),
            "Where": group.place,
            "State": group.state.value,
            "Why, and what to do": replace_unprintable(
                "; ".join(filter(None, [group.reason, group.advice]))
            ),
        }
        for file in index.coverage_report().files
        for group in page_groups(file)
        if not group.state.readable
    ]
    if not rows:
        st.caption("Every page has text.")
        return
    st.dataframe(rows[:_MAX_FILES], key="unread", hide_index=True, width="stretch")
    if len(rows) > _MAX_FILES:
        st.caption(f"and {len(rows) - _MAX_FILES:,} more: wva report lists them all")


def _show_sizes(index: SharedIndex) -> None:
    st.html('<h3 class="wva-part">Counts and sizes</h3>')
    info = index.info()
    states = ", ".join(
        f"{count:,} {escape_html(name)}" for name, count in info["page_states"].items()
    )
    model = info["model"] or {}
    values = [
        ("Formats", ", ".join(f"{n:,} {escape_html(name)}" for name, n in info["formats"].items())),
        ("Pages by state", states),
        ("Left out or failed", ", ".join(f"{n:,} {name}" for name, n in info["unread"].items())),
        ("Vectors", f"{info['store']['vectors']:,} of {model.get('dimension', '?')} dimensions"),
        ("Kind of index", escape_html(str(info["store"]["kind"]))),
        *(
            (escape_html(name).capitalize(), f"{size / 1e6:,.1f} MB")
            for name, size in info["bytes"].items()
        ),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in values if value)
    st.html(f'<dl class="wva-facts">{rows}</dl>')


__all__ = ["show_about"]
