"""What people type: operators, what merely looks like one, and what a search makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.filters import And, Filter
from retriever.query import Query, parse


@pytest.mark.parametrize(
    "typed",
    [
        *[
            "",
            " ",
            "budget",
            "who may approve it?",
            "C++",
            "c#",
            "-5 °C",
            "at -5 °C",
            "e-mail",
            "-",
        ],
        *["+", "a - b", "a + b", "+49 30 1234", "--verbose", "https://example.org/a?b=c", "12:30"],
        *["file:///home/ada", "note: page 3", "page:", "page:last", "page:0", "page:3-x", "date:"],
        *["date:soon", "date:2023-13", "before:noon", "after:", "who:me", "file:", "type:"],
        *['"', '"open', 'open"', '24" and 27" screens', '""', '" "', '"the of"', '+"?!"', "“open"],
        *["it's 'quoted'", "-draft", "-the rules", "type:pdf", 'file:a -"b c"', "\0", "\ud800"],
        *["x " * 1_001 + "-draft", "rules " + "-draft " * 51],
    ],
)
def test_what_is_plain_text_stays_as_it_was_typed(typed: str) -> None:
    assert parse(typed) == Query(typed)


@pytest.mark.parametrize(
    ("typed", "text", "spec"),
    [
        ('"access control"', "access control", {"$text": "access control"}),
        ("“access control” rules", "access control rules", {"$text": "access control"}),
        ("„Zugriff“ «accès»", "Zugriff accès", [{"$text": "Zugriff"}, {"$text": "accès"}]),
        ("+budget plan", "budget plan", {"$text": "budget"}),
        ("learn +C++", "learn C++", {"$text": "C++"}),
        ("plan -draft", "plan", {"$not": {"$text": "draft"}}),
        ("plan -old-style, now", "plan now", {"$not": {"$text": "old-style"}}),
        ('plan -"first draft".', "plan .", {"$not": {"$text": "first draft"}}),
        ("plan page:3", "plan", {"page": {"gte": 3, "lte": 3}}),
        ("page:3-7 plan", "plan", {"page": {"gte": 3, "lte": 7}}),
        ("plan PAGE:3..7", "plan", {"page": {"gte": 3, "lte": 7}}),
        ("plan page:3-", "plan", {"page": {"gte": 3}}),
        ("plan -page:3", "plan", {"$not": {"page": {"gte": 3, "lte": 3}}}),
        ("plan date:2023", "plan", {"date": {"gte": "2023", "lte": "2023"}}),
        ("plan date:2023-05..2024", "plan", {"date": {"gte": "2023-05", "lte": "2024"}}),
        ("plan date:..2024", "plan", {"date": {"lte": "2024"}}),
        (
            "plan after:2023 before:2024-03",
            "plan",
            [{"date": {"gte": "2023"}}, {"date": {"lt": "2024-03"}}],
        ),
    ],
)
def test_operators_become_conditions(typed: str, text: str, spec) -> None:
    specs = spec if isinstance(spec, list) else [spec]
    query = parse(typed)
    assert query.text == text
    assert query.where is not None
    texts = [
        "Access control",
        "Zugriff, accès",
        "budget",
        "C++",
        "draft",
        "first draft",
        "old style",
    ]
    for number, words in enumerate(texts):
        for page in (1, 3, 7, 8, None):
            for date in ("", "2022-12-31", "2023-01-01", "2023-05-05", "2024-02-29", "2024-03-01"):
                fields = {"$text": words, "page": page, "date": date, "path": f"{number}.txt"}
                wanted = all(Filter.parse(each).matches(fields) for each in specs)
                assert query.where.matches(fields) is wanted, fields


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("x file:report", ["Reports/2024.pdf", "old/report.PDF"]),
        ("x file:REPORT.pdf", ["old/report.PDF"]),
        ("x file:s/2", ["Reports/2024.pdf"]),
        ("x file:*.Pdf", ["Reports/2024.pdf", "old/report.PDF"]),
        ("x file:reports/*", ["Reports/2024.pdf"]),
        ('x file:"my n"', ["my notes.md"]),
        ("x file:[draft]", ["a [draft].txt"]),
        ("x type:pdf", ["Reports/2024.pdf", "old/report.PDF"]),
        ("x type:MD,txt", ["my notes.md", "a [draft].txt"]),
        ("x type:markdown", ["my notes.md"]),
        ("x -type:pdf -file:draft", ["my notes.md"]),
    ],
)
def test_files_and_types(typed: str, paths: list[str]) -> None:
    formats = {
        "Reports/2024.pdf": "pdf",
        "old/report.PDF": "pdf",
        "my notes.md": "markdown",
        "a [draft].txt": "txt",
    }
    query = parse(typed)
    assert query.text == "x"
    assert query.where is not None
    found = [
        p for p, format_ in formats.items() if query.where.matches({"path": p, "format": format_})
    ]
    assert found == paths


def test_conditions_of_query_and_caller_hold_together() -> None:
    where = Filter.parse({"format": "pdf"})
    assert parse("plain").within(None) is None
    assert parse("plain").within(where) is where
    query = parse("plan +budget")
    assert query.within(None) is query.where
    assert query.within(where) == And((where, query.where))


def test_what_was_understood_is_said() -> None:
    query = parse('+fast "risk exception" -draft -type:pdf page:3-7 who?')
    assert query.text == "fast risk exception who?"
    assert query.conditions() == [
        *['"risk exception"', '"fast"', 'not "draft"', "-type:pdf", "page:3-7"]
    ]


@given(st.text(alphabet='ab1 "+-:“”(\n.', max_size=40))
def test_any_text_is_a_query(typed: str) -> None:
    query = parse(typed)
    assert (query == Query(typed)) is (query.where is None)
    letters = [c for c in query.text if c.isalnum()]
    assert letters or query.where is None
    assert set(letters) <= set(typed)
