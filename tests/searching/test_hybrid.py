"""Hybrid search against scoring every chunk on both sides and sorting."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from retriever.index import Index
from retriever.searching import hybrid
from retriever.storage.backends import Snapshot
from retriever.storage.filters import Filter, chunk_fields
from retriever.text.analyzer import content_terms, index_terms, query_words
from retriever.types import Document, Hit, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live

ROOT = Path(__file__).parents[2]
MODES = ("hybrid", "dense", "keyword")
WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven"),
    *("inlet", "jetty", "karst", "ledge", "mesa"),
)


def document(number: int, rng: np.random.Generator, path: str = "") -> Document:
    """A document of one to four pages of words, rare ones and frequent ones."""
    weights = 1.0 / np.arange(1, len(WORDS) + 1)
    pages = tuple(
        Page(page, " ".join(rng.choice(WORDS, size=rng.integers(3, 12), p=weights / weights.sum())))
        for page in range(1, rng.integers(2, 6))
    )
    return Document(
        path=path or f"{'abc'[number % 3]}/{number}.txt",
        format="pdf" if number % 2 else "txt",
        pages=pages,
        title=f"Report {number}" if number % 4 == 0 else "",
        date=f"20{10 + number % 15}-05-01",
        metadata={"year": 2010 + number % 15, "team": "north" if number % 5 else "south"},
    )


def filled(folder: Path, count: int) -> Index:
    rng = np.random.default_rng(7)
    index = Index.open_or_create(folder, FakeEmbedder(64, same={"bark": "birch"}))
    index.add(document(number, rng) for number in range(count))
    return index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with filled(tmp_path_factory.mktemp("search") / "index", 120) as opened:
        yield opened


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    """So few that every search has to ask again for more."""
    monkeypatch.setattr(hybrid, "CANDIDATES", 3)


def fused(*sides: np.ndarray) -> np.ndarray:
    return sum((side - side.mean()) / (side.std() or 1.0) for side in sides)


def bm25(term: str, texts: list[list[str]]) -> np.ndarray:
    """Robertson's formula, with FTS5's lower bound of the idf."""
    lengths = np.array([len(content_terms(text)) for text in texts])
    times = np.array([text.count(term) for text in texts])
    count = (times > 0).sum()
    idf = max(1e-6, np.log((len(texts) - count + 0.5) / (count + 0.5)))
    return idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * lengths / lengths.mean()))


def asked_again(index, query, chunks, keyword, total) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-relevance feedback by the book: both sides' scores of every chunk."""
    titles = [index_terms(chunk.title) for chunk in chunks]
    found = [index_terms(f"{chunk.title}\n{chunk.text}") for chunk in chunks]
    read = [content_terms(one + title) for one, title in zip(found, titles, strict=True)]
    # Before the title's second time a term stands that no query has.
    texts = [[*one, *("ø" * bool(title)), *title] for one, title in zip(found, titles, strict=True)]
    order = sorted(range(len(chunks)), key=lambda at: (-total[at], chunks[at].id))
    first = order[: min(10, len(chunks) // 10)]
    likely = np.exp(total[first]) / np.exp(total[first]).sum()
    relevance: Counter[str] = Counter()
    for weight, at in zip(likely, first, strict=True):
        for term in read[at]:
            relevance[term] += weight / len(read[at])
    tells = {}
    for term, weight in relevance.items():
        count = sum(term in text for text in texts)
        if count < len(texts) / 2:
            tells[term] = weight * np.log((len(texts) - count + 0.5) / (count + 0.5))
    added = sorted(tells, key=lambda term: (-tells[term], term))[:30]
    asked = [word.weight for word in query_words(query) if not word.needs]
    words = 0.5 * keyword / sum(asked)
    for term in added:
        share = tells[term] / sum(tells[one] for one in added)
        words = words + 0.5 * share * bm25(term, texts)
    backend = index.backend
    vectors = live(backend).vectors([chunk.id for chunk in chunks])
    raw, means = index.embed_query(query), live(backend).calibration
    unit = (raw - means.query_mean) / np.linalg.norm(raw - means.query_mean)
    middle = vectors[first[:3]].mean(axis=0)
    both = unit + middle / np.linalg.norm(middle)
    return vectors @ (both / np.linalg.norm(both)), words


def brute_force(
    index: Index,
    query: str,
    mode: str,
    keep: Callable[[dict], bool] = lambda fields: True,
    *,
    feedback: bool = True,
) -> list[tuple[str, str, float]]:
    """(chunk id, document id, score) of every chunk that can be a hit, best first."""
    backend = index.backend
    rows = {row.id: row for row in index.documents()}
    chunks = [chunk for row in rows.values() for chunk in index.chunks(row.id)]
    ids = [chunk.id for chunk in chunks]
    dense = live(backend).dense_scores(index.embed_query(query), ids).astype(np.float64)
    keyword = live(backend).keyword_scores(query, ids).astype(np.float64)
    if mode == "hybrid":
        total = fused(dense, keyword)
        if feedback and total.max() > 0:
            total = fused(*asked_again(index, query, chunks, keyword, total))
    else:
        total = dense if mode == "dense" else keyword
    found = [
        (chunk.id, chunk.document_id, float(score))
        for chunk, score, words in zip(chunks, total, keyword, strict=True)
        if keep(chunk_fields(rows[chunk.document_id], chunk)) and (mode != "keyword" or words > 0)
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))


def check(hits: list[Hit], expected: list[tuple[str, str, float]], k: int) -> None:
    """The same scores in the same order; equal ones may only differ where floats do."""
    assert len(hits) == min(k, len(expected))
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    scores = {id_: score for id_, _, score in expected}
    assert len({hit.chunk.id for hit in hits}) == len(hits)
    for hit, (_, _, score) in zip(hits, expected, strict=False):
        assert hit.score == pytest.approx(scores[hit.chunk.id], abs=1e-4)
        assert hit.score == pytest.approx(score, abs=1e-4)


QUERIES = ["mesa", "amber", "amber mesa ledge", "bark", "unknown", "report 4", "the", "delta fjord"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", QUERIES)
def test_search_is_brute_force(index, query, mode) -> None:
    expected = brute_force(index, query, mode)
    for k in (1, 7, 60, 10**12):
        check(index.search(query, k, mode=mode, fold=False), expected, k)


@pytest.mark.parametrize("query", QUERIES)
def test_search_without_feedback_is_brute_force(index, query) -> None:
    expected = brute_force(index, query, "hybrid", feedback=False)
    for k in (1, 7, 60):
        check(index.search(query, k, feedback=False, fold=False), expected, k)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", QUERIES[:4])
def test_by_file_is_the_first_chunk_of_each_document(index, query, mode) -> None:
    firsts = {}
    for entry in brute_force(index, query, mode):
        firsts.setdefault(entry[1], entry)
    for k in (1, 10, 500):
        hits = index.search(query, k, mode=mode, by_file=True, fold=False)
        check(hits, list(firsts.values()), k)
        assert len({hit.chunk.document_id for hit in hits}) == len(hits)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "where",
    [
        {"path": {"glob": "a/*.txt"}},
        {"format": "pdf"},
        {"page": {"gte": 2, "lt": 4}},
        {"date": {"gte": "2015", "lte": "2018"}},
        {"year": [2011, 2012], "team": "south"},
        {"$or": [{"page": 4}, {"$not": {"team": "north"}}]},
        {"path": "nowhere"},
        {},
    ],
)
def test_filters_come_before_the_search(index, where, mode) -> None:
    parsed = Filter.parse(where)
    expected = brute_force(index, "amber mesa", mode, parsed.matches)
    for k in (5, 400):
        check(index.search("amber mesa", k, mode=mode, where=where, fold=False), expected, k)


def test_every_side_has_hits_of_its_own(index) -> None:
    hits = index.search("bark", 500, fold=False)
    assert all(hit.keyword == 0 for hit in hits)
    assert "birch" in hits[0].chunk.text, "the synonym was not found by meaning"
    assert index.search("bark", mode="keyword", fold=False) == []
    assert all(hit.keyword is None for hit in index.search("amber", mode="dense", fold=False))
    assert all(hit.dense is None for hit in index.search("amber", mode="keyword", fold=False))


def test_a_word_that_only_keywords_know_is_found(tmp_path) -> None:
    """The vector says nothing of the code; hundreds of chunks are nearer to the query's."""
    embedder = FakeEmbedder(64, same={"zx81": "amber"})
    with Index.open_or_create(tmp_path / "i", embedder) as index:
        documents = [Document(f"{n}.txt", "txt", (Page(None, f"amber {n}"),)) for n in range(300)]
        odd = Document("odd.txt", "txt", (Page(None, "ledge mesa karst jetty ZX81 inlet"),))
        index.add([*documents, odd])
        embedder._same["zx81"] = "haven"
        assert index.search("ZX81 amber", 3, fold=False)[0].chunk.path == "odd.txt"
        check(
            index.search("ZX81 amber", 40, fold=False),
            brute_force(index, "ZX81 amber", "hybrid"),
            40,
        )


def test_what_is_second_best_on_both_sides_may_be_the_best(tmp_path) -> None:
    """It is among neither side's first candidates, and still the best of all by their sum."""

    class Tagged(FakeEmbedder):
        def embed_inputs(self, inputs):
            near, nearer, far = [0.9, 0.0, 0.44], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
            vectors = [
                nearer if "ddd" in text or "query" in text else near if "both" in text else far
                for text in inputs
            ]
            return np.array(vectors, np.float32)

    texts = {f"dense{n}": f"ddd cedar delta fjord{n}" for n in range(6)}
    texts |= {f"word{n}": f"amber amber amber haven{n}" for n in range(6)}
    texts |= {f"none{n}": f"ember inlet jetty karst{n}" for n in range(30)}
    texts |= {"both": "amber amber both ledge"}
    with Index.open_or_create(tmp_path / "i", Tagged(3)) as index:
        index.add(Document(name, "txt", (Page(None, text),)) for name, text in texts.items())
        for mode in ("dense", "keyword"):
            first = [hit.chunk.path for hit in index.search("amber", 6, mode=mode, fold=False)]
            assert "both" not in first
        assert index.search("amber", 1, feedback=False, fold=False)[0].chunk.path == "both"
        check(index.search("amber", 20, fold=False), brute_force(index, "amber", "hybrid"), 20)


@pytest.mark.parametrize("mode", MODES)
def test_equal_scores_keep_one_order(tmp_path, mode) -> None:
    with Index.open_or_create(tmp_path / "i", FakeEmbedder(64)) as index:
        index.add(Document(f"{n}.txt", "txt", (Page(None, "amber birch"),)) for n in range(40))
        ids = sorted(chunk.id for row in index.documents() for chunk in index.chunks(row.id))
        for query in ("amber", "nothing of it"):
            hits = index.search(query, 9, mode=mode, fold=False)
            if mode == "keyword" and query != "amber":
                assert hits == []
            else:
                assert [hit.chunk.id for hit in hits] == ids[:9]
            assert all(np.isfinite(hit.score) for hit in hits)


def test_one_chunk_has_no_deviation(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "i", FakeEmbedder()) as index:
        index.add([Document("a", "txt", (Page(None, "amber birch"),))])
        for mode in MODES:
            (hit,) = index.search("amber", mode=mode, fold=False)
            assert np.isfinite(hit.score)
            assert hit.chunk.text == "amber birch"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("本报告介绍机器学习模型在气象预报中的应用。", "模型"),
        ("東京都の図書館で資料を閲覧できます。", "資料"),
        ("서울시의 도서관에서 자료를 찾을 수 있습니다.", "자료"),
        ("ห้องสมุดประชาชนเปิดให้บริการทุกวัน", "สมุด"),
    ],
)
def test_scripts_without_spaces_are_found_by_keyword(index, tmp_path, text, query) -> None:
    with Index.open_or_create(tmp_path / "i", FakeEmbedder()) as small:
        rng = np.random.default_rng(3)
        small.add(document(number, rng) for number in range(20))
        small.add([Document("found", "txt", (Page(None, text),))])
        for mode in ("keyword", "hybrid"):
            assert small.search(query, 1, mode=mode, fold=False)[0].chunk.path == "found"
        assert len(small.search(query, 50, mode="keyword", fold=False)) == 1


# Any text is a query

HOSTILE = [
    *['"', "'", '"amber', "amber OR", "AND NOT", "NEAR(amber birch)", "terms:amber", "amber*"],
    *["^amber", "(", ")", "-amber", "+", "amber\0birch", "\ud800", "amber\udfff", "\x00", "{}"],
    *["{amber}", "%s", "'; DROP TABLE chunks; --", "\\", "amber\n\nbirch", "\u202eamber"],
    *["a" * 100_000, "amber " * 17_000, "?" * 100_000, "the and of", "😀", "€", "∑"],
    *["\u0301", "１２", "ﬁ"],
]


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_queries_are_queries(index, query) -> None:
    for mode in MODES:
        hits = index.search(query, 3, mode=mode, fold=False)
        assert len(hits) <= 3
        if "amber" in query and mode != "dense":
            assert any("amber" in hit.chunk.text for hit in hits)


@given(st.text(st.characters(), max_size=40))
@hypothesis_settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_text_is_a_query(index, query) -> None:
    for mode in MODES:
        for hit in index.search(query, 3, mode=mode, fold=False):
            assert np.isfinite(hit.score)


@pytest.mark.parametrize("query", ["", " \n\t", "?!", "...", "\0", "—", "\u200b", "\ud800"])
def test_what_says_nothing_finds_nothing(index, query) -> None:
    for mode in MODES:
        assert (
            index.search(query, mode=mode, embed=lambda _: pytest.fail("embedded"), fold=False)
            == []
        )


def test_symbols_are_left_to_the_dense_side(tmp_path) -> None:
    meanings = {"😀 smile": [1.0, 0.0], "€ money": [0.0, 1.0]}

    class Symbols(FakeEmbedder):
        def embed_inputs(self, inputs):
            vectors = np.zeros((len(inputs), 2), np.float32)
            for row, text in zip(vectors, inputs, strict=True):
                row[:] = next((v for name, v in meanings.items() if name[0] in text), [0.6, 0.8])
            return vectors

    with Index.open_or_create(tmp_path / "i", Symbols(2)) as index:
        index.add(Document(text[2:], "txt", (Page(None, text),)) for text in meanings)
        for mode in ("hybrid", "dense"):
            assert index.search("😀", 1, mode=mode, fold=False)[0].chunk.path == "smile"
            assert index.search("€", 1, mode=mode, fold=False)[0].chunk.path == "money"
        assert index.search("€", mode="keyword", fold=False) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "at least 1; it is 0"),
        ({"k": -3}, "at least 1; it is -3"),
        ({"mode": "fuzzy"}, "unknown mode 'fuzzy': use hybrid, dense, keyword"),
        ({"where": {"page": {"near": 3}}}, "near"),
    ],
)
def test_impossible_searches(index, tmp_path, arguments, message) -> None:
    with Index.open_or_create(tmp_path / "empty", FakeEmbedder()) as empty:
        for one in (index, empty):
            with pytest.raises(UsageError, match=message):
                one.search("amber", **arguments, fold=False)


def test_search_by_vector(index) -> None:
    vector = index.embed_query("mesa")
    one, other = (
        index.search_by_vector(vector, 9),
        index.search("mesa", 9, mode="dense", fold=False),
    )
    assert [(h.chunk.id, h.score) for h in one] == [(h.chunk.id, h.score) for h in other]
    with pytest.raises(UsageError, match="64"):
        index.search_by_vector(np.ones(3, np.float32))


def test_chunks_may_vanish_during_a_search(tmp_path, monkeypatch) -> None:
    """Documents are removed between the two sides: the search is of the state before."""
    with filled(tmp_path / "i", 20) as index:
        expected = index.search("amber", 500, fold=False)
        keyword = Snapshot.keyword

        def deleting(self, *given, **options):
            index.remove(["a/0.txt", "b/1.txt"])
            return keyword(self, *given, **options)

        monkeypatch.setattr(Snapshot, "keyword", deleting)
        assert index.search("amber", 500, fold=False) == expected
        monkeypatch.undo()
        hits = index.search("amber", 500, fold=False)
        assert {row.path for row in index.documents()} >= {hit.chunk.path for hit in hits}
        assert len(hits) == index.info()["chunks"] < len(expected)


@pytest.mark.parametrize(
    "options", [{}, {"feedback": False}, {"by_file": True}, {"diversity": 0.5, "context": 1}]
)
def test_the_only_match_of_a_filter_appears_between_the_two_sides(
    tmp_path, monkeypatch, options
) -> None:
    with filled(tmp_path / "i", 20) as index:
        dense = Snapshot.dense

        def adding(self, *given, **asked):
            found = dense(self, *given, **asked)
            monkeypatch.undo()  # what is added asks, too
            index.add([document(99, np.random.default_rng(1), "only/match.txt")])
            return found

        monkeypatch.setattr(Snapshot, "dense", adding)
        where = {"path": "only/match.txt"}
        assert index.search("amber mesa", 5, where=where, **options) == []
        assert index.search("amber mesa", 5, where=where, **options) != []


def test_one_snapshot_is_one_state_for_all_that_is_asked(tmp_path) -> None:
    with filled(tmp_path / "i", 20) as index:
        hits = index.search("amber", 9, fold=False)
        told = index.explain("amber", hits[0])
        generation, rows = index.generation, index.documents()
        not_there = index.why_not("amber", "only/match.txt")
        with index.snapshot() as now:
            index.remove([hits[0].chunk.path])
            index.add([document(99, np.random.default_rng(1), "only/match.txt")])
            assert index.search("amber", 9, fold=False) == hits
            assert index.explain("amber", hits[0]).terms == told.terms
            assert index.why_not("amber", "only/match.txt") == not_there
            assert (index.generation, index.documents()) == (generation, rows)
            assert [chunk.text for chunk in index.chunks(hits[0].chunk.document_id)]
            with index.snapshot() as inner:
                assert inner is now
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.append(index.generation))
            thread.start()
            thread.join()
            assert seen[0] > generation
        assert index.generation > generation
        assert hits[0].chunk.path not in {hit.chunk.path for hit in index.search("amber", 99)}


CHANGING = """
import sys
import numpy as np
from retriever.index import Index
from retriever.searching import match
from tests.fakes import FakeEmbedder
from tests.searching.test_hybrid import document
match.general_questions = lambda: ["amber"]  # so that it writes more often
with Index.open(sys.argv[1], FakeEmbedder(64)) as index:
    print("ready", flush=True)
    for number in range(100_000):
        index.add([document(99, np.random.default_rng(1), "only/match.txt")])
        index.remove(["only/match.txt"])
        print(number, flush=True)
"""


def test_a_filtered_search_beside_a_writing_process(tmp_path) -> None:
    """Another process adds and removes the one document that matches; each search sees one."""
    folder = tmp_path / "i"
    with filled(folder, 20) as index:
        index.add([document(99, np.random.default_rng(1), "only/match.txt")])
        where = {"path": "only/match.txt"}
        there = index.search("amber mesa", 3, where=where, fold=False)
        (hit,) = {(hit.chunk.path, hit.chunk.text) for hit in there[:1]}
        index.remove(["only/match.txt"])
        process = subprocess.Popen(
            [sys.executable, "-c", CHANGING, str(folder)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            sizes = set()
            for number in range(4000):
                with index.snapshot() as now:
                    listed = len(now.catalog.documents(Filter.parse(where)))
                    hits = index.search("amber mesa", 3, where=where, fold=False)
                    assert bool(hits) == bool(listed), number
                    for one in hits[:1]:
                        assert (one.chunk.path, one.chunk.text) == hit
                        assert index.explain("amber mesa", one).score == pytest.approx(one.score)
                index.search("amber mesa", 3, where=where)
                sizes.add(len(hits))
                if len(sizes) > 1 and number > 60:
                    break
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        assert len(sizes) > 1  # it was seen there, and not there


def test_many_threads_search_while_documents_come(tmp_path) -> None:
    with filled(tmp_path / "i", 20) as index:
        wrong: list[object] = []
        stop = threading.Event()

        def searching() -> None:
            while not stop.is_set():
                try:
                    hits = index.search("amber mesa", 10, fold=False)
                    wrong.extend(hit for hit in hits if not hit.chunk.text)
                    if len(hits) != 10:
                        wrong.append(len(hits))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is shown below
                    wrong.append(error)

        threads = [threading.Thread(target=searching) for _ in range(3)]
        for thread in threads:
            thread.start()
        rng = np.random.default_rng(9)
        try:
            for number in range(20, 26):
                index.add([document(number, rng)])
        finally:  # threads that search on would slow down every test to come
            stop.set()
            for thread in threads:
                thread.join()
        assert wrong == []
