"""Filters of LangChain, against brute force in plain Python."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
)

from retriever.langchain import AlignedWVAVectorStore, FilterTranslator, as_filter
from retriever.storage.filters import equals
from retriever.types import UsageError
from tests.langchain.embeddings import FastEmbeddings

NAMES = ["year", "page", "source", "a.b", "tags", "metadata.x", "odd '\"%"]
WORDS = ["tax", "law", "Law", "é", "e\u0301", "x/y", "100%", "_", ""]
numbers = st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0])
scalars = st.sampled_from(WORDS) | numbers | st.booleans()
lists = st.lists(scalars, max_size=3)
metadata = st.dictionaries(
    st.sampled_from(NAMES),
    scalars | st.none() | lists | st.dictionaries(st.sampled_from(["b", "c"]), scalars, max_size=2),
    max_size=5,
)
ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
CONDITIONS = ("", "[]", "$eq", "$ne", "$in", "$nin", "$exists", "$contains", "$not_contains",
              "$like", "$between", "$not", *ORDERS)  # fmt: skip
"""Operators; "" is a bare value, "[]" a bare list."""

MISSING = object()


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([*NAMES, "tags.b", "nowhere"]))
    op = draw(st.sampled_from(CONDITIONS))
    if op in ("", "$eq", "$ne"):
        value = draw(scalars | st.none())
        return {name: value if op == "" else {op: value}}
    if op in ("[]", "$in", "$nin"):
        value = draw(st.lists(scalars | st.none(), max_size=3))
        return {name: value if op == "[]" else {op: value}}
    if op == "$exists":
        return {name: {op: draw(st.booleans())}}
    if op in ("$contains", "$not_contains"):
        return {name: {op: draw(scalars)}}
    if op == "$like":
        return {name: {op: draw(st.sampled_from(["%", "l_w", "%a%", "L%", "100\\%", ""]))}}
    if op == "$between":
        return {name: {op: draw(st.lists(numbers, min_size=2, max_size=2))}}
    if op == "$not":
        return {name: {op: {"$eq": draw(scalars)}}}
    return {name: {op: draw(numbers)}}


filters = st.recursive(
    conditions() | st.tuples(conditions(), conditions()).map(lambda two: two[0] | two[1]),
    lambda inner: (
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3))
        .map(lambda pair: {pair[0]: pair[1]})
        | inner.map(lambda one: {"$not": one})
    ),
    max_leaves=5,
)  # fmt: skip


def matches(spec: dict[str, Any], values: dict[str, Any]) -> bool:
    """The meaning of a filter, written out once more."""
    return all(entry_matches(name, value, values) for name, value in spec.items())


def entry_matches(name: str, value: Any, values: dict[str, Any]) -> bool:
    if name == "$not":
        return not matches(value, values)
    if name in ("$and", "$or", "$nor"):
        found = [matches(one, values) for one in value]
        return all(found) if name == "$and" else any(found) is (name == "$or")
    actual = looked_up(name, values)
    if isinstance(value, dict):
        return all(compares(op, actual, one) for op, one in value.items())
    return compares("$in" if isinstance(value, list) else "$eq", actual, value)


def looked_up(name: str, values: dict[str, Any]) -> Any:
    if name in values:
        return MISSING if values[name] is None else values[name]
    for outer, inner in values.items():
        if isinstance(inner, dict) and name.startswith(outer + "."):
            found = inner.get(name[len(outer) + 1 :])
            if found is not None:
                return found
    return MISSING


def compares(op: str, actual: Any, wanted: Any) -> bool:
    if op == "$not":
        return not all(compares(inner, actual, one) for inner, one in wanted.items())
    if op in ("$ne", "$nin", "$not_contains"):
        positive = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}[op]
        if wanted is None:
            return actual is not MISSING
        return actual is not MISSING and not compares(positive, actual, wanted)
    if op == "$exists":
        return (actual is not MISSING) is wanted
    if op in ("$eq", "$in"):
        several = wanted if op == "$in" else [wanted]
        return any(
            actual is MISSING if one is None else any(equal(each, one) for each in members(actual))
            for one in several
        )
    if op in ("$contains", "$like"):
        return has_part(op, actual, wanted)
    if not isinstance(actual, int | float) or isinstance(actual, bool):
        return False
    if op == "$between":
        return wanted[0] <= actual <= wanted[1]
    return bool(ORDERS[op](actual, wanted))


def has_part(op: str, actual: Any, wanted: Any) -> bool:
    if op == "$like":
        return isinstance(actual, str) and like(nfc(wanted), nfc(actual))
    if isinstance(actual, str):
        return isinstance(wanted, str) and nfc(wanted) in nfc(actual)
    return isinstance(actual, list) and any(equal(each, wanted) for each in actual)


def members(actual: Any) -> list[Any]:
    return actual if isinstance(actual, list) else [actual]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return nfc(one) == nfc(other)
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def like(pattern: str, text: str) -> bool:
    """Character by character."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(pattern[1:], text[1:])


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.fixture(scope="module")
def store() -> Iterator[AlignedWVAVectorStore]:
    with AlignedWVAVectorStore(FastEmbeddings()) as opened:
        yield opened


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents=st.lists(metadata, min_size=1, max_size=6), specs=st.lists(filters, min_size=4))
def test_filters_are_those_of_brute_force(
    store: AlignedWVAVectorStore, documents: list[dict[str, Any]], specs: list[dict[str, Any]]
) -> None:
    store.delete(delete_all=True)
    store.add_texts(
        ["text"] * len(documents), documents, ids=[str(n) for n in range(len(documents))]
    )
    for spec in specs:
        found = {one.id for one in store.similarity_search("text", k=9, filter=spec)}
        expected = {str(n) for n, one in enumerate(documents) if matches(spec, one)}
        assert found == expected, spec


COMPARATORS = {
    Comparator.EQ: "$eq",
    Comparator.NE: "$ne",
    Comparator.GT: "$gt",
    Comparator.GTE: "$gte",
    Comparator.LT: "$lt",
    Comparator.LTE: "$lte",
    Comparator.CONTAIN: "$contains",
    Comparator.LIKE: "$like",
    Comparator.IN: "$in",
    Comparator.NIN: "$nin",
}


@pytest.mark.parametrize("comparator", list(Comparator))
def test_every_comparator_of_a_structured_query_is_translated(comparator: Comparator) -> None:
    value: Any = ["a", 1] if comparator in (Comparator.IN, Comparator.NIN) else "a"
    found = as_filter(Comparison(comparator, "team", value))
    assert found == as_filter({"team": {COMPARATORS[comparator]: value}})


def test_a_structured_query_becomes_search_arguments(store: AlignedWVAVectorStore) -> None:
    store.delete(delete_all=True)
    store.add_texts(
        ["one", "two", "three"],
        [{"n": 1, "day": "2024-01-05"}, {"n": 2, "day": "2024-03-07"}, {"n": 3}],
        ids=["1", "2", "3"],
    )
    late = Comparison(Comparator.GTE, "day", {"date": "2024-02-01", "type": "date"})
    third = Comparison(Comparator.EQ, "n", 3)
    either = Operation(Operator.OR, [late, third])
    query = StructuredQuery("text", Operation(Operator.NOT, [either]), 2)
    for wanted, expected in ((either, {"2", "3"}), (query.filter, {"1"}), (query, {"1"})):
        found = store.similarity_search("x", filter=wanted)
        assert {one.id for one in found} == expected
    both = Operation(Operator.AND, [late, third])
    assert store.similarity_search("x", filter=both) == []
    text, arguments = FilterTranslator().visit_structured_query(query)
    assert text == "text"
    assert {one.id for one in store.similarity_search(text, **arguments)} == {"1"}
    assert FilterTranslator().visit_structured_query(StructuredQuery("q", None)) == ("q", {})


def test_names_are_those_of_the_metadata(store: AlignedWVAVectorStore) -> None:
    """Also where an index has a field of the same name."""
    store.delete(delete_all=True)
    for name in ("page", "path", "source", "format", "title", "date", "document_id", "chunk_id"):
        store.add_texts(["text"], [{name: "mine"}], ids=[name])
        assert [one.id for one in store.similarity_search("x", filter={name: "mine"})] == [name]


def test_dates_words_and_our_own_filters(store: AlignedWVAVectorStore) -> None:
    store.delete(delete_all=True)
    days = [date(2024, 3, 7), "2024-05-01", None]
    store.add_texts(["cats sleep", "dogs", "x"], [{"d": day} for day in days], ids=["1", "2", "3"])
    for spec, expected in (
        ({"d": {"$gte": date(2024, 4, 1)}}, {"2"}),
        ({"d": {"$lt": "2024-04"}}, {"1"}),
        ({"d": date(2024, 3, 7)}, {"1"}),
        ({"d": {"gte": "2024"}}, {"1", "2"}),
        ({"$text": "cat"}, {"1"}),
        (equals("document_id", "2"), {"2"}),
        ({"$or": [equals("document_id", "2"), {"d": None}]}, {"2", "3"}),
        ({}, {"1", "2", "3"}),
        (None, {"1", "2", "3"}),
    ):
        found = store.similarity_search("x", k=9, filter=spec)
        assert {one.id for one in found} == expected, spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"x": {"$regex": "a"}}, r"'\$regex', which is not an operator; there are \$eq"),
        ({"x": {}}, "is empty"),
        ({"$xor": [{"x": 1}]}, "does not combine filters"),
        ({"$gte": 3}, "put it below a name"),
        ({"$or": []}, "at least one filter"),
        ({"$and": {"x": 1}}, "at least one filter"),
        ({"x": {"$in": 3}}, r"\$in needs a list"),
        ({"x": {"$between": [1]}}, "two values"),
        ({"x": {"$exists": "yes"}}, "true or false"),
        ({"x": {"$gt": True}}, "gt needs a number or a text"),
        ({"x": object()}, "cannot compare with"),
        ({"x": {"$eq": {"a": 1}}}, "cannot compare with"),
        ({"x": {"$like": 3}}, "like needs a pattern"),
        ({5: 1}, "a filter names metadata by a text"),
        ({"": 1}, "not empty"),
        ([{"x": 1}], "a filter is a dictionary"),
        (lambda one: True, "a function could only be asked after the search"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(spec: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_filter(spec)


def test_a_filter_that_is_nested_too_deeply_is_refused() -> None:
    spec: dict[str, Any] = {"x": 1}
    for _ in range(100):
        spec = {"$not": spec}
    with pytest.raises(UsageError, match="nested deeper"):
        as_filter(spec)
