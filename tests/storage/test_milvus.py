"""The Milvus backend: the contract of `Documents`, and what only it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.milvus import session, sweeping
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.catalog.indexed_keys import IndexedKey
from retriever.storage.records import PassageTerms
from retriever.types import IndexStateError
from tests.live import live
from tests.storage.backend_contract import (
    DocumentsContract,
    PassagesContract,
    all_chunks,
    put,
    vector_of,
)
from tests.storage.milvus_index import emptied, opened, shared_index


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_index(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def address(shared: str) -> str:
    return emptied(shared)


@pytest.fixture
def backend(address: str) -> Iterator[MilvusBackend]:
    with opened(address) as backend:
        yield backend


@pytest.fixture
def reopened(backend: MilvusBackend, address: str) -> Iterator[Callable[[], MilvusBackend]]:
    open_ones: list[MilvusBackend] = []

    def reopen() -> MilvusBackend:
        for one in (backend, *open_ones):
            one.close()
        open_ones.append(opened(address))
        return open_ones[-1]

    yield reopen
    for one in open_ones:
        one.close()


class TestContract(DocumentsContract):
    pass


class TestPassages(PassagesContract):
    def test_a_snapshot_stays_as_it_is(self, backend: MilvusBackend) -> None:
        """Milvus has no snapshots: one that is open sees no mixture, but what is there now."""
        rows = [put(backend, f"{n}.txt", f"amber text{n}") for n in range(6)]
        backend.finish({})
        with backend.snapshot() as now:
            before = now.dense(vector_of("q"), 99).ids
            backend.delete([row.id for row in rows[:4]])
            put(backend, "new.txt", "amber new")
            backend.finish({})
            ids = set(all_chunks(backend))
            for found in (now.dense(vector_of("q"), 99), now.keyword("amber", 99)):
                assert set(found.ids) == ids
            assert len(ids & set(before)) == 2


def test_indexed_keys_are_those_of_the_embedded_backend(
    backend: MilvusBackend, tmp_path: Path
) -> None:
    def told(store: MilvusBackend | EmbeddedBackend) -> list[object]:
        row = put(store, "a.txt", "text")
        keys = [IndexedKey("one", row.id, 5.25, "g"), IndexedKey("one", "k\0\ud800", 5.0, None)]
        store.put_keys([*keys, IndexedKey("other", row.id, 9.0, "h")])
        found: list[object] = [
            *(store.list_keys("one"), store.list_keys("one", before=5.25)),
            *(store.list_keys("one", after=5.0), store.list_keys("one", groups=["g"])),
            *(store.list_keys("one", limit=1), store.known_keys("one", [row.id, "no"])),
            *(store.last_seen(), sorted(store.indexed_keys(), key=repr)),
        ]
        store.put_keys([IndexedKey("one", row.id, 7.5, "new")], keep_groups=True)
        found.append(store.list_keys("one", groups=["g"], after=7))
        store.remove_keys("one", ["k\0\ud800"])
        found.append(store.list_keys("one"))
        store.delete([row.id])
        return [*found, store.indexed_keys()]

    with EmbeddedBackend.open(tmp_path / "index", create=True) as embedded:
        assert told(backend) == told(embedded)


def test_wishes_are_taken_once_the_newest_search_first(backend: MilvusBackend) -> None:
    backend.note_wanted(["a", "b"])
    backend.note_wanted(["c", "a"])
    assert backend.take_wanted() == ["c", "a", "b"]
    assert backend.take_wanted() == []


def test_workers_write_under_the_lease_of_their_run(address: str) -> None:
    with opened(address) as driver:
        put(driver, "a.txt", "amber one")
        token = driver._session.lend()
        with MilvusBackend.open(address, worker=token) as worker:
            put(worker, "b.txt", "amber two")
            driver.set_progress({"files_done": 1})
            assert len(all_chunks(driver)) == 2
        driver.finish({})
        assert len(live(driver).keyword("two", 9).ids) == 1
        assert live(driver).document_frequencies(["amber"]) == {"amber": 2}
        with (
            MilvusBackend.open(address, worker=token) as late,
            pytest.raises(IndexStateError, match="no longer writes"),
        ):
            put(late, "c.txt", "amber three")


def test_a_session_makes_terms_anew_after_a_change_of_the_analyzer(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(address) as backend:
        put(backend, "a.txt", "amber one", "birch two")
        backend.finish({})
        monkeypatch.setattr(session.fulltext, "VERSION", -1)
        monkeypatch.setattr(
            sweeping,
            "analyse_chunks",
            lambda title, pages, chunks: [PassageTerms("", "cedar", 1) for _ in chunks],
        )
        put(backend, "b.txt", "delta three")
        backend.finish({})
        assert live(backend).document_frequencies(["cedar", "amber", "delta"]) == {
            "cedar": 2,
            "amber": 0,
            "delta": 1,
        }
        assert len(live(backend).keyword("cedar", 9).ids) == 2
