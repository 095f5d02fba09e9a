"""Dify's conditions against what they say, and the records that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.index import Index
from retriever.interface.server.dify import _Condition, _Conditions, as_filter
from retriever.interface.server.errors import RequestError
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.interface.server.running import Running, running, served

TEXT = st.text("ab/.*?[]!-é 1", max_size=8)
PLAIN: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda field, value: value in field,
    "not contains": lambda field, value: value not in field,
    "start with": str.startswith,
    "end with": str.endswith,
    "is": str.__eq__,
    "is not": str.__ne__,
    "empty": lambda field, value: not field,
    "not empty": lambda field, value: bool(field),
}


def holds(operator: str, value: Any, fields: dict[str, Any], name: Any = "topic") -> bool:
    condition = _Condition(name=name, comparison_operator=operator, value=value)
    where = as_filter(_Conditions(conditions=[condition]))
    assert where is not None
    return where.matches({"metadata": fields})


@given(TEXT, TEXT, st.sampled_from([*PLAIN]))
def test_conditions_on_texts_are_those_of_python(field: str, value: str, operator: str) -> None:
    assert holds(operator, value, {"topic": field}) == PLAIN[operator](field, value)


@given(
    st.integers(-5, 5), st.integers(-5, 5), st.sampled_from(["=", "≠", ">", "<", "≥", "≤", ">="])
)
def test_conditions_on_numbers(field: int, value: int, operator: str) -> None:
    by = {
        "=": field == value,
        "≠": field != value,
        ">": field > value,
        "<": field < value,
        "≥": field >= value,
        ">=": field >= value,
        "≤": field <= value,
    }
    assert holds(operator, value, {"topic": field}) == by[operator]


def test_conditions_on_what_is_missing_dates_and_lists() -> None:
    assert holds("empty", None, {})
    assert not holds("not empty", None, {})
    assert not holds("contains", "a", {})
    assert holds("not contains", "a", {})
    assert holds("in", "a, b", {"topic": "b"})
    assert holds("in", ["a", "b"], {"topic": "b"})
    assert not holds("not in", ["a", "b"], {"topic": "b"})
    assert holds("before", "2024-05-01", {"topic": "2024-04-30"})
    seconds = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp())
    assert holds("after", seconds, {"topic": "2024-05-02"})
    assert not holds("after", seconds, {"topic": "2024-05-01"})
    assert holds("is", "x", {"other": "x"}, name=["topic", "other"])
    assert as_filter(None) is None
    assert as_filter(_Conditions(conditions=[])) is None


@pytest.mark.parametrize(
    ("condition", "logical", "sentence"),
    [
        (("topic", "like", "a"), "and", "comparison_operator 'like' is unknown; there are contain"),
        (("topic", "contains", None), "and", "needs a value"),
        (("topic", "is", "a"), "xor", "logical_operator is and, or or"),
        (("date", "before", 1e20), "and", "a date is written 2024-03-07, or in seconds"),
        (("date", "after", 1_700_000_000_000), "and", "in seconds since 1970"),
        (("date", "after", float("inf")), "and", "in seconds since 1970"),
        (("page", "start with", "1"), "and", "page is a number: 'start with' is for texts"),
    ],
)
def test_unknown_conditions_are_refused(
    condition: tuple[str, str, Any], logical: str, sentence: str
) -> None:
    name, operator, value = condition
    one = _Condition(name=name, comparison_operator=operator, value=value)
    with pytest.raises(RequestError, match=sentence):
        as_filter(_Conditions(logical_operator=logical, conditions=[one]))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("dify") / "library"
    documents = [
        Document(
            f"{number}.pdf",
            "pdf",
            (
                Page(
                    1, f"Report {number} on animals: they sleep on the roof and run in the garden."
                ),
            ),
            metadata={"topic": f"pets/{'cats' if number % 2 else 'dogs'}", "year": 2015 + number},
        )
        for number in range(12)
    ]
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.add(documents)
    with running(served({"library": folder})) as server:
        yield server


def asked(server: Running, **more: Any) -> Any:
    setting = {"top_k": 20, "score_threshold": 0.0}
    body = {"knowledge_id": "library", "query": "animals asleep", "retrieval_setting": setting}
    return server.post("/retrieval", {**body, **more})


def test_records_have_what_dify_needs(library: Running) -> None:
    answer = asked(library, retrieval_setting={"top_k": 3, "score_threshold": 0.0})
    assert answer.status == 200
    records = answer.json["records"]
    assert 0 < len(records) <= 3
    for record in records:
        assert record.keys() == {"content", "score", "title", "metadata"}
        assert 0 <= record["score"] <= 1
        assert record["title"] == record["metadata"]["path"], "a document without a title"
        assert record["content"].startswith("Report")
        assert record["metadata"]["page"] == 1
    scores = [record["score"] for record in records]
    assert scores == sorted(scores, reverse=True)


def test_conditions_hold_before_the_search(library: Running) -> None:
    def years(*conditions: tuple[Any, str, Any], logical: str = "and") -> set[int]:
        told = [
            {"name": name, "comparison_operator": operator, "value": value}
            for name, operator, value in conditions
        ]
        where = {"logical_operator": logical, "conditions": told}
        found: list[int] = []
        answer = asked(library, metadata_condition=where)
        assert answer.status == 200, answer.json
        for record in answer.json["records"]:
            found.append(record["metadata"]["year"])
        return set(found)

    everything = {2015 + number for number in range(12)}
    cats = {year for year in everything if year % 2 == 0}
    few = {2020, 2021}
    assert years(("year", "≥", 2020), ("year", "<", 2022)) <= few
    for conditions, logical, expected in (
        ([("topic", "start with", "pets/c")], "and", cats),
        ([("topic", "contains", "dog")], "and", everything - cats),
        ([("year", "in", [2020, 2021]), ("topic", "is", "pets/cats")], "and", {2020}),
        ([("year", "=", 2020), ("year", "=", 2021)], "or", few),
        ([("path", "end with", "3.pdf")], "and", {2018}),
        ([("missing", "not empty", None)], "and", set()),
    ):
        assert years(*conditions, logical=logical) <= expected
        if len(expected) < 3:
            assert bool(years(*conditions, logical=logical)) == bool(expected)


def test_a_threshold_is_a_least_match(library: Running) -> None:
    for threshold in (0.5, 1.0):
        setting = {"top_k": 5, "score_threshold": threshold}
        records = asked(library, retrieval_setting=setting).json["records"]
        assert all(record["score"] >= threshold for record in records)
    assert asked(library, query=" ").json == {"records": []}


@pytest.mark.parametrize(
    ("more", "status", "code", "sentence"),
    [
        ({"knowledge_id": "other"}, 404, 2001, "there is no index 'other' here"),
        ({"retrieval_setting": {"top_k": 0}}, 400, 400, "retrieval_setting.top_k: input should"),
        (
            {"metadata_condition": {"conditions": [{"name": "a", "comparison_operator": "~"}]}},
            400,
            400,
            "comparison_operator '~' is unknown",
        ),
    ],
)
def test_errors_have_difys_shape(
    library: Running, more: dict[str, Any], status: int, code: int, sentence: str
) -> None:
    answer = asked(library, **more)
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert sentence in answer.json["error_msg"]
    assert answer.json.keys() == {"error_code", "error_msg"}
    refused = library.post("/retrieval", {}, Authorization="Bearer wrong")
    assert (refused.status, refused.json["error_code"]) == (401, 1002)


def test_operators_in_a_query_are_text(library: Running, tmp_path: Path) -> None:
    assert asked(library, query='animals -roof "garden"').json["records"]
