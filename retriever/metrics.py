"""How good a ranking is, and the files that say what would be right.

nDCG, MRR and recall are those of BEIR (pytrec_eval): linear gains, a discount of log2(rank + 1).
A query without a single relevant document has no right answer: `mean_over` leaves it out. Readers
take BEIR folders and similarity files; they name the file and the line when something is wrong.

The module searches nothing and loads no model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retriever.types import UsageError

Judgements = Mapping[str, float]
"""Document id → how relevant it is to one query; 0 and below, and documents not named: not."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A BEIR folder. `corpus` is id → (title, text); `qrels` is query id → judgements."""

    corpus: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    qrels: Mapping[str, Judgements]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences and how similar people found them; larger is more similar."""

    score: float
    first: str
    second: str


def ndcg_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """Normalised discounted cumulative gain of the first `k` documents: 0 to 1.

    >>> round(ndcg_at(10, ["b", "a"], {"a": 1}), 4)
    0.6309
    """
    ideal = _dcg(sorted((gain for gain in judged.values() if gain > 0), reverse=True)[:k])
    gains = [max(judged.get(document, 0.0), 0.0) for document in _first(k, ranking)]
    return _dcg(gains) / ideal if ideal else 0.0


def mrr_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """One divided by the rank of the first relevant document among the first `k`; 0 without one.

    >>> mrr_at(10, ["b", "a"], {"a": 1})
    0.5
    """
    for rank, document in enumerate(_first(k, ranking), 1):
        if judged.get(document, 0) > 0:
            return 1 / rank
    return 0.0


def recall_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """The share of the relevant documents that are among the first `k`.

    >>> recall_at(1, ["a", "b"], {"a": 1, "b": 2})
    0.5
    """
    relevant = {document for document, gain in judged.items() if gain > 0}
    return len(relevant & set(_first(k, ranking))) / len(relevant) if relevant else 0.0


def mean_over(
    measure: Callable[[Sequence[str], Judgements], float],
    rankings: Mapping[str, Sequence[str]],
    qrels: Mapping[str, Judgements],
) -> float:
    """The mean of a measure over all queries with a relevant document.

    A query without a ranking counts as one that found nothing. Nan if no query is judged.

    >>> mean_over(lambda r, j: mrr_at(10, r, j), {"q": ["a"]}, {"q": {"a": 1}, "p": {"a": 0}})
    1.0
    """
    values = [
        measure(rankings.get(query, ()), judged)
        for query, judged in qrels.items()
        if any(gain > 0 for gain in judged.values())
    ]
    return math.fsum(values) / len(values) if values else math.nan


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """The rank correlation of two (n,) arrays, -1 to 1; ties have the mean of their ranks.

    Nan where it is not defined: fewer than two values, all alike, or one of them nan.

    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise UsageError(
            f"a rank correlation needs two lists of the same length; they have the shapes "
            f"{left.shape} and {right.shape}"
        )
    if np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    x, y = _centred_ranks(left), _centred_ranks(right)
    length = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length else math.nan


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _first(k: int, ranking: Sequence[str]) -> list[str]:
    """The first `k` different documents: a document found twice counts where it came first."""
    return list(dict.fromkeys(ranking))[:k]


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (n,) from 1, ties with the mean of theirs, minus their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse] - (len(values) + 1) / 2


# Files


def read_retrieval(folder: Path) -> Retrieval:
    """A folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`).

    Queries that no judgement names, and judgements of queries that are not there, are left out.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one with corpus.jsonl and queries.jsonl")
    corpus = {
        row["_id"]: (row.get("title") or "", row["text"])
        for row in _read_jsonl(folder / "corpus.jsonl")
    }
    queries = {row["_id"]: row["text"] for row in _read_jsonl(folder / "queries.jsonl")}
    judged = _read_qrels(_qrels_file(folder))
    qrels = {query: judged[query] for query in queries if query in judged}
    if not qrels:
        raise UsageError(f"no query of {folder / 'queries.jsonl'} has a judgement in its qrels")
    return Retrieval(corpus, {query: queries[query] for query in qrels}, qrels)


def read_pairs(path: Path) -> list[Pair]:
    """A similarity file: tab-separated `score sentence1 sentence2` with that header.

    Quotes are part of the sentences; columns beyond the third are ignored.
    """
    lines = _rows(path)
    columns = ["score", "sentence1", "sentence2"]
    header = next(lines, (1, []))[1][:3]
    if [name.strip().lower() for name in header] != columns:
        raise UsageError(f"{path}, line 1: the header must be {' '.join(columns)}, tab-separated")
    pairs = []
    for number, fields in lines:
        if len(fields) < 3:
            raise UsageError(f"{path}, line {number}: three tab-separated columns are needed")
        pairs.append(Pair(_number(fields[0], path, number), fields[1], fields[2]))
    if not pairs:
        raise UsageError(f"{path} has no pairs of sentences below its header")
    return pairs


def _qrels_file(folder: Path) -> Path:
    for path in (folder / "qrels.tsv", folder / "qrels" / "test.tsv"):
        if path.is_file():
            return path
    raise UsageError(f"{folder} has neither qrels.tsv nor qrels/test.tsv")


def _read_qrels(path: Path) -> dict[str, dict[str, float]]:
    judged: dict[str, dict[str, float]] = {}
    for number, fields in _rows(path):
        if number == 1 and fields[:2] == ["query-id", "corpus-id"]:
            continue
        if len(fields) != 3:
            raise UsageError(f"{path}, line {number}: it needs query-id, corpus-id and score")
        judged.setdefault(fields[0], {})[fields[1]] = _number(fields[2], path, number)
    return judged


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Each line's object; `_id` and `text` are there and are strings, `_id` is new."""
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: this is not JSON ({error})") from error
        if not isinstance(row, dict) or not all(
            isinstance(row.get(name), str) for name in ("_id", "text")
        ):
            raise UsageError(f'{path}, line {number}: it needs the strings "_id" and "text"')
        if not isinstance(row.get("title") or "", str):
            raise UsageError(f'{path}, line {number}: "title" must be a string')
        if row["_id"] in seen:
            raise UsageError(f"{path}, line {number}: the id {row['_id']!r} is there twice")
        seen.add(row["_id"])
        yield row


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The tab-separated fields of each line that is not empty, with its number from 1."""
    for number, line in _lines(path):
        yield number, line.split("\t")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, without their ends, with their numbers from 1."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    # Only real ends of line: a sentence may well hold a U+2028 or a form feed.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _number(field: str, path: Path, line: int) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{path}, line {line}: the score {field!r} is not a number")
    return value


__all__ = [
    "Judgements",
    "Pair",
    "Retrieval",
    "mean_over",
    "mrr_at",
    "ndcg_at",
    "read_pairs",
    "read_retrieval",
    "recall_at",
    "spearman",
]
