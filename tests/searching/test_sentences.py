"""The best sentence of a result: hand-computed values, a naive formula, and exact spans."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever import Document, Index, Page
from retriever.searching.options import Marked, Steering
from retriever.searching.sentences import (
    BEFORE,
    FURTHER,
    LONGEST,
    PART,
    SentenceChooser,
    with_sentences,
)
from retriever.searching.snippets import snippet
from retriever.storage.catalog.postings import idf
from retriever.types import Chunk, Excerpt, Hit
from tests.fakes import FakeEmbedder

Words = list[tuple[tuple[tuple[str, float], ...], ...]]


def chunk(text: str, start: int = 0, page: int | None = 1, name: str = "c") -> Chunk:
    return Chunk(name, "d", "a.md", "md", "", page, start, start + len(text), text)


def words(**values: float) -> Words:
    """A query of words with these values, each with one term."""
    return [(((term, value),),) for term, value in values.items()]


def chosen(text: str, asked: Words) -> str:
    found = SentenceChooser(asked).best(Hit(1, 1.0, chunk(text)))
    assert found is not None
    assert text[found.start : found.end] == found.text
    return found.text


def test_the_sentence_with_the_most_telling_words() -> None:
    text = "Tea is hot and hot again. Tea has a long history. Milk is mostly white."
    assert chosen(text, words(tea=1, hot=2)) == "Tea is hot and hot again."
    assert chosen(text, words(tea=1, histori=2)) == "Tea has a long history."
    assert chosen(text, words(milk=3, tea=1, hot=1)) == "Milk is mostly white."
    # The first of equals.
    assert chosen(text, words(tea=1)) == "Tea is hot and hot again."


def test_a_word_counts_once_whatever_matches_it() -> None:
    text = "The hot hot tea was hot. The warm milk was mild."
    either: Words = [((("hot", 1.0),), (("warm", 0.5),)), ((("milk", 0.6),),)]
    assert chosen(text, either) == "The warm milk was mild."  # 0.5 + 0.6 against 1.0


def test_context_counts_at_most_as_much_as_the_sentence() -> None:
    text = "The memorized secret is a password. It shall have eight characters. It may be longer."
    # "It shall …": 1 and 1 for half of memorized secret; "The memorized …": 2.
    assert chosen(text, words(memor=1, secret=1.2, charact=1.2)) == (
        "It shall have eight characters."
    )
    assert chosen(text, words(memor=1, secret=1.2)) == "The memorized secret is a password."


def test_a_heading_counts_less_and_speaks_for_what_follows() -> None:
    text = "## Password length\n\nOther things come first here. It is at least eight characters."
    assert chosen(text, words(password=1, length=1)) == "Other things come first here."
    assert chosen(text, words(password=1, length=1, charact=1)) == (
        "It is at least eight characters."
    )


def test_markup_is_taken_only_if_there_is_nothing_else() -> None:
    markup = '<prop name="risk" ns="https://a.b/risk" value="exception"/>'
    prose = "Once it is approved, change the value."
    assert chosen(f"{markup}\n\n{prose}\n\n{markup}", words(risk=3, exception=3)) == prose
    assert chosen(f"<a/>\n\n{markup}", words(risk=3, exception=3)) == markup


def test_the_passage_that_was_found_comes_first_among_equals() -> None:
    one, two = chunk("Tea is a hot drink.", 0), chunk("Tea is a hot drug.", 20)
    whole = Excerpt(1, "", 0, 38, "Tea is a hot drink. Tea is a hot drug.")
    for best, text in ((one, "Tea is a hot drink."), (two, "Tea is a hot drug.")):
        hit = Hit(1, 1.0, best, parts=(one, two), passage=(whole,))
        found = SentenceChooser(words(tea=1)).best(hit)
        assert found is not None
        assert (found.text, found.start) == (text, best.start)
    hit = Hit(1, 1.0, one, parts=(one, two), passage=(whole,))
    found = SentenceChooser(words(tea=1, drug=1)).best(hit)
    assert found is not None
    assert found.text == two.text  # more words weigh more than the passage


def test_context_around_a_result_is_not_chosen() -> None:
    part = chunk("Tea is a hot drink.", 20)
    whole = Excerpt(1, "", 0, 39, "Tea and tea leaves. Tea is a hot drink.")
    found = SentenceChooser(words(tea=1, leav=5)).best(Hit(1, 1.0, part, passage=(whole,)))
    assert found == Excerpt(1, "", 20, 39, "Tea is a hot drink.")


def test_without_a_word_it_is_the_first_readable_sentence() -> None:
    text = "## A title\n\n<a href='#x'/>\n\nThe first sentence can be read. The second, too."
    assert chosen(text, []) == "The first sentence can be read."
    assert chosen(text, words(zebra=1)) == "The first sentence can be read."
    assert SentenceChooser([]).best(Hit(1, 1.0, chunk(" \n "))) is None


def test_of_a_very_long_sentence_the_part_with_most_words_is_taken() -> None:
    lines = [f"item number {n} of the list" for n in range(60)]
    lines[40] = "the zebra crossing of the list"
    text = ", ".join(lines)
    assert len(text) > LONGEST
    found = chosen(text, words(zebra=2, list=1))
    assert found.startswith("the zebra crossing of the list, item number 41")
    assert len(found) <= PART
    assert chosen("x" * 2 * LONGEST, []) == "x" * PART


FILLER = ["tea", "milk", "water", "honey", "sugar", "lemon", "salt"]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(FILLER), min_size=4, max_size=7), min_size=1, max_size=6))
def test_values_are_those_of_the_formula(said: list[list[str]]) -> None:
    """On plain sentences: the sum of the words, with half of the sentence before, and so on."""
    values = {"tea": 1.0, "honei": 2.5, "lemon": 0.7}
    text = " ".join(" ".join(one).capitalize() + "." for one in said)
    own = [
        {term: value for term, value in values.items() if {"honei": "honey"}.get(term, term) in one}
        for one in said
    ]
    scores = []
    for at, mine in enumerate(own):
        added = 0.0
        for term, value in values.items():
            near = at > 0 and term in own[at - 1]
            far = any(term in each for each in own[: max(0, at - 1)])
            context = value * max(BEFORE * near, FURTHER * far)
            added += max(0.0, context - mine.get(term, 0.0))
        alone = sum(mine.values())
        scores.append(alone + min(alone, added))
    best = chosen(text, words(**values))
    ends = [0]
    for one in said:
        ends.append(ends[-1] + len(" ".join(one)) + 2)
    spans = {
        text[start:end].strip(): score
        for (start, end), score in zip(pairwise(ends), scores, strict=True)
    }
    assert spans[best] == pytest.approx(max(spans.values()))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("sentences")
    page = (
        "# Secrets\n\nA memorized secret is known to its user alone. Memorized secrets have at "
        "least eight characters. They are also called passwords, see [[NIST]](#nist).\n"
    )
    with Index.open_or_create(folder, FakeEmbedder()) as opened:
        opened.add(
            [
                Document("a.md", "markdown", (Page(None, page),)),
                Document("empty.txt", "text", (Page(None, "…"),)),
                *(
                    Document(
                        f"{n}.txt", "text", (Page(None, f"Tea number {n} is hot. Cups, too."),)
                    )
                    for n in range(20)
                ),
            ]
        )
        yield opened


BEST = "Memorized secrets have at least eight characters."


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"mode": "dense"},
        {"mode": "keyword"},
        {"by_file": True},
        {"diversity": 0.4},
        {"min_match": 0.0},
        {"context": 1},
        {"fold": False},
        {"feedback": False},
        {"syntax": False},
    ],
)
def test_every_search_has_sentences(index: Index, how: dict[str, Any]) -> None:
    hits = index.search("how many characters has a memorized secret?", 3, **how)
    (hit,) = [hit for hit in hits if hit.chunk.path == "a.md"]
    assert hit.sentence is not None
    assert hit.sentence.text == BEST
    with index.snapshot() as now:
        page = now.catalog.page_of(hit.chunk.id)
    assert page is not None
    assert page.text[hit.sentence.start : hit.sentence.end] == BEST
    assert all(hit.sentence for hit in hits)


def test_sentences_can_be_left_out(index: Index) -> None:
    with_them = index.search("characters", 3)
    without = index.search("characters", 3, sentences=False)
    assert [replace(hit, sentence=None) for hit in with_them] == without


def test_a_word_with_a_typing_error_counts(index: Index) -> None:
    (hit, *_) = index.search("charakters", 1, mode="keyword")
    assert hit.sentence is not None
    assert hit.sentence.text == BEST


def test_a_vector_has_the_first_readable_sentence(index: Index) -> None:
    vector = index.embed_query("memorized secret characters")
    hit = index.search_by_vector(vector, 1)[0]
    assert hit.sentence is not None
    assert hit.sentence.text == "A memorized secret is known to its user alone."
    assert index.diverse_by_vector(vector, 1)[0].sentence == hit.sentence


def test_steering_and_filters_have_sentences(index: Index) -> None:
    whole = index.search("eight characters", 1)[0]
    marked = Steering(marked=(Marked(whole.chunk.id, 0, 40),))
    for hit in (
        index.search("eight characters", 1, steering=marked, mode="keyword")[0],
        index.search("path:a.md", 1)[0],
        index.search("file:a.md", 1)[0],
    ):
        assert hit.sentence is not None
        assert hit.sentence.text in hit.text


def test_values_are_boosts_times_idf(index: Index) -> None:
    with index.snapshot() as now:
        ((way,),) = now.word_values("hot")
        total = now.passages.count()
        assert way == (("hot", pytest.approx(idf(total, 20))),)
        assert now.word_values("of the") == now.word_values("") == () or now.word_values("") == ()
        assert with_sentences(now, "hot", []) == []


@settings(deadline=None)
@given(st.text(alphabet="ab AB.\n|#-*<>/=1…。水 ", max_size=200), st.text(max_size=8), st.data())
def test_the_sentence_is_an_exact_span_within_the_passages(
    text: str, query: str, data: st.DataObject
) -> None:
    """For any page, cut anywhere into passages, with whatever context around them."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4)))
    parts = tuple(
        chunk(text[start:end], start, name=str(at))
        for at, (start, end) in enumerate(pairwise(cuts))
    )
    best = data.draw(st.sampled_from(parts))
    low, high = data.draw(st.integers(0, cuts[0])), data.draw(st.integers(cuts[-1], len(text)))
    passage = (Excerpt(1, "", low, high, text[low:high]),)
    hit = Hit(1, 1.0, best) if len(parts) < 2 else Hit(1, 1.0, best, parts=parts, passage=passage)
    asked = words(**dict.fromkeys(query.split(), 1.0) or {"a": 1.0})
    found = SentenceChooser(asked).best(hit)
    if found is None:
        assert not "".join(part.text for part in parts).strip() or len(parts) > 1
        return
    assert text[found.start : found.end] == found.text
    assert found.text.strip() == found.text != ""
    assert cuts[0] <= found.start < found.end <= cuts[-1]
    shown = snippet(replace(hit, sentence=found), 60)
    assert all(text[one.start : one.end] == one.text for one in shown.excerpts)
    assert all(cuts[0] <= one.start < one.end <= cuts[-1] for one in shown.excerpts)
    assert 0 <= shown.start <= shown.end <= len(shown.text)
