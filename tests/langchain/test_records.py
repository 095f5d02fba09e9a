"""The record manager: LangChain's indexing over our store, under every kind of cleanup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from retriever.langchain import AlignedWVARecordManager, AlignedWVAVectorStore
from retriever.types import UsageError
from tests.langchain.embeddings import WordEmbeddings

CLEANUPS = (None, "incremental", "full", "scoped_full")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlignedWVAVectorStore]:
    with AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "store") as opened:
        yield opened


def documents(**sources: Iterable[str]) -> list[Document]:
    """A document for each text of each source."""
    return [
        Document(page_content=text, metadata={"source": source})
        for source, texts in sources.items()
        for text in texts
    ]


RUNS = (
    documents(a=["one", "two", "three"], b=["four"], c=["five", "six"]),
    documents(a=["one", "two", "three"], b=["four"], c=["five", "six"]),
    documents(a=["one", "2"], b=["four", "four"]),
    documents(c=["seven"]),
    documents(a=["one", "two", "three"], b=["four"], c=["five", "six"]),
    [],
)
"""What is indexed run by run: new, unchanged, changed and doubled, one source, back again, none."""


def run(found: list[Document], manager: Any, store: Any, cleanup: Any, size: int) -> dict[str, int]:
    return index(
        *(found, manager, store),
        cleanup=cleanup,
        source_id_key="source",
        batch_size=size,
        key_encoder="sha256",
    )


def texts_of(store: AlignedWVAVectorStore) -> set[tuple[str, str]]:
    return {(one.page_content, one.metadata["source"]) for one in store.similarity_search("x", 999)}


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("cleanup", CLEANUPS)
def test_counts_and_contents_are_those_of_the_reference(
    store: AlignedWVAVectorStore, cleanup: Any, size: int
) -> None:
    manager = AlignedWVARecordManager(store)
    reference, known = InMemoryVectorStore(WordEmbeddings()), InMemoryRecordManager("x")
    for found in RUNS:
        expected = run(found, known, reference, cleanup, size)
        assert run(found, manager, store, cleanup, size) == expected
        assert texts_of(store) == {
            (one["text"], one["metadata"]["source"]) for one in reference.store.values()
        }
        assert set(manager.list_keys()) == set(known.list_keys())


@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_the_same_awaited(store: AlignedWVAVectorStore, cleanup: Any) -> None:
    manager = AlignedWVARecordManager(store)
    await manager.acreate_schema()
    reference, known = InMemoryVectorStore(WordEmbeddings()), InMemoryRecordManager("x")
    for found in RUNS:
        how: Any = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}
        expected = run(found, known, reference, cleanup, 100)
        assert await aindex(found, manager, store, **how) == expected
        assert set(await manager.alist_keys()) == set(known.list_keys())


def test_a_forced_update_is_counted(store: AlignedWVAVectorStore) -> None:
    manager = AlignedWVARecordManager(store)
    run(RUNS[0], manager, store, "full", 100)
    again = index(
        *(RUNS[0], manager, store), cleanup="full", force_update=True, key_encoder="sha256"
    )
    assert again == {"num_added": 0, "num_updated": 6, "num_skipped": 0, "num_deleted": 0}


def test_what_is_unchanged_is_not_embedded_again(tmp_path: Path) -> None:
    """Under `incremental`, too, where LangChain deletes and adds it in a later batch."""
    embeddings = WordEmbeddings()
    with AlignedWVAVectorStore(embeddings, tmp_path / "s") as store:
        manager = AlignedWVARecordManager(store)
        whole = documents(a=[f"text {n}" for n in range(30)])
        for _ in range(3):
            run(whole, manager, store, "incremental", 10)
            assert len(store) == 30
        assert len(embeddings.embedded) == 30


def test_not_even_of_a_source_of_many_batches(tmp_path: Path) -> None:
    """Whose texts LangChain all deletes after the first batch."""
    embeddings = WordEmbeddings()
    with AlignedWVAVectorStore(embeddings, tmp_path / "s") as store:
        manager = AlignedWVARecordManager(store)
        whole = documents(a=[f"text {n}" for n in range(1500)])
        for _ in range(2):
            run(whole, manager, store, "incremental", 100)
            assert len(store) == 1500
        assert len(embeddings.embedded) == 1500


def test_records_say_when_and_of_which_group(store: AlignedWVAVectorStore) -> None:
    manager = AlignedWVARecordManager(store, "mine")
    other = AlignedWVARecordManager(store, "other")
    manager.create_schema()
    assert manager.exists(["a"]) == [False]
    assert manager.list_keys() == []
    before = manager.get_time()
    manager.update(["a", "b", "é"], group_ids=["g", "h", None])
    middle = manager.get_time()
    manager.update(["c"], group_ids=["g"], time_at_least=before)
    after = manager.get_time()
    assert before <= middle <= after
    assert manager.exists(["b", "x", "é"]) == [True, False, True]
    assert other.exists(["a"]) == [False]
    assert manager.list_keys(group_ids=["g"]) == ["a", "c"]
    assert manager.list_keys(group_ids=["h", "nothing"]) == ["b"]
    assert manager.list_keys(group_ids=[f"{n}" for n in range(2000)] + ["g"]) == ["a", "c"]
    assert manager.list_keys(limit=2) == ["a", "b"]
    assert manager.list_keys(before=before) == []
    assert set(manager.list_keys(after=before - 1)) == {"a", "b", "c", "é"}
    manager.update(["a"])  # without a group: it keeps its own
    assert manager.list_keys(group_ids=["g"]) == ["c", "a"]
    manager.delete_keys(["a", "unknown"])
    assert manager.exists(["a", "c"]) == [False, True]
    manager.update([])
    many = [str(n) for n in range(1200)]
    manager.update(many)
    assert manager.exists(many) == [True] * 1200
    for wrong, said in (
        (lambda: manager.update(["a"], group_ids=["g", "h"]), "as many group_ids"),
        (lambda: manager.update(["a"], time_at_least=after + 1e9), "the clock"),
        (lambda: manager.exists("a"), "keys must be a list"),
        (lambda: AlignedWVARecordManager(InMemoryVectorStore(WordEmbeddings())), "store must be"),
        (lambda: AlignedWVARecordManager(store, 5), "the namespace must be a text"),
    ):
        with pytest.raises(UsageError, match=said):
            wrong()


def test_a_text_deleted_by_hand_is_indexed_again(store: AlignedWVAVectorStore) -> None:
    """With separate records it would be skipped for good."""
    manager = AlignedWVARecordManager(store)
    run(RUNS[0], manager, store, "full", 100)
    store.delete([store.similarity_search("four", 1)[0].id or ""])
    counts = run(RUNS[0], manager, store, "full", 100)
    assert (counts["num_added"], counts["num_skipped"]) == (1, 5)
    assert len(store) == 6


def test_texts_added_by_hand_are_left_alone(store: AlignedWVAVectorStore) -> None:
    manager = AlignedWVARecordManager(store)
    store.add_texts(["mine"], [{"source": "hand"}], ids=["mine"])
    run(RUNS[0], manager, store, "full", 100)
    assert run([], manager, store, "full", 100)["num_deleted"] == 6
    assert texts_of(store) == {("mine", "hand")}


KILLED = """
import os, signal, sys
from langchain_core.documents import Document
from langchain_core.indexing import index
from retriever.langchain import AlignedWVARecordManager, AlignedWVAVectorStore
from tests.langchain.embeddings import WordEmbeddings
folder, cleanup, where = sys.argv[1:4]
die = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)
store = AlignedWVAVectorStore(WordEmbeddings(), folder)
manager = AlignedWVARecordManager(store)
found = [Document(page_content=t, metadata={"source": s}) for t, s in (("one", "a"), ("new", "a"))]
if where == "added":
    add = store.add_documents
    store.add_documents = lambda *given, **named: (add(*given, **named), die())
elif where == "noted":
    manager.list_keys = die
elif where == "deleted":
    manager.delete_keys = die
index(found, manager, store, cleanup=cleanup or None, source_id_key="source", key_encoder="sha256")
"""


@pytest.mark.parametrize("cleanup", ["incremental", "full", "scoped_full"])
@pytest.mark.parametrize("where", ["added", "noted", "deleted"])
def test_a_killed_run_leaves_nothing_behind(tmp_path: Path, cleanup: str, where: str) -> None:
    """Killed after the texts are added, after they are noted, after old ones are deleted.

    The next run then ends as if nothing had happened, also for a text that was in the killed run
    only, and adds nothing twice.
    """
    folder = tmp_path / "s"
    with AlignedWVAVectorStore(WordEmbeddings(), folder) as store:
        before = documents(a=["one", "old"])
        run(before, AlignedWVARecordManager(store), store, cleanup, 100)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), cleanup, where],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    embeddings = WordEmbeddings()
    with AlignedWVAVectorStore(embeddings, folder) as store:
        manager = AlignedWVARecordManager(store)
        held = {one.id for one in store.similarity_search("x", 99)}
        assert set(manager.list_keys()) == held, "records and texts agree"
        assert ("new", "a") in texts_of(store)
        counts = run(documents(a=["one", "last"]), manager, store, cleanup, 100)
        assert texts_of(store) == {("one", "a"), ("last", "a")}
        assert counts["num_added"] == 1
        assert counts["num_skipped"] == 1
        assert counts["num_deleted"] == (1 if where == "deleted" else 2)
        assert embeddings.embedded == ["last"]
        assert run(documents(a=["one", "last"]), manager, store, cleanup, 100) == {
            "num_added": 0,
            "num_updated": 0,
            "num_skipped": 2,
            "num_deleted": 0,
        }


def test_the_source_of_a_killed_run_may_be_a_function(store: AlignedWVAVectorStore) -> None:
    manager = AlignedWVARecordManager(store, source_id_key=lambda one: one.page_content[:1])
    assert manager.exists(["x", "y"]) == [False, False]
    store.add_texts(["alpha", "beta"], ids=["x", "y"])
    assert manager.list_keys(group_ids=["b"]) == ["y"]
