"""What a writer leaves that is killed while it changes an index in Milvus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from retriever.storage.backends.milvus import lease
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.milvus.values import id_of, key_of
from retriever.types import DocumentRow, document_id
from tests.storage.backend_contract import put, vector_of
from tests.storage.milvus_index import emptied, filled, opened, rows_of, shared_index


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_index(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def address(shared: str) -> str:
    return emptied(shared)


class Killed(BaseException):
    """Ends a writer at a point, as a signal would."""


def kill_at(backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """Let the writer die before its n-th write, which is after the one before."""
    connection, left = backend.collections.connection, [point]

    def dying(write: Callable[..., None]) -> Callable[..., None]:
        def run(*given: Any, **options: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            write(*given, **options)

        return run

    for name in ("upsert", "delete", "delete_keys"):
        monkeypatch.setattr(connection, name, dying(getattr(connection, name)))


def whole_state(backend: MilvusBackend) -> dict[str, Any]:
    """All that can be read of the documents, each text by its path."""
    with backend.reading() as catalog:
        found: dict[str, Any] = {}
        for row in catalog.documents():
            chunks = catalog.chunks(row.id)
            assert len(chunks) == row.chunks
            keys = catalog.vector_keys([chunk.id for chunk in chunks])
            stored = backend.collections.get([key_of(one.id) for one in chunks], ["key", "dense"])
            dense = {id_of(one["key"]): np.round(one["dense"], 5).tolist() for one in stored}
            vectors = catalog.load_vectors(list(keys.values()))
            found[row.path] = (
                *(row.title, catalog.pages(row.id), [chunk.text for chunk in chunks]),
                *([dense[chunk.id] for chunk in chunks], np.round(vectors, 5).tolist()),
            )
        return found


def check_nothing_is_loose(backend: MilvusBackend) -> None:
    """Assert that every passage and every text belongs to a document."""
    with backend.reading() as catalog:
        rows = catalog.documents()
        editions = {backend_document(catalog, row.id) for row in rows}
        chunks = sum(row.chunks for row in rows)
    kept = backend.collections.all("key >= -9223372036854775808", ("key", "document", "edition"))
    assert {(row["document"], row["edition"]) for row in kept} <= editions
    assert len(kept) == chunks
    parts = [
        tuple(id_.split("/")[1:3]) for id_ in backend.collections.records.ids_beginning("part/")
    ]
    assert set(parts) <= editions
    assert len(parts) == sum(row.pages for row in rows)
    for left in ("intent/", "moves", "refit", "dirty"):
        assert not list(backend.collections.records.ids_beginning(left)), left


def backend_document(catalog: Any, document_id: str) -> tuple[str, str]:
    found = catalog.stored_document(document_id)
    return found.name, found.edition


def a_few_documents(backend: MilvusBackend) -> None:
    put(backend, "a.txt", "alpha stays", "beta goes", title="A")
    put(backend, "b.txt", "gamma", title="B")
    put(backend, "c.txt", "delta", "epsilon")
    backend.calibrate(vector_of("one") / 9, vector_of("other") / 9, {})
    backend.finish({})


def replace_a(backend: MilvusBackend) -> None:
    put(backend, "a.txt", "alpha stays", "zeta comes", title="A new title")


def delete_two(backend: MilvusBackend) -> None:
    backend.delete([document_id("docs", "a.txt"), document_id("docs", "c.txt")])


def swap_and_move(backend: MilvusBackend) -> None:
    rows = {
        name: DocumentRow(document_id("docs", name), "docs", "/root", name, "txt")
        for name in ("a.txt", "b.txt", "c.txt", "d.txt")
    }
    between = DocumentRow("between", "docs", "/root", "between", "txt")
    ids = {name: row.id for name, row in rows.items()}
    backend.rename_many(
        [
            *[(ids["a.txt"], between), (ids["b.txt"], rows["a.txt"]), ("between", rows["b.txt"])],
            (ids["c.txt"], rows["d.txt"]),
        ]
    )


def refit(backend: MilvusBackend) -> None:
    backend.calibrate(vector_of("these") / 9, vector_of("those") / 9, {"passages": 5})


@pytest.mark.parametrize("change", [replace_a, delete_two, swap_and_move, refit])
def test_what_a_kill_leaves_is_completed_or_removed(
    address: str, change: Callable[[MilvusBackend], None]
) -> None:
    with opened(address) as backend:
        a_few_documents(backend)
    rows = rows_of(address)
    with opened(address) as backend:
        before = whole_state(backend)
        change(backend)
        backend.finish({})
        after = whole_state(backend)
        check_nothing_is_loose(backend)
    assert before != after
    reached = set()
    for point in range(40):
        filled(address, rows)
        victim = opened(address)
        with pytest.MonkeyPatch.context() as patched:
            kill_at(victim, patched, point)
            try:
                change(victim)
            except Killed:
                died = True
            else:
                died = False
        lease._own.clear()  # as in a process that is gone
        victim.collections.connection.close()
        if not died:
            break
        with opened(address) as backend:
            backend.acquire(0)
            now = whole_state(backend)
            assert now in (before, after), point
            reached.add(now == after)
            change_again(backend, change, now == after)
            backend.finish({})
            assert whole_state(backend) == after, point
            check_nothing_is_loose(backend)
    assert reached == {True, False}
    assert point > 3


def change_again(
    backend: MilvusBackend, change: Callable[[MilvusBackend], None], done: bool
) -> None:
    """Do the change as the same command would do it again."""
    if not done or change is not swap_and_move:
        change(backend)
