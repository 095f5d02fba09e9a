"""Readers of training pairs: JSON lines, BEIR folders, rated pairs of sentences.

Their errors name the file and the line. A file is read line by line; a passage that several lines
name is one object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retriever.evaluation.datasets import (
    RetrievalDataset,
    read_beir,
    read_jsonl,
    read_sentence_pairs,
)
from retriever.tuning.pairs import Pair, PairData, Passage, passage_id
from retriever.types import UsageError


def read_pairs(path: Path, *, split: str = "train") -> PairData:
    """The pairs of a BEIR folder, or of a file of JSON lines or of rated sentences.

    - A folder: the documents that `qrels/SPLIT.tsv` (or `qrels.tsv`) calls relevant to a query are
      its positives, those with grade 0 its negatives. The corpus is the whole one.
    - `.tsv`: tab-separated `score sentence1 sentence2`, with that header, as `wva eval sts` reads.
    - Any other file: JSON lines {"query": "…", "positive": …, "negatives": […], "score": 4.2,
      "id": "…"}, the last three optional. A passage is a text, or {"text": "…", "title": "…",
      "id": "…"}. The corpus is all positives and negatives.

    Raises UsageError for files that cannot be read as such, and if only some pairs have a score.
    """
    if path.is_dir():
        return _read_beir_pairs(path, split)
    if path.suffix.lower() == ".tsv":
        return _read_scored(path)
    return _read_json_pairs(path)


def read_measured(path: Path, trained: Path | None = None) -> list[PairData | RetrievalDataset]:
    """All that a file or a folder measures with: of a folder every split, but what is trained on.

    Pairs are trained from `trained`; if that is the same folder, its training part is no measure.
    """
    if not path.is_dir():
        return [read_pairs(path)]
    same = trained is not None and trained.is_dir() and trained.samefile(path)
    splits = sorted(each.stem for each in (path / "qrels").glob("*.tsv"))
    if not splits or (path / "qrels.tsv").is_file():
        return [read_beir(path)]
    return [read_beir(path, split) for split in splits if not (same and split == "train")]


def _read_beir_pairs(folder: Path, split: str) -> PairData:
    data = read_beir(folder, split)
    corpus = {
        name: Passage(text, title, name)
        for name, (title, text) in data.corpus.items()
        if text.strip()
    }
    pairs: list[Pair] = []
    missing = blank = 0
    for query, judged in data.qrels.items():
        known = {name: grade for name, grade in judged.items() if name in corpus}
        blank += sum(name in data.corpus for name in judged) - len(known)
        missing += sum(name not in data.corpus for name in judged)
        negatives = tuple(corpus[name] for name, grade in known.items() if grade <= 0)
        pairs += (
            Pair(data.queries[query], corpus[name], negatives, id=query)
            for name, grade in known.items()
            if grade > 0
        )
    if not pairs:
        raise UsageError(f"no query of {folder} has a relevant document in its corpus")
    notes = {
        f"{missing} judgements of {folder} name documents that corpus.jsonl does not have": missing,
        f"{blank} judgements of {folder} name documents without text; they are left out": blank,
    }
    found = tuple(note for note, count in notes.items() if count)
    return PairData(pairs, corpus, folder.resolve().name, found)


def _read_scored(path: Path) -> PairData:
    sentences = _Passages()
    pairs = [
        Pair(each.first, sentences.named(each.second), score=each.score)
        for each in read_sentence_pairs(path)
    ]
    return PairData(pairs, sentences.by_id, path.resolve().name)


def _read_json_pairs(path: Path) -> PairData:
    passages = _Passages()
    pairs: list[Pair] = []
    for number, row in read_jsonl(path):
        here = f"{path}, line {number}"
        pair = _json_pair(row, passages, here)
        if pairs and (pair.score is None) != (pairs[0].score is None):
            raise UsageError(
                f'{here}: some lines have a "score" and some have none; give rated sentences and '
                "retrieval pairs in two files"
            )
        pairs.append(pair)
    if not pairs:
        raise UsageError(f"{path} has no pairs")
    return PairData(pairs, passages.by_id, path.resolve().name)


def _json_pair(row: Mapping[str, Any], passages: _Passages, here: str) -> Pair:
    query, name, score = row.get("query"), row.get("id"), row.get("score")
    if not isinstance(query, str) or not query.strip():
        raise UsageError(f'{here}: it needs a "query" that is not empty')
    if "positive" not in row:
        raise UsageError(f'{here}: it needs a "positive", a text that answers the query')
    if score is not None and not _is_finite_number(score):
        raise UsageError(f'{here}: "score" must be a number, such as 0.0 to 5.0')
    listed = row.get("negatives") or []
    if not isinstance(listed, list):
        raise UsageError(f'{here}: "negatives" must be a list of texts')
    if listed and score is not None:
        raise UsageError(f'{here}: a pair with a "score" has no "negatives"')
    return Pair(
        query=query,
        positive=passages.read(row["positive"], f'{here}: "positive"'),
        negatives=tuple(passages.read(each, f'{here}: a text of "negatives"') for each in listed),
        score=None if score is None else float(score),
        id=_as_id(name, f'{here}: "id"'),
    )


class _Passages:
    """The passages so far, by id: equal ones are one object."""

    def __init__(self) -> None:
        self.by_id: dict[str, Passage] = {}

    def read(self, value: object, what: str) -> Passage:
        """The passage that a JSON value names; `what` begins the sentence of an error."""
        row = {"text": value} if isinstance(value, str) else value
        text = row.get("text") if isinstance(row, dict) else None
        title = (row.get("title") or "") if isinstance(row, dict) else ""
        if not isinstance(row, dict) or not isinstance(text, str) or not isinstance(title, str):
            raise UsageError(f'{what} must be a text, or {{"text": "…", "title": "…", "id": "…"}}')
        if not text.strip() and not title.strip():
            raise UsageError(f"{what} is empty")
        if not text.strip():
            text, title = title, ""
        return self.named(text, title, _as_id(row.get("id"), f"{what}: its id"), what)

    def named(self, text: str, title: str = "", name: str = "", what: str = "") -> Passage:
        """The passage with this text, title and id (made from both if empty)."""
        name = name or passage_id(text, title)
        known = self.by_id.setdefault(name, Passage(text, title, name))
        if (known.text, known.title) != (text, title):
            raise UsageError(f"{what}: the id {name!r} had another text in an earlier line")
        return known


def _as_id(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UsageError(f"{what} must be a string or a number")
    return str(value)


def _is_finite_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return is_number and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer beyond all floats
        return False


__all__ = ["read_measured", "read_pairs"]
