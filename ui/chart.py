"""The map of a collection: passages as points, close together if similar; a click chooses one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from retriever.explaining.corpus_map import Survey
from retriever.types import Chunk
from ui.highlighting import replace_unprintable

_MAX_COLOURS = 10
# Distinct on white and on black, also with most kinds of colour blindness; the rest is grey.
_COLOURS = (
    *("#2f6fd0", "#d1495b", "#2a9d74", "#e08a1e", "#8a5fc7", "#1ba3b8", "#b5651d", "#d46aa8"),
    *("#7a9a01", "#5b6b8c"),
)
_GREY = "#9a9a9a"
_SNIPPET = 160
_OTHERS = "others"


def show_map(found: Survey, by: str) -> Chunk | None:
    """Draw the map, coloured by "Subject" or "Folder"; returns the clicked passage, if any."""
    event = st.vega_lite_chart(
        _spec(found, by),
        key=f"map-{by}",
        on_select="rerun",
        selection_mode="pick",
        width="stretch",
    )
    picked = event["selection"].get("pick") or []
    number = picked[0].get("number") if picked else None
    return found.chunks[int(number)] if number is not None else None


def _spec(found: Survey, by: str) -> dict[str, Any]:
    """The Vega-Lite specification of the chart; texts are data in it, never markup."""
    groups = _subjects(found) if by == "Subject" else _folders(found.chunks)
    order = [name for name, _ in Counter(groups).most_common() if name != _OTHERS]
    colours = [*_COLOURS[: len(order)], _GREY]
    values = [
        {
            "number": at,
            "x": round(float(found.places[at, 0]), 4),
            "y": round(float(found.places[at, 1]), 4),
            by: groups[at],
            "file": replace_unprintable(", ".join(filter(None, [chunk.path, chunk.place]))),
            "text": replace_unprintable(" ".join(chunk.text.split())[:_SNIPPET]),
        }
        for at, chunk in enumerate(found.chunks)
    ]
    hidden = {"axis": None, "scale": {"zero": False, "nice": False, "padding": 12}}
    return {
        "data": {"values": values},
        "height": 430,
        "params": [
            {
                "name": "pick",
                "select": {"type": "point", "fields": ["number"], "toggle": False, "nearest": True},
            },
        ],
        "mark": {"type": "circle", "cursor": "pointer"},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", **hidden},
            "y": {"field": "y", "type": "quantitative", **hidden},
            "color": {
                "field": by,
                "type": "nominal",
                "scale": {
                    "domain": [*order, *([_OTHERS] if _OTHERS in groups else [])],
                    "range": colours,
                },
                "legend": {"title": None, "orient": "bottom", "columns": 2, "labelLimit": 160},
            },
            "size": {"condition": {"param": "pick", "empty": False, "value": 190}, "value": 46},
            "opacity": {"condition": {"param": "pick", "empty": False, "value": 1}, "value": 0.65},
            "tooltip": [{"field": name} for name in ("file", "text", by)],
        },
    }


def _subjects(found: Survey) -> list[str]:
    names = [replace_unprintable(name) or f"group {at + 1}" for at, name in enumerate(found.names)]
    return [names[at] if at < _MAX_COLOURS else _OTHERS for at in found.clusters.tolist()]


def _folders(chunks: Sequence[Chunk]) -> list[str]:
    """Each passage's folder; the rarest ones are grouped as `_OTHERS`."""
    names = [
        replace_unprintable(chunk.path.rpartition("/")[0].partition("/")[0]) or "/"
        for chunk in chunks
    ]
    frequent = {name for name, _ in Counter(names).most_common(_MAX_COLOURS - 1)}
    return [name if name in frequent else _OTHERS for name in names]


__all__ = ["show_map"]
