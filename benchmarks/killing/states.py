"""What an index holds, read by plain SQL and by searches; and how two indexes compare."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.index import Index
from retriever.storage.catalog import CATALOG_FILE

MODES = ("hybrid", "dense", "keyword")
CLOSE = 1e-5

_HISTORY = ("weighing", "weighed_at", "fitted_at", "at")
"""Facts of a fit that tell when it was made: the weight is found again as the corpus grows."""

_ORPHANS = {
    "pages without a document": "pages WHERE document NOT IN (SELECT key FROM documents)",
    "passages without a document": "chunks WHERE document NOT IN (SELECT key FROM documents)",
    "metadata without a document": "metadata WHERE document NOT IN (SELECT key FROM documents)",
    "accounts without a document": "accounts WHERE document NOT IN (SELECT key FROM documents)",
    "lengths without a passage": "lengths WHERE chunk NOT IN (SELECT key FROM chunks)",
    "terms without a passage": "fulltext WHERE rowid NOT IN (SELECT key FROM chunks)",
    "passages without terms": "chunks WHERE key NOT IN (SELECT rowid FROM fulltext)",
    "passages without their vector": "chunks WHERE vector != 0 AND vector NOT IN "
    "(SELECT number FROM vectors)",
    "documents with another number of passages": "documents d WHERE chunks != "
    "(SELECT COUNT(*) FROM chunks WHERE document = d.key)",
    "documents with another number of pages": "documents d WHERE pages != "
    "(SELECT COUNT(*) FROM pages WHERE document = d.key)",
}


@dataclass(frozen=True, slots=True)
class State:
    """All that two indexes of the same documents have in common."""

    documents: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    passages: dict[str, tuple[str, str, int, int]] = field(default_factory=dict)
    terms: dict[str, list[str]] = field(default_factory=dict)
    vectors: Vectors | None = None
    fitted: dict[str, Any] = field(default_factory=dict)
    pending: int = 0
    unread: list[tuple[str, str]] = field(default_factory=list)
    results: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    def texts(self) -> dict[str, dict[str, str]]:
        """The passages of each path: id and text."""
        found: dict[str, dict[str, str]] = {path: {} for path in self.documents}
        for id_, (path, text, _, _) in self.passages.items():
            found[path][id_] = text
        return found


def state_of(
    folder: Path,
    embedder: Embedder | None,
    queries: Sequence[str],
    modes: Sequence[str] = MODES,
) -> State:
    """What an index holds, and what it answers."""
    with Index.open(folder, embedder) as index, index.snapshot() as now:
        catalog = now.catalog
        rows = catalog.documents()
        chunks = {c.id: c for row in rows for c in catalog.chunks(row.id)}
        ids = sorted(chunks)
        facts = {k: v for k, v in (catalog.calibration_facts() or {}).items() if k not in _HISTORY}
        scale = {k: v for k, v in (catalog.match_scale() or {}).items() if k != "facts"}
        means = now.calibration
        return State(
            documents={
                row.path: (
                    *(row.id, row.title, row.format, row.chunks, str(row.settings)),
                    tuple((page.number, page.text) for page in catalog.pages(row.id)),
                )
                for row in rows
            },
            passages={
                id_: (chunks[id_].path, chunks[id_].text, *_span(chunks[id_])) for id_ in ids
            },
            terms=dict(zip(ids, map(sorted, now.passages.terms(ids)), strict=True)),
            vectors=now.passages.vectors(ids),
            fitted={
                "means": [means.passage_mean.tolist(), means.query_mean.tolist()],
                "facts": facts,
                "scale": scale,
            },
            pending=catalog.count_pending(),
            unread=[(one.path, str(one.status)) for one in catalog.unread()],
            results={
                f"{mode}: {query}": [
                    (hit.chunk.id, hit.score) for hit in index.search(query, 8, mode=mode)
                ]
                for query in queries
                for mode in modes
            },
        )


def _span(chunk: Any) -> tuple[int, int]:
    return chunk.start, chunk.end


def differences(found: State, wanted: State) -> list[str]:
    """What differs, in words; nothing if the indexes are equal."""
    said = [
        f"{name} differ: {_first(getattr(found, name), getattr(wanted, name))}"
        for name in ("documents", "passages", "terms", "pending", "unread")
        if getattr(found, name) != getattr(wanted, name)
    ]
    one, other = found.vectors, wanted.vectors
    if one is not None and other is not None and not _close(one, other):
        said.append("vectors differ")
    for name in wanted.fitted:
        far = _distance(found.fitted.get(name), wanted.fitted[name])
        if far > CLOSE:
            told = _first(found.fitted.get(name), wanted.fitted[name]) if name != "means" else ""
            said.append(f"{name} differ by {far:.1e}: {told}")
    for asked, hits in wanted.results.items():
        got = found.results.get(asked, [])
        if _distance([s for _, s in got], [s for _, s in hits]) > CLOSE or not _same_order(
            got, hits
        ):
            said.append(f"results differ for {asked!r}")
    return said


def _close(one: Vectors, other: Vectors) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max(initial=0.0) <= CLOSE)


def _same_order(got: Sequence[tuple[str, float]], wanted: Sequence[tuple[str, float]]) -> bool:
    """Whether the ids are the same; equal scores may change places."""

    def ranked(hits: Sequence[tuple[str, float]]) -> list[tuple[float, str]]:
        return sorted((-round(score, 4), id_) for id_, score in hits)

    return [one[1] for one in ranked(got)] == [one[1] for one in ranked(wanted)]


def _first(one: Any, other: Any) -> str:
    """The first difference of two values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                return f"{name}: {one.get(name)!r:.160} instead of {other.get(name)!r:.160}"
    return f"{one!r:.160} instead of {other!r:.160}"


def _distance(one: Any, other: Any) -> float:
    """The largest difference of two numbers at the same place; infinite for other differences."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_distance(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_distance(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other)
    return 0.0 if one == other else float("inf")


def damage(folder: Path) -> list[str]:
    """What is wrong in the catalog itself: SQLite's own check, and rows that belong to nothing."""
    path = folder / CATALOG_FILE
    if not path.exists() or not path.stat().st_size:
        return []
    with closing(sqlite3.connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "documents" not in tables:
            return []
        said = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        for what, rows in _ORPHANS.items():
            if rows.split()[0] in tables:
                count = connection.execute(f"SELECT COUNT(*) FROM {rows}").fetchone()[0]
                if count:
                    said.append(f"{count} {what}")
    return said


def remains(folder: Path, allowed: Iterable[str]) -> list[str]:
    """Entries below the folder that match none of the patterns."""
    patterns = list(allowed)
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")))
    return [str(path) for path in found if not any(path.match(one) for one in patterns)]


__all__ = ["CLOSE", "MODES", "State", "damage", "differences", "remains", "state_of"]
