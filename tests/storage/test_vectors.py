"""Vector stores against NumPy: the same ids, the same scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.storage.vectors import faiss as faiss_store
from retriever.storage.vectors.faiss import FaissStore, build, factory_for, make_index, read
from retriever.storage.vectors.layered import LayeredStore, Tail, within
from retriever.types import IndexStateError, UsageError
from tests.storage.exact_store import ExactStore

VectorStore = ExactStore | FaissStore | LayeredStore

DIM = 24


def vectors_of(count: int, seed: int = 0, dimension: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def blocks(ids: np.ndarray, vectors: np.ndarray, size: int = 50):
    for start in range(0, len(ids), size):
        yield ids[start : start + size], vectors[start : start + size]


def fetch_from(ids: np.ndarray, vectors: np.ndarray):
    def fetch(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        present = wanted[np.isin(wanted, ids)]
        return present, vectors[np.searchsorted(ids, present)]

    return fetch


def exact(ids, vectors, tmp_path) -> VectorStore:
    return ExactStore(ids, vectors)


def flat(ids, vectors, tmp_path) -> VectorStore:
    return build(blocks(ids, vectors), vectors.shape[1])


def flat_from_file(ids, vectors, tmp_path) -> VectorStore:
    path = tmp_path / "flat.faiss"
    _, sha256 = flat(ids, vectors, tmp_path).write(path)
    return read(path, sha256, "Flat")


def layered(ids, vectors, tmp_path) -> VectorStore:
    cut = len(ids) // 2
    tail = Tail.empty(vectors.shape[1])
    for some, block in blocks(ids[cut:], vectors[cut:], 7):
        tail = tail.extended(some, block)
    base = build(blocks(ids[:cut], vectors[:cut]), vectors.shape[1])
    return LayeredStore(base, tail, np.empty(0, np.int64))


EXACT = [exact, flat, flat_from_file, layered]


def check(store: VectorStore, ids, vectors, query, k: int, allowed=None) -> None:
    """Assert the top k by (score, id), scores to 1e-5 of the largest norms."""
    found, scores = store.search(query, k, allowed)
    product = vectors.astype(np.float64) @ query.astype(np.float64)
    kept = np.ones(len(ids), bool) if allowed is None else np.isin(ids, allowed)
    assert found.dtype == np.int64
    assert scores.dtype == np.float32
    assert len(found) == len(scores) == min(k, int(kept.sum()))
    by_id = dict(zip(ids[kept].tolist(), product[kept], strict=True))
    order = sorted(by_id, key=lambda id_: (-np.float32(by_id[id_]), id_))[:k]
    assert found.tolist() == order
    np.testing.assert_allclose(scores, [by_id[id_] for id_ in order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", EXACT)
def test_exact_kinds_are_brute_force(make, tmp_path: Path) -> None:
    vectors = vectors_of(300)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[50:90] = vectors[50]  # twins, more than any slack
    vectors[200] = 0
    ids = np.sort(np.random.default_rng(1).choice(10**12, 300, replace=False))
    store = make(ids, vectors, tmp_path)
    assert len(store) == 300
    some = np.random.default_rng(2).permutation(ids)[:120]
    for query in (vectors[50], vectors_of(1, 3)[0], np.zeros(DIM, np.float32)):
        for k in (1, 5, 45, 299, 300, 1000):
            check(store, ids, vectors, query, k)
            check(store, ids, vectors, query, k, np.append(some, [5, 5]))
        check(store, ids, vectors, query, 9, ids[7:8])
        check(store, ids, vectors, query, 9, np.array([], np.int64))
    assert len(store.search(vectors[0], 0)[0]) == 0


@pytest.mark.parametrize("make", [exact, flat, flat_from_file])
def test_lengths_of_all_sizes(make, tmp_path: Path) -> None:
    vectors = vectors_of(80) * np.geomspace(1e-3, 1e4, 80, dtype=np.float32)[:, None]
    vectors[11] = vectors[60]
    ids = np.arange(80) * 3
    store = make(ids, vectors, tmp_path)
    for k in (1, 10, 80):
        check(store, ids, vectors, vectors[60], k)


@pytest.mark.parametrize("make", EXACT)
def test_empty_and_single(make, tmp_path: Path) -> None:
    for count in (0, 1):
        vectors, ids = vectors_of(count), np.arange(count) + 5
        store = make(ids, vectors, tmp_path)
        assert len(store) == count
        check(store, ids, vectors, vectors_of(1, 1)[0], 3)


@pytest.mark.parametrize("make", EXACT)
def test_bad_queries_are_refused(make, tmp_path: Path) -> None:
    store = make(np.arange(9), vectors_of(9), tmp_path)
    with pytest.raises(UsageError, match=f"{DIM} dimensions"):
        store.search(np.ones(DIM + 1, np.float32), 3)
    with pytest.raises(UsageError, match="NaN"):
        store.search(np.full(DIM, np.inf, np.float32), 3)


@pytest.mark.parametrize("make", EXACT)
def test_bad_vectors_are_refused(make, tmp_path: Path) -> None:
    vectors = vectors_of(9)
    vectors[8, 3] = np.nan
    with pytest.raises(UsageError, match="NaN"):
        make(np.arange(9), vectors, tmp_path)
    with pytest.raises(UsageError, match="id"):
        make(np.zeros(9, np.int64), vectors_of(9), tmp_path)


CLUSTERS = vectors_of(40, 9, 32)
BIG = (CLUSTERS[np.arange(3000) % 40] + 0.5 * vectors_of(3000, 4, 32)).astype(np.float32)
BIG /= np.linalg.norm(BIG, axis=1, keepdims=True)
BIG_IDS = np.arange(3000) * 2 + 1


@pytest.mark.parametrize(
    ("factory", "recall"),
    [
        ("SQ8", 1.0),
        ("RaBitQ2", 1.0),
        ("HNSW16,Flat", 0.99),
        ("HNSW16,SQ8", 0.99),
        ("IVF32,SQ8", 0.95),
        ("SQ4", 0.98),
    ],
)
@pytest.mark.parametrize("share", [None, 0.9, 0.05, 0.002])
def test_approximate_kinds_recall_what_brute_force_finds(
    factory: str, recall: float, share: float | None, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 20)
    fetch = fetch_from(BIG_IDS, BIG)
    built = build(blocks(BIG_IDS, BIG, 700), 32, factory, training=BIG, fetch=fetch)
    assert built.kind == factory
    _, sha256 = built.write(tmp_path / "x.faiss")
    reference = ExactStore(BIG_IDS, BIG)
    rng = np.random.default_rng(5)
    for store in (built, read(tmp_path / "x.faiss", sha256, factory, fetch)):
        hits = 0
        for query in vectors_of(20, 6, 32) + CLUSTERS[:20]:
            allowed = None if share is None else rng.permutation(BIG_IDS)[: int(share * 3000)]
            ids, scores = store.search(query, 10, allowed)
            expected, best = reference.search(query, 10, allowed)
            hits += len(np.intersect1d(ids, expected)) / len(expected)
            same = np.isin(ids, expected)
            np.testing.assert_allclose(
                scores[same], BIG[(ids[same] - 1) // 2] @ query, rtol=1e-5, atol=1e-5
            )
            assert len(ids) == len(expected)
            assert (np.diff(scores) <= 0).all()
            assert scores[0] <= best[0]
        assert hits / 20 >= (1.0 if share == 0.002 else recall)


@pytest.mark.parametrize("factory", ["PQ8x4fs", "RaBitQ", "NSG16"])
def test_kinds_without_filters_fall_back_to_exact_search(factory: str) -> None:
    ids, vectors = BIG_IDS[:600], BIG[:600]
    fetch = fetch_from(ids, vectors)
    store = build(blocks(ids, vectors, 600), 32, factory, training=vectors, fetch=fetch)
    store_narrow = faiss_store.MAX_BRUTE_FORCE
    assert store_narrow > 600  # fewer are searched by brute force anyway
    check(store, ids, vectors, BIG[3], 10, ids[::2])


def test_a_filter_that_a_kind_refuses_or_ignores_still_holds(monkeypatch) -> None:
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 5)
    ids, vectors = BIG_IDS[:600], BIG[:600]
    for factory in ("PQ8x4fs", "SQ8,RFlat"):
        fetch = fetch_from(ids, vectors)
        store = build(blocks(ids, vectors, 600), 32, factory, training=vectors, fetch=fetch)
        check(store, ids, vectors, BIG[3], 10, ids[::2])


def test_a_graph_walk_that_ends_too_soon_is_followed_by_a_scan_of_the_codes(monkeypatch) -> None:
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 5)
    monkeypatch.setattr(faiss_store, "_SPARSE", 0.0)
    store = build(blocks(BIG_IDS, BIG, 600), 32, "HNSW4,SQ8", training=BIG)
    walk, asked = store._search_coarse, []

    def short(*given):
        asked.append(given[-1])
        ids, scores = walk(*given)
        return (ids, scores) if given[-1] else (ids[:3], scores[:3])

    def sparse(*given, sparse=None):
        return short(*given, *([] if sparse is None else [sparse]))

    monkeypatch.setattr(store, "_search_coarse", sparse)
    monkeypatch.setattr(store, "_scan", None)
    found, _ = store.search(BIG[7], 10, BIG_IDS[::3], fetch=fetch_from(BIG_IDS, BIG))
    expected, _ = ExactStore(BIG_IDS, BIG).search(BIG[7], 10, BIG_IDS[::3])
    assert found.tolist() == expected.tolist()
    assert asked == [False, True]


def test_gone_vectors_are_left_out_of_the_rescoring(monkeypatch) -> None:
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 5)
    store = build(blocks(BIG_IDS, BIG), 32, "SQ8", training=BIG)
    kept = BIG_IDS[1::2]
    found, _ = store.search(BIG[0], 10, fetch=fetch_from(kept, BIG[1::2]))
    assert np.isin(found, kept).all()
    assert len(found) == 10


def test_without_exact_vectors_the_stored_ones_are_used() -> None:
    store = build(blocks(BIG_IDS, BIG), 32, "SQ8", training=BIG)
    found, scores = store.search(BIG[5], 1)
    assert found.tolist() == [BIG_IDS[5]]
    assert scores[0] == pytest.approx(1, abs=0.02)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    _, sha256 = build(blocks(np.arange(9), vectors_of(9)), DIM).write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.faiss"]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IndexStateError, match="damaged"):
        read(path, sha256, "Flat")
    with pytest.raises(IndexStateError, match="cannot be read"):
        read(tmp_path / "missing", sha256, "Flat")


@pytest.mark.parametrize("factory", ["", "Nonsense", "PQ7", "IVF-3,Flat"])
def test_unknown_factories_are_refused(factory: str) -> None:
    with pytest.raises(UsageError, match="not a FAISS index"):
        make_index(32, factory)


def test_the_kind_of_index_depends_on_size() -> None:
    assert [factory_for(n) for n in (0, 49_999, 50_000)] == ["Flat", "Flat", "RaBitQ2"]


def test_exact_vectors_are_those_given() -> None:
    store = build(blocks(BIG_IDS, BIG), 32)
    np.testing.assert_array_equal(store.exact_vectors, BIG)
    assert isinstance(store, FaissStore)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("arx"), st.integers(0, 5)), max_size=20))
def test_a_layered_store_after_any_changes_is_brute_force(changes) -> None:
    """a: add vectors; r: remove some; x: keep the store, and check it at the end."""
    pool = vectors_of(200, 8)
    base = build(blocks(np.arange(10), pool[:10]), DIM)
    store, live, count = (
        LayeredStore(base, Tail.empty(DIM), np.empty(0, np.int64)),
        set(range(10)),
        10,
    )
    kept = []
    for what, number in changes:
        if what == "a":
            ids = np.arange(count, count + number)
            store, count = store.extended(ids, pool[ids]), count + number
            live = live | set(ids.tolist())
        elif what == "r":
            gone = sorted(live)[number :: number + 2]
            store, live = store.without(np.array([*gone, 9999])), live - set(gone)
        else:
            kept.append((store, live))
    for old, alive in [*kept, (store, live)]:
        ids = np.array(sorted(alive), dtype=np.int64)
        assert len(old) == len(ids)
        check(old, ids, pool[ids], pool[150], 6)
        check(old, ids, pool[ids], pool[150], 6, np.arange(0, 200, 3))
        np.testing.assert_allclose(
            np.sort(old.all_scores(pool[150])), np.sort(pool[ids] @ pool[150]), atol=1e-5
        )


def test_two_tails_from_one_do_not_disturb_each_other() -> None:
    pool = vectors_of(30)
    first = Tail.empty(DIM).extended(np.arange(10), pool[:10])
    left = first.extended(np.arange(10, 15), pool[10:15])
    right = first.extended(np.arange(20, 25), pool[20:25])
    np.testing.assert_array_equal(left.vectors, pool[:15])
    np.testing.assert_array_equal(right.vectors, pool[[*range(10), *range(20, 25)]])
    np.testing.assert_array_equal(first.ids, np.arange(10))


def test_only_the_vectors_that_may_matter_are_fetched() -> None:
    """The top k by exact scores are found from rough scores of any order within their error."""
    ids, vectors = np.arange(400), vectors_of(400, seed=4)
    query = vectors_of(1, seed=5)[0]
    scores = vectors @ query
    fetched: list[int] = []

    def fetch(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fetched.extend(wanted.tolist())
        return wanted, vectors[wanted]

    for noise, most in ((0.0, 40), (0.01, 200), (0.3, 400)):
        fetched.clear()
        rough = scores + np.random.default_rng(6).uniform(-noise, noise, 400).astype(np.float32)
        order = np.argsort(-rough)
        found, _ = faiss_store._rescore(ids[order], rough[order], query, 20, fetch)
        assert found.tolist() == np.argsort(-scores)[:20].tolist()
        assert len(fetched) == len(set(fetched)) <= most


def test_a_store_gives_back_its_vectors() -> None:
    ids, vectors = np.arange(0, 120, 3), vectors_of(40, seed=7)
    base = build(blocks(ids[:25], vectors[:25]), DIM)
    tail = Tail.empty(DIM).extended(ids[25:], vectors[25:])
    chosen = np.array([33, 1, 28, 0, 24])
    for store in (
        LayeredStore(base, tail, np.array([3])),
        LayeredStore(None, Tail.empty(DIM).extended(ids, vectors), np.empty(0, np.int64)),
    ):
        assert store.is_exact
        np.testing.assert_array_equal(store.vectors(ids[chosen]), vectors[chosen])


@pytest.mark.parametrize("allowed", [[], [3], [0, 5, 9, 99], [12, 4, 4], range(20)])
def test_the_allowed_of_ascending_ids_are_those_of_membership(allowed) -> None:
    ids = np.array([1, 3, 4, 5, 9, 12])
    for some in (ids, ids[:0]):
        mask = within(some, np.array(allowed, np.int64))
        assert mask is not None
        assert mask.tolist() == [int(id_) in set(allowed) for id_ in some]
    assert within(ids, None) is None
