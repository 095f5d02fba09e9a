"""The match: computed by hand, invariant, the same after a refit, and with planted questions."""

from __future__ import annotations

from functools import partial
from math import inf, log, nan
from pathlib import Path

import numpy as np
import pytest

from retriever.index import Index
from retriever.searching import match
from retriever.searching.match import (
    MatchScale,
    normalised_bm25,
    nothing_matches,
    verdict,
    with_match,
)
from retriever.searching.options import check_match
from retriever.types import Chunk, Document, Hit, IndexStateError, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import asked, live

SUBJECTS = {
    "whales": "Whales sing in the deep sea and breathe air at the surface.",
    "bread": "Bread dough rises because yeast turns sugar into gas overnight.",
    "taxes": "Import taxes are collected by customs officers at the border.",
    "glaciers": "Glaciers carve valleys while carrying boulders far downhill.",
    "violins": "Violins get their tone from spruce tops and careful varnish.",
}


def document(name: str) -> Document:
    return Document(name, "text", (Page(None, SUBJECTS[name]),))


def made(folder: Path, names=tuple(SUBJECTS)) -> Index:
    index = Index.open_or_create(folder, FakeEmbedder())
    index.add(map(document, names))
    return index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with made(tmp_path_factory.mktemp("index")) as opened:
        yield opened


def hit(dense=None, keyword=None, match=None) -> Hit:
    chunk = Chunk("c", "d", "a.txt", "text", "", None, 0, 1, "x")
    return Hit(1, 1.0, chunk, dense=dense, keyword=keyword, match=match)


def test_a_match_is_the_share_of_the_questions_that_find_less() -> None:
    known = MatchScale(
        dense=(0.1, 0.2, 0.3, 0.4), keyword=(0.0, 0.0, 0.2, 0.6), hybrid=(0, 1, 2, 3)
    )
    # By hand: so many of the four are smaller, of five with the question itself.
    assert [known.match(dense, None) for dense in (0.05, 0.2, 0.25, 0.9)] == [0, 0.2, 0.4, 0.8]
    assert [known.match(None, share) for share in (0.0, 0.1, 0.6, 1.0)] == [0, 0.4, 0.6, 0.8]
    # Means 0.25 and 0.2, deviations sqrt(0.0125) and sqrt(0.06); keywords count twice.
    total = (0.35 - 0.25) / 0.0125**0.5 + 2 * (0.3 - 0.2) / 0.06**0.5
    assert 1 < total < 2
    assert known.match(0.35, 0.3) == 0.4
    assert known.match(None, None) == known.match(nan, None) == known.match(inf, 0.1) == 0


def test_a_sides_scale_and_a_constant_change_nothing() -> None:
    random = np.random.default_rng(7)
    dense, share = random.random((2, 50)).round(3)

    def matches(dense, share) -> list[float]:
        plain = MatchScale(tuple(sorted(dense)), tuple(sorted(share)), (0.0,) * 50)
        known = MatchScale(
            plain.dense, plain.keyword, tuple(sorted(plain.hybrid_statistic(dense, share)))
        )
        return [known.match(one, other) for one, other in zip(dense[::3], share[::3], strict=True)]

    assert matches(dense, share) == matches(4 * dense + 8, share) == matches(dense, 2 * share - 1)


def test_of_questions_alike_one_in_twenty_passes() -> None:
    random = np.random.default_rng(1)
    passed = []
    for _ in range(200):
        best = tuple(sorted(random.normal(size=119)))
        known = MatchScale(best, best, best)
        passed.append(known.match(random.normal(), None) >= 0.95)
    assert np.mean(passed) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    # Exactly: with 119, the match reaches 0.95 when at most 5 of 120 are larger or it itself.
    assert MatchScale(best, best, best).match(best[114] - 1e-9, None) == 0.95


def test_what_keywords_could_score_at_most(index) -> None:
    """The formula of BM25 for a word in so many of five passages, as often as it counts."""
    rare, nowhere = log((5 - 1 + 0.5) / 1.5), log(5.5 / 0.5)
    assert live(index.backend).max_bm25("whales") == pytest.approx(2.2 * rare)
    assert live(index.backend).max_bm25("whales zeppelin") == pytest.approx(2.2 * (rare + nowhere))
    assert live(index.backend).max_word_bm25() == pytest.approx(2.2 * nowhere)
    assert live(index.backend).max_bm25("?!") == 0
    # Said 12 times in a query of 24 words: Okapi's boost with k3 = 0.1 · (24 - 20).
    often = 1.4 * 12 / 12.4 * (rare + nowhere)
    query = "whales, zeppelin, Whales, zeppelin, " * 6
    assert live(index.backend).max_bm25(query) == pytest.approx(2.2 * often)
    for query in ("whales sing", "the bread dough", "customs border whales"):
        (found, *_) = index.search(query, 1, mode="keyword", syntax=False)
        assert 0 < found.keyword <= live(index.backend).max_bm25(query)


def test_the_fit_is_the_best_of_all_passages(index) -> None:
    """Against a naive loop over every passage and question."""
    questions, embedder = match.general_questions(), index.embedder
    vectors = embedder.embed_queries(questions)
    fitted = asked(index, match.fit_match_scale, questions, vectors)
    ids = [chunk.id for row in index.documents() for chunk in index.chunks(row.id)]
    dense, keyword = [], []
    for question, vector in zip(questions, vectors, strict=True):
        dense.append(live(index.backend).dense_scores(vector, ids).max())
        most = live(index.backend).max_bm25(question)
        root = max(most, 2.2 * log(5.5 / 0.5)) ** 0.5
        keyword.append(
            live(index.backend).keyword_scores(question, ids).max() / most * root if most else 0
        )
    np.testing.assert_allclose(fitted.dense, sorted(dense), atol=1e-6)
    np.testing.assert_allclose(fitted.keyword, sorted(keyword), atol=1e-6)
    assert MatchScale.from_json(fitted.to_json()) == fitted
    assert MatchScale.from_json(live(index.backend).match_scale()) == fitted
    assert MatchScale.from_json({**fitted.to_json(), "version": -1}) is None


def test_order_and_refits_change_nothing(index, tmp_path: Path) -> None:
    with made(tmp_path / "other", tuple(reversed(SUBJECTS))) as other:
        expected = MatchScale.from_json(live(index.backend).match_scale())
        assert MatchScale.from_json(live(other.backend).match_scale()) == expected
        other.add([Document("new", "text", (Page(None, "How far is the moon from the earth?"),))])
        assert MatchScale.from_json(live(other.backend).match_scale()) != expected
        other.remove(["new"])
        other.add([document("bread")])
        assert MatchScale.from_json(live(other.backend).match_scale()) == expected
        facts = other.info()["background"]
        assert (facts["questions"], facts["chunks"]) == (len(match.general_questions()), 5)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_planted_questions(index, mode: str) -> None:
    for question in ("Why do whales sing in the sea?", "yeast in bread dough"):
        (best, *_) = index.search(question, mode=mode, min_match=0.95)
        assert best.match >= 0.95
        assert best.rank == 1
    planted = ("Which zeppelin flew to Chile?", "jazz trumpet lessons", "Who repaired my kettle?")
    for question in planted:
        hits = index.search(question, mode=mode)
        assert all(each.match < 0.95 for each in hits)
        assert nothing_matches(hits) or mode == "keyword"  # no word, no hit
        assert index.search(question, mode=mode, min_match=0.95) == []


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Passages of two subjects each, by chance; some refer to others only."""
    generator = np.random.default_rng(5)
    words = " ".join(SUBJECTS.values()).lower().replace(".", "").split()
    texts = [" ".join(generator.choice(words, size)) + "." for size in [9, 14, 25] * 30]
    texts += [f"{word} ........ {page}\n{word} ..... 9\n{word} .... 7" for page, word in
              enumerate(words[:12])]  # fmt: skip
    with Index.open_or_create(tmp_path_factory.mktemp("mixed"), FakeEmbedder()) as opened:
        opened.add(
            Document(f"{at}.txt", "text", tuple(Page(None, text, label=str(part))
                     for part, text in enumerate(texts[at : at + 3])))
            for at in range(0, len(texts), 3)
        )  # fmt: skip
        yield opened


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
@pytest.mark.parametrize("by_file", [False, True])
def test_as_many_results_as_match(mixed, mode: str, by_file: bool) -> None:
    """The first k that match of the whole ranking, not what matches of its first k."""
    short = 0
    how = {"mode": mode, "by_file": by_file, "fold": False}
    for query in ("whales in the sea", "sugar and yeast at the border", "boulders downhill tone"):
        everything = mixed.search(query, 500, **how)
        for least in sorted({each.match for each in everything}):
            right = [each for each in everything if each.match >= least]
            for k in (1, 3, 8):
                found = mixed.search(query, k, min_match=least, **how)
                assert [each.chunk.id for each in found] == [each.chunk.id for each in right[:k]]
                assert [each.rank for each in found] == list(range(1, len(found) + 1))
                short += sum(each.match >= least for each in everything[:k]) < len(found)
    assert short or mode != "hybrid"  # elsewhere a match falls nearly as the score does


def test_results_that_match_are_folded_as_ever(mixed) -> None:
    query, k = "whales in the sea", 4
    everything = mixed.search(query, 500)
    least = sorted(each.match for each in everything)[-k]
    right = [each.chunk.id for each in everything if each.match >= least]
    found = mixed.search(query, k, min_match=least)
    assert len(found) == k
    assert {each.chunk.id for each in found} <= set(right)


def test_nothing_is_read_to_its_end_where_nothing_matches(mixed, monkeypatch) -> None:
    most: list[int] = []
    with mixed.backend.reading() as catalog:
        reader = type(catalog)
    real = reader.get
    monkeypatch.setattr(reader, "get", lambda self, ids: most.append(len(ids)) or real(self, ids))
    assert mixed.search("zeppelin jazz kettle", 2, min_match=0.99, fold=False) == []
    assert sum(most) < 100


def test_all_that_match_are_known_without_reading_all(mixed, monkeypatch) -> None:
    """From the best of both sides alone, however few of them are looked at first."""
    query, known = "yeast and whales", MatchScale.from_json(live(mixed.backend).match_scale())
    vector, unit = mixed.embed_query(query), asked(mixed, match.bm25_unit, query)
    for depth in (4, 200):
        monkeypatch.setattr(match, "CANDIDATES", depth)
        for mode in ("hybrid", "dense", "keyword"):
            everything = mixed.search(query, 500, mode=mode, fold=False)
            for least in (0.2, 0.6, 0.9, 0.97):
                found = asked(
                    *(mixed, partial(match.matching_ids, unit=unit, tolerant=True)),
                    *(known, least),
                    None if mode == "keyword" else vector,
                    None if mode == "dense" else query,
                )
                assert found == {each.chunk.id for each in everything if each.match >= least}


def test_a_filter_does_not_change_a_match(index) -> None:
    everywhere = {each.chunk.path: each.match for each in index.search("whales and bread", 5)}
    (there,) = index.search("whales and bread", where={"path": "bread"})
    assert there.match == everywhere["bread"]
    vector = index.embed_query("whales and bread")
    assert [each.match for each in index.search_by_vector(vector)] == [
        each.match for each in index.search("whales and bread", mode="dense")
    ]


def test_an_index_of_before_has_no_match_until_it_is_synced(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "whales.txt").write_text(SUBJECTS["whales"])
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.sync(folder)
        (known,) = index.search("whales")
        index.backend.set_match_scale(None)
        index.backend.release()
        (found,) = index.search("whales")
        assert found.match is None
        assert index.info()["background"] is None
        assert not nothing_matches([found])
        with pytest.raises(IndexStateError, match="sync it once"):
            index.search("whales", min_match=0.5)
        index.sync(folder)
        assert [each.match for each in index.search("whales")] == [known.match]


def test_an_empty_index_matches_nothing(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path, FakeEmbedder()) as index:
        index.add([])
        assert index.search("whales", min_match=0.95) == []
        assert with_match([hit(0.5)], None, 1.0) == [hit(0.5)]


def test_the_verdict() -> None:
    assert nothing_matches([hit(match=0.5), hit(match=0.94)])
    assert not nothing_matches([hit(match=0.5), hit(match=0.95)])
    assert not nothing_matches([hit(match=None)])
    assert not nothing_matches([])


def test_the_verdict_is_the_best_hits() -> None:
    assert verdict([]) == verdict([hit(match=None)]) == verdict([hit(match=0.2), hit(match=0.95)])
    assert verdict([hit(match=0.2), hit(match=0.5)]) == match.UNCERTAIN
    assert verdict([hit(match=0.49), hit(match=0.2)]) == match.NOTHING_MATCHES


def test_a_long_question_needs_not_all_of_its_words() -> None:
    """A quarter of the most of sixteen words is as much as half of the most of four."""
    assert normalised_bm25(0.25 * 16 * 5, unit_of(16 * 5, 5)) == pytest.approx(
        normalised_bm25(0.5 * 4 * 5, unit_of(4 * 5, 5))
    )
    for wrong in (-0.1, 1.5, nan):
        with pytest.raises(UsageError, match="from 0 to 1"):
            check_match(wrong)


def test_a_question_counts_as_one_rare_word_at_least() -> None:
    """The same share of what is asked is as much as that share of one rare word."""
    whole = normalised_bm25(0.4 * 5, unit_of(5, 5))
    for most in (5, 1, 1e-6):
        assert normalised_bm25(0.4 * most, unit_of(most, 5)) == pytest.approx(whole)
    assert unit_of(0, 5) == 0


def unit_of(most: float, of_a_word: float) -> float:
    class Known:
        def max_bm25(self, query: str) -> float:
            return most

        def max_word_bm25(self) -> float:
            return of_a_word

    return match.bm25_unit(Known(), "query")


GARDEN = (
    "The gardener waters the tulips every evening before sunset.",
    "Tulips are planted in autumn, four fingers deep.",
    "A rabbit ate the tulips behind the shed.",
    "The tulips of the neighbour are taller.",
    "Cut tulips last a week in cold water.",
    "Mice dig for the bulbs of the tulips in winter.",
    "Red tulips grow along the fence.",
)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_word_of_every_passage_matches(tmp_path: Path, count: int) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as garden:
        pages = [Page(None, text) for text in GARDEN[:count]]
        garden.add(Document(f"{n}.txt", "text", (page,)) for n, page in enumerate(pages))
        for query in ("tulips", "the tulip", "tulips Tulips"):
            hits = garden.search(query, mode="keyword", fold=False)
            assert len(hits) == count
            assert all(hit.match >= match.MATCH for hit in hits)
            assert verdict(hits) == ""
            kept = garden.search(query, mode="keyword", fold=False, min_match=match.MATCH)
            assert kept == hits
        assert not garden.search("zeppelin", mode="keyword")
        assert garden.search("tulips", mode="hybrid")[0].match >= match.MATCH
        # A typing error of it as well.
        assert verdict(garden.search("tulpis", mode="keyword")) != match.NOTHING_MATCHES


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45, 0.6, 0.9])
def test_the_word_of_a_subject_matches_however_many_passages_have_it(
    tmp_path: Path, share: float
) -> None:
    """Among passages that have the words of many general questions."""
    questions = match.general_questions()
    texts = [f"{question} anchor{n}" for n, question in enumerate(questions)]
    most = round(share * len(texts))
    texts = [f"{text} orchid" if n < most else text for n, text in enumerate(texts)]
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add(
            Document(f"{n}", "text", (Page(None, text),)) for n, text in enumerate(texts[::3])
        )
        hits = index.search("orchids", mode="keyword", fold=False)
        assert hits[0].match >= match.CHANCE_MATCH
        assert verdict(hits) != match.NOTHING_MATCHES


def test_the_questions_are_of_many_forms_and_differ() -> None:
    questions = match.general_questions()
    assert len(questions) == len(set(questions)) >= 100
    assert all(question == question.strip() != "" for question in questions)
    asked = sum(question.endswith("?") for question in questions)
    assert 0.3 < asked / len(questions) < 0.7
