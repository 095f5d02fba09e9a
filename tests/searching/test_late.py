"""Search while passages have no vectors yet: brute force, the budget, what is said of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from retriever.explaining.summary import difference_summary, summarise
from retriever.explaining.why_not import Outcome
from retriever.index import Index
from retriever.indexing import vectors as vectors_module
from retriever.interface.terminal.explanations import explanation_lines
from retriever.interface.terminal.results import hit_lines
from retriever.searching import hybrid, late
from retriever.storage.backends import Snapshot
from retriever.types import Hit, ModelError, UsageError
from tests.fakes import FakeEmbedder

WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven"),
    *("inlet", "jetty", "karst", "ledge", "mesa"),
)
QUERIES = ("mesa", "amber mesa", "jetty ledge karst", "bark", "unknown")


class Dying(FakeEmbedder):
    """Fails after so many passages, so that the others have no vector."""

    def __init__(self, passages: int) -> None:
        super().__init__(64, same={"bark": "birch"})
        self.left = passages

    def embed_inputs(self, inputs):
        if inputs and inputs[0].startswith("passage: "):
            if self.left < len(inputs):
                raise ModelError("enough")
            self.left -= len(inputs)
        return super().embed_inputs(inputs)


def half_made(folder: Path, passages: int) -> Index:
    """An index of 90 passages in files of one, of which so many have a vector."""
    rng = np.random.default_rng(3)
    docs = folder / "docs"
    docs.mkdir()
    for number in range(90):
        text = " ".join(rng.choice(WORDS, size=rng.integers(3, 12)))
        (docs / f"{number}.txt").write_text(f"Note {number}: {text}.")
    with Index.open_or_create(folder / "index", Dying(passages)) as index:
        if passages:
            with pytest.raises(ModelError):
                index.sync(docs)
        else:
            index.sync(docs, keywords_only=True)
    return Index.open(folder / "index", FakeEmbedder(64, same={"bark": "birch"}))


@pytest.fixture(scope="module", params=[0, 1, 2, 40, 89])
def index(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors_module, "BATCH_TOKENS", 1)
        with half_made(tmp_path_factory.mktemp("late"), request.param) as opened:
            yield opened


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(hybrid, "CANDIDATES", 3)


def brute_force(index: Index, now: Snapshot, query: str) -> dict[str, float]:
    """Both sides' z-scores by the formula; 0 for meaning where there is no vector."""
    chunks = [c for row in now.catalog.documents() for c in now.catalog.chunks(row.id)]
    ids = [chunk.id for chunk in chunks]
    raw, means = index.embed_query(query).astype(np.float64), now.calibration
    unit = raw - means.query_mean
    unit /= np.linalg.norm(unit) or 1
    missing = now.passages.without_vector(ids)
    vectors = now.passages.vectors(ids).astype(np.float64)
    has = np.array([id_ not in missing for id_ in ids])
    cosines = vectors @ unit
    dense = np.zeros(len(ids))
    if has.any() and cosines[has].std() > 1e-12:
        dense[has] = (cosines[has] - cosines[has].mean()) / cosines[has].std()
    words = now.keyword_scores(query, ids).astype(np.float64)
    spread = words.std()
    keyword = (words - words.mean()) / spread if spread else np.zeros(len(ids))
    weight = now.dense_weight
    return {
        id_: weight * one + other
        for id_, one, other, own, score in zip(ids, dense, keyword, has, words, strict=True)
        if own or score > 0
    }


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("k", [1, 7, 200])
def test_a_search_in_between_is_brute_force(index, query, k) -> None:
    with index.snapshot() as now:
        expected = brute_force(index, now, query)
        hits = index.search(query, k, feedback=False, fold=False, embed_ms=0)
        assert len(hits) == min(k, len(expected))
        best = sorted(expected.values(), reverse=True)
        for hit, score in zip(hits, best, strict=False):
            assert hit.score == pytest.approx(expected[hit.chunk.id], abs=1e-4)
            assert hit.score == pytest.approx(score, abs=1e-4)
        missing = now.passages.without_vector([hit.chunk.id for hit in hits])
        assert {hit.chunk.id for hit in hits if not hit.embedded} == missing


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("embed_ms", [0, 10_000])
def test_explanations_add_up_in_between(index, embed_ms, feedback) -> None:
    how = {"embed_ms": embed_ms, "feedback": feedback}
    for hit in index.search("amber mesa", 12, fold=False, **how):
        told = index.explain("amber mesa", hit, **how)
        assert told.score == pytest.approx(hit.score, abs=1e-4)
        assert (told.dense is None) == (not hit.embedded)
        if not hit.embedded:
            assert sum(t.value for t in told.terms if t.name.startswith("dense")) == pytest.approx(
                0, abs=1e-5
            )


def test_the_best_by_words_are_embedded_on_the_spot_and_remembered(index, monkeypatch) -> None:
    monkeypatch.setattr(index, "_late", late.LateVectors())
    index.embedder.embedded.clear()
    with index.snapshot() as now:
        wanted = late.wanted_passages(now, "mesa", tolerant=True)
    hits = index.search("mesa", 90, embed_ms=60_000, fold=False)
    made = [text for text in index.embedder.embedded if text.startswith("passage: ")]
    assert len(made) == len(wanted) == len(set(made))
    assert all(hit.embedded for hit in hits if hit.chunk.id in wanted)
    index.embedder.embedded.clear()
    again = index.search("mesa", 90, embed_ms=60_000, fold=False)
    assert [(h.chunk.id, h.score) for h in again] == [(h.chunk.id, h.score) for h in hits]
    assert not [text for text in index.embedder.embedded if text.startswith("passage: ")]
    index.search("mesa", embed_ms=0)
    index.search("mesa", mode="keyword")
    assert not [text for text in index.embedder.embedded if text.startswith("passage: ")]


def test_lent_vectors_are_those_that_the_index_will_have(index) -> None:
    with index.snapshot() as now:
        ids = late.wanted_passages(now, "amber")
        late.lend_vectors(now, ids, index.embedder, late.LateVectors(), 60_000)
        assert not now.passages.without_vector(ids)
        chunks = now.catalog.get(ids)
        raw = index.embedder.embed_inputs(
            [index.embedder.passage_input(chunk.text, chunk.title) for chunk in chunks]
        )
        if ids:
            expected = now.calibration.passage(raw)
            np.testing.assert_allclose(now.passages.vectors(ids), expected, atol=1e-6)
            query = index.embed_query("amber")
            found = now.dense(query, 1000)
            assert len(found.ids) == now.passages.count_vectors()
            assert list(found.scores) == sorted(found.scores, reverse=True)
            np.testing.assert_allclose(
                now.dense_scores(query, list(found.ids)), found.scores, atol=1e-6
            )


def test_the_budget_is_kept_by_measuring(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Slow(FakeEmbedder):
        def embed_inputs(self, inputs):
            nonlocal now
            now += 0.1 * len(inputs)
            return super().embed_inputs(inputs)

    inputs = {f"key{number}": f"passage: word{number:02}" for number in range(40)}
    for seconds, count in ((0.01, 1), (0.35, 3), (1.0, 9), (60.0, 40)):
        now = 0.0
        memory = late.LateVectors()
        made = late._embed_within(inputs, Slow(), seconds, memory)
        assert count <= len(made) <= count + 1
        assert list(made) == list(inputs)[: len(made)]
        assert now <= max(0.1, seconds) + 1e-6
        now = 0.0  # the speed is known now: nothing that takes longer is begun
        made = late._embed_within(inputs, Slow(), seconds, memory)
        assert len(made) in (int(seconds / 0.1 + 1e-6), int(seconds / 0.1 - 1e-6), 40)
        assert now <= seconds + 1e-6


def test_everything_else_works_in_between(index) -> None:
    hits = index.search("amber mesa", 5, embed_ms=0)
    assert hits
    chunk = hits[0].chunk
    index.search("amber mesa", diversity=0.5, embed_ms=0)
    index.search("amber mesa", mode="dense", embed_ms=0)
    index.search("amber mesa", by_file=True, embed_ms=0)
    steering = {"marked": [{"chunk_id": chunk.id, "start": 0, "end": len(chunk.text)}]}
    index.search("amber mesa", options={"embed_ms": 0, "steering": steering})
    assert index.why_not("amber mesa", hits[-1].chunk.path, 1)
    assert isinstance(index.verdict("amber mesa", hits), str)
    assert all(hit.sentence for hit in hits)
    if len(hits) > 1:
        index.compare("amber mesa", hits[0], hits[1])


def test_the_share_is_said(index) -> None:
    share = index.vector_share
    assert 0 <= share < 1
    (note,) = index.search_notes("mesa", index.search("mesa", embed_ms=0), embed_ms=0)
    assert note.startswith(f"Meaning covers {int(100 * share)} % of the passages so far")
    assert index.search_notes("mesa", (), mode="keyword") == []


def test_an_impossible_budget_is_named(index) -> None:
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="embed_ms"):
            index.search("mesa", embed_ms=value)


# What is said of a passage without a vector


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    with half_made(tmp_path_factory.mktemp("waiting"), 0) as opened:
        yield opened


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """An index of which 40 passages have a vector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors_module, "BATCH_TOKENS", 1)
        with half_made(tmp_path_factory.mktemp("some"), 40) as opened:
            yield opened


def two_kinds(index: Index) -> tuple[Hit, Hit]:
    """A result with a vector, and one without."""
    hits = index.search("amber mesa", 90, embed_ms=0, fold=False)
    return next(h for h in hits if h.embedded), next(h for h in hits if not h.embedded)


def test_an_explanation_says_that_the_meaning_is_not_known(some) -> None:
    made, missing = two_kinds(some)
    told = some.explain("amber mesa", missing, embed_ms=0)
    assert told.waiting
    assert told.to_json()["embedded"] is False
    assert "still waits for its vector, and counts like an average one." in summarise(told)
    lines = "\n".join(explanation_lines(told, colour=False))
    assert "dense: no vector yet, so it counts like an average passage = +0.000" in lines
    assert [term.name for term in told.terms].count("dense") == 1
    assert "dense feedback" not in lines
    other = some.explain("amber mesa", made, embed_ms=0)
    assert not other.waiting
    assert other.to_json()["embedded"] is True
    assert "waits" not in summarise(other)


def test_a_comparison_names_the_one_without_a_vector(some) -> None:
    made, missing = two_kinds(some)
    for pair, name in (((made, missing), "B"), ((missing, made), "A")):
        told = some.compare("amber mesa", *pair, embed_ms=0)
        said = str(difference_summary(told, "A", "B"))
        assert said.endswith(f" {name} has no vector yet, and so an average meaning.")
    told = some.compare("amber mesa", missing, missing, embed_ms=0)
    assert "same score" in str(difference_summary(told, "A", "B"))


def test_a_check_needs_a_vector(some) -> None:
    _, missing = two_kinds(some)
    told = some.explain("amber mesa", missing, embed_ms=0)
    with pytest.raises(UsageError, match="still waits for its vector"):
        some.check_explanation(told)


def test_a_check_uses_the_means_of_lent_vectors(waiting) -> None:
    hit = next(h for h in waiting.search("amber mesa", 9, embed_ms=60_000) if h.embedded)
    told = waiting.explain("amber mesa", hit, embed_ms=60_000)
    check = waiting.check_explanation(told, count=1)
    assert check.before == pytest.approx(told.dense.cosine, abs=1e-5)


def test_why_not_tells_what_waits(waiting, some) -> None:
    rows = waiting.documents()
    lacking = next(r.path for r in rows if "fjord" not in waiting.chunks(r.id)[0].text)
    for mode, words in (("hybrid", True), ("dense", False)):
        told = waiting.why_not("fjord", lacking, mode=mode, embed_ms=0, feedback=False)
        assert told.outcome is Outcome.WAITING
        assert told.best is None
        assert told.sentence.startswith("it has no vector yet, so that its meaning cannot be")
        assert told.sentence.endswith("no word of the query occurs in it") == words
    assert waiting.why_not("fjord", lacking, mode="keyword").outcome is Outcome.WORDLESS
    _, missing = two_kinds(some)
    told = some.why_not("amber mesa", missing.chunk.path, 1, embed_ms=0)
    assert told.outcome is Outcome.BEATEN
    assert told.best.embedded is False
    assert told.sentence.endswith("has no vector yet, and is found by its words only")


def test_diversity_does_not_prefer_what_has_no_vector(some) -> None:
    """With words alone it is the ranking; zeros would come before every known passage."""
    plain = some.search("amber mesa", 5, embed_ms=0)
    assert [h.chunk.id for h in some.search("amber mesa", 5, embed_ms=0, diversity=0.0)] == [
        hit.chunk.id for hit in plain
    ]
    assert len(some.search("amber mesa", 5, embed_ms=0, diversity=0.7)) == 5


def test_more_like_a_passage_without_a_vector(some) -> None:
    _, missing = two_kinds(some)
    chunk = missing.chunk
    steering = {"marked": [{"chunk_id": chunk.id, "start": 0, "end": len(chunk.text)}]}
    for mode in ("hybrid", "keyword", "dense"):
        for query in ("", "amber"):
            hits = some.search(
                query, 90, options={"embed_ms": 0, "steering": steering, "mode": mode}
            )
            ids = {one.id for hit in hits for one in (hit.chunk, *hit.parts, *hit.also)}
            assert (chunk.id in ids) == (mode != "dense") or mode == "keyword"


def test_a_result_by_words_so_far_is_marked(some) -> None:
    made, missing = two_kinds(some)
    assert "by words so far)" in hit_lines(missing, "amber", colour=False)[0]
    assert "by words so far" not in hit_lines(made, "amber", colour=False)[0]


def test_a_result_has_a_match_a_sentence_and_a_verdict(some, waiting) -> None:
    for index in (some, waiting):
        hits = index.search("amber mesa", embed_ms=0)
        assert all(hit.sentence is not None for hit in hits)
        assert isinstance(index.verdict("amber mesa", hits, embed_ms=0), str)
        index.count_matches("amber mesa", hits, embed_ms=0)
