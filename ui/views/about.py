"""The page About: a collection's map and subjects, what stands out, pages without text, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.explaining.corpus_map import NEIGHBOURS, Survey
from retriever.indexing.coverage import page_groups
from retriever.types import Chunk
from ui import chart, controls, status
from ui.cards import place_html
from ui.collection_picker import CollectionPicker, show_picker
from ui.highlighting import count_text, escape_html, join_parts, replace_unprintable, unwrap_lines
from ui.resources import SharedIndex

CSS = """<style>
.wva-told.wva-told { margin: .2rem 0 .4rem; font-size: .92rem; line-height: 1.5; opacity: .8; }
.wva-subjects.wva-subjects { list-style: none; margin: .3rem 0 0; padding: 0; display: flex;
  flex-wrap: wrap; gap: .4rem; font-size: .9rem; }
.wva-subjects li { margin: 0; padding: 0; }
.wva-subjects a { display: block; padding: .2rem .7rem; border-radius: 1rem; color: inherit;
  text-decoration: none; border: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.wva-subjects a:is(:hover, :focus-visible) { text-decoration: underline; }
.wva-subjects a:focus-visible { outline: 2px solid #4a86e8; outline-offset: 2px; }
.wva-subjects span { opacity: .8; font-variant-numeric: tabular-nums; margin-left: .35rem; }
.st-key-about-map { min-height: 34rem; }
</style>"""

_SNIPPET = 240
_MAX_FILES = 200
_KINDS = {
    "flat": "every passage is compared (exact)",
    "hnsw": "along a graph of neighbours (nearly exact)",
    "ivf": "in the nearest groups of passages (nearly exact)",
    "rabitq": "every passage is compared in a short form (nearly exact)",
}
_SIZES = {
    "catalog": "Texts, words and what was read",
    "snapshot": "Meanings, ready to search",
    "total": "Together on disk",
}


def show_about(picker: CollectionPicker) -> None:
    """Show the page: what is cheap at once, then the map."""
    st.html('<div class="wva-head"><h1>About this collection</h1></div>')
    controls.update_address_index(picker.link_name, picker.implied)
    controls.remember_visit(picker.page)
    if picker.several:
        show_picker(picker)
    index = picker.shared_index()
    if index is None:
        st.info("There is no collection yet: make one on the page Collections.")
        return
    if not index.info()["chunks"]:
        st.info("There is nothing in this collection yet.")
        return
    st.html(CSS)
    about, outstanding = st.container(key="about-map"), st.container(key="about-outstanding")
    _show_unread(index)
    _show_sizes(index)
    _show_head(about, "What it is about")
    with about, st.spinner("Comparing all passages; this takes some seconds the first time …"):
        found = index.survey()
    with about:
        _show_map(index, found)
        _show_subjects(found, picker.link_name)
    _show_head(outstanding, "What stands out")
    with outstanding:
        _show_outstanding(found)


def _show_head(place: DeltaGenerator, name: str) -> None:
    place.html(f'<h2 class="wva-part">{name}</h2>')


def _tell(sentence: str) -> None:
    st.html(f'<p class="wva-told">{escape_html(sentence)}</p>')


@st.fragment
@status.with_errors_shown
def _show_map(index: SharedIndex, found: Survey) -> None:
    info = index.info()
    total = info["chunks"]
    many = count_text(len(found.chunks), "passage")
    sample = many if len(found.chunks) == total else f"A fixed sample of {many} of {total:,}"
    if info["pending"] and len(found.chunks) < total:
        sample = f"{many} of {total:,}, of those that have a vector so far"
    _tell(
        f"{sample}. Passages that say similar things are close together. The map shows the two "
        f"main ways in which they differ: {found.shown:.0%} of all differences. Click a point to "
        "read its passage."
    )
    by = st.segmented_control(
        "Colours", ["Subject", "Folder"], default="Subject", required=True, key="colours",
        label_visibility="collapsed",
    )  # fmt: skip
    clicked = chart.show_map(found, str(by or "Subject"))
    if clicked is not None:
        _show_passage(clicked)


def _show_subjects(found: Survey, collection: str) -> None:
    """Show the subjects by their most telling words; each leads to a search for them."""
    sizes = Counter(found.clusters.tolist())
    named = [(name, sizes[at]) for at, name in enumerate(found.names) if sizes[at] and name]
    if not named:
        return
    items = "".join(
        f'<li><a href="{escape_html(subject_link(name, collection))}" target="_self">'
        f"{escape_html(name)}<span>{count_text(size, 'passage')}</span></a></li>"
        for name, size in named
    )
    _tell(
        f"{count_text(len(named), 'subject')} by their most telling words. Choose one to search "
        "for it."
    )
    st.html(f'<ul class="wva-subjects">{items}</ul>')


def subject_link(name: str, collection: str) -> str:
    """The address of a search for a subject's words, relative to this page.

    >>> subject_link("tea, cup & pot", "my notes")
    './?q=tea+cup+%26+pot&index=my+notes'
    """
    words = " ".join(word.strip() for word in name.split(","))
    chosen = {"index": collection} if collection else {}
    return f"./?{urlencode({'q': words, **chosen})}"


def _show_passage(chunk: Chunk) -> None:
    text = escape_html(unwrap_lines(chunk.text))
    st.html(
        f'<article class="wva-card wva-clicked"><header>{place_html(chunk)}</header>'
        f'<p class="wva-text" dir="auto">{text}</p></article>'
    )


def _show_outstanding(found: Survey) -> None:
    repeated, hubs, middle = st.tabs(
        ["Said more than once", "Close to many others", "Little of its own"]
    )
    with repeated:
        _tell("Passages with nearly the same text, often copies or standard phrases.")
        rows = [(group[0], f"{len(group)} times") for group in found.twins]
        _show_list(rows, "No two passages of the sample have nearly the same text.")
    with hubs:
        _tell(
            f"Passages among the {NEIGHBOURS} closest ones of many others. They may come up for "
            "questions of all kinds, whether they answer them or not."
        )
        rows = [(hub.chunk, f"close to {hub.count:,} others") for hub in found.hubs]
        _show_list(rows, "There are too few passages.")
    with middle:
        _tell(
            "Passages that are most like the average of all: covers, lists, standard phrases. A "
            "search leaves aside what all passages have in common."
        )
        _show_list([(chunk, f"{near:.0%} like the average") for chunk, near in found.middle], "")


def _show_list(rows: Sequence[tuple[Chunk, str]], nothing: str) -> None:
    if not rows:
        _tell(nothing)
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
    st.html('<h2 class="wva-part">Pages without text</h2>')
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
        _tell("Every page has text.")
        return
    st.dataframe(rows[:_MAX_FILES], key="unread", hide_index=True, width="stretch")
    if len(rows) > _MAX_FILES:
        _tell(f"and {len(rows) - _MAX_FILES:,} more: wva report lists them all")


def _show_sizes(index: SharedIndex) -> None:
    st.html('<h2 class="wva-part">Counts and sizes</h2>')
    info = index.info()
    model = info["model"] or {}
    values = [
        ("Documents by format", _counted(info["formats"])),
        ("Pages by state", _counted(info["page_states"])),
        ("Files left out or failed", _counted(info["unread"])),
        (
            "Passages with a meaning",
            f"{info['store']['vectors']:,}, each as {model.get('dimension', '?')} numbers",
        ),
        ("How they are searched", _kind_text(str(info["store"]["kind"]))),
        *(
            (_SIZES.get(name, name).capitalize(), f"{size / 1e6:,.1f} MB")
            for name, size in info["bytes"].items()
        ),
    ]
    rows = "".join(
        f"<dt>{escape_html(name)}</dt><dd>{escape_html(value)}</dd>"
        for name, value in values
        if value
    )
    st.html(f'<dl class="wva-facts">{rows}</dl>')


def _kind_text(kind: str) -> str:
    """A kind of vector index in words; `kind` is a FAISS factory string.

    >>> _kind_text("Flat"), _kind_text("HNSW32,SQ8"), _kind_text("SQ8")
    ('every passage is compared (exact)', 'along a graph of neighbours (nearly exact)', 'SQ8')
    """
    return next((said for name, said in _KINDS.items() if kind.lower().startswith(name)), kind)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


__all__ = ["show_about", "subject_link"]
