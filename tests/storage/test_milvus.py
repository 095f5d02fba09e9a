"""The Milvus backend: the contract of `Documents`, and what only it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from retriever.storage.backends.milvus.backend import MilvusBackend
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
