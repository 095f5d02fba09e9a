"""BM25 over arrays, against FTS5's own function, after every kind of change.

None of the words is a stop word, so that both count the same lengths.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from retriever.storage.backends import vector_files
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import document_columns, posting_file, postings
from retriever.storage.catalog.posting_file import PostingFile
from retriever.storage.catalog.postings import Postings
from retriever.storage.catalog.reading import Reader
from retriever.storage.filters import Filter, equals, glob, one_of
from retriever.storage.records import Expansion, NewChunk
from retriever.text.analyzer import index_terms
from retriever.types import DocumentRow, Page, Span, document_id
from tests.live import live

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove")


def put(backend: EmbeddedBackend, number: int, *texts: str) -> None:
    backend.save_vectors(["v"], np.ones((1, 2), np.float32))
    row = DocumentRow(document_id("", f"{number}"), "", "", f"{number}", "txt")
    pages = [Page(at + 1, text) for at, text in enumerate(texts)]
    new_chunks = [NewChunk(at, Span(0, len(text)), "v") for at, text in enumerate(texts)]
    backend.upsert(row, pages, new_chunks)


def texts(seed: int, count: int) -> list[str]:
    """Texts of 1 to 300 words: their lengths take one byte or two in FTS5's records."""
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, len(WORDS) + 1) ** 2
    sizes = rng.choice([1, 3, 20, 127, 128, 300], count)
    return [" ".join(rng.choice(WORDS, size, p=chances / chances.sum())) for size in sizes]


def check(folder: Path, known: Postings) -> None:
    """Assert that all words' scores equal those of FTS5 up to the last digit."""
    connection = sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)
    connection.execute(postings.OCCURRENCES)
    connection.execute("BEGIN")
    terms = known.at(connection)
    for term in {term for word in WORDS for term in index_terms(word)} | {"nowhere"}:
        rows = connection.execute(
            "SELECT rowid, -bm25(fulltext) FROM fulltext WHERE fulltext MATCH ? ORDER BY rowid",
            (f'"{term}"',),
        ).fetchall()
        keys, scores = terms.bm25(term)
        assert keys.tolist() == [key for key, _ in rows]
        np.testing.assert_allclose(scores, [score for _, score in rows], rtol=1e-12)
        assert terms.document_frequencies([term]) == {term: len(rows)}
    connection.close()


def test_scores_are_those_of_fts5_after_every_change(tmp_path: Path) -> None:
    known = Postings()
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        check(tmp_path / "i", known)
        for number in range(4):
            put(backend, number, *texts(number, 30))
            check(tmp_path / "i", known)
        put(backend, 1, *texts(9, 7))
        check(tmp_path / "i", known)
        backend.delete([document_id("", "0")])
        check(tmp_path / "i", known)
        backend.delete([document_id("", f"{number}") for number in range(4)])
        check(tmp_path / "i", known)


def test_another_index_under_the_same_name_is_another(tmp_path: Path) -> None:
    known = Postings()
    for seed in range(2):
        folder = tmp_path / f"{seed}"
        with EmbeddedBackend.open(folder, create=True) as backend:
            put(backend, 0, *texts(seed, 20 + seed))
        check(folder, known)


def test_the_caches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "MAX_ROWS", 25)
    monkeypatch.setattr(postings, "MAX_COUNTS", 2)
    known = Postings()
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        put(backend, 0, *texts(3, 20))
        for _ in range(2):
            check(tmp_path / "i", known)
    assert known._state is not None
    assert sum(len(keys) for keys, _ in known._state.scores.values()) <= 25
    assert len(known._state.counts) <= 4


def test_stop_words_do_not_lengthen_a_passage(tmp_path: Path) -> None:
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        put(backend, 0, "amber and the birch", "amber birch", "cedar", "delta", "ember")
        ids = [chunk.id for chunk in live(backend).chunks(document_id("", "0"))]
        one, other, *_ = live(backend).keyword_scores("amber", ids).tolist()
        assert one == other > 0
        assert live(backend).lengths(ids[0]) == (2, 7 / 5)


def test_a_phrase_is_a_term(tmp_path: Path) -> None:
    """Its frequency counts occurrences that share a word; its idf, the chunks that have it."""
    known = Postings()
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        put(backend, 0, "amber birch amber birch amber", "birch amber", "birch cedar", "fjord")
        put(backend, 1, "cedar", "ember", "grove", "delta")
    connection = sqlite3.connect(tmp_path / "i" / "catalog.sqlite", isolation_level=None)
    connection.execute(postings.OCCURRENCES)
    connection.execute("BEGIN")
    terms = known.at(connection)
    assert terms.document_frequencies(["birch amber", "amber birch", "cedar delta"]) == {
        "birch amber": 2,
        "amber birch": 1,
        "cedar delta": 0,
    }
    keys, scores = terms.bm25("birch amber")
    lengths, mean = np.array([5, 2]), (5 + 2 + 2 + 1 + 4) / 8
    times = np.array([2, 1])
    norm = 1.2 * (0.25 + 0.75 * lengths / mean)
    expected = np.log((8 - 2 + 0.5) / (2 + 0.5)) * times * 2.2 / (times + norm)
    assert keys.tolist() == [1, 2]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert not len(terms.bm25("cedar delta")[0])
    connection.close()


def test_an_expansion_adds_weighted_scores(tmp_path: Path) -> None:
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        put(backend, 0, *texts(5, 60))
        ids = [chunk.id for chunk in live(backend).sample_chunks(60)]
        own, cedar, delta = (
            live(backend).keyword_scores(w, ids) for w in ("ember", "cedar", "delta")
        )
        added = Expansion(0.5, (("cedar", 0.3), ("delta", 0.2)))
        both = live(backend).keyword_scores("ember", ids, expansion=added)
        np.testing.assert_allclose(both, 0.5 * own + 0.3 * cedar + 0.2 * delta, rtol=1e-5)
        assert len(live(backend).keyword("ember", 60, expansion=added).ids) == np.count_nonzero(
            both
        )


def test_the_terms_of_chunks_are_what_they_were_analysed_to(tmp_path: Path) -> None:
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        put(backend, 0, "The cats ran.", "AC-2(1) ran")
        chunks = live(backend).chunks(document_id("", "0"))
        found = live(backend).terms([chunks[1].id, "gone", chunks[0].id])
        assert found == [index_terms(chunks[1].text), [], index_terms(chunks[0].text)]


@pytest.fixture
def posting_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Posting files for the smallest index, of terms in three chunks or more."""
    monkeypatch.setattr(vector_files, "MIN_LARGE", 1)
    monkeypatch.setattr(posting_file, "MIN_DOCUMENTS", 3)
    monkeypatch.setattr(posting_file, "MIN_COUNTED", 2)
    monkeypatch.setattr(postings, "MAX_CHANGES", 1.0)


def test_a_posting_file_gives_the_same_scores_after_every_change(tmp_path, posting_files) -> None:
    folder, known = tmp_path / "i", Postings(tmp_path / "i")
    with EmbeddedBackend.open(folder, create=True) as backend:
        for number in range(4):
            put(backend, number, *texts(number, 30))
        backend.finish({})
        check(folder, known)
        assert known._state is not None
        assert known._state.base is not None
        assert known._state.base.is_current
        assert len(known._state.base.file.entries) > 5
        put(backend, 1, *texts(9, 7))
        check(folder, known)
        backend.delete([document_id("", "0")])
        put(backend, 5, *texts(11, 20))
        for postings_ in (known, Postings(folder)):
            check(folder, postings_)
            assert postings_._state is not None
            assert postings_._state.base is not None
            assert len(postings_._state.base.removed) == 60
        backend.finish({})
        check(folder, known)
        backend.delete([document_id("", f"{number}") for number in range(6)])
        check(folder, known)


def test_common_terms_are_read_from_the_posting_file(tmp_path, posting_files, monkeypatch) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, 0, *texts(3, 40))
        backend.finish({})
        monkeypatch.setattr(postings, "read_postings", None)
        with backend.reading() as reader:
            keys, scores = reader._terms().bm25(index_terms("amber")[0])
        assert len(keys) == len(scores) > 3


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "entry", "directory", "foreign"])
def test_a_damaged_or_foreign_posting_file_is_not_used(tmp_path, posting_files, damage) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, 0, *texts(3, 40))
        backend.finish({})
        (path,) = folder.glob("*.words")
        data = bytearray(path.read_bytes())
        if damage == "missing":
            path.unlink()
        elif damage == "foreign":
            path.write_bytes(bytes(data).replace(b'"vector_file": "', b'"vector_file": "0'))
        else:
            cut = {"empty": 0, "cut": len(data) // 2}.get(damage, len(data))
            for place in range(40) if damage == "entry" else range(len(data) - 60, len(data) - 30):
                data[place] ^= 1
            path.write_bytes(bytes(data[:cut]))
        check(folder, Postings(folder))
        backend.finish({})
    check(folder, Postings(folder))
    if damage != "entry":  # found only when it is read
        assert Postings(folder)._opened(_connection(folder), _index(folder)) is not None


def test_sizes_beyond_all_bounds_are_damage(tmp_path, posting_files) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, 0, *texts(3, 40))
        backend.finish({})
    (path,) = folder.glob("*.words")
    data = path.read_bytes()
    known = PostingFile.open(path, *_index_and_hash(folder))
    assert known is not None
    for at in range(len(data) - 28, len(data)):
        for bit in (1, 128):
            path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            assert PostingFile.open(path, *_index_and_hash(folder)) is None


def _index_and_hash(folder: Path) -> tuple[tuple[str, ...], str]:
    (sha256,) = _connection(folder).execute("SELECT sha256 FROM snapshots").fetchone()
    return _index(folder), sha256


def _connection(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "catalog.sqlite")


def _index(folder: Path) -> tuple[str, ...]:
    return postings._meta(_connection(folder), ("identity", "analyser"))


def test_a_posting_file_goes_with_its_vector_file(tmp_path, posting_files) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True) as backend:
        for number in range(4):
            put(backend, number, *texts(number, 5))
            backend.finish({})
    vectors = sorted(path.name for path in folder.glob("*.faiss"))
    assert len(vectors) == 2
    assert sorted(path.name for path in folder.glob("*.words")) == [f"{v}.words" for v in vectors]


def test_wide_gaps_and_counts_survive(tmp_path: Path) -> None:
    keys = np.array([7, 8, 300, 70_000, 5 * 10**9])
    for values in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 300], [1, 2, 3, 4, 70_000]):
        data, entry = posting_file._encoded(keys, np.array(values), 3)
        (tmp_path / "x").write_bytes(b"abc" + data)
        facts = posting_file.Facts((), "", 0, 0, 0, 0)
        found = posting_file.PostingFile(tmp_path / "x", facts, {"t": entry}, {}).postings("t")
        assert found is not None
        assert found[0].tolist() == keys.tolist()
        assert found[1].tolist() == values


def test_a_posting_file_tells_the_chunks_of_documents_after_every_change(
    tmp_path, posting_files
) -> None:
    folder = tmp_path / "i"
    filters = [one_of("path", ["1", "3", "5"]), glob("*[1-5]"), ~equals("path", "2")]
    filters += [equals("path", "9"), equals("page", 2)]

    def check_filters(backend: EmbeddedBackend) -> None:
        with backend.reading() as reader:
            plain = Reader(reader._connection)
            assert reader._terms().documents() is not None
            for where in filters:
                assert reader.matching_keys(where).tolist() == plain.matching_keys(where).tolist()

    with EmbeddedBackend.open(folder, create=True) as backend:
        for number in range(5):
            put(backend, number, *texts(number, 9))
        backend.finish({})
        check_filters(backend)
        put(backend, 5, *texts(7, 4))
        backend.delete([document_id("", number) for number in "13"])
        check_filters(backend)
        put(backend, 3, *texts(8, 4))
        check_filters(backend)


VALUES = (
    *({}, {"n": 1}, {"n": 1.0}, {"n": True}, {"n": "1"}, {"n": "one"}, {"n": 2024}),
    *({"n": 2024.0}, {"n": "2024-03"}, {"n": ""}, {"n": "e\u0301"}, {"m": 5}, {"n": -3}),
)
PATHS = ("a/b.txt", "a/c/d.TXT", "a/K/x.md", "a/\u212a/x.md", "ab/c.txt", "e\u0301/x", "x\n/y.pdf")
DATES = ("", "2024", "2024-03-05", "2024-03-05T10:00:00", "2024-03-05T10:00:00+02:00", "2023-12")
FILTERS = [
    {"path": {"glob": "a/**"}}, {"path": {"glob": "a/*"}}, {"path": {"glob": "a**"}},
    {"path": {"glob": "*.txt"}}, {"path": {"glob": "a/K/*"}}, {"path": {"glob": "\u00e9/*"}},
    {"path": "a/b.txt"}, {"path": {"gt": "a/c"}}, {"path": {"ne": "ab/c.txt"}}, {"format": "txt"},
    {"date": "2024"}, {"date": {"gte": "2024-03-05"}}, {"date": {"lt": "2024-03-05T09:00:00Z"}},
    {"date": {"exists": False}}, {"date": {"ne": "2023"}}, {"date": {"nin": ["2024-03-05"]}},
    *({"n": {op: value}} for op in ("eq", "ne", "gt", "lte") for value in (1, "1", "2024")),
    {"n": {"exists": True}}, {"n": True}, {"n": {"ne": True}}, {"n": {"in": [1, "one"]}},
    {"n": {"nin": []}}, {"n": {"glob": "*e*"}},
    {"m": {"exists": False}}, {"title": {"exists": True}}, {"author": "B"}, {"n": "\u00e9"},
    {"$not": {"n": 1}}, {"$or": [{"n": 1}, {"date": "2024"}]}, {"source": {"in": ["s", "t"]}},
]  # fmt: skip


def test_columns_filter_documents_as_sql_does(tmp_path, posting_files, monkeypatch) -> None:
    monkeypatch.setattr(document_columns, "MAX_VALUES", 12)
    with EmbeddedBackend.open(tmp_path / "i", create=True) as backend:
        backend.save_vectors(["v"], np.ones((1, 2), np.float32))
        for at, path in enumerate([f"{path}{n}" for n in ("", "1") for path in PATHS]):
            row = DocumentRow(
                *(document_id("s", path), "s", "", path, "txt"),
                title="T" * (at % 2),
                author="AB"[at % 2],
                date=DATES[at % len(DATES)],
                metadata=VALUES[at % len(VALUES)],
            )
            page = Page(1, "amber birch cedar")
            backend.upsert(
                row, [page], [NewChunk(0, Span(0, 5), "v"), NewChunk(0, Span(6, 11), "v")]
            )
        backend.finish({})
        with backend.reading() as reader:
            plain, told = Reader(reader._connection), 0
            for spec in FILTERS:
                where = Filter.parse(spec)
                expected = plain.matching_keys(where).tolist()
                assert reader.matching_keys(where).tolist() == expected, spec
                columns = reader._terms().columns()
                told += columns.matching(reader._connection, where) is not None
        assert told > len(FILTERS) / 2
