"""What a long run did, said and held, and whether its index is that of its files."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak_index import MODES, QUESTIONS, Forgetful
from benchmarks.soak_measures import Growth, Sample, growths, processes_with, remains
from retriever.index import Index
from retriever.interface.collections import uploads_folder
from retriever.types import Chunk, Document, Page

INDEX_FILES = ("catalog.sqlite", "vectors-", "LOCK", "wanted", "uploads", "removed")
_SMALL = 1e-5


@dataclass(slots=True)
class Outcome:
    """What a run did, said, and held; `violations` is empty if all is as it should be."""

    what: str
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    growths: dict[str, list[Growth]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add_samples(self, who: str, samples: Sequence[Sample]) -> None:
        """Compare a process's samples."""
        self.samples[who] = list(samples)
        self.growths[who] = growths(samples)
        self.violations += [
            f"{who}: {one.what} grew from {one.first:.1f} to {one.last:.1f}"
            for one in self.growths[who]
            if one.leaks
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "what": self.what,
            "seconds": round(self.seconds, 1),
            "operations": sum(self.done.values()),
            "done": dict(self.done),
            "said": dict(self.said),
            "growth": {who: [g.to_json() for g in some] for who, some in self.growths.items()},
            "violations": self.violations,
            "samples": {who: [asdict(s) for s in some] for who, some in self.samples.items()},
            **self.facts,
        }


def compare_with_files(index: Path, docs: Path, notes: dict[str, str], fresh: Path) -> list[str]:
    """Bring an index in step with its files, and compare it with one built afresh."""
    paths = [docs, *[one for one in (uploads_folder(index),) if one.is_dir()]]
    added = [Document(path, "text", (Page(None, text),)) for path, text in sorted(notes.items())]
    with Index.open(index, Forgetful()) as one, Index.open_or_create(fresh, Forgetful()) as other:
        other.add(added)
        for each in (one, other):
            _forget_fit(each)
            each.sync(paths, force=True)
        found = _differences(one, other)
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        told = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    connection.close()
    return found + [f"integrity_check: {row}" for row in told if row != "ok"]


def _forget_fit(index: Index) -> None:
    """Have the next sync fit the weight of the dense side again.

    That is done when the index has grown or shrunk by a quarter, so it may be of other documents.
    """
    with index.backend.reading() as catalog:
        means, facts = catalog.means(), catalog.calibration_facts()
    if facts is None:  # nothing was fitted, and without vectors the means have no size yet
        return
    kept = {name: value for name, value in facts.items() if name not in ("weighed_at", "corpus")}
    index.backend.calibrate(means.passage_mean, means.query_mean, kept)
    index.backend.release()


def _differences(one: Index, other: Index) -> list[str]:
    found = []
    mine, theirs = _passages(one), _passages(other)
    if mine != theirs:
        odd = {c.path for key in mine.keys() ^ theirs.keys() for c in [(mine | theirs)[key]]}
        found.append(f"the passages of {len(odd)} documents differ: {sorted(odd)[:5]}")
    for query in QUESTIONS:
        for mode in MODES:
            pairs = zip(*(i.search(query, 50, mode=mode) for i in (one, other)), strict=False)
            far = [abs(a.score - b.score) for a, b in pairs]
            if max(far, default=0.0) > _SMALL:
                found.append(f"{query!r} in mode {mode}: scores differ by {max(far):.1e}")
    return found


def _passages(index: Index) -> dict[str, Chunk]:
    return {chunk.id: chunk for row in index.documents() for chunk in index.chunks(row.id)}


def left_behind(index: Path, temporary: Path) -> list[str]:
    """What should not be there when all processes have ended."""
    left = [f"a temporary file is left: {entry.name}" for entry in temporary.iterdir()]
    left += [f"a process is left: {one}" for one in processes_with(temporary)]
    left += [f"in the index's folder is left: {name}" for name in remains(index, INDEX_FILES)]
    hidden = [path.name for path in index.rglob(".*")]
    return left + [f"a hidden file is left: {name}" for name in hidden]
