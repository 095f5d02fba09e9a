"""Weights and marked passages: the same vectors and rankings, computed in another way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retriever import AlignedWVA, Document, Index, Page
from retriever.searching.steering import Marked, Steering
from retriever.types import Hit, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live
from tests.tiny import save_model

TEXTS = {
    "tea.txt": "Green tea is brewed at eighty degrees.",
    "coffee.txt": "Coffee beans are roasted dark.",
    "trains.txt": "The train to the coast leaves from platform four.",
    "grass.txt": "Green grass grows along the railway.",
    "tram.txt": "A tram on rails stops at every corner.",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder(same={"tram": "train"})) as opened:
        opened.add(Document(path, "txt", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


def paths(hits: list[Hit]) -> list[str]:
    return [hit.chunk.path for hit in hits]


def chunk(index: Index, path: str) -> str:
    return next(c.id for row in index.documents() for c in index.chunks(row.id) if c.path == path)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_weights_of_one_are_the_plain_query_exactly(index: Index, mode: str) -> None:
    plain = index.search("green tea on rails", mode=mode)
    count = len(index.query_words("green tea on rails"))
    for weights in ((), (1.0,) * count):
        assert index.search("green tea on rails", mode=mode, steering=Steering(weights)) == plain


def test_a_word_without_weight_is_as_if_it_were_not_there(index: Index) -> None:
    """The fake's words do not know each other, so leaving one out is the same as not saying it."""
    steered = index.search("green tea train", steering=Steering((1, 0, 1)))
    plain = index.search("green train")
    assert paths(steered) == paths(plain)
    for one, other in zip(steered, plain, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.keyword == other.keyword


def test_a_weight_is_how_often_a_word_is_said(index: Index) -> None:
    embedder = index.embedder
    assert isinstance(embedder, FakeEmbedder)
    steered = index.search("green tea", mode="dense", steering=Steering((3, 1)))
    plain = index.search("green green green tea", mode="dense")
    assert paths(steered) == paths(plain)
    np.testing.assert_allclose([h.score for h in steered], [h.score for h in plain], atol=1e-5)
    assert (
        paths(index.search("green tea", mode="dense", steering=Steering((-1, 1))))[0] == "tea.txt"
    )


def test_changing_weights_asks_no_model(index: Index) -> None:
    embedder = index.embedder
    assert isinstance(embedder, FakeEmbedder)
    index.search("green tea", steering=Steering((1, 2)))
    count = len(embedder.embedded)
    embedder.token_attribution = None  # type: ignore[method-assign,assignment]
    for weight in (0.0, 0.5, 3.0):
        index.search("green tea", steering=Steering((1, weight)))
    assert len(embedder.embedded) == count


def test_more_like_marked_words(index: Index) -> None:
    found = index.explain("tea", chunk(index, "trains.txt")).dense
    assert found is not None
    word = next(word for word in found.passage_words if word.word == "train")
    marked = Marked(chunk(index, "trains.txt"), word.start, word.end)
    alone = index.search("", mode="dense", steering=Steering(marked=(marked,)))
    plain = index.search("train", mode="dense")
    assert set(paths(alone)[:2]) == set(paths(plain)[:2]) == {"trains.txt", "tram.txt"}
    both = index.search("tea", steering=Steering(marked=(marked,)))
    assert set(paths(both)[:3]) == {"tea.txt", "trains.txt", "tram.txt"}
    assert next(hit for hit in both if hit.chunk.path == "trains.txt").keyword > 0
    less = Marked(marked.chunk_id, marked.start, marked.end, -2.0)
    away = index.search("green train", steering=Steering(marked=(less,)))
    assert paths(away)[0] in {"tea.txt", "grass.txt"}
    before = {hit.chunk.path: hit.dense for hit in index.search("green train")}
    for hit in away:
        if hit.chunk.path in {"trains.txt", "tram.txt"}:
            assert hit.dense < 0 < before[hit.chunk.path]


def test_the_marked_direction_is_the_sum_of_the_words_parts(index: Index) -> None:
    means = live(index.backend).calibration
    assert means is not None
    name = chunk(index, "tea.txt")
    side = index._attributions.passage(live(index.backend).get([name])[0])
    start, end = TEXTS["tea.txt"].index("tea"), TEXTS["tea.txt"].index(" at")
    chosen = [at for at, word in enumerate(side.words) if word.start < end and word.end > start]
    assert [side.words[at].word for at in chosen] == ["tea", "is", "brewed"]
    shares = side.vectors @ side.vectors.sum(0)
    direction = sum(side.vectors[at] - shares[at] * means.passage_mean for at in chosen)
    direction /= np.linalg.norm(direction)
    hits = index.search("", mode="dense", steering=Steering(marked=(Marked(name, start, end),)))
    vectors = live(index.backend).vectors([hit.chunk.id for hit in hits])
    np.testing.assert_allclose([hit.score for hit in hits], vectors @ direction, atol=1e-5)


def test_an_explanation_knows_the_weights(index: Index) -> None:
    for weights in ((2, 0.5, 1), (0, 1, 1)):
        for hit in index.search("green tea train", steering=Steering(weights)):
            found = index.explain("green tea train", hit, weights=weights)
            assert found.score == pytest.approx(hit.score, abs=1e-5)
            assert found.dense is not None
            assert abs(found.dense.remainder) < 1e-5
            assert len(found.dense.query_words) == 3
            if not weights[0]:
                assert found.dense.by_query_word[0] == 0


def test_filters_and_operators_still_hold(index: Index) -> None:
    words = index.query_words("green tea -grass")
    assert [word.word for word in words] == ["green", "tea"]
    hits = index.search("green tea -grass", steering=Steering((5, 0)))
    assert hits
    assert "grass.txt" not in paths(hits)


def test_what_cannot_be_meant(index: Index) -> None:
    with pytest.raises(UsageError, match="has 2 words, but 3 weights"):
        index.search("green tea", steering=Steering((1, 1, 2)))
    with pytest.raises(UsageError, match="must be a number"):
        Steering((math.nan,))
    name = chunk(index, "tea.txt")
    with pytest.raises(UsageError, match="no word is marked between characters 5 and 6"):
        index.search("", steering=Steering(marked=(Marked(name, 5, 6),)))
    with pytest.raises(UsageError, match="no passage 'gone'"):
        index.search("tea", steering=Steering(marked=(Marked("gone", 0, 5),)))
    less, more = Marked(name, 0, 9, -1.0), Marked(name, 0, 9)
    with pytest.raises(UsageError, match="cancel out"):
        index.search("", steering=Steering(marked=(less, more)))


def test_all_words_without_weight_leave_the_prompt(tmp_path: Path) -> None:
    embedder = AlignedWVA(str(save_model(tmp_path / "m")), device="cpu", dtype="float32")
    with Index.open_or_create(tmp_path / "index", embedder) as index:
        index.add(Document(path, "txt", (Page(None, text),)) for path, text in TEXTS.items())
        hits = index.search("green tea", steering=Steering((0, 0)))
        assert len(hits) == len(TEXTS)
        assert all(hit.keyword is None for hit in hits)
        plain = index.search("green tea")
        assert index.search("green tea", steering=Steering((1, 1))) == plain
        side = index._attributions.query("green tea")
        weights = np.array([2.0, 0.25])
        expected = side.raw + (weights - 1) @ side.vectors[:2]
        expected /= np.linalg.norm(expected)
        wanted = {hit.chunk.id: hit.score for hit in index.search_by_vector(expected, 5)}
        for hit in index.search("green tea", mode="dense", steering=Steering((2.0, 0.25))):
            assert hit.score == pytest.approx(wanted[hit.chunk.id], abs=1e-6)
