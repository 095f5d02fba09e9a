"""The contract of storage, against NumPy: subclass `DocumentsContract` and `PassagesContract`.

A subclass defines the fixtures `backend`, an empty backend, and `reopened`, a function that closes
and reopens it. The module also has brute-force references and builders of small documents.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter
from retriever.storage.backends import DocumentRow, Documents, NewChunk, ScoredIds
from retriever.storage.filters import Filter, chunk_fields, document_fields
from retriever.storage.records import Expansion, LeftOutTexts, TermQuery, UnreadFile
from retriever.types import (
    Account,
    Chunk,
    FileStatus,
    IndexStateError,
    LeftOut,
    Page,
    PageState,
    Span,
    UsageError,
    chunk_id,
    document_id,
)
from tests.live import live

DIM = 16


def settings(model: str = "fake", weights: str = "w1", dimension: int = DIM) -> EmbedderSettings:
    return EmbedderSettings(model, weights, dimension, (1, 2))


def vector_of(text: str, dimension: int = DIM) -> np.ndarray:
    """A unit vector that depends on the text alone."""
    rng = np.random.default_rng(zlib.crc32(text.encode("utf-8", "surrogatepass")))
    vector = rng.standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def put(
    backend: Documents,
    path: str,
    *texts: str,
    vectors: Sequence[np.ndarray] | None = None,
    source: str = "docs",
    **facts: Any,
) -> DocumentRow:
    """Write a document with one chunk a page, and the chunks' vectors."""
    row = DocumentRow(document_id(source, path), source, "/root", path, "txt", **facts)
    given = [vector_of(text) for text in texts] if vectors is None else list(vectors)
    keys = [_key_of(vector) for vector in given]
    if texts:
        backend.save_vectors(keys, np.stack(given))
    pages = [Page(number, text) for number, text in enumerate(texts, 1)]
    new_chunks = [
        NewChunk(at, Span(0, len(text)), key)
        for at, (text, key) in enumerate(zip(texts, keys, strict=True))
    ]
    backend.upsert(row, pages, new_chunks)
    return row


def _key_of(vector: np.ndarray) -> str:
    return f"{zlib.crc32(vector.tobytes()):08x}"


def _key(text: str) -> str:
    """The key under which `put` stores the vector of a text."""
    return _key_of(vector_of(text))


def all_chunks(backend: Documents) -> dict[str, tuple[DocumentRow, Chunk]]:
    return {
        chunk.id: (row, chunk)
        for row in live(backend).documents()
        for chunk in live(backend).chunks(row.id)
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def check_ranking(found: ScoredIds, expected: Mapping[str, float], k: int) -> None:
    """Assert that `found` is the top k of `expected` (score by id), ties by id, to 1e-5."""
    assert len(found.ids) == len(found.scores) == min(k, len(expected))
    assert len(set(found.ids)) == len(found.ids)
    for id_, score in zip(found.ids, found.scores, strict=True):
        assert score == pytest.approx(expected[id_], abs=1e-5)
    best = sorted(expected.values(), reverse=True)[: len(found.ids)]
    np.testing.assert_allclose(found.scores, best, atol=1e-5)
    order = [(-float(score), id_) for id_, score in zip(found.ids, found.scores, strict=True)]
    assert order == sorted(order)


def brute_force(backend: Documents, vectors: Mapping[str, np.ndarray], query, means=None) -> dict:
    """The cosine of every chunk by id, in float64; `vectors` are raw, by chunk text."""
    passage, asked = means or (np.zeros(DIM), np.zeros(DIM))
    q = np.asarray(query, dtype=np.float64)
    q = unit(q - asked) if q.any() else q
    scores = {}
    for id_, (_, chunk) in all_chunks(backend).items():
        raw = np.asarray(vectors[chunk.text], dtype=np.float64)
        scores[id_] = float((unit(raw - passage) if raw.any() else raw) @ q)
    return scores


def adapted_scores(
    backend: Documents, vectors: Mapping[str, np.ndarray], query, means, adapter: Adapter
) -> dict:
    """The cosine of every chunk by id with an adapter, in float64."""
    matrix = adapter.matrix.astype(np.float64)
    q = unit(matrix @ (np.asarray(query, np.float64) - means[1]))
    scores = {}
    for id_, (_, chunk) in all_chunks(backend).items():
        x = np.asarray(vectors[chunk.text], np.float64) - means[0]
        scores[id_] = float(unit(matrix @ x if adapter.side == "both" else x) @ q)
    return scores


class DocumentsContract:
    """The contract of `Documents`; see the module's docstring."""

    def test_an_update_replaces_the_whole_document(self, backend: Documents) -> None:
        row = put(backend, "a.txt", "alpha one", "alpha two")
        old = {chunk.id for chunk in live(backend).chunks(row.id)}
        put(backend, "a.txt", "beta only")
        assert [chunk.text for chunk in live(backend).chunks(row.id)] == ["beta only"]
        assert live(backend).keyword("alpha", 5).ids == ()
        assert not old & set(live(backend).dense(vector_of("alpha one"), 5).ids)
        assert live(backend).document(row.id).chunks == 1

    def test_a_document_has_the_account_of_its_words_and_its_left_out_text(
        self, backend: Documents
    ) -> None:
        account = Account(9, 5, {"navigation": 3}, 1, ("w\0rd",), "")
        left_out = (LeftOut("navigation", "home \ud800 page"), LeftOut("scripts", ""))
        row = put(backend, "a.html", "alpha")
        put(backend, "b.html", "beta")
        pages, chunk = [Page(None, "alpha")], NewChunk(0, Span(0, 5), _key("alpha"))
        backend.upsert(row, pages, [chunk], account, left_out)
        with backend.reading() as catalog:
            assert catalog.accounts() == {row.id: account}
            assert catalog.left_out(row.id) == LeftOutTexts(left_out)
        moved = replace(row, id=document_id("docs", "c.html"), path="c.html")
        backend.rename(row.id, moved)
        with backend.reading() as catalog:
            assert catalog.accounts() == {moved.id: account}
        backend.upsert(moved, pages, [chunk])
        with backend.reading() as catalog:
            assert not catalog.accounts()
            assert catalog.left_out(moved.id) == LeftOutTexts()

    def test_of_much_left_out_text_the_first_is_stored(self, backend: Documents) -> None:
        row = put(backend, "a.html")
        left_out = [LeftOut("navigation", "x" * 150_000), LeftOut("scripts", "y" * 150_000)]
        backend.upsert(row, [], [], None, left_out)
        with backend.reading() as catalog:
            stored = catalog.left_out(row.id)
            assert not catalog.accounts()
        assert stored.cut
        assert [len(part.text) for part in stored.parts] == [150_000, 50_000]

    def test_two_documents_swap_their_texts(self, backend: Documents) -> None:
        put(backend, "a.txt", "apples are red")
        put(backend, "b.txt", "pears are green")
        put(backend, "a.txt", "pears are green")
        put(backend, "b.txt", "apples are red")
        for text, path in (("apples are red", "b.txt"), ("pears are green", "a.txt")):
            (dense,) = live(backend).get(live(backend).dense(vector_of(text), 1).ids)
            (keyword,) = live(backend).get(live(backend).keyword(text, 1).ids)
            assert (dense.path, dense.text) == (keyword.path, keyword.text) == (path, text)

    def test_a_rename_keeps_everything_but_the_ids(self, backend: Documents, reopened) -> None:
        old = put(backend, "old.txt", "kept words", "more words", title="Title", metadata={"n": 1})
        backend.finish({})
        new = DocumentRow(document_id("docs", "new.txt"), "docs", "/root", "new.txt", "txt")
        before = live(backend).generation()
        backend.rename(old.id, new)
        assert live(backend).generation() > before
        backend.finish({})
        with reopened() as now:
            assert live(now).document(old.id) is None
            chunks = live(now).chunks(new.id)
            assert [chunk.text for chunk in chunks] == ["kept words", "more words"]
            assert chunks[0].id == chunk_id(new.id, 1, Span(0, 10), "kept words")
            assert (chunks[0].path, chunks[0].title) == ("new.txt", "Title")
            assert live(now).get(live(now).dense(vector_of("kept words"), 1).ids) == [chunks[0]]
            assert live(now).get(live(now).keyword("kept", 1).ids) == [chunks[0]]
            assert [page.text for page in live(now).pages(new.id)] == ["kept words", "more words"]

    def test_a_rename_over_another_document_replaces_it(self, backend: Documents) -> None:
        old, target = put(backend, "old.txt", "mover"), put(backend, "new.txt", "target")
        backend.rename(old.id, target)
        assert [chunk.text for chunk in live(backend).chunks(target.id)] == ["mover"]
        assert live(backend).keyword("target", 5).ids == ()
        with pytest.raises(UsageError, match="no document"):
            backend.rename(old.id, target)

    def test_texts_come_back_exactly(self, backend: Documents, reopened) -> None:
        odd = "nul \0 and \ud800 lone, \r\n é e\u0301 \u2028 \U0001f600 ' \" ; DROP"
        row = DocumentRow(
            document_id("docs", "odd\udcff.txt"), "docs", "/r\udcfe", "odd\udcff.txt", "txt",
            title=odd, author="'; --", date="2024", sha256="s", size=2**40, mtime_ns=2**60,
            settings="x", metadata={"k'\0": odd, "n": 2**80, "b": True, "f": 0.1, "neg": -1},
        )  # fmt: skip
        pages = [
            Page(1, odd),
            Page(2, "", PageState.SCANNED, "an image without text \ud800"),
            Page(None, "", PageState.EMPTY),
        ]
        backend.save_vectors(["key\0"], vector_of("x")[None])
        backend.upsert(row, pages, [NewChunk(0, Span(4, 12), "key\0")])
        with reopened() as now:
            assert live(now).pages(row.id) == pages
            (chunk,) = live(now).chunks(row.id)
            assert (chunk.text, chunk.page, chunk.path) == (odd[4:12], 1, row.path)
            assert chunk.id == chunk_id(row.id, 1, Span(4, 12), odd[4:12])
            stored = live(now).document(row.id)
            assert dict(stored.metadata) == row.metadata
            assert type(stored.metadata["b"]) is bool
            assert stored.page_states == {
                PageState.TEXT: 1, PageState.SCANNED: 1, PageState.EMPTY: 1
            }  # fmt: skip
            for name in ("source", "root", "title", "author", "date", "size", "mtime_ns"):
                assert getattr(stored, name) == getattr(row, name)
            assert live(now).documents(Filter.parse({"k'\0": odd})) == [stored]

    def test_vectors_are_kept_by_key(self, backend: Documents) -> None:
        keys = ["a", "b", "q:c"]
        vectors = np.stack([vector_of(key) for key in keys])
        backend.save_vectors(keys, vectors)
        backend.save_vectors([], np.empty((0, DIM), np.float32))
        assert live(backend).known_vectors(["b", "x", "q:c"]) == {"b", "q:c"}
        np.testing.assert_array_equal(
            live(backend).load_vectors(["q:c", "a", "a"]), vectors[[2, 0, 0]]
        )
        with pytest.raises(KeyError, match="missing"):
            live(backend).load_vectors(["a", "missing"])
        many = [f"many{n}" for n in range(5000)]
        backend.save_vectors(many, np.ones((5000, DIM), np.float32))
        assert live(backend).known_vectors([*many, "z"]) == set(many)

    def test_the_keys_of_vectors_by_chunk(self, backend: Documents) -> None:
        """Two equal texts share a vector; a chunk without one, and an unknown id, have no key."""
        first = put(backend, "a.txt", "tea", "coffee")
        second = put(backend, "b.txt", "tea")
        bare = DocumentRow(document_id("docs", "c.txt"), "docs", "/root", "c.txt", "txt")
        backend.upsert(bare, [Page(1, "milk")], [NewChunk(0, Span(0, 4), "")])
        ids = {
            text: chunk_id(row.id, page, Span(0, len(text)), text)
            for row, page, text in ((first, 1, "tea"), (first, 2, "coffee"), (bare, 1, "milk"))
        }
        other = chunk_id(second.id, 1, Span(0, 3), "tea")
        with backend.reading() as catalog:
            found = catalog.vector_keys([*ids.values(), other, "0" * 16])
        assert found == {ids["tea"]: _key("tea"), other: _key("tea"), ids["coffee"]: _key("coffee")}

    def test_finish_drops_vectors_without_a_chunk_but_keeps_queries(self, backend) -> None:
        put(backend, "a.txt", "kept")
        (kept,) = [f"{zlib.crc32(vector_of('kept').tobytes()):08x}"]
        backend.save_vectors(["loose", "q:1", "q", "q;"], np.ones((4, DIM), np.float32))
        backend.finish({"done": 1})
        every = [kept, "loose", "q:1", "q", "q;"]
        assert live(backend).known_vectors(every) == {kept, "q:1"}
        assert backend.info()["last_run"] == {"done": 1}

    @pytest.mark.parametrize(
        ("vectors", "said"),
        [
            (np.full((1, DIM), np.nan), "NaN"),
            (np.ones((2, DIM)), "1 keys"),
            (np.ones((1, DIM + 1)), f"{DIM + 1} dimensions"),
        ],
    )
    def test_bad_vectors_are_refused(self, backend: Documents, vectors, said: str) -> None:
        backend.bind_embedder(settings(), ChunkSettings())
        with pytest.raises(UsageError, match=said):
            backend.save_vectors(["a"], vectors.astype(np.float32))
        assert live(backend).known_vectors(["a"]) == set()

    @pytest.mark.parametrize(
        "chunk",
        [
            NewChunk(0, Span(0, 4), "unsaved"),
            NewChunk(1, Span(0, 1), "v"),
            NewChunk(0, Span(2, 99), "v"),
        ],
    )
    def test_an_invalid_chunk_leaves_the_old_document(
        self, backend: Documents, chunk: NewChunk
    ) -> None:
        row = put(backend, "a.txt", "old text")
        backend.save_vectors(["v"], vector_of("v")[None])
        before = live(backend).generation()
        with pytest.raises(UsageError, match=r"a\.txt"):
            backend.upsert(row, [Page(1, "new text")], [chunk])
        assert [chunk.text for chunk in live(backend).chunks(row.id)] == ["old text"]
        assert live(backend).generation() == before

    def test_the_same_chunk_twice_is_stored_once(self, backend: Documents) -> None:
        backend.save_vectors(["v"], vector_of("v")[None])
        row = DocumentRow("id", "docs", "", "a.txt", "txt")
        backend.upsert(
            row, [Page(None, "text")] * 2, [NewChunk(n, Span(0, 4), "v") for n in (0, 1)]
        )
        assert len(live(backend).chunks("id")) == 1
        assert live(backend).document("id").chunks == 1

    def test_ids_pages_and_vectors_of_chunks(self, backend: Documents) -> None:
        raw = {text: vector_of(text) for text in ("one two", "two three", "other")}
        row = DocumentRow(document_id("docs", "a.txt"), "docs", "/root", "a.txt", "txt")
        backend.save_vectors(list(raw), np.stack(list(raw.values())))
        pages = [Page(1, "one two three"), Page(2, "other")]
        spans = [(1, Span(0, 5)), (0, Span(4, 13)), (0, Span(0, 7))]
        keys = ["other", "two three", "one two"]
        new_chunks = [NewChunk(at, span, key) for (at, span), key in zip(spans, keys, strict=True)]
        backend.upsert(row, pages, new_chunks)
        put(backend, "b.txt", "another document")
        chunks = live(backend).chunks(row.id)
        assert [chunk.text for chunk in chunks] == ["one two", "two three", "other"]
        assert live(backend).chunk_ids(row.id) == [chunk.id for chunk in chunks]
        assert live(backend).chunk_ids("gone") == []
        ids = ["gone", row.id, put(backend, "other.txt", "other").id]
        several = live(backend).chunks_of(ids)
        assert several == {id_: live(backend).chunks(id_) for id_ in ids}
        assert several[row.id] == chunks
        for chunk in chunks:
            page = live(backend).page_of(chunk.id)
            assert page is not None
            assert (page.number, page.text) == (chunk.page, pages[chunk.page - 1].text)
        assert live(backend).page_of("gone") is None
        means = vector_of("passages"), vector_of("queries")
        backend.calibrate(*means, {})
        ids = [chunks[2].id, "gone", chunks[0].id, chunks[2].id]
        expected = unit(np.stack([raw["other"], raw["one two"]]) - means[0])
        found = live(backend).vectors(ids)
        assert found.shape == (4, DIM)
        np.testing.assert_allclose(found[[0, 2, 3]], expected[[0, 1, 0]], atol=1e-6)
        assert not found[1].any()
        assert len(live(backend).vectors([])) == 0

    def test_parts_with_names_and_states_come_back(self, backend: Documents, reopened) -> None:
        backend.save_vectors(["v"], np.ones((1, DIM), np.float32))
        pages = [
            Page(1, "same words", label="sheet A"),
            Page(1, "same words", label="sheet B"),
            Page(2, "same words", PageState.OCR, "recognised"),
            Page(3, "", PageState.SCANNED, "an image"),
        ]
        row = DocumentRow(document_id("docs", "a.xlsx"), "docs", "/root", "a.xlsx", "xlsx")
        new_chunks = [NewChunk(at, Span(0, 4), "v") for at in (0, 1, 2)]
        backend.upsert(row, pages, [*new_chunks, NewChunk(2, Span(5, 10), "v")])
        for again in (False, True):
            store = reopened() if again else backend
            chunks = live(store).chunks(row.id)
            assert [chunk.place for chunk in chunks] == ["sheet A", "sheet B", "page 2", "page 2"]
            assert [chunk.state for chunk in chunks] == [
                *2 * [PageState.TEXT],
                *2 * [PageState.OCR],
            ]
            assert len({chunk.id for chunk in chunks}) == 4
            assert live(store).pages(row.id) == pages
            account = live(store).page_statuses(row.id)
            assert [(p.number, p.label, p.state, p.reason) for p in account] == [
                (p.number, p.label, p.state, p.reason) for p in pages
            ]
            assert [page.chunks for page in account] == [1, 1, 2, 0]
            assert live(store).all_page_statuses() == {row.id: account}
            moved = replace(row, id=document_id("docs", "b.xlsx"), path="b.xlsx")
            store.rename(row.id, moved)
            assert len({chunk.id for chunk in live(store).chunks(moved.id)}) == 4
            store.rename(moved.id, row)
            assert live(store).chunks(row.id) == chunks
        assert live(store).page_statuses("nowhere") == []

    def test_unread_files_are_stored(self, backend: Documents, reopened) -> None:
        assert live(backend).unread() == []
        failed = UnreadFile("/b", "x\udcff.pdf", FileStatus.FAILED, "broken", 5, 7, "v1")
        skipped = UnreadFile("/a", "y.png", FileStatus.SKIPPED, "not a document")
        backend.set_unread([failed, skipped])
        again = reopened()
        assert live(again).unread() == [skipped, failed]
        assert again.info()["unread"] == {"failed": 1, "skipped": 1}

    def test_a_touch_changes_file_facts_alone(self, backend: Documents) -> None:
        row = put(backend, "a.txt", "text", title="T")
        changed = DocumentRow(
            row.id, "docs", "/new", "a.txt", "txt", size=7, mtime_ns=8, sha256="h"
        )
        backend.touch(changed)
        now = live(backend).document(row.id)
        assert (now.root, now.size, now.mtime_ns, now.sha256) == ("/new", 7, 8, "h")
        assert (now.title, now.chunks) == ("T", 1)

    def test_a_document_without_chunks_is_listed(self, backend: Documents) -> None:
        row = DocumentRow("id", "docs", "/root", "scan.pdf", "pdf")
        backend.upsert(row, [Page(1, "", PageState.SCANNED, "no text")], [])
        assert [row.path for row in live(backend).documents(Filter.parse({"format": "pdf"}))]
        assert backend.info()["page_states"] == {"scanned": 1}

    def test_samples_are_the_same_whatever_the_order(self, backend: Documents) -> None:
        rows = [put(backend, f"{n}.txt", f"text {n}") for n in range(30)]
        sample = live(backend).sample_chunks(10)
        vectors = live(backend).sample_vectors(10)
        assert len({chunk.id for chunk in sample}) == 10
        np.testing.assert_array_equal(vectors, [vector_of(chunk.text) for chunk in sample])
        backend.delete([row.id for row in rows])
        for number in reversed(range(30)):
            put(backend, f"{number}.txt", f"text {number}")
        assert live(backend).sample_chunks(10) == sample
        assert len(live(backend).sample_chunks(99)) == 30

    def test_an_index_belongs_to_one_model(self, backend: Documents, reopened) -> None:
        assert live(backend).embedder_settings() is None
        backend.bind_embedder(settings("wrong", "w0", 8), ChunkSettings())
        backend.bind_embedder(settings("fake"), ChunkSettings())  # empty: bound anew
        put(backend, "a.txt", "text")
        backend.bind_embedder(settings("same weights elsewhere"), ChunkSettings())
        with pytest.raises(IndexStateError, match=r"fake.*other"):
            backend.bind_embedder(settings("other", "w2"), ChunkSettings())
        with reopened() as now:
            assert live(now).embedder_settings() == settings("fake")
            assert live(now).chunk_settings() == ChunkSettings()

    def test_the_generation_grows_with_every_change(self, backend: Documents) -> None:
        seen = [live(backend).generation()]
        row = put(backend, "a.txt", "text")
        for change in (
            lambda: None,
            lambda: backend.touch(row),
            lambda: backend.rename(row.id, DocumentRow("new", "docs", "", "b.txt", "txt")),
            lambda: backend.delete(["new"]),
            lambda: backend.finish({}),
        ):
            change()
            seen.append(live(backend).generation())
        assert seen == sorted(set(seen))

    def test_progress_is_seen_while_a_run_lasts(self, backend: Documents) -> None:
        generation = live(backend).generation()
        backend.set_progress({"files_done": 1})
        assert backend.info()["progress"] == {"files_done": 1}
        assert live(backend).generation() == generation
        backend.set_progress(None)
        assert backend.info()["progress"] is None


class PassagesContract:
    """The contract of `PassageSearch`; see the module's docstring."""

    def test_dense_search_is_brute_force(self, backend: Documents) -> None:
        rng = np.random.default_rng(1)
        vectors = {f"text {n}": rng.standard_normal(DIM).astype(np.float32) for n in range(60)}
        vectors["scaled"] = 7 * vectors["text 3"]
        vectors["twin a"] = vectors["twin b"] = vectors["twin c"] = vectors["text 5"].copy()
        vectors["nothing"] = np.zeros(DIM, np.float32)
        for number, (text, vector) in enumerate(vectors.items()):
            put(backend, f"{number % 7}/{number}.txt", text, vectors=[vector])
        for query in (vectors["text 5"], rng.standard_normal(DIM), np.zeros(DIM)):
            expected = brute_force(backend, vectors, query)
            for k in (1, 3, 10, 500):
                found = live(backend).dense(query.astype(np.float32), k)
                check_ranking(found, expected, k)
                values = np.array(list(expected.values()))
                assert found.mean == pytest.approx(values.mean(), abs=1e-6)
                assert found.std == pytest.approx(values.std(), abs=1e-6)
            ids = list(expected)[::-2]
            np.testing.assert_allclose(
                live(backend).dense_scores(query.astype(np.float32), [*ids, "gone"]),
                [*(expected[id_] for id_ in ids), 0],
                atol=1e-5,
            )

    def test_equal_scores_are_ordered_by_id(self, backend: Documents) -> None:
        same = vector_of("same")
        for number in range(40):
            put(backend, f"{number}.txt", f"text {number}", vectors=[same])
        found = live(backend).dense(same, 5)
        assert found.ids == tuple(sorted(all_chunks(backend))[:5])
        assert live(backend).keyword("text", 5).ids == found.ids

    def test_calibration_is_applied_and_can_change(self, backend: Documents, reopened) -> None:
        texts = [f"text {n}" for n in range(30)]
        vectors = {text: vector_of(text) for text in texts}
        put(backend, "a.txt", *texts)
        query = vector_of("query")
        rng = np.random.default_rng(2)
        for _ in range(2):
            means = (rng.standard_normal(DIM) / 9, rng.standard_normal(DIM) / 9)
            means = tuple(mean.astype(np.float32) for mean in means)
            before = live(backend).generation()
            backend.calibrate(*means, {"passages": 30})
            assert live(backend).generation() > before
            check_ranking(
                live(backend).dense(query, 7), brute_force(backend, vectors, query, means), 7
            )
        backend.finish({})
        with reopened() as again:
            check_ranking(live(again).dense(query, 7), brute_force(again, vectors, query, means), 7)
            assert again.info()["calibration"] == {"passages": 30}

    @pytest.mark.parametrize("side", ["query", "both"])
    def test_an_adapter_maps_queries_or_both_sides_until_it_is_removed(
        self, backend: Documents, reopened, side: str
    ) -> None:
        texts = [f"text {n}" for n in range(30)]
        vectors = {text: vector_of(text) for text in texts}
        put(backend, "a.txt", *texts)
        query, other = vector_of("query"), vector_of("other") / 9
        means = (vector_of("passages") / 9, vector_of("queries") / 9)
        backend.calibrate(*means, {"passages": 30})
        backend.finish({})
        plain = live(backend).dense(query, 30)
        rng = np.random.default_rng(6)
        matrix = np.eye(DIM) + rng.standard_normal((DIM, DIM)) / DIM
        adapter = Adapter.of(side, matrix, {"pairs": 3}, {"scale": 1.5})
        backend.set_adapter(adapter)
        backend.set_adapter(Adapter.from_json(adapter.to_json()))  # the same: nothing changes
        given = (backend, vectors, query, means)
        check_ranking(live(backend).dense(query, 7), adapted_scores(*given, adapter), 7)
        later = {"text new": vector_of("text new")}
        put(backend, "b.txt", *later)
        vectors |= later
        check_ranking(live(backend).dense(query, 7), adapted_scores(*given, adapter), 7)
        means = (means[0], other.astype(np.float32))
        backend.calibrate(*means, {"passages": 31})  # as when documents have changed
        given = (backend, vectors, query, means)
        check_ranking(live(backend).dense(query, 7), adapted_scores(*given, adapter), 7)
        backend.finish({})
        with reopened() as again:
            scores = adapted_scores(again, vectors, query, means, adapter)
            check_ranking(live(again).dense(query, 7), scores, 7)
            known = live(again).adapter()
            assert known is not None
            assert (known.facts, known.before) == ({"pairs": 3}, {"scale": 1.5})
            assert again.info()["adapter"] == {"side": side, "pairs": 3}
            again.delete([document_id("docs", "b.txt")])
            again.calibrate(means[0], vector_of("queries") / 9, {"passages": 30})
            again.set_adapter(None)
            again.finish({})
            assert live(again).adapter() is None
            assert again.info()["adapter"] is None
            found = live(again).dense(query, 30)
            assert found.ids == plain.ids
            np.testing.assert_array_equal(found.scores, plain.scores)

    def test_an_adapter_needs_means_and_their_dimension(self, backend: Documents) -> None:
        with pytest.raises(UsageError, match="index documents first"):
            backend.set_adapter(Adapter.of("query", np.eye(DIM)))
        put(backend, "a.txt", "some text")
        backend.calibrate(vector_of("one"), vector_of("two"), {})
        with pytest.raises(UsageError, match="does not fit"):
            backend.set_adapter(Adapter.of("query", np.eye(DIM + 1)))

    def test_an_empty_backend_answers(self, backend: Documents) -> None:
        found = live(backend).dense(vector_of("q"), 5)
        assert (found.ids, len(found.scores), found.mean, found.std) == ((), 0, 0.0, 0.0)
        found = live(backend).keyword("anything", 5)
        assert (found.ids, len(found.scores), found.mean, found.std) == ((), 0, 0.0, 0.0)
        assert live(backend).documents() == []
        assert live(backend).get(["nothing"]) == []
        assert live(backend).document("nothing") is None
        assert live(backend).pages("nothing") == []
        assert live(backend).sample_chunks(5) == []
        assert len(live(backend).sample_vectors(5)) == 0
        assert backend.delete(["nothing"]) == 0
        backend.finish({})
        assert backend.info()["chunks"] == 0

    def test_one_document(self, backend: Documents) -> None:
        put(backend, "only.txt", "the only text")
        found = live(backend).dense(vector_of("the only text"), 10)
        assert found.scores.tolist() == pytest.approx([1.0], abs=1e-6)
        assert (found.mean, found.std) == (pytest.approx(1.0, abs=1e-6), 0.0)
        assert [chunk.text for chunk in live(backend).get(found.ids)] == ["the only text"]

    def test_deleted_documents_are_not_found(self, backend: Documents, reopened) -> None:
        rows = [put(backend, f"{n}.txt", f"zebra number{n}", f"second {n}") for n in range(12)]
        backend.finish({})
        gone = {chunk.id for row in rows[::2] for chunk in live(backend).chunks(row.id)}
        assert backend.delete([row.id for row in rows[::2]] + ["unknown"]) == 6
        for look in (backend, None):
            with look or reopened() as now:
                assert not gone & set(live(now).dense(vector_of("zebra number0"), 100).ids)
                assert len(live(now).dense(vector_of("zebra number0"), 100).ids) == 12
                assert not gone & set(live(now).keyword("zebra number0 second", 100).ids)
                assert len(live(now).keyword("zebra", 100).ids) == 6
                assert live(now).get(sorted(gone)) == []
                assert [row.path for row in live(now).documents()] == [
                    row.path for row in sorted(rows[1::2], key=lambda row: row.path)
                ]
                assert live(now).pages(rows[0].id) == []
                assert now.info()["chunks"] == 12
                if look:
                    now.finish({})

    def test_filtered_search_is_filtered_brute_force(self, backend: Documents) -> None:
        vectors = {}
        for number in range(40):
            texts = [f"common word{number} page{page}" for page in range(3)]
            vectors.update({text: vector_of(text) for text in texts})
            metadata = {"year": 2000 + number % 5, "team": "xyz"[number % 3]}
            folder = "reports" if number % 2 else "notes"
            put(backend, f"{folder}/{number}.txt", *texts, metadata=metadata)
        query = vector_of("query")
        everything = brute_force(backend, vectors, query)
        keyword = dict(zip(*_pairs(live(backend).keyword("common word7 page1", 1000)), strict=True))
        assert len(keyword) == 42  # word7 (3) or page1 (40); "common" is everywhere and drops out
        whole = live(backend).dense(query, 1)
        for spec in (
            {"page": {"gte": 2}},
            {"path": {"glob": "reports/**"}, "year": [2001, 2002]},
            {"$or": [{"team": "x"}, {"page": 3}]},
            {"$not": {"team": {"in": ["x", "y"]}}},
            {"path": "notes/0.txt"},
            {"chunk_id": {"in": sorted(everything)[:9]}, "page": {"ne": 1}},
            {"year": {"gt": 3000}},
        ):
            where = Filter.parse(spec)
            allowed = {
                id_
                for id_, (row, chunk) in all_chunks(backend).items()
                if where.matches(chunk_fields(row, chunk))
            }
            kept = {id_: score for id_, score in everything.items() if id_ in allowed}
            for k in (1, 5, 500):
                found = live(backend).dense(query, k, where)
                check_ranking(found, kept, k)
                assert (found.mean, found.std) == (whole.mean, whole.std)
            kept = {id_: score for id_, score in keyword.items() if id_ in allowed}
            check_ranking(live(backend).keyword("common word7 page1", 500, where), kept, 500)
            rows = [row for row in live(backend).documents() if where.matches(document_fields(row))]
            assert live(backend).documents(where) == rows

    def test_comparisons_of_all_types_are_brute_force(self, backend: Documents) -> None:
        values = [
            *[2024, "2024", "2024-03", "2024-03-07", "2024-03-07T10:00:00+02:00", 9.5, "9.5", "12"],
            *[7, "007", True, "true", "", "Ad\u00e4", "Ada\u0308", "Ada", "caf\ue000\ud800"],
        ]
        dates = ["", "1813", "2024-03", "2024-03-07", "2024-12-31T23:59:59", "spring"]
        names = ["a.PDF", "b.md", "u\u0308ber.txt", "100%.p_f", "d/pdf"]
        for number, value in enumerate(values):
            put(
                *(backend, f"{number}/{names[number % 5]}"),
                author=value if isinstance(value, str) else "",
                date=dates[number % 6],
                metadata={"m": value},
            )
        wanted = [*values, "1.3.2024", "2023", "pdf", ".PDF", "M", "_", "%", "\u00fcber.txt"]
        rows = live(backend).documents()
        matched = 0
        for field in ("m", "author", "date", "format", "path", "page"):
            for value in wanted:
                operands = [{op: value} for op in ("eq", "ne", "gt", "gte", "lt", "lte", "glob")]
                operands += [{op: [value, "Ada", "2024"]} for op in ("in", "nin")]
                operands += [{"in": [value]}, {"nin": [value]}, {"nin": []}]
                for operand in operands:
                    try:
                        where = Filter.parse({field: operand})
                    except UsageError:
                        continue  # not every field takes every value
                    expected = [row for row in rows if where.matches(document_fields(row))]
                    assert live(backend).documents(where) == expected, (field, operand)
                    matched += len(expected)
        assert matched > 2_000

    def test_filters_by_text_are_brute_force(self, backend: Documents) -> None:
        texts = [
            *["Access controls of the system", "access to system control", "ACCESS CONTROL"],
            *["see AC-2(1) there", "see AC2 there", "see AC 2 there", "AC-21 is another"],
            *[
                "e-mail us",
                "email us",
                "我们讨论风险管理的方法",
                "风险很大",
                "管理",
                "C++ and access",
            ],
            *["Kontrolle", "naïve résumé", "control access control access control"],
        ]
        vectors = {text: vector_of(text) for text in texts}
        put(backend, "a.txt", *texts[:9], title="Handbook of keys")
        put(backend, "b.txt", *texts[9:])
        query = vector_of("query")
        everything = brute_force(backend, vectors, query)
        for spec, count in (
            ({"$text": "access control"}, 3),
            ({"$text": "the control of access"}, 0),
            ({"$text": "access control of the systems"}, 1),
            ({"$text": "AC-2"}, 3),
            ({"$text": "see AC-2"}, 3),
            ({"$text": "e-mail"}, 2),
            ({"$text": "风险管理"}, 1),
            ({"$text": "管"}, 2),
            ({"$text": "C++"}, 1),
            ({"$text": "RESUME"}, 1),
            ({"$text": "handbook of key"}, 9),
            ({"$text": "nowhere"}, 0),
            ({"$not": {"$text": "access"}}, 11),
            ({"path": "a.txt", "$or": [{"$text": "email"}, {"page": 1}]}, 3),
        ):
            where = Filter.parse(spec)
            allowed = {
                id_
                for id_, (row, chunk) in all_chunks(backend).items()
                if where.matches(chunk_fields(row, chunk))
            }
            assert len(allowed) == count, spec
            kept = {id_: score for id_, score in everything.items() if id_ in allowed}
            check_ranking(live(backend).dense(query, 50, where), kept, 50)
            words = dict(zip(*_pairs(live(backend).keyword("access email see", 50)), strict=True))
            kept = {id_: score for id_, score in words.items() if id_ in allowed}
            check_ranking(live(backend).keyword("access email see", 50, where), kept, 50)
            rows = [row for row in live(backend).documents() if where.matches(document_fields(row))]
            assert live(backend).documents(where) == rows

    def test_keyword_scores_are_bm25(self, backend: Documents) -> None:
        texts = ["cat cat dog", "dog bird", "bird bird fish long long text", "nothing here", "cat"]
        put(backend, "a.txt", *texts)
        found = live(backend).keyword("cat fish", 10)
        words = [text.split() for text in texts]
        words[3] = ["noth", "here"]
        average = sum(map(len, words)) / 5
        expected = {}
        for id_, (_, chunk) in all_chunks(backend).items():
            own = words[texts.index(chunk.text)]
            score = 0.0
            for term in ("cat", "fish"):
                n = sum(term in other for other in words)
                tf = own.count(term)
                norm = tf + 1.2 * (1 - 0.75 + 0.75 * len(own) / average)
                score += np.log((5 - n + 0.5) / (n + 0.5)) * tf * 2.2 / norm
            expected[id_] = score
        check_ranking(found, {i: s for i, s in expected.items() if s > 0}, 10)
        values = np.array(list(expected.values()))
        assert found.mean == pytest.approx(values.mean(), abs=1e-6)
        assert found.std == pytest.approx(values.std(), abs=1e-6)
        np.testing.assert_allclose(
            live(backend).keyword_scores("cat fish", [*expected, "gone"]), [*values, 0], atol=1e-5
        )

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "  ",
            '"',
            "a OR",
            "-x",
            "col:x",
            "*",
            "C++ (2020)",
            "NEAR(a b)",
            "\0",
            "\ud800",
            "é" * 9,
        ],
    )
    def test_any_text_is_a_legal_query(self, backend: Documents, query: str) -> None:
        put(backend, "a.txt", "some text")
        assert live(backend).keyword(query, 5).ids == ()
        assert live(backend).keyword_scores(query, ["gone"]).tolist() == [0]

    def test_a_page_of_words_is_a_legal_query(self, backend: Documents) -> None:
        put(backend, "a.txt", "needle", "other", "more")
        query = " ".join(f"word{n}" for n in range(5000)) + " needle"
        assert len(live(backend).keyword(query, 5).ids) == 1

    def test_typing_errors_are_tolerated_where_asked(self, backend: Documents) -> None:
        texts = [
            *[
                "The policy says so",
                "Policies and budgets",
                "the police came",
                "politics of budget",
            ],
            *[
                "ABC-1234 is a part",
                "a responsibility",
                "responsive",
                "Übung macht",
                "das Verfahren",
            ],
            *["other things", "more things", "things again", "last things of all"],
        ]
        put(backend, "a.txt", *texts, title="Handbook")
        for query, instead in (
            ("polcy", {"polcy": ["policy", "police"]}),  # a letter left out of the stem "polici"
            ("ploicy", {"ploicy": ["policy"]}),  # two swapped
            ("Polixe budgat", {"Polixe": ["police", "politics"], "budgat": ["budgets"]}),
            ("verfrahrem", {"verfrahrem": ["verfahren"]}),  # two wrong
            ("verfrahrex", {"verfrahrex": ["verfahren"]}),
            ("verxrahrex", {}),  # three
            ("Ubunk verfahern", {"Ubunk": ["übung"], "verfahern": ["verfahren"]}),
            ("handbok", {"handbok": ["handbook"]}),  # of the title
            ("policy police", {}),  # they occur
            ("qolicy", {}),  # not the first letter
            ("pulixe", {}),  # too far
            ("abc-1235", {}),  # a code
            ("cme", {}),  # too short
            ("says soys", {}),  # "soi", too
            ("风险 polc 12345", {"polc": ["police"]}),
            ("", {}),
            (" ".join(f"polcy{chr(97 + n) * 9}" for n in range(9)) + " polcy", {}),  # no query
        ):
            found = {word: list(near) for word, near in live(backend).corrections(query).items()}
            assert found == instead, query
            # The same as the sum of searches for the words themselves.
            ids = sorted(all_chunks(backend))
            plain = live(backend).keyword_scores(query, ids).astype(np.float64)
            expected = plain + sum(
                0.6 * np.max([live(backend).keyword_scores(word, ids) for word in near], axis=0)
                for near in instead.values()
            )
            scores = live(backend).keyword_scores(query, ids, tolerant=True)
            np.testing.assert_allclose(scores, expected, atol=1e-5)
            side = live(backend).keyword(query, 50, tolerant=True)
            check_ranking(side, {i: s for i, s in zip(ids, expected, strict=True) if s > 0}, 50)
            assert side.mean == pytest.approx(expected.mean(), abs=1e-6)
            assert side.std == pytest.approx(expected.std(), abs=1e-6)
            check_ranking(
                live(backend).keyword(query, 50),
                {i: s for i, s in zip(ids, plain, strict=True) if s > 0},
                50,
            )

    def test_the_title_is_found_too(self, backend: Documents) -> None:
        put(backend, "a.txt", "plain text", title="Peculiar heading")
        put(backend, "b.txt", "plain text, too", "and more")
        assert [c.path for c in live(backend).get(live(backend).keyword("peculiar", 5).ids)] == [
            "a.txt"
        ]

    def test_unsegmented_scripts_are_found_by_keyword(self, backend: Documents) -> None:
        put(backend, "zh.txt", "我们讨论风险管理的方法", "天气很好")
        put(backend, "th.txt", "การจัดการความเสี่ยง", "อากาศ")
        for query, path in (("风险", "zh.txt"), ("เสี่ยง", "th.txt")):
            assert [c.path for c in live(backend).get(live(backend).keyword(query, 5).ids)] == [
                path
            ]

    def test_bad_queries_are_refused(self, backend: Documents) -> None:
        put(backend, "a.txt", "text")
        with pytest.raises(UsageError, match=f"{DIM} dimensions"):
            live(backend).dense(np.ones(DIM + 1, np.float32), 3)
        with pytest.raises(UsageError, match="NaN"):
            live(backend).dense(np.full(DIM, np.nan, np.float32), 3)
        assert live(backend).dense(np.ones(DIM, np.float32), 0).ids == ()

    def test_an_expansion_joins_the_query(self, backend: Documents) -> None:
        words = ("amber", "birch", "cedar", "delta")
        for number in range(24):
            put(backend, f"{number}.txt", f"{words[number % 4]} {words[number % 3]} text{number}")
        ids = list(all_chunks(backend))
        own, one, other = (
            live(backend).keyword_scores(word, ids) for word in ("amber", "birch", "cedar")
        )
        added = Expansion(0.5, (("birch", 0.25), ("cedar", 2.0), ("nowhere", 1.0)))
        expected = 0.5 * own + 0.25 * one + 2.0 * other
        np.testing.assert_allclose(
            live(backend).keyword_scores("amber", ids, expansion=added), expected, rtol=1e-5
        )
        found = live(backend).keyword("amber", 99, expansion=added)
        assert dict(zip(found.ids, found.scores.tolist(), strict=True)) == pytest.approx(
            {id_: score for id_, score in zip(ids, expected, strict=True) if score > 0}, rel=1e-5
        )
        assert (found.mean, found.std) == pytest.approx((expected.mean(), expected.std()), rel=1e-5)

    def test_document_frequencies_count_chunks(self, backend: Documents) -> None:
        assert (live(backend).count(), live(backend).document_frequencies(["amber"])) == (
            0,
            {"amber": 0},
        )
        put(backend, "a.txt", "amber amber birch", "birch")
        ids = [chunk.id for _, chunk in all_chunks(backend).values()]
        assert live(backend).count() == 2
        assert live(backend).document_frequencies(["amber", "birch", "no"]) == {
            "amber": 1,
            "birch": 2,
            "no": 0,
        }
        found = {tuple(terms) for terms in live(backend).terms(ids)}
        assert found == {("amber", "amber", "birch"), ("birch",)}
        assert live(backend).terms(["gone"]) == [[]]

    def test_the_dense_weight_is_stored_with_the_calibration(
        self, backend: Documents, reopened
    ) -> None:
        assert live(backend).dense_weight == 1
        put(backend, "a.txt", "text")
        mean = np.zeros(DIM, np.float32)
        backend.calibrate(mean, mean, {"passages": 1})
        assert live(backend).dense_weight == 1
        backend.calibrate(mean, mean, {"passages": 1, "dense_weight": 0.5})
        with reopened() as now:
            assert live(now).dense_weight == 0.5

    def test_boosted_terms_are_summed_and_the_best_alternative_counts(
        self, backend: Documents
    ) -> None:
        texts = ["cat cat dog", "dog bird", "bird bird fish long long text", "nothing", "cat fish"]
        put(backend, "a.txt", *texts)
        ids = sorted(all_chunks(backend))
        cat, dog, bird = (
            live(backend).keyword_scores(word, ids).astype(np.float64)
            for word in ("cat", "dog", "bird")
        )
        for query, expected in (
            (TermQuery((((("cat", 2.0),),),)), 2 * cat),
            (TermQuery((((("cat", 1.0), ("dog", 0.5)),),)), cat + 0.5 * dog),
            (
                TermQuery((((("cat", 0.5),), (("dog", 1.0),), (("gone", 9.0),)),)),
                np.maximum(0.5 * cat, dog),
            ),
            (
                TermQuery((((("cat", 1.0),), (("bird", 0.25),)), ((("dog", 3.0),),))),
                np.maximum(cat, 0.25 * bird) + 3 * dog,
            ),
            (TermQuery((((("bird", 1.0), ("bird", 1.0)),),)), 2 * bird),
            (TermQuery((((("gone", 1.0),),),)), 0 * cat),
            (TermQuery(), 0 * cat),
        ):
            with backend.snapshot() as now:
                found = now.passages.keyword(query, 10)
                scores = now.passages.keyword_scores(query, [*ids, "gone"])
                some = now.passages.keyword(query, 10, Filter.parse({"page": {"lte": 2}}))
            np.testing.assert_allclose(scores, [*expected, 0], atol=1e-5)
            there = {i: s for i, s in zip(ids, expected.tolist(), strict=True) if s > 0}
            check_ranking(found, there, 10)
            assert found.mean == pytest.approx(expected.mean(), abs=1e-6)
            assert found.std == pytest.approx(expected.std(), abs=1e-6)
            pages = {id_: chunk.page for id_, (_, chunk) in all_chunks(backend).items()}
            check_ranking(some, {i: s for i, s in there.items() if pages[i] <= 2}, 10)
            assert (some.mean, some.std) == (found.mean, found.std)

    def test_an_expanded_query_is_a_term_query(self, backend: Documents) -> None:
        query = TermQuery((((("a", 1.0), ("b", 2.0)), (("c", 3.0),)),))
        assert query.expanded(Expansion(0.5, (("d", 0.25),))) == TermQuery(
            (((("a", 0.5), ("b", 1.0)), (("c", 1.5),)), ((("d", 0.25),),))
        )

    @pytest.mark.parametrize("dense", [True, False])
    def test_a_snapshot_stays_as_it_is(self, backend: Documents, dense: bool) -> None:
        """It is isolated from later commits, even if its vectors are loaded only then."""
        rows = [put(backend, f"{n}.txt", f"amber text{n}") for n in range(12)]
        backend.finish({})
        query = vector_of("q")
        before = live(backend).dense(query, 99), live(backend).keyword("amber text3", 99)
        ids = sorted(all_chunks(backend))
        vectors = live(backend).vectors(ids)
        with backend.snapshot(dense=dense) as now:
            generation = now.catalog.generation()
            backend.delete([row.id for row in rows[:4]])
            put(backend, "new.txt", "amber new")
            backend.calibrate(vector_of("one") / 9, vector_of("other") / 9, {})
            backend.finish({})
            newer = live(backend).dense(query, 99)
            found = now.dense(query, 99), now.keyword("amber text3", 99)
            for one, other in zip(found, before, strict=True):
                assert (one.ids, one.mean, one.std) == (other.ids, other.mean, other.std)
                np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(now.passages.vectors(ids), vectors)
            assert [chunk.id for chunk in now.catalog.get(ids)] == ids
            assert now.passages.count() == 12
            assert now.catalog.generation() == generation
            assert newer.ids != before[0].ids
        assert live(backend).dense(query, 99).ids == newer.ids
        assert live(backend).count() == 9


def _pairs(found: ScoredIds) -> tuple[tuple[str, ...], list[float]]:
    return found.ids, found.scores.tolist()


Reopen = Callable[[], Documents]
