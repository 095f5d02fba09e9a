"""Grouping: near-duplicates, joined neighbours, context; by hand and against the pages' texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
import pytest

from retriever.index import Index
from retriever.searching.grouping import MAX_PARTS, group, neighbours, with_context
from retriever.settings import ChunkSettings
from retriever.types import Chunk, Document, Hit, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live

STORY = (
    *("zero", "able", "baker", "charlie", "dog", "easy", "fox", "george"),
    *("how", "item", "jig", "king", "love", "mike", "nan", "oboe"),
)


class Shelf:
    """Documents of pages of chunks, which say where they stand; what results ask a backend for."""

    def __init__(self, documents: dict[str, Sequence[Sequence[str]]]) -> None:
        self.chunks: dict[str, Chunk] = {}
        self.of_page: dict[str, Page] = {}
        for name, pages in documents.items():
            for number, texts in enumerate(pages, 1):
                page, start = Page(number, "\n".join(texts)), 0
                for at, text in enumerate(texts):
                    id_ = f"{name}{number}{'abcdef'[at]}"
                    end = start + len(text)
                    self.chunks[id_] = Chunk(id_, name, name, "txt", "", number, start, end, text)
                    self.of_page[id_] = page
                    start = end + 1

    def chunk_ids(self, document: str) -> list[str]:
        return [id_ for id_, chunk in self.chunks.items() if chunk.document_id == document]

    def page_of(self, chunk_id: str) -> Page | None:
        return self.of_page.get(chunk_id)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        return [self.chunks[id_] for id_ in ids]

    def ranking(self, *ids: str):
        hits = [Hit(n, 100.0 - n, self.chunks[id_]) for n, id_ in enumerate(ids, 1)]
        return lambda count: hits[:count]


def told(hits: Sequence[Hit]) -> list[tuple[str, str, str]]:
    """(best passage, joined passages, folded ones) of each result."""
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [
        (
            hit.chunk.id,
            " ".join(part.id for part in hit.parts),
            " ".join(chunk.id for chunk in hit.also),
        )
        for hit in hits
    ]


@pytest.fixture
def shelf() -> Shelf:
    said = [f"{word} says {word} again" for word in STORY]
    return Shelf(
        {
            "A": [said[0:5], said[5:7], [], said[7:8]],
            "B": [said[0:2], said[8:9]],
            "C": [said[9:10], said[10:13]],
        }
    )


def test_the_same_text_is_one_result_that_names_the_others(shelf) -> None:
    found = group(shelf.ranking("A1a", "C1a", "B1a", "C2c"), 3, shelf)
    assert told(found) == [("A1a", "", "B1a"), ("C1a", "", ""), ("C2c", "", "")]
    assert found[0].score == 99.0
    assert found[0].text == found[0].chunk.text


def test_passages_that_follow_each_other_are_read_together(shelf) -> None:
    found = group(shelf.ranking("A1c", "C1a", "A1b"), 5, shelf)
    assert told(found) == [("A1c", "A1b A1c", ""), ("C1a", "", "")]
    (excerpt,) = found[0].passage
    assert excerpt.text == shelf.of_page["A1b"].text[excerpt.start : excerpt.end]
    assert (excerpt.page, excerpt.start) == (1, shelf.chunks["A1b"].start)
    assert excerpt.end == shelf.chunks["A1c"].end
    assert (found[0].score, found[0].chunk.page) == (99.0, 1)


def test_the_next_page_follows_but_not_the_one_after_it(shelf) -> None:
    found = group(shelf.ranking("A2a", "A1e"), 5, shelf)
    assert told(found) == [("A2a", "A1e A2a", "")]
    assert [(part.page, part.text) for part in found[0].passage] == [
        (1, shelf.chunks["A1e"].text),
        (2, shelf.chunks["A2a"].text),
    ]
    assert found[0].text == "dog says dog again\neasy says easy again"
    # Between them page 3 has no text: nobody reads on there.
    assert told(group(shelf.ranking("A2b", "A4a"), 5, shelf)) == [
        ("A2b", "", ""),
        ("A4a", "", ""),
    ]


def test_a_passage_between_two_results_makes_them_one(shelf) -> None:
    found = group(shelf.ranking("A1a", "C1a", "A1c", "B2a", "A1b", "C2c"), 4, shelf)
    assert told(found) == [
        ("A1a", "A1a A1b A1c", ""),
        ("C1a", "", ""),
        ("B2a", "", ""),
        ("C2c", "", ""),
    ]


def test_a_result_does_not_grow_into_a_chapter(shelf) -> None:
    order = ["A1a", "A1b", "A1c", "A1d", "A1e"]
    for shuffled in (order, ["A1c", "A1d", "A1b", "A1e", "A1a"]):
        found = group(shelf.ranking(*shuffled), 5, shelf)
        parts = [[part.id for part in hit.parts] or [hit.chunk.id] for hit in found]
        assert max(map(len, parts)) == MAX_PARTS
        assert sorted(chain.from_iterable(parts)) == order


def test_a_duplicate_of_a_joined_part_belongs_to_the_result(shelf) -> None:
    found = group(shelf.ranking("A1b", "A1a", "B1a", "B1b", "A2b"), 2, shelf)
    assert told(found) == [("A1b", "A1a A1b", "B1a B1b"), ("A2b", "", "")]
    # Results that were joined later keep what was folded into both.
    found = group(shelf.ranking("A1a", "B1a", "A1c", "A1b", "B1b"), 2, shelf)
    assert told(found) == [("A1a", "A1a A1b A1c", "B1a B1b")]


def test_parts_with_names_are_not_joined(shelf) -> None:
    for name, chunk in list(shelf.chunks.items()):
        shelf.chunks[name] = Chunk(
            *(chunk.id, chunk.document_id, chunk.path, "xlsx", "", None),
            *(chunk.start, chunk.end, chunk.text),
            label=f"sheet {chunk.page}",
        )
    assert told(group(shelf.ranking("A1e", "A2a", "A2b"), 5, shelf)) == [
        ("A1e", "", ""),
        ("A2a", "A2a A2b", ""),
    ]


def by_hand(ids: Sequence[str], count: int, shelf: Shelf) -> list[tuple[set[str], set[str]]]:
    """(parts, folded) of each result, in the plainest way."""
    results: list[tuple[set[str], set[str]]] = []
    follow = {
        frozenset((one, other))
        for name in "ABC"
        for one, other in pairwise(shelf.chunk_ids(name))
        if shelf.chunks[other].page - shelf.chunks[one].page <= 1
    }
    for id_ in ids:
        text = shelf.chunks[id_].text
        same = [r for r in results if any(shelf.chunks[part].text == text for part in r[0])]
        beside = [r for r in results if any(frozenset((id_, part)) in follow for part in r[0])]
        roomy = [r for r in beside if len(r[0]) < MAX_PARTS]
        if same:
            same[0][1].add(id_)
        elif roomy:
            roomy[0][0].add(id_)
            for other in beside[beside.index(roomy[0]) + 1 :]:
                if len(roomy[0][0]) + len(other[0]) <= MAX_PARTS:
                    roomy[0][0].update(other[0])
                    roomy[0][1].update(other[1])
                    results.remove(other)
        elif len(results) == count:
            break
        else:
            results.append(({id_}, set()))
    return results


def test_any_ranking_is_gathered_as_by_hand(shelf) -> None:
    rng = random.Random(2)
    for _ in range(400):
        ids = rng.sample(list(shelf.chunks), len(shelf.chunks))
        count = rng.randint(1, 8)
        found = group(shelf.ranking(*ids), count, shelf)
        assert [
            ({part.id for part in hit.parts} or {hit.chunk.id}, {c.id for c in hit.also})
            for hit in found
        ] == by_hand(ids, count, shelf)


def test_the_list_is_filled_and_does_not_depend_on_how_much_is_fetched() -> None:
    copies = {f"{number}": [["the same text in every copy"]] for number in range(200)}
    others = {name: [[f"{name} says something"]] for name in "xyz"}
    shelf = Shelf(copies | others)
    asked: list[int] = []
    ranking = shelf.ranking(*shelf.chunks)

    def fetch(count: int) -> list[Hit]:
        asked.append(count)
        return ranking(count)

    found = group(fetch, 3, shelf)
    assert [hit.chunk.path for hit in found] == ["0", "x", "y"]
    assert len(found[0].also) == 199
    assert asked == [6, 12, 24, 48, 96, 192, 384]
    assert told(group(ranking, 9, shelf))[:3] == told(found)


def test_a_page_that_has_gone_leaves_the_passages(shelf) -> None:
    shelf.of_page.clear()
    (hit,) = group(shelf.ranking("A1a", "A1b"), 5, shelf)
    assert hit.text == f"{shelf.chunks['A1a'].text}\n{shelf.chunks['A1b'].text}"


def test_neighbours_are_those_of_the_document(shelf) -> None:
    def around(id_: str, before: int, after: int) -> list[str]:
        found = neighbours(shelf.chunks[id_], shelf, before=before, after=after)
        return [chunk.id for chunk in found]

    assert around("A1b", 1, 1) == ["A1a", "A1c"]
    assert around("A1a", 3, 2) == ["A1b", "A1c"]
    assert around("A4a", 2, 5) == ["A2a", "A2b"]
    assert around("A4a", 0, 0) == []
    gone = Chunk("gone", "A", "A", "txt", "", 1, 0, 1, "x")
    assert neighbours(gone, shelf, before=2, after=2) == []


def test_a_hit_is_widened_as_far_as_one_can_read_on(shelf) -> None:
    hit = Hit(1, 1.0, shelf.chunks["A2a"])
    wide = with_context(hit, 2, shelf)
    assert [(e.page, e.text) for e in wide.passage] == [
        (1, "\n".join(shelf.chunks[id_].text for id_ in ("A1d", "A1e"))),
        (2, shelf.of_page["A2a"].text),
    ]
    assert (wide.chunk, wide.parts, wide.score) == (hit.chunk, (), 1.0)
    (joined,) = group(shelf.ranking("A1b", "A1c"), 1, shelf)
    (excerpt,) = with_context(joined, 1, shelf).passage
    assert excerpt.text == "\n".join(shelf.chunks[f"A1{at}"].text for at in "abcd")
    assert with_context(Hit(1, 1.0, shelf.chunks["A4a"]), 1, shelf).text == shelf.chunks["A4a"].text


# With a real index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Pages cut into overlapping chunks, and copies of some documents."""
    rng = random.Random(9)
    path = tmp_path_factory.mktemp("results") / "index"
    chunking = ChunkSettings(size=24, overlap=8)
    with Index.open_or_create(path, FakeEmbedder(64), chunking=chunking) as opened:
        texts = {
            name: [
                "  \n".join(
                    " ".join(rng.choices(STORY, k=rng.randint(4, 9))).capitalize() + "."
                    for _ in range(rng.randint(1, 12))
                )
                for _ in range(3)
            ]
            for name in "abcdef"
        }
        texts["copy of a"] = texts["a"]
        opened.add(
            Document(f"{name}.txt", "txt", tuple(Page(n, text) for n, text in enumerate(pages, 1)))
            for name, pages in texts.items()
        )
        yield opened


QUERIES = ("charlie", "fox love", "oboe nan mike", "zero able baker charlie dog")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
@pytest.mark.parametrize("query", QUERIES)
def test_results_show_the_ranking_and_exactly_the_pages(index, query, mode) -> None:
    plain = index.search(query, 200, mode=mode, fold=False)
    place = {hit.chunk.id: hit for hit in plain}
    found = index.search(query, 10, mode=mode)
    assert len(found) == 10
    assert [hit.rank for hit in found] == list(range(1, 11))
    shown: list[str] = []
    for hit in found:
        members = [*(hit.parts or (hit.chunk,)), *hit.also]
        shown += [chunk.id for chunk in members]
        # The best of its passages stands for it.
        assert hit.score == max(place[chunk.id].score for chunk in members)
        assert place[hit.chunk.id].score == hit.score
        pages = {page.number: page.text for page in index.pages(hit.chunk.document_id)}
        for excerpt in hit.passage:
            assert pages[excerpt.page][excerpt.start : excerpt.end] == excerpt.text
        for part in hit.parts:
            (around,) = [e for e in hit.passage if e.page == part.page]
            assert around.start <= part.start < part.end <= around.end
    # What is shown are the first passages of the ranking, each once.
    assert len(set(shown)) == len(shown)
    assert set(shown) == {hit.chunk.id for hit in plain[: len(shown)]}
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert any(hit.parts for hit in found)


def test_copies_are_named_and_filters_hold_for_what_is_folded(index) -> None:
    query = "zero able baker charlie dog"
    copies = [hit for hit in index.search(query, 20) if hit.also]
    assert copies
    for hit in copies:
        assert all(chunk.text in {p.text for p in (*hit.parts, hit.chunk)} for chunk in hit.also)
    alone = index.search(query, 20, where={"path": {"ne": "copy of a.txt"}})
    assert not any(hit.also for hit in alone if hit.chunk.path == "a.txt")
    both = index.search(query, 1000, fold=False)
    assert {"a.txt", "copy of a.txt"} <= {hit.chunk.path for hit in both}
    assert not any(hit.also or hit.parts for hit in both)


def test_by_file_folds_whole_copies_only(index) -> None:
    found = index.search("fox love", 10, by_file=True)
    paths = [hit.chunk.path for hit in found]
    assert len(set(paths)) == len(paths) == 6
    assert [chunk.path for hit in found for chunk in hit.also] in (["a.txt"], ["copy of a.txt"])
    assert not any(hit.parts for hit in found)


def test_context_and_neighbours(index) -> None:
    plain = index.search("fox love", 5, fold=False)
    for hit, wide in zip(plain, index.search("fox love", 5, fold=False, context=1), strict=True):
        around = index.neighbours(hit.chunk)
        same = [c for c in (*around, hit.chunk) if c.page == hit.chunk.page]
        (excerpt,) = [e for e in wide.passage if e.page == hit.chunk.page]
        assert (excerpt.start, excerpt.end) == (
            min(c.start for c in same),
            max(c.end for c in same),
        )
        assert hit.chunk.text in wide.text


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_diversity_chooses_others_and_its_first_result_stays(index, mode) -> None:
    query = "zero able baker charlie dog"
    plain = index.search(query, 8, mode=mode, fold=False)
    assert index.search(query, 8, mode=mode, fold=False, diversity=0.0) == plain
    diverse = index.search(query, 8, mode=mode, fold=False, diversity=0.8)
    assert diverse[0] == plain[0]
    assert [hit.rank for hit in diverse] == list(range(1, 9))

    def likeness(hits: Sequence[Hit]) -> float:
        vectors = live(index).vectors([hit.chunk.id for hit in hits])
        return float(np.triu(vectors @ vectors.T, 1).sum())

    assert likeness(diverse) < likeness(plain)
    with pytest.raises(UsageError, match="diversity"):
        index.search(query, diversity=2)


def test_a_query_is_embedded_once_however_deep_the_ranking_is_read(index) -> None:
    asked: list[str] = []

    def embed(query: str) -> np.ndarray:
        asked.append(query)
        return index.embed_query(query)

    index.search("charlie", 60, embed=embed)
    assert asked == ["charlie"]
    with pytest.raises(UsageError, match="it is 0"):
        index.search("charlie", 0)


def test_diverse_by_vector_is_mmr_over_the_nearest(index) -> None:
    vector = index.embed_query("fox love")
    nearest = index.search_by_vector(vector, 20)
    assert index.diverse_by_vector(vector, 5, weight=1.0) == nearest[:5]
    found = index.diverse_by_vector(vector, 5, weight=0.3)
    assert found[0].chunk == nearest[0].chunk
    assert {hit.chunk.id for hit in found} <= {hit.chunk.id for hit in nearest}
    assert index.diverse_by_vector(vector, 5, candidates=0) == []
