"""Tables of contents: which passages are, and how they are ranked."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from retriever.index import Index
from retriever.searching.toc import demote_toc, demoted_score, looks_like_toc
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder

REFERS = {
    "leaders": "Contents\n1 Scope ........... 3\n2 Terms and definitions ........... 4\n",
    "spaced leaders": "1 Scope . . . . . . . 3\n2 Terms . . . . . . . . . 4",
    "ellipses": "Scope ……… 3\nTerms ……… 4",
    "number on the next line": "1. Overview................\n1\n2. Scope..............\n1\n",
    "a list of figures": "\n".join(
        f"Figure {n}: A view of the plant from {side} {n * 7}"
        for n, side in enumerate(("north", "east", "south", "west", "above"), 1)
    ),
    "Roman numbers": "Preface ii\nThanks iv\nTo the reader vii\nSigns ix\nMaps xii",
    "an index": "Apples, 31\nBread, 4\n  brown, 12\nButter, 3\nCheese, 40\nEggs, 12, 44",
    "an index, padded": "\n".join(
        f"    {name:<40}{page}"
        for name, page in (("Baked", 9), ("Boiled", 3), ("Creamed", 7), ("Fried", 5), ("Stewed", 1))
    ),
}
SPEAKS = {
    "nothing": "",
    "prose": "The scope is given in chapter 3.\nIt was changed in 1999.\nSee page 4",
    "prose with an ellipsis": "He waited ...... and then he spoke of the sea for a long time, "
    "until even the most patient of his guests had left, one by one, through the back door.",
    "a heading with a leader": "Price ........ 4\n" + "The price is what the buyer pays. " * 5,
    "a form": "Name ______________\nDate ______________\nSigned ______________",
    "figures in no order": "Wheat 31\nBarley 4\nRye 12\nOats 3\nMillet 40\nSpelt 9",
    "numbers alone": "1\n2\n3\n4\n5\n6\n7",
    "few lines": "Monday 10\nTuesday 20\nWednesday 30",
    "code": "x = 1\ny = 22\na = 3\nb = 2\nq = 9\nc = 4\n" + "print(x + y)\n" * 10,
    "long lines": "\n".join("A line that goes on and on " * 5 + str(n) for n in range(9)),
    "the same again": "Total 5\nTotal 5\nTotal 5\nTotal 5\nTotal 5",
}


@pytest.mark.parametrize("name", REFERS)
def test_tables_of_contents_are_detected(name) -> None:
    assert looks_like_toc(REFERS[name])


@pytest.mark.parametrize("name", SPEAKS)
def test_other_passages_are_not_detected(name) -> None:
    assert not looks_like_toc(SPEAKS[name])


def test_demotion_keeps_the_order_of_any_scores() -> None:
    scores = np.linspace(-5, 5, 101)
    after = [demoted_score(score) for score in scores]
    assert after == sorted(after)
    assert all(low <= score for low, score in zip(after, scores, strict=True))
    assert (demoted_score(8.0), demoted_score(0.0), demoted_score(-8.0)) == (6.0, 0.0, -10.0)


@pytest.mark.parametrize("complete", [True, False])
def test_ranking_is_sorting_by_demoted_scores(complete) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        scores = sorted(rng.normal(2, 3, size=rng.integers(1, 30)).round(1), reverse=True)
        entries = [(score, bool(rng.random() < 0.4), at) for at, score in enumerate(scores)]
        scored = [(demoted_score(s) if refers else s, refers, at) for s, refers, at in entries]
        if not complete:  # what ends below the last one seen could have others above it
            scored = [entry for entry in scored if entry[0] > scores[-1] or not entry[1]]
        expected = sorted(scored, key=lambda entry: (-entry[0], entry[1], entry[2]))
        found = list(demote_toc(entries, complete=complete))
        assert found == [(score, at) for score, _, at in expected]


CONTENTS = "Zoning law ........ 3\nZoning maps ........ 9\nZoning appeals ........ 12"
SPEAKING = "Zoning law, zoning maps and the rivers of the valley."


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("contents") / "index"
    with Index.open_or_create(path, FakeEmbedder()) as opened:
        texts = {
            "toc.txt": CONTENTS,
            "law.txt": SPEAKING,
            **{f"{n}.txt": f"A text about something else, number {n}." for n in range(20)},
        }
        opened.add(Document(path, "txt", (Page(None, text),)) for path, text in texts.items())
        yield opened


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_contents_rank_below_a_passage_of_similar_score(index, mode, monkeypatch) -> None:
    # What is asked a second time depends on the first ranking: here it is the ranking itself.
    search = partial(index.search, "zoning", 2, mode=mode, feedback=False)
    found = search()
    assert [hit.chunk.path for hit in found] == ["law.txt", "toc.txt"]
    monkeypatch.setattr("retriever.searching.hybrid.looks_like_toc", lambda text: False)
    plain = {hit.chunk.path: hit.score for hit in search()}
    assert plain["toc.txt"] > plain["law.txt"], "the words alone prefer the contents"
    assert found[1].score == pytest.approx(demoted_score(plain["toc.txt"]))


def test_contents_are_found_where_nothing_else_is(index) -> None:
    for by_file in (True, False):
        (hit,) = index.search("appeals", mode="keyword", by_file=by_file)
        assert (hit.rank, hit.chunk.path) == (1, "toc.txt")
    assert index.search("zoning appeals", 1, feedback=False)[0].chunk.path == "toc.txt"
    assert "toc.txt" in [hit.chunk.path for hit in index.search("zoning appeals", 2)]


def test_a_file_is_ranked_by_the_better_of_its_contents_and_its_passages(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        pages = (Page(1, CONTENTS), Page(2, SPEAKING))
        index.add([Document("a.pdf", "pdf", pages)])
        index.add(Document(f"{n}.txt", "txt", (Page(None, f"Other {n}."),)) for n in range(9))
        (hit, *_) = index.search("zoning", 3, by_file=True)
        assert (hit.chunk.path, hit.chunk.page) == ("a.pdf", 2)
