"""The Milvus backend: the contract of `Documents`, and what only it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from retriever.storage.backends.milvus.backend import MilvusBackend
from tests.storage.backend_contract import DocumentsContract
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
