"""The verdict on results: silent where the words stand there, else one true sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from retriever import Document, Index, Page
from retriever.searching.match import MATCH
from retriever.searching.verdict import is_question
from tests.fakes import FakeEmbedder

MODES = ("hybrid", "dense", "keyword")
FILLING = "It is one of the things that are said of it, and this is why it was there with the rest."
TEXTS = {
    "recipes.txt": f"Porridge is made of oatmeal and water, a password. {FILLING}",
    "risk.txt": f"The assessment of a risk is the work of its owner. {FILLING}",
    "president.txt": f"The salary of the president is public, since 12 Mar 2014. {FILLING}",
    "mice.txt": f"Utterson was a lawyer, and he was silent about mice. {FILLING}",
    **{f"{seed}.txt": f"Number {seed} of the systems. {FILLING}" for seed in range(40)},
}
LANGUAGE = (
    "The question is in German, the documents are in English: "
    "search by meaning works less well then, by words hardly at all."
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open_or_create(tmp_path_factory.mktemp("verdict"), FakeEmbedder()) as opened:
        opened.add(Document(path, "text", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


def said(index: Index, query: str, mode: str = "hybrid", match: float | None = 0.3) -> str:
    """The verdict on the search, whose hits have this match."""
    hits = [replace(hit, match=match) for hit in index.search(query, mode=mode)]
    return index.verdict(query, hits, mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "query",
    ["oatmeal", "Utterson", "risk assessments", "risc assesment", "who is Utterson?", "€"],
)
def test_words_that_stand_there_are_never_uncertain(index: Index, query: str, mode: str) -> None:
    assert said(index, query, mode) == ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["oatmeal mice", "Utterson risk", "systems oatmeal"])
def test_looking_up_words_that_occur_is_no_question(index: Index, query: str, mode: str) -> None:
    assert said(index, query, mode) == ""


def test_a_match_is_certain(index: Index) -> None:
    assert said(index, "what does Utterson say of zebras?", match=MATCH) == ""
    assert said(index, "what does Utterson say of zebras?", match=0.94) != ""


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("qqqxyzzy", 'The word "qqqxyzzy" occurs nowhere here'),
        ("qqqxyzzy oatmeal", 'The word "qqqxyzzy" occurs nowhere here'),
        (
            "who sells zebras and giraffes?",
            'The words "sells", "zebras" and "giraffes" occur nowhe',
        ),
        ("salary of the president of Mars", "No document speaks of Mars"),
        ("oatmeal of Frodo and of Bilbo", "No document speaks of Frodo or Bilbo"),
        ("Zebra oatmeal", 'The word "Zebra" occurs nowhere here'),  # any query begins so
        ("AC-2", 'The word "AC-2" occurs nowhere here'),
    ],
)
def test_a_word_that_occurs_nowhere_is_named(index: Index, query: str, sentence: str) -> None:
    assert said(index, query).startswith(sentence)
    assert said(index, query).endswith(": these passages come nearest.")
    assert said(index, query, match=None).startswith(sentence)


@pytest.mark.parametrize("query", ["the of and", "to be or not to be", "what is it?"])
def test_function_words_do_not_occur_nowhere(index: Index, query: str) -> None:
    assert "nowhere" not in said(index, query)


def test_without_hits_nothing_comes_nearest(index: Index) -> None:
    assert index.verdict("qqqxyzzy", []) == 'The word "qqqxyzzy" occurs nowhere here.'
    assert index.verdict("oatmeal", []) == index.verdict("what is oatmeal?", []) == ""
    assert index.verdict("risc", []) == ""


def test_an_answer_to_a_question_is_doubted(index: Index) -> None:
    nearest = "; these passages come nearest."
    asked = "which of the systems is one of oatmeal, of the president and of mice?"
    doubt = "It is not certain that anything here answers this question"
    assert said(index, asked, match=0.6) == f"{doubt}{nearest}"
    assert said(index, asked) == f"Nothing here really matches this question{nearest}"
    assert said(index, asked, match=None) == ""


def test_the_rare_word_of_no_result_is_named(index: Index) -> None:
    asked = "is porridge the risk of a lawyer?"
    hits = [
        replace(hit, match=0.6)
        for hit in index.search(asked, mode="keyword")
        if hit.chunk.path != "mice.txt"
    ]
    assert index.verdict(asked, hits) == (
        "It is not certain that anything here answers this question: "
        'none of these passages has the word "lawyer".'
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_language_of_the_question_is_named(index: Index, mode: str) -> None:
    asked = "Wie lang muss die Risikobewertung für ein Passwort sein?"
    assert said(index, asked, mode) == LANGUAGE
    assert index.verdict(asked, []) == LANGUAGE


def test_the_words_of_another_language_are_not_corrected(index: Index) -> None:
    """Only long ones are, which are the same word: short ones are like any other."""
    asked = "Wie muss man das Rist und ein Passwort sehen?"
    assert index.corrections(asked) == {"Passwort": ["password"]}
    assert set(index.corrections("How is the Rist seen there?")) == {"Rist"}
    assert set(index.corrections("risc assesment")) == {"risc", "assesment"}


@pytest.mark.parametrize(
    ("query", "words", "asks"),
    [
        ("who may approve it", 1, True),
        ("OSCAL", 1, False),
        ("OSCAL？", 1, True),
        ("the mouse of Utterson", 2, False),
        ("old man", 2, False),  # "man" asks in German
        ("mouse trap cheese", 3, True),
    ],
)
def test_what_is_a_question(query: str, words: int, asks: bool) -> None:
    assert is_question(query, words, {"en": 9}) is asks


def test_two_characters_of_a_script_without_spaces_are_no_word(index: Index) -> None:
    nothing = "Nothing here really matches this question; these passages come nearest."
    assert said(index, "黑死病在欧洲造成多少人死亡？") == nothing
    assert said(index, "黑死病") == ""


def test_the_passages_of_each_language_are_counted(index: Index) -> None:
    with index.snapshot(dense=False) as now:
        rows = now.catalog.documents()
        languages = [chunk.language for row in rows for chunk in now.catalog.chunks(row.id)]
        assert now.catalog.language_counts() == Counter(languages)
        assert now.foreign_language("Wie lang muss das für ein Passwort sein?") == "de"
        assert now.foreign_language("How long is that?") == ""
