"""A copy is equal to its source, goes on after a kill, and mixes no models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever import Document, Index, Page
from retriever.indexing.copying import copy_index
from retriever.interface.cli import main as wva
from retriever.storage.backends import Documents, NewDocument
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog.indexed_keys import IndexedKey
from retriever.storage.catalog.writing import MAX_LEFT_OUT
from retriever.storage.records import UnreadFile
from retriever.types import FileStatus, IndexStateError, LeftOut, UsageError
from tests.fakes import FakeEmbedder

WORDS = "kettle bird postman train garden harbour engine letter snow bread river clock".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Files, a caller's document, and all that an index remembers beside them."""
    home = tmp_path_factory.mktemp("source")
    notes = home / "notes"
    notes.mkdir()
    for number in range(12):
        said = " ".join(f"The {WORDS[(number * at) % 12]} stands {at} times." for at in range(30))
        (notes / f"{number:02}.md").write_text(f"# Note {WORDS[number]}\n\n{said}\n")
    (notes / "page.html").write_text("<nav>Home Away</nav><main><p>A lighthouse keeper.</main>")
    (notes / "empty.pdf").write_bytes(b"%PDF-1.4 broken")
    with Index.open_or_create(home / "index", FakeEmbedder(32)) as index:
        index.sync([notes])
        twice = (Page(1, "the same page", label="a"), Page(1, "the same page", label="b"))
        index.add([Document("mine", "text", twice, metadata={"year": 1999, "kind": "x"})])
        backend = index.backend
        backend.put_keys([IndexedKey("space", "k", 12.5, "group"), IndexedKey("space", "l", 1.0)])
        backend.set_ocr_languages("eng+deu")
        backend.set_mounts(["/mnt/share"])
        backend.set_password_salt(b"salt")
        backend.finish({"at": "2026-11-30T12:00:00+00:00", "files": 14})
        yield index


def everything(backend: Documents) -> dict[str, Any]:
    """All that an index says of itself."""
    with backend.reading() as now:
        rows = now.documents()
        chunks = {row.id: now.chunks(row.id) for row in rows}
        ids = [chunk.id for each in chunks.values() for chunk in each]
        keys = now.vector_keys(ids)
        return {
            "rows": rows,
            "chunks": chunks,
            "pages": {row.id: now.pages(row.id) for row in rows},
            "scans": {row.id: [page.scan for page in now.pages(row.id)] for row in rows},
            "accounts": dict(now.accounts()),
            "left out": {row.id: now.left_out(row.id) for row in rows},
            "unread": now.unread(),
            "vector keys": keys,
            "vectors": now.load_vectors([keys[id_] for id_ in ids]).tolist(),
            "model": (now.embedder_settings(), now.chunk_settings()),
            "means": [mean.tolist() for mean in (now.means().passage_mean, now.means().query_mean)],
            "facts": now.calibration_facts(),
            "match": now.match_scale(),
            "last run": now.last_run(),
            "keys": backend.indexed_keys(),
            "settings": (
                *(backend.ocr_languages, list(backend.mounts), backend.password_salt),
                backend.preferred_model,
            ),
        }


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Documents]:
    with EmbeddedBackend.open(tmp_path / "copy", create=True) as backend:
        yield backend


def test_a_copy_is_equal_in_all_that_it_says(source: Index, target: Documents) -> None:
    seen: list[tuple[int, int]] = []
    report = copy_index(source.backend, target, told=lambda *one: seen.append(one))
    assert everything(target) == everything(source.backend)
    assert (report.copied, report.left, report.others) == (14, 0, 0)
    assert report.source == report.target
    assert (report.same, report.complete, report.agrees) == (1.0, True, True)
    assert report.questions > 10
    assert seen[-1] == (14, 14)


def test_a_second_copy_writes_nothing(source: Index, target: Documents) -> None:
    copy_index(source.backend, target, questions=0)
    before = everything(target)
    report = copy_index(source.backend, target, questions=0)
    assert (report.copied, report.left, report.same) == (0, 14, None)
    assert everything(target) == before


class Killed(BaseException):
    """Ends a process in the middle."""


def test_a_copy_that_was_killed_goes_on(
    source: Index, target: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retriever.indexing.copying._PASSAGES", 4)
    write, written = target.upsert_many, list[str]()

    def fragile(documents: Sequence[NewDocument], **options: Any) -> None:
        if len(written) > 5:
            raise Killed
        written.extend(one.row.id for one in documents)
        write(documents, **options)

    monkeypatch.setattr(target, "upsert_many", fragile)
    with pytest.raises(Killed):
        copy_index(source.backend, target)
    monkeypatch.setattr(target, "upsert_many", write)
    report = copy_index(source.backend, target)
    assert report.left == len(written)
    assert report.copied == 14 - len(written)
    assert everything(target) == everything(source.backend)


def test_what_changed_is_copied_again_and_what_is_only_there_stays(
    source: Index, target: Documents
) -> None:
    copy_index(source.backend, target, questions=0)
    with source.backend.reading() as now:
        first, second = now.documents()[:2]
        pages = now.pages(first.id)
    own = replace(first, id="0" * 16, path="own.md", root="/elsewhere", chunks=0)
    target.upsert(own, pages, [])
    target.set_unread([UnreadFile("/elsewhere", "x.pdf", FileStatus.FAILED, "torn")])
    target.touch(replace(second, mtime_ns=second.mtime_ns + 1))
    target.delete([first.id])
    report = copy_index(source.backend, target)
    assert (report.copied, report.left, report.others) == (2, 12, 1)
    assert report.agrees
    with target.reading() as now:
        assert now.document(own.id) is not None
        assert now.document(second.id) == second
        assert {file.root for file in now.unread()} > {"/elsewhere"}


def test_passages_without_a_vector_stay_without(tmp_path: Path, target: Documents) -> None:
    (tmp_path / "a.md").write_text("# Tea\n\nThe kettle sings on the stove.\n")
    with Index.open_or_create(tmp_path / "index", FakeEmbedder(32)) as index:
        index.sync([tmp_path / "a.md"], keywords_only=True)
        report = copy_index(index.backend, target)
    assert (report.target["passages"], report.target["vectors"]) == (1, 0)
    assert report.same == 1.0
    with target.reading() as now:
        assert now.count_pending() == 1


def test_left_out_text_that_was_cut_is_cut(source: Index, target: Documents) -> None:
    with source.backend.reading() as now:
        row, pages = now.documents()[0], now.pages(now.documents()[0].id)
    with EmbeddedBackend.open(Path(str(source.place)).with_name("cut"), create=True) as other:
        other.upsert(replace(row, chunks=0), pages, [], None, [LeftOut("nav", "x" * 300_000)])
        copy_index(other, target)
    with target.reading() as now:
        found = now.left_out(row.id)
    assert found.cut
    assert [len(part.text) for part in found.parts] == [MAX_LEFT_OUT]


def test_models_are_not_mixed(source: Index, tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "other", FakeEmbedder(16)) as other:
        other.add([Document("mine", "text", (Page(1, "a lonely text"),))])
        with pytest.raises(IndexStateError, match=r"vectors of fake .* copy to a new folder"):
            copy_index(source.backend, other.backend)
    with pytest.raises(UsageError, match="is the index itself"):
        source.copy_to(str(source.place))


def test_the_command_copies_and_compares(
    source: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = str(source.place), str(tmp_path / "there")
    assert wva(["copy", here, there]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"copied: 14 documents to {there}, in ")
    assert said[-1].endswith(
        "questions asked of both: 100.0 % of the first ten results are the same"
    )
    assert wva(["copy", here, there, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["copied"], told["left"], told["same"], told["to"]) == (0, 14, 1.0, there)
    with Index.open(there, FakeEmbedder(32)) as copy:
        for one, other in zip(source.search("a kettle"), copy.search("a kettle"), strict=True):
            assert one.chunk == other.chunk
            assert np.isclose(one.score, other.score)
    assert wva(["copy", here, there, "--questions", "-1"]) == 2
