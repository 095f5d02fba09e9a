"""Evaluation runs: the value of each query, by mode and measure; saved, loaded and compared.

Means have intervals, and comparisons of two runs on the same documents and queries have a verdict.
A saved run is a plain JSON file that can be committed, as a baseline for later ones. The settings
of two runs (model, layers, chunks) may differ; documents, queries and judgements must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from retriever import __version__
from retriever.cache import write_atomically
from retriever.evaluation.metrics import MEASURES, Judgements, values_by_query
from retriever.index import Index
from retriever.searching.options import Mode
from retriever.significance import Interval, PairedComparison, compare, interval
from retriever.types import UsageError

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Mode → measure → query id → value."""

FORMAT = 1
KEYWORD = "keyword"
"""The mode that all others are compared with: BM25, which needs no model."""


MODES = (Mode.KEYWORD, Mode.DENSE, Mode.HYBRID)
"""In the order of the tables: first BM25, which the others are compared with."""


@dataclass(frozen=True, slots=True)
class Data:
    """The documents and queries of a run; the digests decide whether two runs are comparable."""

    name: str
    documents: int
    documents_digest: str
    queries_digest: str


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation. `made_with` is shown, not compared; `seconds` is not saved."""

    data: Data
    values: Values
    made_with: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def queries(self) -> list[str]:
        """The ids of all queries with a value, sorted."""
        return sorted(
            {query for mode in self.values.values() for by in mode.values() for query in by}
        )

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Mode → measure → mean over the queries, with its 95 % interval."""
        return {
            mode: {name: interval(list(by_query.values())) for name, by_query in measures.items()}
            for mode, measures in self.values.items()
        }

    def against_keyword(self) -> dict[str, dict[str, PairedComparison]]:
        """Comparisons of all other modes with keyword search, by measure."""
        if KEYWORD not in self.values:
            return {}
        return {
            mode: _compare_measures(measures, self.values[KEYWORD])
            for mode, measures in self.values.items()
            if mode != KEYWORD
        }

    def against(self, baseline: Run) -> dict[str, dict[str, PairedComparison]]:
        """Comparisons with `baseline`, for every mode and measure of both.

        Raises UsageError if documents or queries differ.
        """
        baseline.check(self.data)
        if self.queries != baseline.queries:
            raise UsageError(f"the baseline of {baseline.data.name!r} lacks some of its queries")
        return {
            mode: _compare_measures(measures, baseline.values[mode])
            for mode, measures in self.values.items()
            if mode in baseline.values
        }

    def check(self, data: Data) -> None:
        """Raise UsageError unless a run on `data` is comparable with this one."""
        mine = self.data
        what = ""
        if mine.documents_digest != data.documents_digest:
            what = "other documents"
        elif mine.queries_digest != data.queries_digest:
            what = "other queries or judgements"
        if what:
            raise UsageError(
                f"the baseline is of {what}: {mine.name} ({mine.documents} documents, "
                f"{len(self.queries)} queries), not this {data.name} ({data.documents} documents); "
                "save a new one with --save"
            )

    def to_json(self, *, per_query: bool = False) -> dict[str, Any]:
        """The run as plain JSON values for `--json`; `per_query` adds each query's values."""
        found = self.intervals()
        values: dict[str, Any] = {
            "dataset": self.data.name,
            "documents": self.data.documents,
            "queries": len(self.queries),
            "seconds": round(self.seconds, 2),
            "made_with": dict(self.made_with),
            "modes": _map_cells(found, lambda one: round(one.mean, 4)),
            "intervals": _map_cells(found, lambda one: [round(one.low, 4), round(one.high, 4)]),
            "against_keyword": comparisons_json(self.against_keyword()),
        }
        if per_query:
            values["per_query"] = self.values
        return values


def score_rankings(
    rankings: Mapping[str, Mapping[str, Sequence[str]]],
    qrels: Mapping[str, Judgements],
    measures: Sequence[str] = tuple(MEASURES),
) -> Values:
    """The values of `rankings` (mode → query id → documents, best first) under `qrels`."""
    return {
        mode: {name: values_by_query(MEASURES[name], ranked, qrels) for name in measures}
        for mode, ranked in rankings.items()
    }


def comparisons_json(found: Mapping[str, Mapping[str, PairedComparison]]) -> dict[str, Any]:
    """Comparisons by mode and measure as plain JSON."""
    return _map_cells(
        found,
        lambda one: {
            "difference": round(one.difference.mean, 4),
            "interval": [round(one.difference.low, 4), round(one.difference.high, 4)],
            "verdict": one.verdict.value,
        },
    )


def run_settings(index: Index) -> dict[str, Any]:
    """The settings of a run on an index: version, model, layers, pooling, prompts, chunks."""
    with index.backend.reading() as catalog:
        settings, chunks = catalog.embedder_settings(), catalog.chunk_settings()
    made: dict[str, Any] = {"version": __version__}
    if settings is not None:
        made |= {"model": settings.model, "fingerprint": settings.fingerprint}
        made |= {"layers": list(settings.layers), "pooling": settings.pooling}
        made |= {"prompts": settings.prompts.to_json()}
    if chunks is not None:
        made["chunks"] = f"{chunks.size}/{chunks.overlap}"
    return made


def digest(parts: Sequence[str]) -> str:
    """A hash of 24 hex digits: equal for the same texts in the same order."""
    found = sha256()
    for part in parts:
        found.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()[:24]


# The file


def save_run(run: Run, path: Path) -> None:
    """Write a run as a baseline file; replaces an existing one."""
    queries = run.queries
    kept = {
        "wva_baseline": FORMAT,
        **asdict(run.data),
        "made_with": dict(run.made_with),
        "queries": queries,
        "values": _map_cells(run.values, lambda by_query: [by_query[query] for query in queries]),
    }
    text = json.dumps(kept, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "surrogatepass")))


def load_run(path: Path) -> Run:
    """Read a baseline. Raises UsageError if the file is not one."""
    try:
        kept = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except OSError as error:
        raise UsageError(
            f"the baseline {path} cannot be read: {error.strerror or error}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a baseline: it is not JSON") from error
    if not isinstance(kept, dict) or kept.get("wva_baseline") != FORMAT:
        raise UsageError(f"{path} is not a baseline that this version of wva eval --save wrote")
    try:
        queries: list[str] = kept["queries"]
        names = ("name", "documents", "documents_digest", "queries_digest")
        return Run(
            data=Data(*(kept[name] for name in names)),
            values=_map_cells(
                kept["values"],
                lambda listed: dict(zip(queries, map(float, listed), strict=True)),
            ),
            made_with=dict(kept["made_with"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the baseline {path} is damaged; save it again") from error


def _compare_measures(
    ours: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]]
) -> dict[str, PairedComparison]:
    """Measure → paired comparison over the queries."""
    return {
        name: compare(list(values.values()), [theirs[name][query] for query in values])
        for name, values in ours.items()
        if name in theirs
    }


def _map_cells(table: Mapping[str, Mapping[str, Any]], make: Any) -> dict[str, dict[str, Any]]:
    return {mode: {name: make(cell) for name, cell in row.items()} for mode, row in table.items()}


__all__ = [
    "KEYWORD",
    "MODES",
    "Data",
    "Run",
    "Values",
    "comparisons_json",
    "digest",
    "load_run",
    "run_settings",
    "save_run",
    "score_rankings",
]
