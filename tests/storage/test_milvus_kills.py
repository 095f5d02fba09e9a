"""What a writer leaves that is killed while it changes an index in Milvus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from retriever.storage.backends.milvus import lease
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.milvus.client import TRIES
from retriever.storage.backends.milvus.values import id_of, key_of
from retriever.types import DocumentRow, IndexStateError, document_id
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


# Without a server for a while


def away() -> Exception:
    from pymilvus.exceptions import MilvusException

    return MilvusException(message="UNAVAILABLE: connection refused")


class Away:
    """A client of which calls fail while the server is away, from a number of calls on."""

    def __init__(self, client: Any, after: int, times: int) -> None:
        self._client, self.after, self.times = client, after, times

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in ("upsert", "delete", "get", "query"):
            return call

        def run(*given: Any, **options: Any) -> Any:
            self.after -= 1
            if self.after < 0 and self.times > 0:
                self.times -= 1
                raise away()
            return call(*given, **options)

        return run


def lose_server(backend: MilvusBackend, after: int, times: int) -> list[float]:
    """Let a server be away; the seconds that are waited for it follow in the list."""
    connection, waits = backend.collections.connection, list[float]()
    connection._sleep = waits.append
    connection.client = Away(connection.client, after, times)
    return waits


def test_a_server_that_is_away_for_moments_is_waited_for(address: str) -> None:
    with opened(address) as backend:
        a_few_documents(backend)
        waits = lose_server(backend, 4, TRIES - 1)
        replace_a(backend)
        assert waits == [0.25, 0.5, 1, 2, 4]
        assert "zeta comes" in str(whole_state(backend))


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_server_that_is_lost_amid_writing_loses_nothing(address: str, after: int) -> None:
    with opened(address) as backend:
        a_few_documents(backend)
        before = whole_state(backend)
        lose_server(backend, after, 10**6)
        with pytest.raises(IndexStateError, match=r"cannot be reached.*same command again"):
            replace_a(backend)
        with suppress(IndexStateError):  # as a run does in the end
            backend.release()
        lose_server(backend, 0, 0)
        backend.collections.connection.client._client.times = 0
        replace_a(backend)
        backend.finish({})
        found = whole_state(backend)
        assert [found[path] for path in ("b.txt", "c.txt")] == [
            before[path] for path in ("b.txt", "c.txt")
        ]
        assert found["a.txt"][2] == ["alpha stays", "zeta comes"]
        check_nothing_is_loose(backend)


def test_a_second_writer_is_told_and_the_first_one_goes_on(address: str) -> None:
    with opened(address) as backend, opened(address) as other:
        a_few_documents(backend)
        backend.acquire(0)
        with pytest.raises(IndexStateError, match="another process is writing to the index in"):
            other.acquire(0)
        replace_a(backend)
        backend.finish({})
        other.acquire(0)
        assert "zeta comes" in str(whole_state(other))


def test_a_lease_ends_without_its_owner(address: str) -> None:
    now = [1_000.0]
    with opened(address) as backend, opened(address) as other:
        first = lease.Lease(
            backend.collections.connection,
            backend.collections.records,
            clock=lambda: now[0],
            sleep=lambda seconds: None,
        )
        second = lease.Lease(
            other.collections.connection,
            other.collections.records,
            clock=lambda: now[0],
            sleep=lambda seconds: now.append(0),
        )
        assert first.acquire(0)
        now[0] += lease.RENEWAL + 1
        assert not first.acquire(0)  # renewed
        now[0] += lease.DURATION - 1
        with pytest.raises(IndexStateError):
            second.acquire(0)
        now[0] += 2
        assert second.acquire(0)
        with pytest.raises(IndexStateError, match="another process"):
            first.acquire(0)
        assert not first.held
        second.release()
        # What the thread finds that renews it is told at the next write, once.
        assert first.acquire(0)
        now[0] += lease.DURATION + 1
        assert second.acquire(0)
        first._renew(_Once())
        second.release()
        with pytest.raises(IndexStateError, match="another process"):
            first.acquire(0)
        assert first.acquire(0)
        first.release()


class _Once(threading.Event):
    """Lets a loop have one turn."""

    turns = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.turns += 1
        return self.turns > 1
