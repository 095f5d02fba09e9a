"""Search in Milvus Lite against the embedded backend, which answers the same questions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from retriever.searching.hybrid import search
from retriever.settings import ChunkSettings
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.milvus import passages as milvus_passages
from retriever.storage.backends.milvus import weights
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.milvus.client import SEARCH_TRIES, Connection
from retriever.storage.backends.milvus.fields import text_field
from retriever.storage.backends.milvus.filters import FilterExpressions, say
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.statistics import MAX_FULL, DenseStatistics
from retriever.storage.backends.milvus.terms import Terms
from retriever.storage.backends.snapshot import Snapshot
from retriever.storage.filters import Comparison, Filter, chunk_fields
from retriever.storage.records import Expansion, NewChunk, NewDocument, TermQuery
from retriever.types import DocumentRow, IndexStateError, Page, Span, UsageError, document_id
from tests.storage.backend_contract import DIM, put, settings, vector_of
from tests.storage.milvus_index import opened, shared_index
from tests.storage.test_catalog import documents, filters

WORDS = [
    "tea",
    "pot",
    "green",
    "cup",
    "water",
    "multi-factor",
    "authentication",
    "control",
    "ISO",
    "27001",
    "passwords",
    "policy",
    "access",
    "user",
    "key",
    "pump",
    "valve",
    "über",
    "naïve",
    "100%",
    "a_b",
]
GERMAN = [
    "das",
    "Verfassungsgericht",
    "entscheidet",
    "über",
    "die",
    "Verfassung",
    "und",
    "das",
    "Gericht",
    "ist",
    "nicht",
    "da",
    "und",
    "der",
    "Bund",
    "hat",
    "ein",
    "Amtsgericht",
    "mit",
    "vielen",
    "Richtern",
]
QUERIES = (
    "green tea",
    "tea tea pot",
    "multi-factor authentication",
    "ISO 27001 polcy",
    "Gericht und Verfassung",
    "Bundesverfassungsgericht",
    "autentication of users",
    "100% a_b",
    "the",
    "zzzz",
)
CONDITIONS: tuple[dict[str, Any] | None, ...] = (
    None,
    {"page": {"gte": 3}},
    {"path": {"glob": "f1/*.txt"}},
    {"$text": "green tea"},
    {"$not": {"path": {"glob": "f1/**"}}, "author": "Ada"},
    {"date": {"lt": "2024-04"}},
)
MIXED: tuple[dict[str, Any], ...] = (
    *({"mixed": value} for value in ("text", 12, "12", 12.5, True, "2024-03-07", "2024", 2024)),
    {},
    {"mixed": float("inf")},
    {"mixed": float("nan"), 'odd "name': 1},
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedBackend, Any]]:
    """The same documents in both backends."""
    folder = tmp_path_factory.mktemp("both")
    with (
        EmbeddedBackend.open(folder / "index", create=True) as embedded,
        shared_index(folder) as address,
        opened(address) as milvus,
    ):
        for backend in (embedded, milvus):
            _fill(backend)
        yield embedded, milvus


def _fill(backend: Any) -> None:
    rng = np.random.default_rng(3)
    backend.bind_embedder(settings(), ChunkSettings(64, 0))
    for at in range(14):
        words = GERMAN if at % 4 == 3 else WORDS
        texts = [" ".join(rng.choice(words, rng.integers(4, 40))) for _ in range(5)]
        texts += ["the same words here"] * (at < 3)
        facts = {
            "title": ("", "Green tea", "Schrift", "K", "\u212a")[at % 5],
            "author": ("", "Ada", "Ke\u0301")[at % 3],
            "date": ("", "2024-03", "2024-05-01T10:00", "2023")[at % 4],
            "metadata": {"year": 2020 + at % 3, "kind": "a"} | MIXED[at % len(MIXED)],
        }
        put(backend, f"f{at % 3}/d{at}.txt", *texts, **facts)
    row = DocumentRow(document_id("docs", "new.md"), "docs", "/root", "new.md", "markdown")
    pages = [Page(None, "green tea without a vector"), Page(None, "a long one " + "tea " * 30_000)]
    backend.upsert(
        row, pages, [NewChunk(at, Span(0, len(p.text)), "") for at, p in enumerate(pages)]
    )
    backend.finish({})


def answers(both: tuple[Any, Any], ask: Callable[[Snapshot], Any]) -> tuple[Any, Any]:
    found = []
    for backend in both:
        with backend.snapshot() as now:
            found.append(ask(now))
    return found[0], found[1]


def check_same(one: Any, other: Any) -> None:
    assert one.ids == other.ids
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
    assert (one.mean, one.std) == pytest.approx((other.mean, other.std), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("spec", CONDITIONS)
def test_the_nearest_are_the_same(both, spec) -> None:
    where = None if spec is None else Filter.parse(spec)
    for text, k in (("green tea", 1), ("the same words here", 2), ("pot", 7), ("cup", 500)):
        query = vector_of(text)
        one, other = answers(both, lambda now, q=query, n=k: now.dense(q, n, where))
        check_same(one, other)
        assert one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("spec", CONDITIONS)
def test_keyword_scores_are_the_same(both, spec) -> None:
    where = None if spec is None else Filter.parse(spec)
    expansion = Expansion(0.7, (("pot", 0.4), ("valv", 0.2), ("green tea", 0.3)))
    for text in QUERIES:
        for k, expanded in ((1, None), (5, expansion), (500, None)):
            one, other = answers(
                both,
                lambda now, t=text, n=k, e=expanded: now.keyword(
                    t, n, where, tolerant=True, expansion=e
                ),
            )
            check_same(one, other)


def test_single_scores_vectors_and_terms_are_the_same(both) -> None:
    def ask(now: Snapshot) -> Any:
        ids = [*now.keyword("tea pot", 9).ids, "0" * 16, "no id", *now.dense(vector_of("x"), 9).ids]
        scores = [now.keyword_scores(text, ids, tolerant=True) for text in QUERIES]
        cosines = now.dense_scores(vector_of("tea"), ids)
        passages = now.passages
        facts = ids, passages.terms(ids), passages.without_vector(ids), passages.count_vectors()
        return (facts, passages.count()), (*scores, cosines, passages.vectors(ids))

    one, other = answers(both, ask)
    assert one[0] == other[0]
    for mine, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)


def test_an_explanation_is_the_same(both) -> None:
    def ask(now: Snapshot) -> Any:
        (best,) = now.keyword("multi-factor tea", 1).ids
        score = now.explain_bm25("multi-factor tea polcy", best, tolerant=True)
        words = [(word.terms, word.documents, word.times, word.written) for word in score.words]
        return words, score.length, score.passages, round(score.score, 9), round(score.average, 9)

    one, other = answers(both, ask)
    assert one == other


@pytest.mark.parametrize("spec", [None, {"page": {"gte": 2}}])
def test_hybrid_search_with_feedback_gives_the_same_hits(both, spec) -> None:
    where = None if spec is None else Filter.parse(spec)
    for text in QUERIES:
        one, other = answers(
            both,
            lambda now, t=text: search(
                now, t, vector_of, k=10, mode="hybrid", where=where, tolerant=True, feedback=True
            ),
        )
        assert [hit.chunk for hit in one] == [hit.chunk for hit in other]
        np.testing.assert_allclose([hit.score for hit in one], [hit.score for hit in other], 1e-5)
        assert [hit.embedded for hit in one] == [hit.embedded for hit in other]


def test_the_vocabulary_is_the_same(both) -> None:
    def ask(now: Snapshot) -> Any:
        catalog = now.catalog
        terms = [
            "tea",
            "pot",
            "green tea",
            "multi factor",
            "a_b",
            "nowhere",
            "gericht\u00f8de",
            "iso 27001",
        ]
        longer = {stem: catalog.longer_words(stem, "de") for stem in ("gericht", "verfass", "x")}
        first = [catalog.first_with(term) for term in ("tea", "gericht\u00f8de", "nowhere")]
        return (
            catalog.languages(), catalog.language_counts(),
            dict(catalog.terms_beginning("t")), longer,
            [chunk and chunk.id for chunk in first],
            catalog.terms_from("p", 10**6), catalog.terms_from("p", 3)[1],
            len(catalog.passages_with("tea", 4)), catalog.frequent_terms(10**6),
            catalog.lengths("0" * 16)[0], now.passages.document_frequencies(terms),
        )  # fmt: skip

    one, other = answers(both, ask)
    assert one == other


def test_a_search_widens_until_nothing_unseen_can_be_better(both, monkeypatch) -> None:
    monkeypatch.setattr(milvus_passages, "MIN_CANDIDATES", 2)
    searches = _counted(monkeypatch, "search")
    words = (((("tea", 0.6),), (("pot", 0.6),)), ((("green tea", 2.0),),), ((("cup", 1.0),),))
    one, other = answers(both, lambda now: now.passages.keyword(TermQuery(words), 1))
    assert (one.ids, one.scores.tolist()) == (other.ids, pytest.approx(other.scores.tolist()))
    assert len(searches) > 1


def test_weights_of_another_mean_length_change_no_score(both) -> None:
    _, milvus = both
    with milvus.reading() as reader:
        records = Records(reader.collections.connection, reader.collections.index)
    before = weights.averages(records)
    try:  # as if half of the weights were made with a mean that is far off
        records.put([Record(weights.AVERAGE, json.dumps([0.4 * before[0], before[0]]))])
        milvus.set_match_scale(None)  # begins a generation
        for text in QUERIES:
            one, other = answers(both, lambda now, t=text: now.keyword(t, 3, tolerant=True))
            assert one.ids == other.ids
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
    finally:
        records.put([Record(weights.AVERAGE, json.dumps(before))])
        milvus.set_match_scale(None)


def test_statistics_are_close_where_not_all_matches_are_seen(both, monkeypatch) -> None:
    _, milvus = both
    monkeypatch.setattr(milvus_passages, "MIN_CANDIDATES", 4)
    milvus.set_match_scale(None)
    for text in ("tea pot green cup water", "multi-factor user key", "policy"):
        one, other = answers(both, lambda now, t=text: now.keyword(t, 2))
        assert other.std == pytest.approx(one.std, rel=0.1)
        assert other.mean == pytest.approx(one.mean, rel=0.1)
    milvus.set_match_scale(None)


@pytest.mark.parametrize("dimension", [6, MAX_FULL + 1])
def test_dense_statistics_follow_from_the_stored_moments(dimension: int) -> None:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((80, dimension)).astype(np.float32)
    vectors[:, :4] *= 9
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = DenseStatistics.of([vectors[:50], vectors[50:]], dimension)
    for query in (vectors[0], vectors[1:3].mean(axis=0)):
        unit = query / np.linalg.norm(query)
        scores = vectors.astype(float) @ unit
        exact = dimension <= MAX_FULL
        mean, std = found.statistics(unit)
        assert mean == pytest.approx(float(scores.mean()), abs=1e-6)
        assert std == pytest.approx(float(scores.std()), rel=1e-4 if exact else 0.1)


def test_a_lent_vector_is_found(both) -> None:
    def ask(now: Snapshot) -> Any:
        ids = sorted(now.passages.without_vector(now.keyword("vector long tea", 200).ids))
        now.passages.lend({id_: vector_of("lent") for id_ in ids})
        none = now.passages.without_vector(ids), now.passages.count_vectors()
        where = Filter.parse({"path": "new.md"})
        found = now.dense(vector_of("lent"), 3), now.dense(vector_of("lent"), 3, where)
        return ids, none, [(one.ids, one.scores.tolist()) for one in found]

    one, other = answers(both, ask)
    assert len(one[0]) == 2
    assert one == other


def test_impossible_queries_are_refused(both) -> None:
    _, milvus = both
    with milvus.snapshot() as now:
        for query in (np.ones(DIM + 1, np.float32), np.full(DIM, np.nan, np.float32)):
            with pytest.raises(UsageError):
                now.passages.dense(query, 3)


def _counted(monkeypatch: pytest.MonkeyPatch, name: str = "_tried") -> list[Any]:
    calls: list[Any] = []
    real = getattr(Connection, name)

    def counted(self: Connection, *args: Any, **options: Any) -> Any:
        calls.append(args[-1])
        return real(self, *args, **options)

    monkeypatch.setattr(Connection, name, counted)
    return calls


def test_a_hybrid_search_takes_few_calls(both, monkeypatch) -> None:
    _, milvus = both

    def ask(text: str) -> None:
        with milvus.snapshot() as now:
            search(now, text, vector_of, k=10, mode="hybrid", tolerant=True, feedback=True)

    ask("green tea")  # what is kept for the generation
    calls = _counted(monkeypatch)
    for text in ("water pump key", "cup control", "Verfassungsgericht entscheidet"):
        calls.clear()
        ask(text)
        assert len(calls) <= 12, calls


# Filters


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusBackend]:
    with (
        shared_index(tmp_path_factory.mktemp("filtered")) as address,
        opened(address) as milvus,
    ):
        milvus.bind_embedder(settings(), ChunkSettings(64, 0))
        yield milvus


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents, st.lists(filters, min_size=4, max_size=8))
def test_an_expression_selects_what_matches_says(filtered: MilvusBackend, specs, wheres) -> None:
    with filtered.reading() as reader:
        filtered.delete([row.id for row in reader.documents()])
    filtered.upsert_many([_document(at, spec) for at, spec in enumerate(specs)])
    check_filters(filtered, wheres)


def _document(at: int, spec: dict[str, Any]) -> NewDocument:
    facts = {name: value for name, value in spec.items() if name != "pages"}
    row = DocumentRow(f"d{at}", root="", **facts)
    pages = [Page(page, f"text {number} green") for number, page in enumerate(spec["pages"])]
    chunks = [NewChunk(number, Span(0, 12), "") for number in range(len(pages))]
    return NewDocument(row, pages, chunks)


def check_filters(backend: MilvusBackend, wheres: list[Filter]) -> None:
    with backend.reading() as reader:
        chunks = [(row, one) for row in reader.documents() for one in reader.chunks(row.id)]
        known = FilterExpressions(reader, Terms(reader))
        for where in wheres:
            expression = known.expression(where)
            ids = reader.collections.all(expression, ("key",))
            expected = {one.id for row, one in chunks if where.matches(chunk_fields(row, one))}
            assert {milvus_passages.id_of(row["key"]) for row in ids} == expected, expression


SPECS: tuple[dict[str, Any], ...] = (
    {},
    {"$not": {}},
    {"path": "f0/d0.txt"},
    {"path": ["f0/d0.txt", 'a"\\\n'], "source": {"ne": "x"}},
    {"author": {"ne": "Ada"}},
    {"author": {"nin": ["Ada"]}},
    {"author": {"exists": False}},
    {"title": {"nin": []}},
    {"title": "Green tea"},
    {"page": {"gt": 2.5}},
    {"page": {"nin": [1, 2.5, 3]}},
    {"$not": {"page": {"gt": 2}}},
    {"page": {"lt": 1e300}},
    {"page": {"gt": 1e300}},
    {"page": 2.5},
    {"page": {"ne": 2.5}},
    {"page": {"exists": False}},
    {"date": {"gte": "2024"}},
    {"date": {"ne": "2024-03"}},
    {"date": {"in": ["2023", "2024-05-01"]}},
    {"date": {"nin": ["2023"]}},
    {"$not": {"date": {"lte": "2024-03"}}},
    {"date": {"exists": True}},
    {"date": {"gte": "2024-05-01T09:00+02:00"}},
    {"format": "txt"},
    {"format": {"ne": "md"}},
    {"format": ["pdf", ".TXT"]},
    {"$not": {"format": {"nin": ["markdown"]}}},
    {"format": "no word"},
    {"title": {"in": ["K", "\u212a"]}},
    {"author": "Ke\u0301"},
    {"year": 2021},
    {"$not": {"year": 2021}},
    {"year": {"gt": 2020}},
    {"year": {"in": [2020, 2022]}},
    {"year": {"nin": [2020, 7]}},
    {"year": {"exists": False}},
    {"mixed": 2024},
    {"mixed": {"lt": 2024}},
    {"mixed": {"ne": 12}},
    {"$not": {"mixed": {"gte": 12.5}}},
    {"mixed": "text"},
    {"mixed": {"ne": "text"}},
    {"mixed": {"nin": ["text", "other"]}},
    {"mixed": True},
    {"mixed": "2024-03"},
    {'odd "name': 1},
    {"kind": {"ne": "a"}},
    {"path": {"contains": "d1"}},
    {"chunk_id": {"gte": "8"}},
    {"$not": {"chunk_id": {"gt": "4"}}},
    {"chunk_id": {"lte": "zz"}},
    {"chunk_id": {"contains": "a0"}},
    {"document_id": ["x", document_id("docs", "f1/d1.txt")]},
    {"$text": "green tea"},
    {"$not": {"$text": "tea"}},
    {"$text": "multi-factor"},
    {"$text": "100% a_b"},
    {"$or": [{"page": 1}, {"path": {"glob": "**/d1.*"}}, {"$text": "pump"}]},
    {"$not": {"$or": [{"page": 1}, {"path": {"glob": "**/d1.*"}}, {"year": 2022}]}},
    {"path": {"glob": "f1/**"}},
    {"$not": {"path": {"glob": "f1/**"}}},
)


def test_common_conditions_select_what_matches_says(both) -> None:
    check_filters(both[1], [Filter.parse(spec) for spec in SPECS])


@pytest.mark.parametrize(
    "spec",
    [
        {"format": ["pdf", ".md"]}, {"path": "a/b.txt"}, {"path": {"glob": "reports/2024/**"}},
        {"author": {"ne": "K\u00f6rner"}}, {"title": {"exists": True}}, {"page": {"lt": 3.5}},
        {"date": {"gte": "2024"}}, {"document_id": "x"}, {"chunk_id": {"gt": "8"}},
        {"year": {"gte": 2020}}, {"team": {"nin": ["red", "blue"]}}, {"size": 7.5},
    ],
)  # fmt: skip
def test_common_conditions_need_no_list_of_documents(spec: dict[str, Any]) -> None:
    where = Filter.parse(spec)
    assert isinstance(where, Comparison)
    for negated in (False, True):
        assert "document in" not in say(where, negated=negated) or where.field == "document_id"


def test_fields_of_texts_are_equal_where_the_texts_are() -> None:
    rng = np.random.default_rng(3)
    letters = list("Kk\u212a;\u037eae\u0301\u00e9\u0300\u00c5\u212b")
    for _ in range(3000):
        one, other = ("".join(rng.choice(letters, rng.integers(0, 4))) for _ in range(2))
        where = Comparison("path", "eq", other)
        said = f'"{text_field(one)}"' in say(where, negated=False)
        assert said == where.matches({"path": one})


def test_injection_finds_nothing(both) -> None:
    attack = '" or key > 0 or path == "'
    wheres: list[dict[str, Any]] = [{"path": attack}, {attack: attack}, {"title": [attack]}]
    with both[1].snapshot() as now:
        for where in wheres:
            assert now.dense(vector_of("tea"), 3, Filter.parse(where)).ids == ()


# Losing Milvus


def test_a_search_without_a_server_gives_up_soon_with_a_sentence(both, monkeypatch) -> None:
    from pymilvus.exceptions import MilvusException

    _, milvus = both
    waits: list[float] = []
    with milvus.snapshot() as now:
        connection = now.passages._connection  # type: ignore[attr-defined]
        monkeypatch.setattr(connection, "_sleep", waits.append)

        def lost(*args: Any, **options: Any) -> Any:
            raise MilvusException(message="UNAVAILABLE: the connection was refused")

        monkeypatch.setattr(connection.client, "search", lost)
        start = time.monotonic()
        with pytest.raises(IndexStateError, match="cannot be reached") as told:
            now.dense(vector_of("tea"), 3)
    assert len(waits) == SEARCH_TRIES - 1
    assert "\n" not in str(told.value)
    assert time.monotonic() - start < 5
    with milvus.snapshot() as now:  # and it is found again
        monkeypatch.undo()
        assert now.dense(vector_of("tea"), 3).ids
