"""An index folder made by version 0.1.0 opens and answers as it did, and nothing is embedded again.

`data/index-0.1.0.tar.xz` was made by version 0.1.0 from the files beside it, with the default
model in float32 and `ocr="eng"`; `answers-0.1.0.json` is what that version answered.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest

from retriever import AlignedWVA, Index

DATA = Path(__file__).parent / "data"
ANSWERS = json.loads((DATA / "answers-0.1.0.json").read_text("utf-8"))
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def embedder() -> AlignedWVA:
    return AlignedWVA("smollm2-135m", dtype="float32")


@pytest.fixture
def index(tmp_path: Path, embedder: AlignedWVA) -> Iterator[Index]:
    with tarfile.open(DATA / "index-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    with Index.open(tmp_path / "index", embedder) as index:
        yield index


def found(index: Index, answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": hit.chunk.id,
            "path": hit.chunk.path,
            "page": hit.chunk.page,
            "text": hit.text,
            "score": hit.score,
            "dense": hit.dense,
            "keyword": hit.keyword,
            "match": hit.match,
        }
        for hit in index.search(answer["query"], k=5, mode=answer["mode"])
    ]


def close_to(hits: list[dict[str, Any]], mode: str) -> list[dict[str, Any]]:
    """The same ids, places and texts in the same order, and scores to 1e-5.

    The scores of keywords are others: the terms have been made anew.
    """
    numbers = ("score", "dense", "keyword", "match")
    new = () if mode == "dense" else ("score", "keyword", "match")
    return [
        {
            key: ANY
            if key in new
            else pytest.approx(value, rel=1e-5, abs=1e-5)
            if key in numbers and value
            else value
            for key, value in hit.items()
        }
        for hit in hits
    ]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: f"{one['mode']}: {one['query']}")
def test_it_answers_as_before(index: Index, answer: dict[str, Any]) -> None:
    assert found(index, answer) == close_to(answer["hits"], answer["mode"])
    if "explained" in answer and answer["mode"] == "dense":
        first = index.search(answer["query"], k=1)[0]
        terms = index.explain(answer["query"], first).terms
        assert sum(term.value for term in terms) == pytest.approx(answer["explained"], rel=1e-5)


def test_nothing_is_embedded_again(
    index: Index, tmp_path: Path, embedder: AlignedWVA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files stand elsewhere now, and no OCR is asked for: what was recognised stays."""

    def fails(*_: object) -> None:
        raise AssertionError("something is embedded again")

    monkeypatch.setattr(embedder, "embed_inputs", fails)
    shutil.copytree(DATA / "documents", tmp_path / "documents")
    before = {row.path: [page.text for page in index.pages(row.id)] for row in index.documents()}
    report = index.sync(tmp_path / "documents")
    assert not report.tokens
    # A reader with a newer version reads its files again, and finds the same passages.
    seen = {"unchanged", "partial", "renamed", "updated"}
    assert {file.status.value for file in report.files} <= seen, report
    after = {row.path: [page.text for page in index.pages(row.id)] for row in index.documents()}
    assert after == before
    assert any("A tenant may end the lease" in text for text in after["lease.pdf"])
    assert np.isfinite([hit.score for hit in index.search("lease", mode="keyword")]).all()
