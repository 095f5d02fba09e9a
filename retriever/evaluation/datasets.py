"""Readers of labelled data: BEIR folders, sentence pairs, questions to one's own index.

Their errors name the file and the line. This module does not search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.evaluation.metrics import Judgements
from retriever.types import UsageError


@dataclass(frozen=True, slots=True)
class RetrievalDataset:
    """A BEIR folder. `corpus` is id → (title, text); `qrels` is query id → judgements."""

    corpus: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    qrels: Mapping[str, Judgements]


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences and their similarity as rated by people; larger is more similar."""

    score: float
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class RelevantPlace:
    """The place of an answer: a page of a file, or any page (None)."""

    path: str
    page: int | None = None

    def __str__(self) -> str:
        """The place in words: "a.pdf, page 3"."""
        return self.path if self.page is None else f"{self.path}, page {self.page}"


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question to one's own documents and at least one place that answers it."""

    id: str
    text: str
    places: tuple[RelevantPlace, ...]


def read_questions(path: Path) -> list[LabelledQuestion]:
    """Read questions, one JSON object per line, in one of two forms.

    {"id": "q1", "query": "…", "relevant": [{"path": "a.pdf", "pages": [3, 4]}, …]}
    {"query": "…", "path": "a.pdf", "page": 3}

    Without "pages" or "page", or with an empty list, any page of the file counts. The id of a
    question without "id" is its line number.
    """
    questions = []
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        text, name = row.get("query"), row.get("id", str(number))
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f'{path}, line {number}: it needs a "query" that is not empty')
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise UsageError(f'{path}, line {number}: "id" must be a string or a number')
        _refuse_twice(str(name), seen, path, number)
        questions.append(LabelledQuestion(str(name), text, _places(row, path, number)))
    if not questions:
        raise UsageError(f"{path} has no questions")
    return questions


def _places(row: Mapping[str, Any], path: Path, line: int) -> tuple[RelevantPlace, ...]:
    """The places that a question's line names, without repetitions."""
    plain = [{"path": row.get("path"), "pages": row.get("page", row.get("pages"))}]
    entries = row.get("relevant", plain)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'{path}, line {line}: "relevant" must be a list with at least one file')
    places: dict[RelevantPlace, None] = {}
    for entry in entries:
        file, pages = _path_and_pages(entry)
        if not file:
            raise UsageError(
                f'{path}, line {line}: it needs "relevant": [{{"path": "a.pdf", "pages": [3]}}], '
                'or "path" and, if you like, "page"; pages are whole numbers'
            )
        named = [RelevantPlace(file, page) for page in pages] or [RelevantPlace(file)]
        places.update(dict.fromkeys(named))
    return tuple(places)


def _path_and_pages(entry: Any) -> tuple[str, list[int]]:
    """An entry's path and pages; an empty path if the entry is invalid."""
    file = entry.get("path") if isinstance(entry, dict) else None
    pages = entry.get("pages") if isinstance(entry, dict) else None
    listed = [] if pages is None else pages if isinstance(pages, list) else [pages]
    right = all(isinstance(page, int) and not isinstance(page, bool) for page in listed)
    return (file, listed) if isinstance(file, str) and right else ("", [])


def read_beir(folder: Path, split: str = "") -> RetrievalDataset:
    """Read a folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`).

    With a `split` the judgements are those of `qrels/SPLIT.tsv` (or `qrels.tsv`, if the folder has
    no splits). Queries without judgements, and judgements of unknown queries, are ignored.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one with corpus.jsonl and queries.jsonl")
    corpus = {
        row["_id"]: (row.get("title") or "", row["text"])
        for row in _read_beir_jsonl(folder / "corpus.jsonl")
    }
    queries = {row["_id"]: row["text"] for row in _read_beir_jsonl(folder / "queries.jsonl")}
    judged = _read_qrels(_qrels_file(folder, split))
    qrels = {query: judged[query] for query in queries if query in judged}
    if not qrels:
        raise UsageError(f"no query of {folder / 'queries.jsonl'} has a judgement in its qrels")
    return RetrievalDataset(corpus, {query: queries[query] for query in qrels}, qrels)


def read_sentence_pairs(path: Path) -> list[SentencePair]:
    """Read a similarity file: tab-separated `score sentence1 sentence2`, with that header.

    Quotes are part of the sentences; columns after the third are ignored.
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
        pairs.append(SentencePair(_number(fields[0], path, number), fields[1], fields[2]))
    if not pairs:
        raise UsageError(f"{path} has no pairs of sentences below its header")
    return pairs


def _qrels_file(folder: Path, split: str) -> Path:
    whole, part = folder / "qrels.tsv", folder / "qrels" / f"{split or 'test'}.tsv"
    for path in (part, whole) if split else (whole, part):
        if path.is_file():
            return path
    raise UsageError(f"{folder} has neither qrels.tsv nor qrels/{part.name}")


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
    """Each line's object, with the strings `_id` (unique) and `text`."""
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        if not all(isinstance(row.get(name), str) for name in ("_id", "text")):
            raise UsageError(f'{path}, line {number}: it needs the strings "_id" and "text"')
        if not isinstance(row.get("title") or "", str):
            raise UsageError(f'{path}, line {number}: "title" must be a string')
        _refuse_twice(row["_id"], seen, path, number)
        yield row


def _refuse_twice(name: str, seen: set[str], path: Path, line: int) -> None:
    if name in seen:
        raise UsageError(f"{path}, line {line}: the id {name!r} is a duplicate")
    seen.add(name)


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object; an empty object for any other JSON value."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: this is not JSON ({error})") from error
        yield number, row if isinstance(row, dict) else {}


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The tab-separated fields of each non-empty line, with its number from 1."""
    for number, line in _lines(path):
        yield number, line.split("\t")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The non-empty lines, without line ends, with their numbers from 1; one at a time."""
    before = 0
    try:
        with path.open("rb") as file:
            # Only at line feeds: a sentence may contain a U+2028 or a form feed.
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                before += len(line)
                if text.strip():
                    yield number, text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {before + error.start})") from error


def _number(field: str, path: Path, line: int) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{path}, line {line}: the score {field!r} is not a number")
    return value


__all__ = [
    "LabelledQuestion",
    "RelevantPlace",
    "RetrievalDataset",
    "SentencePair",
    "read_beir",
    "read_jsonl",
    "read_questions",
    "read_sentence_pairs",
]
