"""New means: the calibrated vectors of all passages are made anew, from the raw ones.

A record says so until it is done, so that the next writer completes it. Until then a search
compares some vectors with the former means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retriever.storage.backends.milvus.client import MAX_ROWS, Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.reading import means_from_json, means_to_json
from retriever.storage.backends.milvus.records import Record
from retriever.storage.calibration import Calibration

REFIT = "refit"
"""The id of the record with the means that are about to be used."""


def begin(collections: Collections, means: Calibration, facts: Mapping[str, Any]) -> None:
    """Note that vectors are to be made anew with these means."""
    value = json.dumps([means_to_json(means), dict(facts)])
    collections.records.put([Record(REFIT, value)])


def pending(collections: Collections) -> tuple[Calibration, dict[str, Any]] | None:
    """The means that a refit was to use that is not completed, and their facts."""
    value = collections.records.value(REFIT)
    if value is None:
        return None
    means, facts = json.loads(value)
    return means_from_json(means), facts


def rewrite(collections: Collections, means: Calibration) -> None:
    """Calibrate the vectors of all passages with these means."""
    for rows in collections.scan("embedded == true", ("key", "vector"), MAX_ROWS):
        for start in range(0, len(rows), MAX_ROWS):
            _rewrite_some(collections, means, rows[start : start + MAX_ROWS])


def _rewrite_some(collections: Collections, means: Calibration, rows: Sequence[Row]) -> None:
    keys = list(dict.fromkeys(row["vector"] for row in rows))
    found = collections.connection.get(collections.vectors, keys, ("key", "raw"))
    if not found:
        return
    calibrated = means.passage(np.stack([np.asarray(one["raw"], np.float32) for one in found]))
    by_key = dict(zip((one["key"] for one in found), calibrated, strict=True))
    collections.connection.upsert(
        collections.passages,
        [
            {"key": row["key"], "dense": by_key[row["vector"]]}
            for row in rows
            if row["vector"] in by_key
        ],
        partial=True,
    )


def end(collections: Collections) -> None:
    """Note that all vectors are of the newest means."""
    collections.records.delete([REFIT])


__all__ = ["REFIT", "begin", "end", "pending", "rewrite"]
