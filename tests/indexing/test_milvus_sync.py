"""Sync of folders into an index in Milvus: what it holds equals what an embedded index holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever import Index
from tests.fakes import FakeEmbedder
from tests.indexing.test_copying import everything
from tests.storage.milvus_index import emptied, shared_index

DIMENSION = 32
NEARLY = ("vectors", "means")
OF_THE_RUN = ("last run", "facts", "match")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_index(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "trips").mkdir(parents=True)
    for number in range(12):
        lines = (f"Paragraph {part} of note {number}: the river, the bridge." for part in range(3))
        text = f"# Note {number}\n\n" + "\n\n".join(lines)
        (folder / f"{number}.md").write_text(text + "\n")
    (folder / "trips" / "sea.txt").write_text("We sailed along the coast.\n")
    (folder / "empty.txt").write_text("")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 not really")
    return folder


def change(folder: Path) -> None:
    (folder / "1.md").write_text("# Note 1\n\nParagraph 1 of note 1: the river, the bridge. New.\n")
    (folder / "2.md").unlink()
    (folder / "3.md").rename(folder / "three.md")
    (folder / "trips" / "sea.txt").rename(folder / "trips" / "coast.txt")
    (folder / "new.md").write_text("# New\n\nA lighthouse.\n")


def check_equal(index: Index, expected: Index) -> None:
    one, other = (timeless(everything(each.backend)) for each in (index, expected))
    for name in one.keys() - set(NEARLY) - set(OF_THE_RUN):
        assert one[name] == other[name], name
    for name in NEARLY:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)
    for text in ("river bridge", "lighthouse", "sailed along the coast"):
        assert hits(index, text) == pytest.approx(hits(expected, text), abs=1e-3)
    counts = ("documents", "chunks", "pending", "pages", "page_states", "unread", "formats")
    told, wanted = index.info(), expected.info()
    assert {name: told[name] for name in counts} == {name: wanted[name] for name in counts}


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Without times of change, which are left out of a file that has just changed."""
    return {
        **found,
        **{n: [replace(one, mtime_ns=0) for one in found[n]] for n in ("rows", "unread")},
    }


def hits(index: Index, text: str) -> dict[str, float]:
    return {hit.chunk.id: hit.score for hit in index.search(text, 5)}


def synced(index: Index, folder: Path, **options: Any) -> Index:
    index.sync(folder, force=True, jobs=1, **options)
    return index


def test_a_folder_and_its_changes_become_the_same_index(
    shared: str, folder: Path, tmp_path: Path
) -> None:
    with (
        Index.open_or_create(emptied(shared), FakeEmbedder(DIMENSION)) as index,
        Index.open_or_create(tmp_path / "index", FakeEmbedder(DIMENSION)) as expected,
    ):
        check_equal(synced(index, folder), synced(expected, folder))
        change(folder)
        check_equal(synced(index, folder), synced(expected, folder))


def test_two_waves_become_the_same_index(shared: str, folder: Path, tmp_path: Path) -> None:
    with (
        Index.open_or_create(emptied(shared), FakeEmbedder(DIMENSION)) as index,
        Index.open_or_create(tmp_path / "index", FakeEmbedder(DIMENSION)) as expected,
    ):
        for one in (index, expected):
            synced(one, folder, keywords_only=True)
            assert one.info()["pending"] == one.info()["chunks"] > 0
            found = one.search("sailed coast", 1, mode="keyword")
            assert [hit.chunk.path for hit in found] == ["trips/sea.txt"]
            one.sync(vectors_only=True)
        check_equal(index, expected)
