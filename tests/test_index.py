"""The public Index: opening, writing, searching, and errors."""

from __future__ import annotations

import copy
import datetime
import pickle
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retriever.index import Index
from retriever.settings import ChunkSettings
from retriever.types import Document, IndexStateError, ModelError, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live


def document(path: str, text: str, **facts) -> Document:
    return Document(path, "txt", (Page(None, text),), **facts)


def paths(index: Index, query: str, mode: str = "hybrid") -> list[str]:
    return [hit.chunk.path for hit in index.search(query, mode=mode)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path):
    with Index.open_or_create(folder, FakeEmbedder()) as opened:
        yield opened


@pytest.mark.parametrize("wrong", [None, 5, ["a"], {"question": "a"}, b"a", document("a", "b")])
def test_a_query_is_a_text(index, wrong) -> None:
    index.add([document("a.txt", "red apples")])
    for ask in (
        lambda: index.search(wrong),
        lambda: index.search(wrong, syntax=False),
        lambda: index.query_words(wrong),
        lambda: index.corrections(wrong, syntax=False),
        lambda: index.embed_query(wrong),
        lambda: index.explain(wrong, "x"),
        lambda: index.why_not(wrong, "a.txt"),
        lambda: index.search_notes(wrong, []),
    ):
        with pytest.raises(UsageError, match="the query must be a text; it is "):
            ask()


def test_wrong_types_are_refused_in_a_sentence(index, tmp_path) -> None:
    index.add([document("a.txt", "red apples")])
    for ask, said in (
        (lambda: index.search("x", k="5"), "k must be a whole number; it is '5'"),
        (lambda: index.search("x", 2.5), "k must be a whole number"),
        (lambda: index.search("x", where=5), "a filter is written"),
        (lambda: index.search_by_vector(index.embed_query("x"), "5"), "must be a whole number"),
        (lambda: index.explain("x", None), "the passage's id must be a text; it is None"),
        (lambda: index.why_not("x", None), "the path must be a text"),
        (lambda: index.add(document("b", "c")), "documents are given as a list"),
        (lambda: index.search("x", options=5), "a JSON object; this is not: 5"),
        (lambda: index.search_by_vector("abc"), "a list of numbers; this is not: 'abc'"),
        (lambda: index.search_by_vector(None), "a list of numbers; this is not: None"),
        (lambda: index.diverse_by_vector([1.0], k="4"), "must be a whole number; it is '4'"),
        (lambda: index.remove(5), "paths must be a list of texts; it is 5"),
        (lambda: index.pages(5), "the document's id must be a text; it is 5"),
        (lambda: index.chunks(None), "the document's id must be a text; it is None"),
        (lambda: index.neighbours("x"), "neighbours are those of a Chunk"),
        (lambda: index.add(None), "documents are given as a list; this is none: None"),
        (lambda: index.add([document("b", "c", title=None)]), "a document's title must be a text"),
        (lambda: index.add([document("b", None)]), "the text of a page of 'b' must be a text"),
        (lambda: index.add([document("b", "c", date=5)]), "a document's date must be a text"),
        (lambda: index.add(["b"]), "a document must be a Document; it is 'b'"),
        (lambda: index.add([Document("b", "txt", "text")]), "the pages of 'b' must be a list"),
        (lambda: index.sync(tmp_path, include="*.pdf"), "include must be a list of texts; it is '"),
        (lambda: index.sync(tmp_path, passwords="secret"), "passwords must be a list of texts"),
        (lambda: index.sync(None), "paths must be a path or a list of paths; it is None"),
        (lambda: index.sync([tmp_path, 5]), "paths: number 2 must be a text; it is 5"),
        (
            lambda: Index.open(None),
            "the path of its folder or an address of Milvus; this is none: None",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            ask()


def test_dates_of_a_callers_documents_can_be_compared(index) -> None:
    for date in ("7.3.2024", "March 2024", "2024-03-07", "1813", "spring", ""):
        index.add([document(date, "red apples", date=date)])
    assert {row.path: row.date for row in index.documents({"date": {"gte": "2024-03"}})} == {
        "7.3.2024": "2024-03-07",
        "March 2024": "2024-03",
        "2024-03-07": "2024-03-07",
    }
    assert [row.path for row in index.documents({"date": "1813"})] == ["1813"]
    day = datetime.date(2024, 5, 6)
    index.add([document("object", "red apples", date=day, metadata={"due": day})])
    (row,) = index.documents({"date": day, "due": {"gte": "6 May 2024"}})
    assert (row.path, row.date, row.metadata["due"]) == ("object", "2024-05-06", "2024-05-06")


def test_an_index_is_copied_and_pickled_by_its_folder(index, monkeypatch) -> None:
    index.add([document("a.txt", "red apples")])
    with copy.deepcopy(index) as other:
        assert other.backend is not index.backend
        assert paths(other, "apples") == ["a.txt"]
        index.add([document("b.txt", "green apples")])
        assert sorted(paths(other, "apples")) == ["a.txt", "b.txt"]
    with pickle.loads(pickle.dumps(index)) as other:  # noqa: S301 - our own
        assert sorted(paths(other, "apples", "keyword")) == ["a.txt", "b.txt"]
    assert paths(index, "green apples")[0] == "b.txt"
    with pytest.raises(UsageError, match="only an index in a folder"):
        copy.deepcopy(Index(index.backend))


# Opening


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "foreign folder", "foreign database"])
def test_what_is_no_index_is_refused_in_a_sentence(folder, kind) -> None:
    if kind == "file":
        folder.write_text("x")
    elif kind != "missing":
        folder.mkdir()
    if kind == "foreign folder":
        (folder / "letter.txt").write_text("x")
    if kind == "foreign database":
        with sqlite3.connect(folder / "catalog.sqlite") as connection:
            connection.execute("CREATE TABLE theirs (a)")
        connection.close()
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(IndexStateError, match=str(folder)) as caught:
        Index.open(folder)
    assert "\n" not in str(caught.value)
    assert sorted(folder.parent.rglob("*")) == before
    if kind in ("missing", "empty"):
        Index.open_or_create(folder, FakeEmbedder()).close()
    else:
        with pytest.raises(IndexStateError):
            Index.open_or_create(folder, FakeEmbedder())


def test_an_index_of_another_model_names_both(folder, index) -> None:
    index.add([document("a", "red apple")])
    other = FakeEmbedder(32, weights="otherweights")
    for opening in (Index.open, Index.open_or_create):
        with pytest.raises(IndexStateError) as caught:
            opening(folder, other)
        for part in ("256", "32", "fake", "otherwei"):
            assert part in str(caught.value)
    assert paths(index, "apple") == ["a"]


def test_an_empty_index_asks_for_no_model(folder) -> None:
    with Index.open_or_create(folder) as index:
        for mode in ("hybrid", "dense", "keyword"):
            assert index.search("anything", mode=mode) == []
        assert index.documents() == []
        assert index.info()["documents"] == 0


def test_an_emptied_index_asks_for_no_model(folder, index) -> None:
    index.add([document("a", "red apple")])
    index.remove(["a"])
    asked = lambda query: pytest.fail("embedded")  # noqa: E731 - short as it is
    assert index.search("apple", embed=asked) == []
    assert index.info()["chunks"] == 0


def test_keyword_search_asks_for_no_model(folder, index, monkeypatch) -> None:
    index.add([document("a", "red apple")])
    with Index.open(folder) as again:
        monkeypatch.setattr(again, "_load", lambda: pytest.fail("a model was loaded"))
        assert paths(again, "apple", "keyword") == ["a"]


def test_the_model_is_loaded_once_by_many_threads(folder, index, monkeypatch) -> None:
    index.add([document("a", "red apple")])
    loads: list[int] = []

    def load() -> FakeEmbedder:
        loads.append(1)
        return FakeEmbedder()

    with Index.open(folder) as again:
        monkeypatch.setattr(again, "_load", load)
        threads = [threading.Thread(target=again.search, args=("apple",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(loads) == 1


def test_a_closed_index_says_so(folder, index) -> None:
    index.add([document("a", "red apple")])
    index.close()
    with pytest.raises(IndexStateError, match="closed"):
        index.search("apple")


# Documents handed over


def test_documents_can_be_added_replaced_and_removed(index) -> None:
    embedder = index.embedder
    assert index.add([document("a", "red apple", title="Fruit"), document("b", "green pear")]) == 2
    assert paths(index, "apple")[0] == "a"
    count = len(embedder.embedded)
    assert index.add([document("b", "green pear")]) == 1
    assert len(embedder.embedded) == count, "the same text was embedded again"
    index.add([document("a", "blue plum")])
    assert paths(index, "apple", "keyword") == []
    assert paths(index, "plum", "keyword") == ["a"]
    assert len(index.documents()) == 2
    assert index.remove(["a", "nowhere"]) == 1
    assert index.remove(["a"]) == 0
    for mode in ("hybrid", "dense", "keyword"):
        assert "a" not in paths(index, "blue plum", mode)
    (row,) = index.documents()
    assert [page.text for page in index.pages(row.id)] == ["green pear"]
    assert [page.state.value for page in index.page_statuses(row.id)] == ["text"]
    assert index.account(row.id) == index.page_statuses(row.id)  # the name of 0.1.0
    assert [chunk.text for chunk in index.chunks(row.id)] == ["green pear"]


def test_a_replaced_text_changes_the_means(index, tmp_path) -> None:
    """Same path, same number of chunks: only the text tells that there is something to fit."""
    index.add([document("a", "One old sentence about apples in the garden.")])
    index.add([document("a", "Some new sentence about the pears behind it.")])
    with Index.open_or_create(tmp_path / "fresh", FakeEmbedder()) as fresh:
        fresh.add([document("a", "Some new sentence about the pears behind it.")])
        ((_, one), (_, other)) = (means(i) for i in (fresh, index))
    np.testing.assert_array_equal(one.passage_mean, other.passage_mean)
    np.testing.assert_array_equal(one.query_mean, other.query_mean)


def means(index: Index):
    with index.backend._catalog.reading() as reader:
        return reader.calibration()


def test_removing_one_of_two_sources(index, tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"red apple of {name}")
        index.sync(tmp_path / name)
    assert index.remove(["a.txt"], source="one") == 1
    assert [row.source for row in index.documents()] == ["two"]
    assert index.remove(["a.txt"]) == 1


def test_writing_gives_the_lock_back(folder, index) -> None:
    def broken():
        yield document("a", "red apple")
        raise ValueError("no more")

    with Index.open(folder, FakeEmbedder()) as other:
        index.add([document("x", "plum")])
        other.add([document("y", "pear")])
        index.remove(["x"])
        other.add([document("z", "fig")])
        with pytest.raises(ValueError, match="no more"):
            index.add(broken())
        other.add([document("u", "kiwi")])
        with pytest.raises(UsageError):
            index.sync("/nowhere/at/all")
        other.remove(["u"])


def test_two_writers_are_kept_apart(folder, index) -> None:
    with Index.open(folder, FakeEmbedder()) as other:

        def documents():
            yield document("a", "red apple")
            with pytest.raises(IndexStateError, match="another process is writing"):
                other.add([document("b", "pear")])
            with pytest.raises(IndexStateError, match="another process is writing"):
                other.sync(folder.parent / "docs")
            assert paths(other, "apple") == ["a"], "words are found before vectors are made"
            assert other.vector_share == 0

        (folder.parent / "docs").mkdir()
        index.add(documents())
        assert paths(other, "apple") == ["a"]
        assert other.vector_share == 1


def test_threads_of_one_index_write_one_after_the_other(index, tmp_path) -> None:
    errors: list[BaseException] = []

    def run(name: str) -> None:
        try:
            (tmp_path / name).mkdir()
            for number in range(5):
                (tmp_path / name / f"{number}.txt").write_text(f"{name} number{number}")
            index.sync(tmp_path / name)
            index.add([document(name, f"{name} by hand")])
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is shown below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f"root{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(index.documents()) == 24


# Settings


def test_chunk_settings_are_those_of_the_first_day(folder) -> None:
    text = " ".join(f"word{number}" for number in range(100))
    with Index.open_or_create(folder, FakeEmbedder(), chunking=ChunkSettings(20, 0)) as index:
        index.add([document("a", text)])
        counts = index.info()["chunks"]
        assert counts >= 5
    with Index.open_or_create(folder, FakeEmbedder(), chunking=ChunkSettings(50, 0)) as index:
        index.add([document("b", text)])
        assert index.info()["chunks"] == 2 * counts


def test_a_small_model_gets_small_chunks(folder) -> None:
    embedder, chunking = FakeEmbedder(max_tokens=80), ChunkSettings(224, 32)
    with Index.open_or_create(folder, embedder, chunking=chunking) as index:
        index.add([document("a", " ".join(f"word{number}" for number in range(100)))])
        assert live(index.backend).chunk_settings() == ChunkSettings(30, 15)
        for chunk in index.chunks(index.documents()[0].id):
            assert index.embedder.count_tokens([chunk.text]) <= 30


def test_another_store_finds_the_same(folder) -> None:
    with Index.open_or_create(folder, FakeEmbedder(), store="SQ8") as index:
        index.add(document(f"{n}", f"number{n} red apple") for n in range(30))
        assert index.info()["store"]["kind"] == "SQ8"
        assert paths(index, "number7", "dense")[0] == "7"
    with pytest.raises(UsageError):
        Index.open_or_create(folder, FakeEmbedder(), store="Nonsense")


def test_filters_are_checked_and_applied(index) -> None:
    index.add([document(f"{n}", "red apple", metadata={"n": n}) for n in range(9)])
    hits = index.search("apple", where={"n": {"gte": 6}}, fold=False)
    assert {hit.chunk.path for hit in hits} == set("678")
    assert [row.path for row in index.documents({"n": 3})] == ["3"]


def test_without_a_model_the_error_says_so(folder, index, monkeypatch) -> None:
    index.add([document("a", "red apple")])

    def missing():
        raise ModelError("the model is not there")

    with Index.open(folder) as again:
        monkeypatch.setattr(again, "_load", missing)
        with pytest.raises(ModelError, match="not there"):
            again.search("apple")
        assert paths(again, "apple", "keyword") == ["a"]


def test_a_second_thread_hears_what_a_second_process_hears(tmp_path: Path, monkeypatch) -> None:
    """While a sync goes on, `add`, `remove`, `discard` and `sync` do not wait for its end."""
    monkeypatch.setattr("retriever.index.WRITE_TIMEOUT", 0.1)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("some text to read")
    said: list[str] = []
    with Index.open_or_create(tmp_path / "index", FakeEmbedder(64)) as index:

        def write(change: Callable[[], object]) -> None:
            try:
                change()
            except IndexStateError as error:
                said.append(str(error))

        changes = (
            lambda: index.add([Document("x", "txt", (Page(None, "text"),))]),
            lambda: index.remove(["a.txt"]),
            lambda: index.discard([(str(docs), "a.txt")]),
            lambda: index.sync(docs),
        )

        def beside(progress: object) -> None:
            if not said:
                threads = [threading.Thread(target=write, args=(one,)) for one in changes]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        index.sync(docs, progress=beside)
        assert len(said) == 4
        assert all("another process is writing" in one for one in said)
        assert [row.path for row in index.documents()] == ["a.txt"]
        assert index.remove(["a.txt"]) == 1


def test_what_steers_a_search_comes_from_the_package() -> None:
    import retriever
    from retriever.searching import options

    assert {"Marked", "Steering"} <= set(retriever.__all__)
    assert (retriever.Marked, retriever.Steering) == (options.Marked, options.Steering)
