"""An explanation's matrix as a heat map: words of the query × words of the passage."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.score import DenseScore
from ui.highlighting import replace_unprintable

MAX_WORDS = 20
"""Words of the passage in the heat map, those with the largest values, unless all are shown."""

_FOR, _AGAINST = "#f0ad00", "#4285f4"
_ROW, _COLUMN, _LABELS = 24, 15, 84  # pixels: of a cell, and of the words above them
_NUMBER = 5  # digits that keep the words in order, and equal ones apart


def show_heatmap(dense: DenseScore, key: str) -> None:
    """Show the heat map, with a switch for all words of the passage."""
    if not dense.query_words or not dense.passage_words:
        return
    st.html('<p class="wva-named">Your words beside the words of the passage</p>')
    every = False
    if len(dense.passage_words) > MAX_WORDS:
        every = st.toggle(f"All {len(dense.passage_words):,} words", key=f"every-{key}")
    said = f"{len(dense.query_words)} words of the question against words of the passage"
    spec = matrix_spec(dense, every=every)
    with st.container(horizontal=True, wrap=False, key=f"matrix-{key}"):
        st.vega_lite_chart(
            spec, width="content" if every else "stretch", alt=said, key=f"heat-{key}"
        )


def matrix_spec(dense: DenseScore, *, every: bool) -> dict[str, Any]:
    """The Vega-Lite specification of the heat map; words are data in it, never markup."""
    rows, columns = len(dense.query_words), len(dense.passage_words)
    block = dense.matrix[:rows, :columns]
    strongest = np.argsort(-np.abs(block).max(axis=0), kind="stable")
    chosen = sorted(range(columns) if every else strongest[:MAX_WORDS].tolist())
    values = [
        {
            "row": _numbered(i, dense.query_words[i]),
            "column": _numbered(j, dense.passage_words[j]),
            "your word": replace_unprintable(dense.query_words[i].word),
            "its word": _word_label(dense.passage_words[j]),
            "value": round(float(block[i, j]), 5),
        }
        for i in range(rows)
        for j in chosen
    ]
    largest = float(np.abs(block).max(initial=0.0)) or 1.0
    unnumbered = f"slice(datum.label, {_NUMBER})"
    axis = {"title": None, "labelExpr": unnumbered, "labelOverlap": False, "domain": False,
            "ticks": False, "grid": False, "labelLimit": 92}  # fmt: skip
    return {
        "data": {"values": values},
        "height": _ROW * rows + _LABELS,
        **({"width": _COLUMN * len(chosen) + _LABELS} if every else {}),
        "mark": {"type": "rect", "cornerRadius": 2, "tooltip": True},
        "encoding": {
            "y": {"field": "row", "type": "nominal", "sort": "ascending", "axis": axis},
            "x": {
                "field": "column", "type": "nominal", "sort": "ascending",
                "axis": {**axis, "orient": "top", "labelAngle": -60},
            },
            "color": {
                "condition": {"test": "datum.value < 0", "value": _AGAINST},
                "value": _FOR,
            },
            "opacity": {
                "field": "strength", "type": "quantitative", "legend": None,
                "scale": {"domain": [0, largest], "range": [0.04, 1]},
            },
            "tooltip": [
                {"field": "your word"}, {"field": "its word"},
                {"field": "value", "format": "+.4f"},
            ],
        },
        "transform": [{"calculate": "abs(datum.value)", "as": "strength"}],
    }  # fmt: skip


def _numbered(at: int, word: WordSpan) -> str:
    """A unique name for a word; the heat map shows it without its number."""
    return f"{at:0{_NUMBER}d}{replace_unprintable(word.word)}"


def _word_label(word: WordSpan) -> str:
    return replace_unprintable(word.word) + (" (in the title)" if word.in_title else "")


__all__ = ["MAX_WORDS", "matrix_spec", "show_heatmap"]
