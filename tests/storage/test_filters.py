"""Filters: the meaning of `matches`, and the errors for invalid filters."""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.storage.filters import And, Comparison, Filter, Or, between, equals, glob, one_of
from retriever.text.globs import glob_matches
from retriever.types import UsageError

PDF = {
    "path": "reports/2024/q1/Summary.pdf",
    "source": "docs",
    "format": "pdf",
    "page": 3,
    "title": "Summary",
    "author": "",
    "date": "2024-03-07T10:00",
    "document_id": "d1",
    "chunk_id": "c1",
    "$text": "Summary\nThe quarterly reports",
    "metadata": {
        "year": 2024,
        "ratio": 0.5,
        "final": True,
        "team": "Ädä",
        "a.b": "dotted",
        "size": "12",
        "due": "2024-03-07",
    },
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"format": "pdf"}, True),
        ({"format": "PDF"}, True),
        ({"format": ".pdf"}, True),
        ({"format": {"ne": "Pdf"}}, False),
        ({"format": ["docx", "md"]}, False),
        ({"format": {"nin": ["docx", "md"]}}, True),
        ({"format": "pdf", "page": 4}, False),
        ({"page": {"gte": 3, "lt": 4}}, True),
        ({"page": {"$gt": 3}}, False),
        ({"page": "3"}, True),
        ({"page": {"gte": "3"}}, True),
        ({"page": {"lt": "20"}}, True),
        ({"page": {"in": ["2", 3]}}, True),
        ({"page": 3.0}, True),
        ({"page": [1, 3]}, True),
        ({"metadata.year": {"in": [2023, 2024]}}, True),
        ({"year": {"nin": [2023]}}, True),
        ({"year": {"nin": []}}, True),
        ({"year": {"in": []}}, False),
        ({"year": "2024"}, True),  # a number may be written as a text
        ({"year": {"nin": ["2023"]}}, True),
        ({"year": {"ne": "2023"}}, True),
        ({"year": {"gte": "999"}}, True),
        ({"year": {"lt": "2024-06"}}, True),
        ({"year": {"nin": ["abc"]}}, False),  # another type: no comparison holds
        ({"year": {"ne": True}}, False),
        ({"size": 12}, True),
        ({"size": {"gt": 9}}, True),
        ({"size": {"gt": "9"}}, True),
        ({"size": "012"}, False),
        ({"team": {"gt": 9}}, False),
        ({"team": {"lt": "9"}}, False),
        ({"team": {"gte": "Z"}}, True),
        ({"due": "2024"}, True),
        ({"due": {"ne": "2024-03"}}, False),
        ({"due": {"lte": "2024"}}, True),
        ({"due": {"gte": "1.3.2024", "lt": "8 March 2024"}}, True),
        ({"due": {"gte": 2025}}, False),
        ({"due": {"gt": "A"}}, False),
        ({"due": date(2024, 3, 7)}, True),
        ({"date": date(2024, 3, 7)}, True),
        ({"date": {"lte": datetime(2024, 3, 7, 10)}}, True),
        ({"date": "7.3.2024"}, True),
        ({"date": ["March 2024"]}, True),
        ({"date": {"nin": ["2024/3"]}}, False),
        ({"title": "Summary", "author": {"ne": "x"}}, False),
        ({"team": "A\u0308da\u0308"}, True),
        ({"missing": {"ne": 1}}, False),
        ({"missing": {"nin": [1]}}, False),
        ({"missing": {"exists": False}}, True),
        ({"$not": {"missing": 1}}, True),
        ({"year": {"not": {"gte": 2025}}}, True),
        ({"final": True}, True),
        ({"final": 1}, False),
        ({"ratio": {"lte": 0.5}}, True),
        ({"a.b": "dotted"}, True),
        ({"team": "Ädä"}, True),
        ({"author": ""}, False),  # empty means unknown
        ({"author": {"exists": False}}, True),
        ({"$or": [{"page": 9}, {"format": "pdf"}]}, True),
        ({"$and": [{"page": 9}, {"format": "pdf"}]}, False),
        ({"path": {"glob": "reports/**/*.pdf"}}, True),
        ({"path": {"glob": "reports/*.pdf"}}, False),
        ({"path": {"glob": "Summary.*"}}, True),
        ({"path": {"glob": "summary.*"}}, False),
        ({"path": {"contains": "2/Sum"}}, False),
        ({"path": {"contains": "Sum"}}, True),
        ({"path": {"contains": "sum"}}, False),
        ({"path": {"like": "%/Summary._df"}}, True),
        ({"path": {"like": "Summary%"}}, False),
        ({"$text": "quarterly report"}, True),
        ({"$text": "report quarterly"}, False),
        ({"$not": {"$text": "draft"}, "format": "pdf"}, True),
    ],
)
def test_what_a_filter_means(spec: dict, expected: bool) -> None:
    assert Filter.parse(spec).matches(PDF) is expected
    again = Filter.parse(json.loads(json.dumps(Filter.parse(spec).to_json())))
    assert again.matches(PDF) is expected


def test_a_filter_travels_as_json() -> None:
    whole = (equals("format", "pdf") & ~glob("drafts/**")) | one_of("year", [2023, True, "x"])
    assert whole.to_json() == {
        "$or": [
            {"$and": [{"format": {"eq": "pdf"}}, {"$not": {"path": {"glob": "drafts/**"}}}]},
            {"metadata.year": {"in": [2023, True, "x"]}},
        ]
    }
    assert Filter.parse(whole.to_json()) == whole
    assert Filter.parse(And(()).to_json()) == And(())
    assert not Filter.parse(Or(()).to_json()).matches(PDF)


@pytest.mark.parametrize(
    ("condition", "dates"),
    [
        ({"gte": "2024-01", "lt": "2025"}, ["2024-01-01", "2024-12-31T23:59", "2024"]),
        ({"gte": "2024-06", "lt": "2024-07"}, ["2024"]),
        ({"eq": "2024-06"}, []),
        ({"gte": "1.12.2024", "lte": "12/2024"}, ["2024-12-31T23:59", "2024"]),
        ({"in": ["31.12.2023", "2025"]}, ["2023-12-31", "2025-01-01"]),
        ({"lte": "2024"}, ["2023-12-31", "2024-01-01", "2024-12-31T23:59", "2024"]),
        ({"gt": "2024"}, ["2025-01-01"]),
        ({"gte": "2024"}, ["2024-01-01", "2024-12-31T23:59", "2025-01-01", "2024"]),
        ({"eq": "2024-12-31"}, ["2024-12-31T23:59"]),
        ({"ne": "2024"}, ["2023-12-31", "2025-01-01"]),
        ({"nin": ["2023", "2024"]}, ["2025-01-01"]),
    ],
)
def test_dates_are_compared_as_periods(condition, dates) -> None:
    every = ["2023-12-31", "2024-01-01", "2024-12-31T23:59", "2025-01-01", "2024", ""]
    where = Filter.parse({"date": condition})
    assert {date for date in every if where.matches({"date": date})} == set(dates)


def test_metadata_is_found_flat_and_nested() -> None:
    where = equals("metadata.page", 7)
    assert where.matches({"page": 1, "metadata": {"page": 7}})
    assert where.matches({"metadata.page": 7})
    assert not where.matches({"page": 7})


def test_numbers_beyond_64_bits_and_nan() -> None:
    assert equals("n", 2**70).matches({"metadata": {"n": float(2**70)}})
    assert not equals("n", 2**53).matches({"metadata": {"n": 2**53 + 1}})
    assert Comparison("n", "lt", math.inf).matches({"metadata": {"n": 2**100}})
    assert not Comparison("n", "ne", 1).matches({"metadata": {"n": math.nan}})
    assert Comparison("n", "exists", False).matches({"metadata": {"n": math.nan}})


def test_builders_join() -> None:
    where = (one_of("page", [3, 4]) & ~glob("drafts/**")) | between("year", low=3000)
    assert where.matches(PDF)
    assert not where.matches({**PDF, "path": "drafts/a.pdf"})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"page": {"near": 3}}, "eq, ne, in, nin, gt, gte, lt, lte, exists, glob"),
        ({"$xor": []}, r"\$and, \$or, \$not or \$text"),
        ({"$text": "?!"}, "no word to look for"),
        ({"$text": 3}, "word or a phrase"),
        ({"$text": "word " * 101}, "at most 100 words"),
        ({"$or": []}, "at least one"),
        ({"$or": {"a": 1}}, "list"),
        ({"page": {}}, "is empty"),
        ({"page": None}, "exists"),
        ({"page": math.nan}, "cannot compare"),
        ({"page": {"in": "abc"}}, "list"),
        ({"page": {"exists": 1}}, "true or false"),
        ({"path": {"glob": 3}}, "pattern"),
        ({"final": {"gt": True}}, "number or a text"),
        ({"date": 2024}, "needs a date"),
        ({"date": ""}, "needs a date"),
        ({"date": "spring"}, "'spring' is no date"),
        ({"date": {"gte": "2024-02-30"}}, "there is no date '2024-02-30'"),
        ({"date": {"in": ["2024", "2024-13"]}}, "there is no date"),
        ({"date": {"lt": "1/3/2024"}}, "two ways"),
        ({"due": {"lt": "1/3/2024"}}, "'metadata.due': '1/3/2024' can be read in two ways"),
        ({"page": True}, "a number such as 3"),
        ({"page": "three"}, "a number such as 3"),
        ({"page": {"glob": "3*"}}, "pattern"),
        ({"page": {"contains": "3"}}, "needs a text"),
        ({"x": {"like": 3}}, "needs a pattern"),
        ({"title": True}, "needs a text"),
        ({"title": {"gt": 5}}, "needs a text"),
        ({"metadata": 3}, "metadata.<key>"),
        ({"": 3}, "metadata.<key>"),
        ([1], "field"),
        ("page > 3", "field"),
    ],
)
def test_invalid_filters_are_refused_with_a_sentence(spec, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Filter.parse(spec)


def test_nesting_is_bounded() -> None:
    spec: dict = {"page": 1}
    for _ in range(5000):
        spec = {"$not": spec}
    with pytest.raises(UsageError, match="nested deeper"):
        Filter.parse(spec)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/*.pdf", "a.pdf", True),
        ("**/*.pdf", "x/y/a.pdf", True),
        ("x/**", "x/y/a.pdf", True),
        ("x/**", "xy/a.pdf", False),
        ("x/**.pdf", "x/y/a.pdf", True),
        ("x/**/y/*", "x/y/a", True),
        ("x?y/a", "x/y/a", False),
        ("[ab]*.txt", "sub/b1.txt", True),
        ("x/[!a]", "x/b", True),
        ("x/[!a]", "x/a", False),
        ("x[/]y", "x/y", False),
        ("x/[z-a]", "x/m", False),
        ("x/[]]", "x/]", True),
        ("x/[", "x/[", True),
        ("a+(b).txt", "a+(b).txt", True),
        ("[a&&b].txt", "&.txt", True),
        ("*.txt", "sub/line\nbreak.txt", True),
        ("", "a", False),
        ("*.pdf", "REPORT.PDF", True),
        ("x/*.PDF", "x/a.pdf", True),
        ("A.pdf", "a.pdf", False),
        ("*.p?f", "a.PDF", False),
        ("x[a.txt", "x[a.TXT", True),
        ("*\u00fc*", "u\u0308ber.txt", True),
        ("*u\u0308*", "\u00fcber.txt", True),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert glob_matches(pattern, path) is expected


def test_a_glob_of_many_stars_is_fast() -> None:
    started = time.perf_counter()
    for pattern in ("*a" * 40 + "b", "**/a*" * 30 + "/b", "**a*" * 30 + "b"):
        assert not glob_matches("x/" + pattern, "x/" + "a" * 200 + "c")
    assert time.perf_counter() - started < 1


def _reference(pattern: str, path: str) -> bool:
    """Match a glob by trying every possibility."""
    if not pattern:
        return not path
    if pattern.startswith("**/") and any(
        _reference(pattern[3:], path[at:])
        for at in [0, *(match.end() for match in re.finditer("/", path))]
    ):
        return True
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        return not _folder_stars(pattern) and any(
            _reference(rest, path[at:]) for at in range(len(path) + 1)
        )
    if pattern[0] == "*":
        reach = len(path) if "/" not in path else path.index("/")
        return any(_reference(pattern[1:], path[at:]) for at in range(reach + 1))
    return bool(path) and path[0] == pattern[0] and _reference(pattern[1:], path[1:])


def _folder_stars(pattern: str) -> bool:
    return pattern.startswith("**/")


def test_globs_against_trying_everything() -> None:
    alphabet = ["a", "b", "/", "*", "/**/", "**"]
    paths = ["".join(p) for n in range(5) for p in itertools.product("ab/", repeat=n)]
    for parts in itertools.product(alphabet, repeat=4):
        pattern = "/" + "".join(parts)
        if "***" in pattern or re.search(r"[^/]\*\*/", pattern):
            continue
        for path in paths[::3]:
            expected = _reference(pattern, "/" + path)
            assert glob_matches(pattern, "/" + path) is expected, (pattern, path)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_valid_pattern(pattern: str, path: str) -> None:
    glob_matches(pattern, path)
