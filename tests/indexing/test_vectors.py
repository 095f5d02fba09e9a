"""The second wave: order of need, wishes of searches, what a kill leaves, one wave alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retriever.index import Index
from retriever.indexing import sync as sync_module
from retriever.indexing import vectors as vectors_module
from retriever.indexing.sync import SyncOptions
from retriever.storage.backends import wanted
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.types import Document, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live

ROOT = Path(__file__).parents[2]
ANIMALS = ("bear", "deer", "crow", "swan", "moth", "hare", "lynx", "wolf")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Eight files of three paragraphs each; the first is the oldest."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for age, animal in enumerate(ANIMALS):
        write(folder, animal, 1_700_000_000 + 100 * age)
    return folder


def write(folder: Path, animal: str, changed: int) -> None:
    path = folder / f"{animal}.txt"
    path.write_text(
        "\n\n".join(
            f"In note {number} the {animal} was seen near river {number * 7} by the warden. " * 12
            for number in range(3)
        )
    )
    os.utime(path, (changed, changed))


@pytest.fixture
def small_batches(monkeypatch) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(vectors_module, name, 1)


@pytest.fixture
def index(tmp_path: Path):
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        yield opened


def order(index: Index) -> list[str]:
    """The animals of the passages in the order in which they were embedded."""
    found = [text for text in index.embedder.embedded if text.startswith("passage: ")]
    return list(dict.fromkeys(next(a for a in ANIMALS if f"the {a} was" in t) for t in found))


# One wave alone


def test_keywords_alone_embed_nothing_and_find_everything(index, docs) -> None:
    report = index.sync(docs, keywords_only=True)
    assert report.totals["indexed"] == len(ANIMALS)
    assert index.embedder.embedded == []
    assert index.vector_share == 0
    info = index.info()
    assert info["pending"] == info["chunks"] > 0
    assert info["store"]["vectors"] == 0
    for animal in ANIMALS:
        for mode in ("keyword", "hybrid"):
            hits = index.search(animal, mode=mode, embed_ms=0)
            assert hits[0].chunk.path == f"{animal}.txt"
    assert index.search("bear", mode="dense", embed_ms=0) == []


@pytest.mark.parametrize("options", [{}, {"vectors_only": True}])
def test_the_next_run_completes(index, docs, options, tmp_path) -> None:
    index.sync(docs, keywords_only=True)
    index.sync(() if options else docs, **options)
    assert index.vector_share == 1
    same_as_in_one_go(index, docs, tmp_path)


def test_vectors_alone_look_at_no_files(index, docs, monkeypatch) -> None:
    index.sync(docs, keywords_only=True)
    before = index.info()["last_run"]["files"]
    monkeypatch.setattr(sync_module, "scan", None)
    report = index.sync(vectors_only=True)
    assert report.files == ()
    assert index.info()["last_run"]["files"] == before
    assert index.info()["pending"] == 0


def test_impossible_runs_are_named(index, docs) -> None:
    with pytest.raises(UsageError, match="keywords only or vectors only"):
        SyncOptions(keywords_only=True, vectors_only=True)
    with pytest.raises(UsageError, match="looks at no files"):
        index.sync(docs, vectors_only=True)


def test_an_older_version_is_told_that_it_cannot_read_a_half_made_index(
    index, docs, small_batches, tmp_path
) -> None:
    """0.1.0 refuses a format above 3; it opens an index that is finished, as before."""

    def number() -> int:
        with closing(sqlite3.connect(tmp_path / "index" / "catalog.sqlite")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    assert number() == 3
    index.sync(docs, keywords_only=True)
    assert number() == 4
    seen: list[int] = []
    index.sync(vectors_only=True, progress=lambda _: seen.append(number()))
    assert set(seen) == {3, 4}
    assert number() == 3
    index.sync(docs, keywords_only=True)
    assert number() == 3
    write(docs, "lynx", 1_800_000_000)
    (docs / "lynx.txt").write_text("A lynx was here, too.")
    index.sync(docs, keywords_only=True)
    assert number() == 4
    (docs / "lynx.txt").unlink()
    index.sync(docs, keywords_only=True)
    assert number() == 3


# The order of need


def test_new_files_come_before_old_ones(index, docs, small_batches) -> None:
    index.sync(docs, keywords_only=True)
    for age, row in enumerate(index.documents()):  # the last by name is the newest
        index.backend.touch(replace(row, mtime_ns=(1 + age) * 90_000 * 10**9))
    index.backend.release()
    index.sync(vectors_only=True)
    assert order(index) == sorted(ANIMALS, reverse=True)


def test_files_of_one_day_are_ordered_by_the_dates_of_their_documents(index, small_batches) -> None:
    dates = {"bear": "2020-01-01", "deer": "2024-01-01", "crow": "2022-01-01"}
    index.add(
        Document(animal, "txt", (Page(None, f"Here the {animal} was."),), date=date)
        for animal, date in dates.items()
    )
    assert order(index) == ["deer", "crow", "bear"]


def test_what_a_search_asked_for_comes_first(index, docs, small_batches, tmp_path) -> None:
    index.sync(docs, keywords_only=True)
    with Index.open(tmp_path / "index", FakeEmbedder()) as other:
        other.search("crow", mode="keyword")
        other.search("deer", embed_ms=0)
    assert (tmp_path / "index" / wanted.FILE).stat().st_mode & 0o077 == 0
    index.sync(vectors_only=True)
    assert order(index)[:2] == ["deer", "crow"]
    assert not (tmp_path / "index" / wanted.FILE).exists()


def test_wishes_are_read_between_batches(index, docs, small_batches, tmp_path, monkeypatch) -> None:
    index.sync(docs, keywords_only=True)
    real = index.embedder.embed_inputs

    def asking(inputs):
        if not index.embedder.embedded:
            with Index.open(tmp_path / "index") as other:
                other.search("wolf", mode="keyword")
        return real(inputs)

    monkeypatch.setattr(index.embedder, "embed_inputs", asking)
    index.sync(vectors_only=True)
    assert order(index)[1] == "wolf"


def test_wishes_are_bounded_and_may_be_torn(tmp_path: Path) -> None:
    wanted.note(tmp_path, ["0" * 16, "1" * 16])
    with (tmp_path / wanted.FILE).open("ab") as file:
        file.write(b"\n222222\xff\n../../etc\n33")
    wanted.note(tmp_path, ["4" * 16, "0" * 16])
    assert wanted.take(tmp_path) == ["4" * 16, "0" * 16, "1" * 16]
    assert wanted.take(tmp_path) == []
    for _ in range(10_000):
        wanted.note(tmp_path, ["5" * 16] * 32)
    assert (tmp_path / wanted.FILE).stat().st_size < 2 * wanted.MAX_BYTES
    wanted.note(tmp_path / "missing", ["6" * 16])
    assert wanted.take(tmp_path / "missing") == []


def test_a_complete_index_asks_for_nothing(index, docs, tmp_path) -> None:
    index.sync(docs)
    index.search("bear")
    assert not (tmp_path / "index" / wanted.FILE).exists()


# Changes between the waves


def test_documents_change_between_the_waves(index, docs, tmp_path) -> None:
    index.sync(docs, keywords_only=True)
    (docs / "bear.txt").unlink()
    (docs / "deer.txt").rename(docs / "roe.txt")
    write(docs, "crow", 1_800_000_000)
    with (docs / "crow.txt").open("a") as file:
        file.write("\n\nAn owl was here, too.")
    index.sync(docs, keywords_only=True)
    index.sync(vectors_only=True)
    same_as_in_one_go(index, docs, tmp_path)


def test_vectors_of_unchanged_text_outlive_a_run_without_vectors(index, docs) -> None:
    index.sync(docs)
    index.embedder.embedded.clear()
    index.sync(docs, reread=True, keywords_only=True)
    assert index.vector_share == 1
    path = docs / "crow.txt"
    text = path.read_text()
    path.write_text("A word before. " + text)
    index.sync(docs, keywords_only=True)
    assert 0 < index.vector_share < 1
    path.write_text(text)
    index.sync(docs)
    assert not [text for text in index.embedder.embedded if text.startswith("passage: ")]


def test_a_reader_sees_every_batch(index, docs, small_batches, tmp_path) -> None:
    shares: list[float] = []
    with Index.open(tmp_path / "index", FakeEmbedder()) as other:

        def look(progress) -> None:
            with other.snapshot() as now:
                count = now.passages.count_vectors()
                query = other.embed_query("warden")
                assert len(now.dense(query, 1000).ids) == count
                ids = [c.id for row in now.catalog.documents() for c in now.catalog.chunks(row.id)]
                missing = now.passages.without_vector(ids)
                assert len(ids) - len(missing) == count
                own = [id_ for id_ in ids if id_ not in missing]
                assert (np.linalg.norm(now.passages.vectors(own), axis=1) > 0.5).all()
            shares.append(count)

        index.sync(docs, progress=look)
    assert shares == sorted(shares)
    assert len(set(shares)) > len(ANIMALS)


# Kills

RUN = """
    import os, sys
    from retriever.index import Index
    from retriever.indexing import vectors
    from retriever.storage.backends.embedded import EmbeddedBackend
    from retriever.storage.catalog import Writer
    from tests.fakes import FakeEmbedder
    vectors.FIRST_BATCH_TOKENS = vectors.BATCH_TOKENS = 1
    folder, docs, name, call, after = sys.argv[1:]
    kinds = {"backend": EmbeddedBackend, "writer": Writer, "embedder": FakeEmbedder}
    kind, method = name.split(".")
    real, calls = getattr(kinds[kind], method), 0
    def dying(self, *given, **options):
        global calls
        calls += 1
        if calls == int(call) and after == "before":
            os._exit(9)
        result = real(self, *given, **options)
        if calls == int(call):
            os._exit(9)
        return result
    setattr(kinds[kind], method, dying)
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.sync(docs)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        *[("writer.upsert", 1), ("writer.upsert", 5), ("backend.upsert_many", 2)],
        *[("embedder.embed_inputs", 2), ("writer.attach", 1), ("writer.attach", 6)],
        *[("writer.save_vectors", 4), ("backend.attach_vectors", 9)],
        *[("writer.set_vector_file", 2), ("backend.calibrate", 3), ("backend.set_match_scale", 1)],
        *[("writer.drop_unused_vectors", 1), ("backend.finish", 1)],
    ],
)
def test_a_kill_anywhere_ends_in_the_same_index(docs, tmp_path, name, call, when) -> None:
    arguments = [str(tmp_path / "index"), str(docs), name, str(call), when]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN), *arguments], cwd=ROOT, check=False
    )
    assert killed.returncode == 9, "the hook was not reached"
    embedder = FakeEmbedder()
    with Index.open(tmp_path / "index", embedder) as index:
        known = live(index.backend).count_vectors()
        missing = live(index.backend).count() - known
        index.sync(docs)
        again = [text for text in embedder.embedded if text.startswith("passage: ")]
        if missing and "upsert" not in name:  # else files were still to be read
            assert len(again) == missing
        same_as_in_one_go(index, docs, tmp_path)


@pytest.mark.parametrize(
    ("method", "call"),
    [("calibrate", 1), ("set_match_scale", 1), ("calibrate", 2), ("finish", 1)],
)
def test_a_later_fit_that_breaks_off_is_made_again(
    docs, tmp_path, monkeypatch, method, call
) -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def failing(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        real(*arguments)

    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.sync(docs)
        for number in range(8):  # more than a quarter
            (docs / f"more-{number}.txt").write_text(f"Otter {number} swims in the river. " * 9)
        real = getattr(EmbeddedBackend, method)
        with monkeypatch.context() as patch:
            patch.setattr(EmbeddedBackend, method, failing)
            with pytest.raises(Killed):
                index.sync(docs)
        index.sync(docs)
        same_as_in_one_go(index, docs, tmp_path)


def same_as_in_one_go(index: Index, docs: Path, tmp_path: Path) -> None:
    """Equal passages, vectors, means, facts, match scale and results."""
    with Index.open_or_create(tmp_path / "fresh", FakeEmbedder()) as fresh:
        fresh.sync(docs)
        told = [whole(one) for one in (index, fresh)]
        assert told[0] == told[1]
        for query in ("warden", "crow river 7", "owl"):
            for mode in ("hybrid", "dense", "keyword"):
                results = [
                    [(hit.chunk.id, hit.score, hit.match) for hit in one.search(query, mode=mode)]
                    for one in (index, fresh)
                ]
                for one, other in zip(*results, strict=True):
                    assert one == pytest.approx(other, abs=1e-6)


def whole(index: Index) -> list[object]:
    with index.backend.snapshot() as now:
        catalog = now.catalog
        chunks = {c.id: c for row in catalog.documents() for c in catalog.chunks(row.id)}
        ids = sorted(chunks)
        facts = {k: v for k, v in (catalog.calibration_facts() or {}).items() if k != "weighing"}
        scale = dict(catalog.match_scale() or {})
        scale.pop("facts", None)
        return [
            chunks,
            now.passages.vectors(ids).tolist(),
            now.calibration.passage_mean.tolist(),
            now.calibration.query_mean.tolist(),
            facts,
            scale,
            catalog.count_pending(),
        ]
