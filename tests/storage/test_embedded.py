"""The embedded backend: the contract, then damage, crashes and concurrent processes."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from retriever.settings import ChunkSettings
from retriever.storage.adapter import Adapter
from retriever.storage.backends import search_state as state
from retriever.storage.backends import vector_files
from retriever.storage.backends.embedded import EmbeddedBackend, FilterCache
from retriever.storage.catalog import connections, schema
from retriever.storage.filters import Filter
from retriever.storage.records import LeftOutTexts, NewChunk
from retriever.storage.vectors import faiss as faiss_store
from retriever.storage.vectors import verified
from retriever.storage.vectors.verified import hash_of
from retriever.types import (
    Account,
    DocumentRow,
    IndexStateError,
    LeftOut,
    Page,
    Span,
    UsageError,
    document_id,
)
from tests.live import live
from tests.older import without_seals
from tests.storage.backend_contract import (
    DIM,
    DocumentsContract,
    PassagesContract,
    all_chunks,
    brute_force,
    check_ranking,
    put,
    settings,
    vector_of,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def backend(folder: Path):
    with EmbeddedBackend.open(folder, create=True) as opened:
        yield opened


@pytest.fixture
def reopened(folder: Path, backend: EmbeddedBackend):
    def again() -> EmbeddedBackend:
        backend.close()
        return EmbeddedBackend.open(folder)

    return again


class TestDocuments(DocumentsContract):
    pass


class TestPassages(PassagesContract):
    pass


@pytest.fixture
def approximate(folder: Path, monkeypatch):
    """An approximate FAISS index."""
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 5)
    with EmbeddedBackend.open(folder, create=True, factory="SQ8") as opened:
        yield opened


class TestDocumentsApproximate(DocumentsContract):
    """The same contract with an approximate FAISS index."""

    @pytest.fixture
    def backend(self, approximate: EmbeddedBackend):
        return approximate


class TestPassagesApproximate(PassagesContract):
    """The same contract with an approximate FAISS index."""

    @pytest.fixture
    def backend(self, approximate: EmbeddedBackend):
        return approximate


# Folders that are no index, or a damaged one


def test_a_missing_folder_is_no_index(folder: Path) -> None:
    with pytest.raises(IndexStateError, match="there is no index"):
        EmbeddedBackend.open(folder)
    assert not folder.exists()


def test_a_folder_of_other_files_is_no_index(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for create, said in ((False, "not an index"), (True, r"thesis\.txt")):
        with pytest.raises(IndexStateError, match=said):
            EmbeddedBackend.open(folder, create=create)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_index(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for create in (False, True):
        with pytest.raises(IndexStateError, match="file"):
            EmbeddedBackend.open(file, create=create)


@pytest.mark.parametrize(
    "content", [b"not a database " * 99, b"", b"SQLite format 3\0" + b"x" * 99]
)
def test_a_catalog_of_garbage_is_refused(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(content)
    with pytest.raises(IndexStateError, match="not an index"):
        EmbeddedBackend.open(folder)
    assert (folder / "catalog.sqlite").read_bytes() == content


def test_the_database_of_another_program_is_refused(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    for create in (False, True):
        with pytest.raises(IndexStateError, match="not an index of this program"):
            EmbeddedBackend.open(folder, create=create)


def test_a_newer_format_is_refused(folder: Path, backend: EmbeddedBackend) -> None:
    backend.close()
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {schema.ADAPTED + 1}")
    connection.close()
    with pytest.raises(IndexStateError, match="newer version"):
        EmbeddedBackend.open(folder)


def test_an_index_of_the_first_format_is_brought_up_to_date(
    folder: Path, backend: EmbeddedBackend
) -> None:
    put(backend, "a.txt", "first page", "second page")
    before = all_chunks(backend)
    backend.close()
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        for table in ("chunks", "pages"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] > 0
        without_seals(connection)
        connection.execute("ALTER TABLE pages DROP COLUMN label")
        connection.execute("DROP TABLE unread")
        connection.execute("DROP INDEX chunks_language")
        connection.execute("ALTER TABLE chunks DROP COLUMN language")
        connection.execute("ALTER TABLE pages DROP COLUMN scan")
        connection.execute("DROP TABLE long_words")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with EmbeddedBackend.open(folder) as reopened:
        assert all_chunks(reopened) == before
        assert live(reopened).unread() == []
        put(reopened, "b.txt", "third page")
        assert len(all_chunks(reopened)) == 3


def test_a_creation_that_was_killed_is_taken_up(folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.sqlite").touch()
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, "a.txt", "text")


def test_a_closed_index_says_so(backend: EmbeddedBackend) -> None:
    backend.close()
    for call in (
        lambda: live(backend).documents(),
        lambda: backend.delete([]),
        lambda: live(backend).keyword("x", 1),
    ):
        with pytest.raises(IndexStateError, match="closed"):
            call()


def test_read_only_reads_and_never_writes(folder: Path, backend: EmbeddedBackend) -> None:
    row = put(backend, "a.txt", "text")
    with EmbeddedBackend.open(folder, read_only=True) as reader:
        assert live(reader).documents() == live(backend).documents()
        with pytest.raises(IndexStateError, match="reading only"):
            reader.delete([row.id])


def test_an_index_built_anew_under_the_same_name_is_seen(folder: Path) -> None:
    with EmbeddedBackend.open(folder, create=True) as first:
        put(first, "old.txt", "old")
        first.finish({})
    with EmbeddedBackend.open(folder, read_only=True) as reader:
        assert len(live(reader).dense(vector_of("old"), 5).ids) == 1
        for path in folder.iterdir():
            path.unlink()
        with pytest.raises(IndexStateError, match="gone"):
            live(reader).documents()
        with EmbeddedBackend.open(folder, create=True) as second:
            put(second, "new.txt", "new")
            second.finish({})
        (chunk,) = live(reader).get(live(reader).dense(vector_of("new"), 5).ids)
        assert chunk.text == "new"


@pytest.mark.parametrize("name", ["a b?c#d%20e", "数据", os.fsdecode(b"\xff\xfe"), "-x'\"\n"])
def test_any_folder_name_is_valid(tmp_path: Path, name: str, caplog) -> None:
    folder = tmp_path / name
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, "a.txt", "text")
        backend.finish({})
    with EmbeddedBackend.open(folder) as backend:
        assert len(live(backend).dense(vector_of("text"), 3).ids) == 1
    assert not caplog.records


# Writers


def test_a_second_writer_is_refused_until_the_first_has_finished(folder, backend) -> None:
    put(backend, "a.txt", "text")
    with EmbeddedBackend.open(folder) as other:
        assert len(live(other).documents()) == 1
        with pytest.raises(IndexStateError, match="another process is writing"):
            put(other, "b.txt", "text")
        backend.finish({})
        put(other, "b.txt", "text")
        with pytest.raises(IndexStateError, match="another process is writing"):
            backend.delete([])
    backend.delete([])


@pytest.mark.parametrize("same", [True, False], ids=["same model", "other model"])
def test_an_index_that_another_process_binds_first_keeps_its_vectors(
    folder, backend, monkeypatch, *, same: bool
) -> None:
    """Both saw an empty index; the second one must not bind it anew, which drops all vectors."""
    mine = settings() if same else settings("other", "w2")
    writing = backend.catalog.writing

    def late():
        monkeypatch.setattr(backend.catalog, "writing", writing)
        with EmbeddedBackend.open(folder) as first:
            first.bind_embedder(settings(), ChunkSettings())
            put(first, "a", "text")
            first.finish({})
        return writing()

    monkeypatch.setattr(backend.catalog, "writing", late)
    if same:
        backend.bind_embedder(mine, ChunkSettings())
    else:
        with pytest.raises(IndexStateError, match="16-dimensional vectors of fake"):
            backend.bind_embedder(mine, ChunkSettings())
    assert len(live(backend).known_vectors([f"{zlib.crc32(vector_of('text').tobytes()):08x}"])) == 1


def test_an_index_that_has_lost_all_its_vectors_can_be_written_to(folder, backend) -> None:
    backend.bind_embedder(settings(), ChunkSettings())
    put(backend, "a", "text")
    with backend.catalog.writing() as writer:
        writer.connection.execute("DELETE FROM vectors")
    backend.calibrate(np.ones(DIM), np.ones(DIM), {})
    backend.finish({})
    put(backend, "b", "more")
    backend.finish({})
    with backend.snapshot() as now:
        assert len(now.dense(vector_of("more"), 5).ids) == 1


def test_progress_of_a_killed_run_is_not_shown(folder: Path, backend: EmbeddedBackend) -> None:
    backend.set_progress({"files_done": 3})
    with EmbeddedBackend.open(folder, read_only=True) as reader:
        assert reader.info()["progress"] == {"files_done": 3}
        backend.close()  # as a kill does: the lock goes, the row stays
        assert reader.info()["progress"] is None


def test_vectors_survive_a_crash_before_their_document(folder: Path) -> None:
    code = (
        "import os, numpy as np\n"
        "from retriever.storage.backends.embedded import EmbeddedBackend\n"
        f"backend = EmbeddedBackend.open({str(folder)!r}, create=True)\n"
        f"backend.save_vectors(['v'], np.ones((1, {DIM}), np.float32))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with EmbeddedBackend.open(folder) as backend:
        assert live(backend).known_vectors(["v"]) == {"v"}
        assert live(backend).documents() == []


WRITER = """
import sys
import numpy as np
from retriever.storage.backends.embedded import EmbeddedBackend, FilterCache
from retriever.storage.catalog import schema
from tests.storage.backend_contract import put
from tests.live import live
backend = EmbeddedBackend.open(sys.argv[1], create=True)
first = int(sys.argv[2])
for number in range(first, first + 10_000):
    put(backend, f"{number}.txt", f"word{number} first", f"word{number} second")
    if number % 3 == 2:
        backend.delete([live(backend).documents()[0].id])
        print("deleted", flush=True)
    if number % 5 == 4:
        backend.calibrate(np.full(16, number / 1e4, np.float32), np.zeros(16, np.float32), {})
        backend.finish({})
    print(number, flush=True)
"""


def test_killed_writers_lose_nothing_and_readers_never_fail(folder: Path) -> None:
    """kill -9 at any moment, while four threads of this process search all the time."""
    EmbeddedBackend.open(folder, create=True).close()
    errors: list[BaseException] = []
    searches = [0, 0, 0, 0]
    done = threading.Event()
    reader = EmbeddedBackend.open(folder, read_only=True)

    def search(thread: int) -> None:
        while not done.wait(0.002):  # leave the writer some of the machine
            try:
                found = live(reader).dense(vector_of("word7 first"), 5)
                assert len(set(found.ids)) == len(found.ids)
                assert np.isfinite(found.scores).all()
                live(reader).get(live(reader).keyword("word7 second", 5).ids)
                searches[thread] += 1
            except BaseException as error:
                errors.append(error)
                raise

    threads = [threading.Thread(target=search, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    acknowledged = deleted = 0
    for number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(1000 * number)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
        lines = [process.stdout.readline() for _ in range(9 + 4 * number)]
        process.kill()
        lines += process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        deleted += sum(line.startswith("deleted") for line in lines)
        acknowledged += sum(line.strip().isdigit() for line in lines)
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert min(searches) > 0
    with EmbeddedBackend.open(folder) as after:
        # Each kill may have come between a commit and its acknowledgement.
        assert abs(len(live(after).documents()) - (acknowledged - deleted)) <= 8
        chunks = all_chunks(after)
        assert len(chunks) == 2 * len(live(after).documents())
        for look in (after, reader):
            assert set(live(look).dense(vector_of("x"), 10_000).ids) == set(chunks)
            assert set(live(look).keyword("first second", 10_000).ids) == set(chunks)
        put(after, "last.txt", "after all that")
    reader.close()
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# Vector files


def _filled(folder: Path, factory: str | None = None) -> dict[str, np.ndarray]:
    vectors = {f"text {number}": vector_of(f"text {number}") for number in range(50)}
    with EmbeddedBackend.open(folder, create=True, factory=factory) as backend:
        for text in list(vectors)[:40]:
            put(backend, f"{text}.txt", text)
        backend.finish({})
        rows = live(backend).documents()
        for text in list(vectors)[40:]:
            put(backend, f"{text}.txt", text)
        backend.delete([row.id for row in rows[:5]])
    return vectors


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "RaBitQ2"])
@pytest.mark.parametrize("damage", [_remove, _truncate, _empty, _flip, _folder_instead])
def test_a_damaged_vector_file_is_rebuilt_and_nothing_is_lost(
    folder, damage, factory, caplog
) -> None:
    vectors = _filled(folder, factory)
    (file,) = folder.glob("*.faiss")
    damage(file)
    query = vector_of("query")
    with EmbeddedBackend.open(folder) as backend, caplog.at_level(logging.WARNING):
        expected = brute_force(backend, vectors, query)
        assert len(expected) == 45
        check_ranking(live(backend).dense(query, 20), expected, 20)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "nothing is lost" in caplog.text
        put(backend, "later.txt", "text 0")
        backend.delete([live(backend).documents()[-1].id])
        check_ranking(live(backend).dense(query, 20), brute_force(backend, vectors, query), 20)
        backend.finish({})
    caplog.clear()
    with EmbeddedBackend.open(folder) as backend:
        check_ranking(live(backend).dense(query, 20), brute_force(backend, vectors, query), 20)
    assert not caplog.records


@pytest.mark.parametrize("damage", [_remove, _truncate, _empty, _flip])
def test_a_large_file_that_was_checked_before_is_not_hashed_at_once(
    folder, damage, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(verified, "MIN_BYTES", 1)
    monkeypatch.setattr(verified, "DELAY", 1e6)
    vectors, query = _filled(folder), vector_of("query")
    (file,) = folder.glob("*.faiss")
    hashed: list[Path] = []
    monkeypatch.setattr(faiss_store, "hash_of", lambda path: hashed.append(path) or hash_of(path))

    def check() -> None:
        with EmbeddedBackend.open(folder) as backend:
            check_ranking(live(backend).dense(query, 20), brute_force(backend, vectors, query), 20)

    check()
    assert not hashed
    os.utime(file, ns=(1, 1))  # copied, for example
    check()
    check()
    assert hashed == [file]
    with caplog.at_level(logging.WARNING):
        damage(file)
        check()
    assert "nothing is lost" in caplog.text


def test_damage_that_shows_only_in_the_background_is_healed(folder, monkeypatch, caplog) -> None:
    monkeypatch.setattr(verified, "MIN_BYTES", 1)
    monkeypatch.setattr(verified, "DELAY", 1e6)
    vectors, query = _filled(folder), vector_of("query")
    (file,) = folder.glob("*.faiss")
    before = file.stat()
    _flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with EmbeddedBackend.open(folder) as backend, caplog.at_level(logging.WARNING):
        with backend.snapshot() as now:
            base = now.passages._state.store.base
        assert not caplog.records
        base.recheck.run()
        for _ in range(2):
            check_ranking(live(backend).dense(query, 20), brute_force(backend, vectors, query), 20)
        assert len(caplog.records) == 1
        backend.finish({})
    with EmbeddedBackend.open(folder) as backend:
        check_ranking(live(backend).dense(query, 20), brute_force(backend, vectors, query), 20)
        assert len(caplog.records) == 1


def test_a_state_is_updated_without_reading_all_vectors(folder: Path, monkeypatch) -> None:
    vectors = _filled(folder)
    monkeypatch.setattr(state, "build_store", None)  # whatever rebuilds would fail
    with EmbeddedBackend.open(folder) as backend:
        query = vector_of("query")
        check_ranking(live(backend).dense(query, 9), brute_force(backend, vectors, query), 9)
        assert backend.info()["store"]["vectors"] == 45


def test_unchanged_runs_write_no_vector_file_and_old_ones_are_removed(folder: Path) -> None:
    _filled(folder)
    with EmbeddedBackend.open(folder) as backend:
        for _ in range(3):
            backend.finish({})
            files = sorted(folder.glob("*.faiss*"))
        assert len(files) == 2  # the current one, and the last for readers about to open it
        (folder / "vectors-99999999.faiss.tmp").touch()
        put(backend, "new.txt", "new")
        backend.finish({})
        now = sorted(folder.glob("*.faiss*"))
        assert [files[-1]] == now[:1]
        assert len(now) == 2
        assert now[-1].stat().st_size == backend.info()["bytes"]["snapshot"]
        # What a killed writer left goes also where no file is due.
        for name in ("vectors-99999999.faiss", "vectors-00000001.faiss.words.tmp"):
            (folder / name).touch()
        backend.finish({})
        assert sorted(folder.glob("*.faiss*")) == now


def test_a_long_tail_is_written_before_the_end(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(vector_files, "MAX_TAIL", 10)
    with EmbeddedBackend.open(folder, create=True) as backend:
        for number in range(25):
            put(backend, f"{number}.txt", f"text {number}")
        assert list(folder.glob("*.faiss"))
        assert set(live(backend).dense(vector_of("q"), 99).ids) == set(all_chunks(backend))


def test_the_kind_can_change_without_the_model(folder: Path) -> None:
    vectors = _filled(folder)
    query = vector_of("query")
    for factory, kind in (("HNSW8,Flat", "HNSW8,Flat"), ("IDMap2,SQ8", "SQ8"), ("auto", "Flat")):
        with EmbeddedBackend.open(folder, factory=factory) as backend:
            backend.finish({})
            assert backend.info()["store"]["kind"] == kind
        with EmbeddedBackend.open(folder) as backend:
            check_ranking(live(backend).dense(query, 9), brute_force(backend, vectors, query), 9)
            assert backend.info()["store"]["kind"] == kind


def test_the_kind_of_an_older_default_stays_until_the_file_is_due(
    folder: Path, monkeypatch
) -> None:
    for kind, expected in (("SQ8", "SQ8"), ("RaBitQ2", "SQ8"), ("Flat", "Flat")):
        for module in (vector_files, state):
            monkeypatch.setattr(module, "factory_for", lambda count, kind=kind: kind)
        if kind == "SQ8":
            _filled(folder)
        with EmbeddedBackend.open(folder) as backend:
            backend.finish({})
            assert backend.info()["store"]["kind"] == expected
    monkeypatch.setattr(state, "factory_for", lambda count: "RaBitQ2")
    with EmbeddedBackend.open(folder) as backend:
        put(backend, "more.txt", "one more text")
        backend.finish({})
        assert backend.info()["store"]["kind"] == "RaBitQ2"


def test_a_factory_faiss_does_not_know_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="'Quantum7' is not a FAISS index"):
        EmbeddedBackend.open(folder, create=True, factory="Quantum7")


def test_too_few_vectors_for_training_are_searched_exactly(folder: Path) -> None:
    vectors = _filled(folder, "IVF256,Flat")
    with EmbeddedBackend.open(folder) as backend:
        assert backend.info()["store"]["kind"] == "Flat"
        check_ranking(
            live(backend).dense(vector_of("q"), 9), brute_force(backend, vectors, vector_of("q")), 9
        )


def test_statistics_of_a_big_index_are_over_a_fixed_sample(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(state, "MAX_EXACT", 30)
    monkeypatch.setattr(state, "SAMPLE", 20)
    vectors = _filled(folder)
    query = vector_of("query")
    with EmbeddedBackend.open(folder) as backend:
        scores = brute_force(backend, vectors, query)
        sample = [scores[chunk.id] for chunk in live(backend).sample_chunks(20)]
        for where in (None, Filter.parse({"path": "text 7.txt"})):
            found = live(backend).dense(query, 3, where)
            assert found.mean == pytest.approx(np.mean(sample), abs=1e-6)
            assert found.std == pytest.approx(np.std(sample), abs=1e-6)


def test_info_counts(folder: Path, backend: EmbeddedBackend) -> None:
    backend.bind_embedder(settings(), ChunkSettings(size=64, overlap=8))
    put(backend, "a.txt", "one", "two")
    put(backend, "b.txt", "three", source="uploads")
    backend.finish({"files": 2})
    info = backend.info()
    assert info["path"] == str(folder)
    assert (info["documents"], info["pages"], info["chunks"]) == (2, 3, 3)
    assert info["page_states"] == {"text": 3}
    assert info["formats"] == {"txt": 2}
    assert info["sources"] == [
        {"name": "docs", "root": "/root", "documents": 1},
        {"name": "uploads", "root": "/root", "documents": 1},
    ]
    assert info["model"] == settings().to_json()
    assert info["chunking"] == {"size": 64, "overlap": 8}
    assert info["calibration"] is None
    assert info["store"]["kind"] == "Flat"
    assert info["bytes"]["total"] == sum(
        path.stat().st_size for path in folder.iterdir() if path.name != "LOCK"
    )
    assert info["last_run"] == {"files": 2}


def test_a_change_is_seen_at_once_by_another_object(folder: Path, backend) -> None:
    with EmbeddedBackend.open(folder, read_only=True) as reader:
        for number in range(6):
            row = put(backend, f"{number}.txt", f"text {number}")
            (best,) = live(reader).dense(vector_of(f"text {number}"), 1).ids
            assert live(reader).get([best])[0].document_id == row.id
            assert live(reader).generation() == live(backend).generation()
            if number % 2:
                backend.delete([row.id])
                assert best not in live(reader).dense(vector_of(f"text {number}"), 99).ids
            if number == 3:
                backend.calibrate(np.full(DIM, 0.1), np.full(DIM, 0.2), {})


def test_equal_means_change_only_the_facts(folder: Path) -> None:
    _filled(folder)
    means = np.full(DIM, 0.1, np.float32), np.full(DIM, 0.2, np.float32)
    with EmbeddedBackend.open(folder) as backend:
        backend.calibrate(*means, {"passages": 1})
        files = sorted(folder.glob("*.faiss"))
        found = live(backend).dense(vector_of("q"), 5)
        backend.calibrate(*means, {"passages": 2})
        assert backend.info()["calibration"] == {"passages": 2}
        assert sorted(folder.glob("*.faiss")) == files
        assert live(backend).dense(vector_of("q"), 5).ids == found.ids
        for mean, said in ((np.ones(DIM + 1), "does not fit"), (np.full(DIM, np.nan), "NaN")):
            with pytest.raises(UsageError, match=said):
                backend.calibrate(mean, mean, {})


def test_a_vector_file_replaced_under_a_reader_is_not_damaged(folder, monkeypatch, caplog) -> None:
    """Two runs finish elsewhere between a reader's access to the catalog and to the file."""
    vectors = _filled(folder)
    real = faiss_store.read

    def late(path, *rest):
        monkeypatch.setattr(state, "read", real)
        with EmbeddedBackend.open(folder) as writer:
            for number in range(2):
                put(writer, f"late{number}.txt", "text 1")
                writer.finish({})
        return real(path, *rest)

    monkeypatch.setattr(state, "read", late)
    with EmbeddedBackend.open(folder, read_only=True) as reader:
        found = live(reader).dense(vector_of("query"), 99)
        check_ranking(found, brute_force(reader, vectors, vector_of("query")), 99)
        assert len(found.ids) == 47
    assert not caplog.records


def test_a_vector_file_that_cannot_be_written_leaves_the_index_intact(
    folder: Path, monkeypatch
) -> None:
    vectors = _filled(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with EmbeddedBackend.open(folder) as backend:
        monkeypatch.setattr(faiss_store.FaissStore, "write", full)
        with pytest.raises(IndexStateError, match="No space left"):
            backend.finish({})
        query = vector_of("query")
        check_ranking(live(backend).dense(query, 9), brute_force(backend, vectors, query), 9)


# An index in a folder that is not writable


def test_a_writer_with_other_rights_is_noticed(folder: Path, monkeypatch) -> None:
    """The file was opened as immutable, but a writer with other rights changes it."""
    with EmbeddedBackend.open(folder, create=True) as writer:
        put(writer, "a.txt", "text")
        writer.finish({})
    may = threading.local()
    real = os.access
    monkeypatch.setattr(
        "retriever.storage.catalog.connections.os.access",
        lambda path, mode: getattr(may, "write", False) and real(path, mode),
    )

    def change(path: str) -> None:
        def write() -> None:
            may.write = True
            with EmbeddedBackend.open(folder) as writer:
                put(writer, path, "other text")
                writer.finish({})

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    with EmbeddedBackend.open(folder, read_only=True) as reader:
        assert [row.path for row in live(reader).documents()] == ["a.txt"]

        def read_beside_it() -> None:
            with reader.reading() as catalog:
                catalog.documents()
                change("b.txt")
                catalog.documents()

        with pytest.raises(IndexStateError, match=r"written .* while it was read; try again"):
            read_beside_it()
        change("c.txt")
        assert [row.path for row in live(reader).documents()] == ["a.txt", "b.txt", "c.txt"]
        assert len(live(reader).dense(vector_of("text"), 9).ids) == 3


# An index that another process is creating


def test_an_index_that_another_process_makes_is_waited_for(folder: Path, monkeypatch) -> None:
    """The file exists before its tables do."""
    folder.mkdir()
    made = threading.Event()
    looked = threading.Event()
    real = connections._write_schema

    def slow(connection: sqlite3.Connection) -> None:
        made.set()
        looked.wait(30)
        real(connection)

    monkeypatch.setattr(connections, "_write_schema", slow)
    monkeypatch.setattr(connections, "_MAKING_PATIENCE", 30.0)
    sleep = connections.time.sleep
    monkeypatch.setattr(connections.time, "sleep", lambda time: (looked.set(), sleep(time)))
    thread = threading.Thread(target=lambda: EmbeddedBackend.open(folder, create=True).close())
    thread.start()
    assert made.wait(30)
    with EmbeddedBackend.open(folder) as reader:
        assert live(reader).documents() == []
    thread.join()


def test_an_index_that_is_made_between_two_looks_is_found(folder: Path, monkeypatch) -> None:
    """The catalog appears, and its maker ends, after the look at the one and before the other."""
    folder.mkdir()
    real = connections._is_being_made

    def made_meanwhile(folder: Path) -> bool:
        EmbeddedBackend.open(folder, create=True).close()
        return real(folder)

    monkeypatch.setattr(connections, "_is_being_made", made_meanwhile)
    with EmbeddedBackend.open(folder) as reader:
        assert live(reader).documents() == []


def test_a_reader_says_that_an_index_is_being_made(folder: Path, monkeypatch) -> None:
    """There is no catalog yet, and what a killed process left of one is not taken for it."""
    monkeypatch.setattr(connections, "_MAKING_PATIENCE", 0.0)
    seen: list[str] = []

    def read_meanwhile(folder: Path) -> None:
        with pytest.raises(IndexStateError, match="another process is making it; try again"):
            EmbeddedBackend.open(folder)
        seen.extend(sorted(path.name for path in folder.iterdir()))

    real = connections._make_catalog
    monkeypatch.setattr(
        connections, "_make_catalog", lambda folder: (read_meanwhile(folder), real(folder))
    )
    folder.mkdir()
    for name in (".catalog.sqlite.new", ".catalog.sqlite.new-wal"):
        (folder / name).write_bytes(b"half of one")
    with pytest.raises(IndexStateError, match="not an index: it has no catalog"):
        EmbeddedBackend.open(folder)
    with EmbeddedBackend.open(folder, create=True) as made:
        assert live(made).documents() == []
    assert seen == [".catalog.sqlite.new", ".catalog.sqlite.new-wal", "LOCK"]
    assert {path.name for path in folder.iterdir()} == {"catalog.sqlite", "LOCK"}


def test_the_first_writer_removes_half_written_vector_files(folder: Path) -> None:
    EmbeddedBackend.open(folder, create=True).close()
    left = [folder / f"vectors-00000007.faiss{end}.tmp" for end in ("", ".rows", ".words")]
    for path in left:
        path.write_bytes(b"half")
    with EmbeddedBackend.open(folder) as reader:
        assert live(reader).documents() == []
        assert left[0].exists()
    with EmbeddedBackend.open(folder) as writer:
        writer.set_progress(None)
    assert not any(path.exists() for path in left)


def test_an_empty_file_is_called_empty_and_not_foreign(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(connections, "_MAKING_PATIENCE", 0.0)
    folder.mkdir()
    (folder / "catalog.sqlite").touch()
    with pytest.raises(IndexStateError, match=r"is empty, and not an index yet: try again"):
        EmbeddedBackend.open(folder)
    with EmbeddedBackend.open(folder, create=True) as made:
        assert live(made).documents() == []


# What an index of version 0.1.0 does not have


def _without_added_columns(folder: Path) -> None:
    """Turn a catalog into one of version 0.1.0."""
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        without_seals(connection)
        for name in schema.ADDED:
            connection.execute(f"ALTER TABLE pages DROP COLUMN {name}")
        connection.execute("DROP TRIGGER accounts_deleted")
        connection.execute("DROP TABLE accounts")
    connection.close()


def test_a_page_keeps_its_body_even_in_an_older_index(folder: Path) -> None:
    page = Page(1, "Header\nthe text\nFooter", body=Span(7, 15), printed="iv")
    row = DocumentRow(document_id("docs", "b.pdf"), "docs", "/root", "b.pdf", "pdf")
    with EmbeddedBackend.open(folder, create=True) as backend:
        old = put(backend, "a.txt", "text")
        backend.finish({})
    _without_added_columns(folder)
    with EmbeddedBackend.open(folder) as backend:
        before = (folder / "catalog.sqlite").read_bytes()
        assert live(backend).pages(old.id) == [Page(1, "text")]
        assert [chunk.printed for chunk in live(backend).chunks(old.id)] == [""]
        assert (folder / "catalog.sqlite").read_bytes() == before  # reading changes nothing
        backend.save_vectors(["v"], vector_of("v")[None])
        backend.upsert(row, [page, Page(2, "all of it")], [NewChunk(0, page.body, "v")])
        assert live(backend).pages(row.id) == [page, Page(2, "all of it")]
        assert live(backend).pages(old.id) == [Page(1, "text")]
        (chunk,) = live(backend).chunks(row.id)
        assert live(backend).page_of(chunk.id) == page
        assert (chunk.printed, chunk.place) == ("iv", "page iv (PDF page 1)")
        assert live(backend).get([chunk.id]) == [chunk]
    with EmbeddedBackend.open(folder) as backend:
        assert live(backend).pages(row.id)[0].body == Span(7, 15)


def test_an_older_index_takes_accounts_and_its_version_may_delete_their_documents(
    folder: Path,
) -> None:
    account, left_out = Account(9, 9), [LeftOut("navigation", "home")]
    with EmbeddedBackend.open(folder, create=True) as backend:
        old = put(backend, "a.txt", "text")
        backend.finish({})
    _without_added_columns(folder)
    with EmbeddedBackend.open(folder, read_only=True) as backend:
        assert live(backend).accounts() == {}
        assert live(backend).left_out(old.id) == LeftOutTexts()
    with EmbeddedBackend.open(folder) as backend:
        backend.upsert(old, [Page(1, "text")], [], account, left_out)
        assert live(backend).accounts() == {old.id: account}
    with sqlite3.connect(folder / "catalog.sqlite") as connection:  # as version 0.1.0 deletes
        for table in ("chunks", "pages", "documents"):
            connection.execute(f"DELETE FROM {table}")
        assert connection.execute("SELECT COUNT(*) FROM accounts").fetchone() == (0,)
    connection.close()
    with EmbeddedBackend.open(folder) as backend:
        new = put(backend, "b.txt", "text")  # it has the same key
        assert live(backend).accounts() == {}
        assert live(backend).left_out(new.id) == LeftOutTexts()


def test_filters_are_remembered_for_one_generation(backend: EmbeddedBackend) -> None:
    cache = FilterCache()

    def allowed(spec: dict) -> list[int]:
        where = Filter.parse(spec)
        with backend.reading() as reader:
            found = cache.get(reader, where)
            assert found.tolist() == reader.matching_keys(where).tolist()
            assert cache.get(reader, where) is found
        return found.tolist()

    one = put(backend, "one.txt", "first", metadata={"k": 1})
    put(backend, "two.txt", "second", metadata={"k": True})
    assert Filter.parse({"metadata.k": 1}) == Filter.parse({"metadata.k": True})
    assert allowed({"metadata.k": 1}) != allowed({"metadata.k": True})
    put(backend, "three.txt", "third", metadata={"k": 1})
    assert len(allowed({"metadata.k": 1})) == 2
    backend.delete([one.id])
    assert len(allowed({"metadata.k": 1})) == 1


def test_an_older_program_refuses_an_index_only_while_it_has_an_adapter(
    folder: Path, backend: EmbeddedBackend
) -> None:
    """Version 0.1.0 reads format 3; it does not know the adapter, and would not apply it."""
    put(backend, "a.txt", "some text")
    backend.calibrate(vector_of("one") / 9, vector_of("two") / 9, {})

    def number() -> int:
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    assert number() == schema.VERSION
    backend.set_adapter(Adapter.of("query", np.eye(DIM)))
    put(backend, "b.txt", "another text")
    assert number() == schema.ADAPTED > schema.HALF_MADE
    backend.set_adapter(None)
    assert number() == schema.VERSION
