"""Quality is a number: the default model on a part of the sample, by the questions of `data/`.

The number is literal. A change that moves it edits it in the same commit, and says why.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from retriever import AlignedWVA, Index
from retriever.metrics import mrr_at

FILES = (
    "nist-digital-identity/sp800-63b_appA_memorized.md",
    "nist-digital-identity/sp800-63b_sec7_session.md",
    "nist-digital-identity/sp800-63b_sec8_security.md",
    "books/the-time-machine/chapter-01.html",
    "text/state_of_the_union_2022.txt",
    "government-pdf/USDA_10_tips_healthy_meals.pdf",
)
MRR = {"keyword": 0.875, "dense": 1.0, "hybrid": 1.0}
TOLERANCE = 0.02  # precisions and processors differ


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("quality")
    for name in FILES:
        target = folder / "docs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("data/sample", name), target)
    index = Index.open_or_create(folder / "index", AlignedWVA())
    report = index.sync(folder / "docs")
    assert report.complete
    assert report.totals["indexed"] == len(FILES)
    return index


@pytest.mark.model
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", sorted(MRR))
def test_questions_find_their_files(index: Index, mode: str) -> None:
    lines = Path("data/queries.jsonl").read_text("utf-8").splitlines()
    values = []
    for question in map(json.loads, lines):
        right = {place["path"] for place in question["relevant"]} & set(FILES)
        if right:
            hits = index.search(question["query"], 10, mode=mode, by_file=True)
            values.append(mrr_at(10, [hit.chunk.path for hit in hits], dict.fromkeys(right, 1.0)))
    assert len(values) == 4
    assert sum(values) / len(values) == pytest.approx(MRR[mode], abs=TOLERANCE)


@pytest.mark.model
def test_a_passage_is_found_by_its_meaning_alone(index: Index) -> None:
    hits = index.search("cheaper medicine for people with diabetes", 3, mode="dense")
    assert any("insulin" in hit.chunk.text.lower() for hit in hits)


@pytest.mark.model
def test_chunks_are_slices_of_their_pages(index: Index) -> None:
    for row in index.documents():
        pages = {page.number: page.text for page in index.pages(row.id)}
        for chunk in index.chunks(row.id):
            assert pages[chunk.page][chunk.start : chunk.end] == chunk.text
