"""An explanation in sentences: every word and share that is told is in the explanation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retriever.embedding.word_attribution import WordSpan, word_spans
from retriever.explaining.compare import compare
from retriever.explaining.score import DenseScore, Explanation, Term
from retriever.explaining.summary import (
    Part,
    difference_summary,
    share_text,
    summarise,
    summarise_words,
    summary,
)
from retriever.index import Index
from retriever.storage.records import KeywordScore, KeywordWord
from retriever.types import Chunk, Document, Page
from tests.fakes import FakeEmbedder

TEXT = "The hashed password is lengthy. A password has a limit, and it may be long."
CHUNK = Chunk("id", "d", "a.txt", "txt", "On secrets", None, 0, len(TEXT), TEXT, language="en")
WORDS = tuple(WordSpan(TEXT[a:b], a, b) for a, b in word_spans(TEXT))


def met(word: str, term: str, times: int = 1, documents: int = 9, score: float = 1.0, **more):
    return KeywordWord(word, (term,), documents, times, 2.0, score, **more)


def keyword(*words: KeywordWord, added: Sequence[KeywordWord] = (), passages: int = 100):
    return KeywordScore(words, 9, 9.0, passages, tuple(added))


def dense(**values: float) -> DenseScore:
    """A cosine whose parts are those of the passage's words by name, at their first place."""
    matrix = np.zeros((4, len(WORDS) + 3))
    names = [word.word for word in WORDS]
    for name, value in values.items():
        matrix[0, names.index(name)] = value
    return DenseScore(float(matrix.sum()), (WordSpan("how", 0, 3),), WORDS, matrix, matrix)


def told(terms: dict[str, float], **more) -> Explanation:
    summed = tuple(Term(name, value) for name, value in terms.items())
    return Explanation("how", CHUNK, "hybrid", summed, **more)


def test_words_and_meaning_and_what_the_first_passages_added() -> None:
    explanation = told(
        {"dense": 1.0, "dense feedback": 1.0, "keyword": 1.5, "keyword feedback": 1.5},
        dense=dense(lengthy=0.3, limit=0.2, hashed=0.01, password=0.3, The=0.9),
        keyword=keyword(
            met("password", "password", 3, documents=2, score=3.0),
            met("long", "long"),
            added=[met("passwords", "password"), met("hashed", "hash"), met("00", "00")],
        ),
    )
    assert summarise(explanation) == (
        "Found for “password” (2×, rare here) and “long” (1×); by meaning through “lengthy” and "
        "“limit”. About half of the score comes from the best passages of a first search: their "
        "words (“hashed”) and their meaning were added to your question."
    )
    kinds = {part.text: part.kind for part in summary(explanation).parts if part.kind}
    assert kinds == {
        "password": "yours",
        "long": "yours",
        "lengthy": "meaning",
        "limit": "meaning",
        "hashed": "added",
    }
    assert summarise_words(explanation) == ("Found for “password” (2×, rare here) and “long” (1×).")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"keyword": 1.0, "keyword feedback": 0.04}, ""),
        ({"keyword": 2.0, "keyword feedback": 1.0}, "About a third of the score comes from"),
        ({"keyword": 0.1, "dense feedback": 9.9}, "Nearly all of the score comes from"),
        ({"keyword": 3.0, "dense feedback": 1.0, "contents": -3.0}, "About a quarter of"),
        ({"dense": -5.0, "dense feedback": 1.0}, "not better than that of most passages"),
    ],
)
def test_shares_are_those_of_the_terms(terms: dict[str, float], said: str) -> None:
    shown = summarise(told(terms, keyword=keyword(met("long", "long"))))
    assert said in shown
    assert ("of the score comes" in shown) == ("of" in said and "better" not in said)
    assert ("table of contents" in shown) == ("contents" in terms)


def test_only_meaning_or_only_words_were_added() -> None:
    words = keyword(met("long", "long"), added=[met("hashed", "hash")])
    by_meaning = summarise(told({"keyword": 1, "dense feedback": 1}, keyword=words))
    assert by_meaning.endswith("first search: their meaning was added to your question.")
    by_words = summarise(told({"keyword": 1, "keyword feedback": 1}, keyword=words))
    assert by_words.endswith("search: their words (“hashed”) were added to your question.")


@pytest.mark.parametrize("share", np.linspace(0, 1, 41))
def test_a_share_in_words_is_near_the_share(share: float) -> None:
    named = {
        "About a tenth": 0.1, "About a fifth": 0.2, "About a quarter": 0.25,
        "About a third": 1 / 3, "About half": 0.5, "About two thirds": 2 / 3,
        "About three quarters": 0.75, "Most": 0.9, "Nearly all": 1.0, "": 0.0,
    }  # fmt: skip
    assert abs(named[share_text(share)] - share) <= 0.1


def test_what_is_special_about_a_word_is_told() -> None:
    corrected = met("pasword", "password", corrected=True, written="password")
    titled = met("secrets", "secret", times=2, documents=1)
    said = summarise_words(told({}, keyword=keyword(corrected, titled, met("x" * 50, "y"))))
    assert "“password” (2×, you wrote “pasword”, so it counts less)" in said
    assert "“secrets” (in the title, rare here)" in said
    assert f"“{'x' * 39}…”" in said
    alone = summarise_words(told({}, keyword=keyword(met("limit", "limit", documents=1))))
    assert alone == "Found for “limit” (1×, nowhere else)."
    several = met("limit", "limit", count=2)
    assert "(1×, you wrote it 2 times)" in summarise_words(told({}, keyword=keyword(several)))


def test_words_that_did_not_meet_are_told() -> None:
    gone = met("tea", "tea", times=0, score=0)
    never = [met(name, name, 0, 0, 0) for name in ("qqq", "xyzzy")]
    some = summarise_words(told({}, keyword=keyword(met("long", "long"), gone, never[0])))
    assert some == "Found for “long” (1×), without “tea” (“qqq” occurs nowhere in the collection)."
    none = summarise(told({"dense": 1}, keyword=keyword(*never), dense=dense(limit=0.1)))
    assert none == (
        "None of your words occurs in it (“qqq” and “xyzzy” occur nowhere in the collection); "
        "found by meaning, through “limit”."
    )
    common = met("may", "mai", documents=90, score=0)
    assert summarise_words(told({}, keyword=keyword(common))) == (
        "Your words that occur in it occur in most passages and do not count."
    )


def test_many_words_are_counted() -> None:
    words = [met(f"w{at}e", f"w{at}", score=9 - at) for at in range(8)]
    assert "“w3e” and 4 more words of yours." in summarise_words(told({}, keyword=keyword(*words)))
    assert "more word" not in summarise_words(told({}, keyword=keyword(*words[:5])))


def test_a_chain_is_named_once_and_a_run_by_its_words() -> None:
    chain = keyword(met("AC-2", "ac2"), met("AC", "ac"))
    assert summarise_words(told({}, keyword=chain)) == "Found for “AC-2”."
    run = keyword(met("long", "long"), met("limit", "limit"), met("long limit", "longlimit"))
    assert summarise_words(told({}, keyword=run)) == "Found for “long” (1×) and “limit” (1×)."
    owned = keyword(met("rabbit's", "rabbit"))
    assert summarise_words(told({}, keyword=owned)) == "Found for “rabbit's”."


def test_sides_alone_weights_and_a_distant_meaning() -> None:
    same = told({"keyword": 1, "dense": 1}, dense=dense(), keyword=keyword(met("long", "long")))
    assert summarise(same) == "Found for “long” (1×); by meaning through the same words."
    far = replace(same, terms=(Term("keyword", 1), Term("dense", -0.1)))
    assert summarise(far).endswith("; its meaning alone is not close to your question.")
    by_words = replace(same, dense=None, mode="keyword")
    assert summarise(by_words).endswith("(1×). Only words were searched for, not meaning.")
    by_meaning = told({"dense": 0.3}, dense=dense(limit=0.1), weights=(0.5,))
    assert summarise(by_meaning) == ("Found by meaning, through “limit”. You weighed “how” ×0.5.")
    judged = replace(same, terms=(*same.terms, Term("rerank", -1.0, {"log_likelihood": -2.0})))
    assert summarise(judged).endswith("by reranking, lowered its score.")


def test_symbols_that_cannot_be_read_are_not_named() -> None:
    odd = keyword(met("\uf0b7", "x"), met("long", "long"), added=[met("\uf0b7a", "y")])
    shown = summarise(told({"keyword": 1, "keyword feedback": 1}, keyword=odd))
    assert "\uf0b7" not in shown
    assert "their words were added" in shown


def test_a_difference_names_the_term_and_the_word_that_make_most_of_it() -> None:
    one = told({"dense": 1.0, "keyword": 3.0}, keyword=keyword(met("long", "long", score=3.0)))
    two = told({"dense": 0.5, "keyword": 1.0}, keyword=keyword(met("long", "long", score=1.0)))
    assert str(difference_summary(compare(one, two), "it", "result 2")) == (
        "It stands 2.50 above result 2, most of all by words (+2.00), first of all through “long”."
    )
    back = difference_summary(compare(two, one), "it", "result 2")
    assert str(back).startswith("Result 2 stands 2.50 above it, most of all by words (+2.00)")
    assert Part("long", "yours") in back.parts
    assert "the same score" in str(difference_summary(compare(one, one), "it", "result 2"))


# With an index


TEXTS = [
    "Green tea is brewed at eighty degrees, black tea hotter.",
    "Coffee beans are roasted; tea leaves are not.",
    "The train to the coast leaves from platform four.",
]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        opened.add(
            Document(f"{at}.txt", "txt", (Page(None, f"Number{at}. {text}"),))
            for at, text in enumerate(TEXTS * 12)
        )
        yield opened


@pytest.mark.parametrize("query", ["green tea trains", "platfrm for coffee", "qqqxyzzy leaves"])
def test_every_word_that_is_named_is_there(index: Index, query: str) -> None:
    for hit in index.search(query, 30):
        found = index.explain(query, hit)
        said = summary(found)
        text = found.chunk.text.lower()
        for part in said.parts:
            if part.kind in ("meaning", "added"):
                assert part.text.lower() in text
        assert found.keyword is not None
        for word, times in re.findall(r"“([^”]*)” \((\d+)×", str(said)):
            stem = word.lower().rstrip("s")
            assert len(re.findall(rf"\b{stem}s?\b", text)) == int(times)
        for word in found.keyword.words:
            if word.corrected and word.times:
                assert word.written in found.chunk.text
                assert f"“{word.written}” (1×, you wrote “{word.word}”" in str(said)


def test_the_words_alone_need_no_model(index: Index) -> None:
    embedder = index.embedder
    assert isinstance(embedder, FakeEmbedder)
    (hit, *_) = index.search("green tea", mode="keyword")
    count = len(embedder.embedded)
    said = summarise_words(index.explain("green tea", hit.chunk, mode="keyword"))
    assert said.startswith("Found for “")
    assert len(embedder.embedded) == count
