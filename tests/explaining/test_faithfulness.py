"""The deletion test: what is deleted and compared, and that it detects a wrong explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retriever import Document, Index, Page
from retriever.embedding.word_attribution import WordSpan, word_spans
from retriever.explaining.faithfulness import without_words
from retriever.types import UsageError
from tests.fakes import FakeEmbedder
from tests.live import live

TEXT = "Green tea is brewed at eighty degrees in small pots of grey clay by patient people."


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        opened.add([Document("tea.txt", "txt", (Page(None, TEXT),), title="Hot drinks")])
        opened.add([Document("other.txt", "txt", (Page(None, "Trains leave at noon."),))])
        yield opened


def test_the_strongest_words_cost_more_than_others(index: Index) -> None:
    hit = index.search("green tea pots", mode="dense")[0]
    found = index.check_explanation(index.explain("green tea pots", hit), count=3, draws=20)
    assert {word.word for word in found.words} == {"Green", "tea", "pots"}
    assert found.before == pytest.approx(hit.dense, abs=1e-5)
    assert found.lost > found.lost_at_random
    assert found.lost > found.before - min(found.random) - 1e-6
    assert len(found.random) == 20
    text = " ".join(word for word in TEXT.split() if word not in {"Green", "tea", "pots"})
    embedder = index.embedder
    vector = embedder.embed_inputs([embedder.passage_input(text, "Hot drinks")])[0]
    means = live(index.backend).calibration
    assert means is not None
    x = embedder.embed_inputs(["query: green tea pots"])[0] - means.query_mean
    y = vector - means.passage_mean
    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert found.after == pytest.approx(float(cosine), abs=1e-5)
    told = found.to_json()
    assert told["lost"] == pytest.approx(told["before"] - told["after"])


def test_a_wrong_explanation_is_found_out(index: Index) -> None:
    right = index.explain("green tea pots", index.search("green tea pots", mode="dense")[0])
    assert right.dense is not None
    wrong = replace(right, dense=replace(right.dense, matrix=-right.dense.matrix))
    found = index.check_explanation(wrong, count=3, draws=20)
    assert found.lost < found.lost_at_random


def test_the_same_draws_every_time(index: Index) -> None:
    explanation = index.explain("tea", index.search("tea", mode="dense")[0])
    assert index.check_explanation(explanation) == index.check_explanation(explanation)
    with pytest.deprecated_call(match="use Index.check_explanation"):
        assert index.check(explanation) == index.check_explanation(explanation)


def test_what_cannot_be_checked(index: Index) -> None:
    with pytest.raises(UsageError, match="keyword score needs no check"):
        index.check_explanation(index.explain("tea", index.search("tea", mode="keyword")[0]))
    other = next(hit for hit in index.search("tea", mode="dense") if hit.chunk.path == "other.txt")
    with pytest.raises(UsageError, match="deletes 5 words; this passage has 4"):
        index.check_explanation(index.explain("tea", other))


def test_words_are_taken_out_with_their_space() -> None:
    text = "Green tea, hot tea (green) 搜索 end"
    words = [WordSpan(text[a:b], a, b) for a, b in word_spans(text)]
    assert without_words(text, [words[0], words[4]]) == "tea, hot tea () 搜索 end"
    assert without_words(text, words[1:2]) == "Green , hot tea (green) 搜索 end"
    assert without_words(text, words) == ", () "
