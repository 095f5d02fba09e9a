"""The files that say what would be right: BEIR folders, sentence pairs, questions of one's own.

The readers name the file and the line when something is wrong; they search nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.metrics import Judgements
from retriever.types import UsageError


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


def read_retrieval(folder: Path) -> Retrieval:
    """A folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`).

    Queries that no judgement names, and judgements of queries that are not there, are left out.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one with corpus.jsonl and queries.jsonl")
    corpus = {
        row["_id"]: (row.get("title") or "", row["text"])
        for row in _read_beir_jsonl(folder / "corpus.jsonl")
    }
    queries = {row["_id"]: row["text"] for row in _read_beir_jsonl(folder / "queries.jsonl")}
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


def _read_beir_jsonl(path: Path) -> Iterator[dict[str, Any]]:
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
    "Pair",
    "Retrieval",
    "read_pairs",
    "read_retrieval",
]
