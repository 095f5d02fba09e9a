"""The weight of the dense side, fitted to sentences removed from passages."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.index import Index
from retriever.indexing import dense_weight
from retriever.indexing.cloze import cloze_questions
from retriever.searching.hybrid import query_feedback
from retriever.storage.backends import Snapshot
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.live import asked, live

SUBJECTS = (
    *("anchor", "beacon", "candle", "dagger", "engine", "falcon", "garden", "hammer", "island"),
    *("jacket", "kettle", "ladder", "magnet", "needle", "orchid", "pillow", "quartz", "rocket"),
    *("saddle", "temple", "umpire", "violin", "walnut", "yellow", "zipper", "button", "copper"),
)
FILLER = "and then there was much to tell of what they all had seen on the long way home again"


def subject(text):
    """The first subject named: a passage's own."""
    return min((text.lower().find(word) % 10_000, at) for at, word in enumerate(SUBJECTS))[1]


class Misled(FakeEmbedder):
    """A question's vector leads away from the passage that it was taken from."""

    def embed_inputs(self, inputs):
        turns = [subject(text) / len(SUBJECTS) + 0.5 * ("query" in text) for text in inputs]
        angles = 2 * np.pi * np.array(turns)
        return np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32)


class Knowing(FakeEmbedder):
    """It knows which subject a text is about."""

    def embed_inputs(self, inputs):
        rows = np.zeros((len(inputs), len(SUBJECTS) + 1), dtype=np.float32)
        for row, text in zip(rows, inputs, strict=True):
            row[-1] = 0.1
            row[subject(text)] = 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def documents(subjects=SUBJECTS):
    for word in subjects:
        at = SUBJECTS.index(word)
        others = " ".join(2 * (SUBJECTS * 2)[at + 1 : at + 6])
        own = f"{word} {word} {word} {word}"
        text = f"{own.capitalize()} {FILLER}. {own.capitalize()} like {others} {FILLER}."
        yield Document(f"{word}.txt", "txt", (Page(None, text),))


def facts(folder, embedder, subjects=SUBJECTS):
    with Index.open_or_create(folder, embedder) as index:
        index.add(documents(subjects))
        return index.backend.info()["calibration"], live(index.backend).dense_weight


def test_a_side_that_misleads_has_a_smaller_weight(tmp_path) -> None:
    found, weight = facts(tmp_path / "i", Misled(3))
    assert found["held_out"] == len(SUBJECTS)
    assert weight == found["dense_weight"] < 1
    assert found["found_again"]["dense"] < found["found_again"]["keyword"]


def test_a_difference_by_chance_changes_nothing(tmp_path) -> None:
    """Both sides find everything again."""
    found, weight = facts(tmp_path / "i", Knowing(len(SUBJECTS) + 1))
    assert found["found_again"]["hybrid"] == 1
    assert weight == 1


def test_with_few_passages_the_weight_is_one(tmp_path) -> None:
    found, weight = facts(tmp_path / "i", Misled(3), SUBJECTS[:6])
    assert (found["held_out"], weight) == (0, 1)


def test_the_same_passages_give_the_same_weight_in_any_order(tmp_path) -> None:
    assert facts(tmp_path / "a", Misled(3)) == facts(tmp_path / "b", Misled(3), SUBJECTS[::-1])


def test_it_is_fitted_again_when_a_quarter_is_new(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "i", Misled(3)) as index:
        index.add(documents(SUBJECTS[:21]))
        assert index.backend.info()["calibration"]["weighed_at"] == 21
        index.add(documents(SUBJECTS[:26]))
        assert index.backend.info()["calibration"]["weighed_at"] == 21
        index.add(documents())
        assert index.backend.info()["calibration"]["weighed_at"] == 27


def test_a_side_counts_by_its_weight(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "i", Knowing(len(SUBJECTS) + 1)) as index:
        index.add(documents())
        backend = index.backend
        query = "anchor beacon candle seen"
        ids = [chunk.id for row in index.documents() for chunk in index.chunks(row.id)]
        dense = live(backend).dense_scores(index.embed_query(query), ids).astype(np.float64)
        keyword = live(backend).keyword_scores(query, ids).astype(np.float64)
        means, info = live(backend).calibration, backend.info()["calibration"]
        for weight in (0.25, 2.0):
            facts = {**info, "dense_weight": weight}
            backend.calibrate(means.passage_mean, means.query_mean, facts)
            hits = index.search(query, len(ids), feedback=False, fold=False)
            total = (keyword - keyword.mean()) / keyword.std()
            total += weight * (dense - dense.mean()) / dense.std()
            expected = dict(zip(ids, total, strict=True))
            assert [hit.score for hit in hits] == pytest.approx(
                [expected[hit.chunk.id] for hit in hits], abs=1e-4
            )
            found = index.explain(query, hits[0], feedback=False)
            assert found.score == pytest.approx(hits[0].score, abs=1e-6)


def test_feedback_counts_less_where_the_dense_side_misleads(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "i", Misled(3)) as index:
        index.add(documents())
        assert live(index.backend).dense_weight == 0.25
        again = asked(index, query_feedback, "anchor beacon", index.embed_query("anchor beacon"))
        assert again.expansion.query_weight == pytest.approx((1 - 0.5 * 0.25) / 2)
        assert sum(weight for _, weight in again.expansion.terms) == pytest.approx(0.5 * 0.25)
        assert np.linalg.norm(again.centroid) == pytest.approx(0.125 / 0.875, abs=1e-5)


def test_a_share_of_the_score_is_left() -> None:
    """What BM25 gives the rest, by the formula, over what it gives the whole."""

    class Counts:
        def document_frequencies(self, terms):
            return dict.fromkeys(terms, 2)

    text = (
        "Copper kettles sing. Copper is red and it is soft and it is old, as everyone knows by now."
    )
    item = dense_weight.ClozeItem(_chunk(text), "Copper kettles sing.", text[21:])
    whole, rest = (len(dense_weight._terms(item.chunk, one)) for one in (text, item.rest))

    def part(times, length):
        return times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / 8))

    expected = part(1, rest) / (part(2, whole) + 2 * part(1, whole))
    assert dense_weight._share_left(Snapshot(None, Counts()), item, 8, 100) == pytest.approx(
        expected
    )


def _chunk(text):
    from retriever.types import Chunk

    return Chunk("c", "d", "a.txt", "txt", "", None, 0, len(text), text)


def test_a_sentence_is_removed_once_and_whole() -> None:
    text = f"One {FILLER}. Two {FILLER}. Three {FILLER}."
    found = list(cloze_questions(text))
    assert sorted(sentence.split()[0] for sentence, _ in found) == ["One", "Three", "Two"]
    for sentence, rest in found:
        assert sentence not in rest
        assert sorted(f"{sentence} {rest}".split()) == sorted(text.split())
    assert found == list(cloze_questions(text))


LOWER = (
    "the wing was tested in a free stream at rest . it was found that the lift is spread over the "
    "whole of the span. what is left is due to the slipstream of the propeller! the boundary layer "
    "was controlled by suction at each of the angles ."
)
CHINESE = (
    "他对他们那时在漫长旅途中所看到的一切都有许多话要说。"
    "第二天早晨所有的人都从很远的村庄来到河边的市场上。"
    "没有人知道那座古老的桥是什么时候由谁建造起来的。"
)


def test_without_capitals_a_sentence_ends_where_its_mark_stands() -> None:
    found = {sentence for sentence, _ in cloze_questions(LOWER)}
    assert found == {
        "the wing was tested in a free stream at rest .",
        "it was found that the lift is spread over the whole of the span.",
        "what is left is due to the slipstream of the propeller!",
        "the boundary layer was controlled by suction at each of the angles .",
    }
    named = LOWER.replace("wing", "Wing of e.g. a duck")  # with capitals, dots may abbreviate
    assert all(
        "e.g. a duck" in sentence for sentence, _ in cloze_questions(named) if "Wing" in sentence
    )


def test_sentences_without_spaces_are_removed_too() -> None:
    found = dict(cloze_questions(CHINESE))
    assert sorted(found) == sorted(f"{one}。" for one in CHINESE.split("。") if one)
    for sentence, rest in found.items():
        assert "".join(sorted(sentence + rest)).strip() == "".join(sorted(CHINESE))


def test_a_weight_fitted_by_an_earlier_version_is_fitted_again() -> None:
    facts = {"weighed_at": 100, "weighing": dense_weight.VERSION}
    assert not dense_weight.fit_is_due(facts, 100)
    assert dense_weight.fit_is_due({**facts, "weighing": dense_weight.VERSION - 1}, 100)
    assert dense_weight.fit_is_due({"weighed_at": 100}, 100)
    assert dense_weight.fit_is_due(None, 100)
