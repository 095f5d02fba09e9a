"""Search options: one set of names and defaults, in Python, as JSON, and in every interface."""

from __future__ import annotations

import json
import math
import typing
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from retriever.index import Index
from retriever.interface.cli import COMMANDS
from retriever.interface.commands.arguments import search_options
from retriever.interface.options import make_parser
from retriever.searching.options import Marked, Mode, SearchChanges, SearchOptions, Steering
from retriever.storage.filters import Filter
from retriever.types import Document, Page, UsageError
from tests.fakes import FakeEmbedder
from ui.page_query import PageQuery

NAMES = [each.name for each in fields(SearchOptions)]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with Index.open_or_create(tmp_path_factory.mktemp("index"), FakeEmbedder()) as opened:
        opened.add(
            Document(f"{at}.txt", "text", (Page(None, f"Whales sing song number {at}."),))
            for at in range(12)
        )
        yield opened


def some_options() -> some.SearchStrategy[SearchOptions]:
    steering = some.builds(
        Steering,
        some.lists(some.floats(-2, 2), max_size=3).map(tuple),
        some.lists(
            some.builds(Marked, some.text(), some.integers(0, 9), some.integers(0, 9)), max_size=2
        ).map(tuple),
    )
    where = some.sampled_from(
        [
            None,
            {},
            {"format": "pdf", "page": {"gte": 3, "lt": 9}},
            {"$or": [{"path": {"glob": "*.md"}}, {"$text": "access control"}]},
            {"$not": {"year": [2023, 2024]}, "title": {"exists": False}},
        ]
    )
    return some.builds(
        SearchOptions,
        k=some.integers(1, 1000),
        mode=some.sampled_from([*map(str, Mode)]),
        where=where,
        by_file=some.booleans(),
        syntax=some.booleans(),
        typos=some.none() | some.booleans(),
        feedback=some.booleans(),
        fold=some.booleans(),
        diversity=some.floats(0, 1),
        context=some.integers(0, 9),
        min_match=some.none() | some.floats(0, 1),
        rerank=some.integers(0, 99),
        rerank_seconds=some.floats(0.1, 99) | some.just(math.inf),
        steering=some.none() | steering,
    )


@given(some_options())
def test_options_travel_as_plain_json(options: SearchOptions) -> None:
    told = json.dumps(options.to_json(), allow_nan=False)
    assert SearchOptions.from_json(json.loads(told)) == options
    assert list(json.loads(told)) == NAMES


def test_what_is_left_out_has_its_default() -> None:
    assert SearchOptions.from_json({}) == SearchOptions()
    assert SearchOptions.from_json({"k": 3}) == SearchOptions(k=3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"literal": True}, r"'literal' is no search option; there are k, mode, where"),
        ({"a": 1, "b": 2}, r"'a', 'b' are no search options"),
        ({"k": 0}, "number of results must be at least 1; it is 0"),
        ({"k": "5"}, "k must be a whole number; it is '5'"),
        ({"k": 2.5}, "k must be a whole number; it is 2.5"),
        ({"k": True}, "k must be a whole number; it is True"),
        ({"k": None}, "k must be a whole number; it is None"),
        ({"mode": "nonsense"}, "unknown mode 'nonsense': use hybrid, dense, keyword"),
        ({"mode": None}, "mode must be a text; it is None"),
        ({"fold": "no"}, "fold must be true or false; it is 'no'"),
        ({"syntax": None}, "syntax must be true or false; it is None"),
        ({"diversity": 2}, "diversity must be from 0 to 1; it is 2"),
        ({"diversity": math.nan}, "diversity must be from 0 to 1; it is nan"),
        ({"context": -1}, "context must be at least 0 passages; it is -1"),
        ({"min_match": 95}, "least match must be from 0 to 1; it is 95"),
        ({"rerank": -2}, "results to rerank must be at least 0; it is -2"),
        ({"rerank_seconds": 0}, "more than 0 seconds; it is 0"),
        ({"where": "pdf"}, "this is not: 'pdf'"),
        ({"where": {"page": {"above": 3}}}, "'above', which is not an operator"),
        ({"steering": {"weight": [1]}}, "steering is written .*; this is not"),
        ({"steering": [1, 2]}, "steering is written .*; this is not"),
        ({"steering": {"marked": [{"id": "x"}]}}, "steering is written .*; this is not"),
        ({"steering": {"weights": "12"}}, "steering is written .*; this is not"),
        ({"steering": {"marked": [{"chunk_id": "x", "start": "0", "end": 1}]}}, "this is not"),
        ({"steering": {"marked": [{"chunk_id": "x", "start": 0, "end": 1, "weight": "a"}]}}, "is"),
        ({"steering": {"weights": [math.inf]}}, "a weight must be a number"),
        ([1], "search options are a JSON object"),
    ],
)
def test_what_cannot_be_meant_is_said(given: typing.Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SearchOptions.from_json(given)


def test_numbers_of_other_libraries_are_numbers() -> None:
    options = SearchOptions(k=np.int64(3), diversity=np.float32(0.5), fold=np.bool_(False))
    assert (options.k, options.diversity, bool(options.fold)) == (3, 0.5, False)


def test_typing_errors_are_guessed_at_unless_the_query_is_plain_text() -> None:
    told = {
        (syntax, typos): SearchOptions(syntax=syntax, typos=typos).tolerant
        for syntax in (True, False)
        for typos in (None, True, False)
    }
    assert told == {
        (True, None): True, (True, True): True, (True, False): False,
        (False, None): False, (False, True): True, (False, False): False,
    }  # fmt: skip
    assert not SearchOptions().changed(syntax=False).tolerant


def test_syntax_and_typos_are_two_things(index) -> None:
    def paths(query: str, **how: typing.Any) -> list[str]:
        return sorted(hit.chunk.path for hit in index.search(query, mode="keyword", **how))

    only = "whalse file:3.txt"
    assert paths(only) == ["3.txt"]
    assert paths(only, typos=False) == []
    assert len(paths(only, syntax=False, typos=True, fold=False)) == 10
    assert paths("whalse", syntax=False) == []
    assert index.corrections("whalse -song", syntax=False).keys() == {"whalse"}


def test_a_search_takes_options_or_keywords_and_keywords_count(index) -> None:
    query = "whales sing 7"
    options = SearchOptions(k=3, mode="dense", fold=False, where={"path": {"ne": "7.txt"}})
    expected = index.search(query, 3, mode="dense", fold=False, where={"path": {"ne": "7.txt"}})
    assert len(expected) == 3
    assert index.search(query, options=options) == expected
    assert len(index.search(query, 5, options=options)) == 5
    found = index.search(query, options=options, where=None, mode="hybrid")
    assert found == index.search(query, 3, fold=False)
    with pytest.raises(UsageError, match="'literal' is no search option"):
        index.search(query, literal=True)
    for name, value in (("k", 0), ("mode", "fuzzy"), ("diversity", 2), ("min_match", 3)):
        with pytest.raises(UsageError):
            index.search(query, **{name: value})


def test_an_explanation_takes_the_options_of_its_search(index) -> None:
    options = SearchOptions(feedback=False, fold=False, steering=Steering((2.0, 1.0)))
    hit = index.search("whales sing", options=options)[1]
    found = index.explain("whales sing", hit, options=options)
    assert found.score == pytest.approx(hit.score, abs=1e-6)
    by_name = index.explain("whales sing", hit, feedback=False, weights=(2.0, 1.0))
    assert by_name.to_json() == found.to_json()


def test_the_keywords_of_a_search_are_the_fields() -> None:
    """What type checkers read says what there is, but for the number of results."""
    own = {each.name: each.type for each in fields(SearchOptions)}
    declared = {name: each.__forward_arg__ for name, each in SearchChanges.__annotations__.items()}
    assert declared == {name: each for name, each in own.items() if name != "k"}
    doc = SearchOptions.__doc__ or ""
    assert [name for name in NAMES if f"- `{name}`:" not in doc] == []


def parsed(*arguments: str) -> SearchOptions:
    return search_options(make_parser(COMMANDS).parse_args(["search", "query", *arguments]))


def test_the_command_line_has_the_same_names_and_defaults() -> None:
    assert parsed() == SearchOptions()
    parser = make_parser(COMMANDS).parse_args(["search", "query"])
    missing = [name for name in NAMES if name not in vars(parser)]
    # Weights are of words that one must see first; a terminal shows few results.
    assert missing == ["steering", "sentences"]
    told = parsed("--no-fold", "--no-syntax", "--no-feedback", "--typos", "--diversity", "0.3")
    assert told == SearchOptions(
        fold=False, syntax=False, feedback=False, typos=True, diversity=0.3
    )
    assert parsed("--all", "--literal") == SearchOptions(fold=False, syntax=False)
    assert parsed("--no-typos") == SearchOptions(typos=False)
    where = {"$and": [{"format": {"in": ["pdf"]}}]}
    assert parsed("--format", "pdf", "-k", "3") == SearchOptions(k=3, where=where)
    explained = make_parser(COMMANDS).parse_args(["explain", "query", "--rerank", "3"])
    assert search_options(explained) == SearchOptions(rerank=3)


def test_the_page_has_the_same_names_and_defaults() -> None:
    assert PageQuery().options() == SearchOptions()
    asked = PageQuery("x", mode="dense", k=5, by_file=True, fold=False, diversity=0.3, path="*.md")
    assert asked.options() == SearchOptions(
        k=5, mode="dense", by_file=True, fold=False, diversity=0.3, where=asked.where()
    )
    params = asked.to_params()
    assert (params["fold"], params["diversity"]) == ("0", "0.3")
    assert PageQuery.from_params({name: [value] for name, value in params.items()}) == asked
    before = PageQuery.from_params({"every": ["1"], "variety": ["3"]})
    assert before == PageQuery(fold=False, diversity=0.3)


def test_a_filter_says_itself_again() -> None:
    assert Filter.parse({"year": [2023, 2024]}).to_json() == {"metadata.year": {"in": [2023, 2024]}}
