"""Query syntax: operators, what only resembles one, and the resulting search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.index import Index
from retriever.searching.query_syntax import Query, parse, plain
from retriever.storage.filters import And, Filter, chunk_fields
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder


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
        *[
            "rm -rf",
            "how do I run rm -rf safely",
            "ls -la",
            "tar -xzf a.tgz -C dir",
            "gcc -Wall a.c",
        ],
        *["git commit -m", "docker run -it", "java -Xmx=2g", "gcc -std=c99", "2022 -2023", "-2023"],
        *["list\n-first thing\n-second thing", "date:1/3/2024", "date:2024..2023", "page:7-3 x"],
        *["after:2024-02-30 x", "type:object valve", "type:2 diabetes", "type:string", "a –b"],
        *["'access control'", "„open", "「", "a -b"],
        *['"', '"open', 'open"', '24" and 27" screens', '""', '" "', '+"?!"', "“open"],
        *["it's 'quoted'", "-draft", "-the rules", "type:pdf", "\0", "\ud800"],
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
        ("plan −draft", "plan", {"$not": {"$text": "draft"}}),
        ('plan -"old"', "plan", {"$not": {"$text": "old"}}),
        ("-old plan", "plan", {"$not": {"$text": "old"}}),
        ("budget -2023", "budget", {"$not": {"$text": "2023"}}),
        ("”Access control” x", "Access control x", {"$text": "access control"}),
        ("„Access control” x", "Access control x", {"$text": "access control"}),
        ("»Access control«, x", "Access control, x", {"$text": "access control"}),
        ("»Access control» ‹x›", "Access control x", [{"$text": "access control"}, {"$text": "x"}]),
        ("›Access control‹", "Access control", {"$text": "access control"}),
        ("「budget」x", "budget x", {"$text": "budget"}),
        ("x『access control』。", "x access control 。", {"$text": "access control"}),
        ("x -「draft」", "x", {"$not": {"$text": "draft"}}),
        ("plan page:3,", "plan", {"page": {"gte": 3, "lte": 3}}),
        ("plan date:2023/5", "plan", {"date": {"eq": "2023-05"}}),
        ('plan date:"May 2023"', "plan", {"date": {"eq": "2023-05"}}),
        ("plan after:1.3.2024", "plan", {"date": {"gte": "2024-03-01"}}),
        ("plan before:2024-3", "plan", {"date": {"lt": "2024-03"}}),
        ("plan date:1.5.2023..2024/2", "plan", {"date": {"gte": "2023-05-01", "lte": "2024-02"}}),
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
        "old 2023",
        "x",
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
        ("x type:.MD", ["my notes.md"]),
        ("x file:U\u0308ber", ["U\u0308ber.odt"]),
        ("x file:\u00fcber.odt", ["U\u0308ber.odt"]),
        ("x -type:pdf -file:draft", ["my notes.md", "U\u0308ber.odt"]),
    ],
)
def test_files_and_types(typed: str, paths: list[str]) -> None:
    formats = {
        "Reports/2024.pdf": "pdf",
        "old/report.PDF": "pdf",
        "my notes.md": "markdown",
        "a [draft].txt": "txt",
        "U\u0308ber.odt": "odt",
    }
    query = parse(typed)
    assert query.text == "x"
    assert query.where is not None
    found = [
        p for p, format_ in formats.items() if query.where.matches({"path": p, "format": format_})
    ]
    assert found == paths


@pytest.mark.parametrize(
    ("typed", "places"),
    [
        ("x file:docs/2024", ["docs/2024/a.md", "docs/2024-old/b.md", "docs/sub/docs/2024/c.md"]),
        ("x file:docs/2024/", ["docs/2024/a.md", "docs/sub/docs/2024/c.md"]),
        ("x file:DOCS/2024/a", ["docs/2024/a.md"]),
        ("x file:docs/", ["docs/2024/a.md", "docs/2024-old/b.md", "docs/sub/docs/2024/c.md"]),
        ("x file:docs/2024/*.md", ["docs/2024/a.md"]),
        ("x file:docs/024", []),  # a folder is named from its beginning
        ("x file:docs", ["docs/sub/docs/2024/c.md"]),  # a part of the path
    ],
)
def test_a_file_may_be_named_with_its_source(typed: str, places: list[str]) -> None:
    """As the folder filter names it; results show the path alone."""
    known = ["docs/2024/a.md", "docs/2024-old/b.md", "docs/sub/docs/2024/c.md", "mail/2024/d.md"]
    where = parse(typed).where
    assert where is not None
    found = [
        place
        for place in known
        for source, _, path in [place.partition("/")]
        if where.matches({"source": source, "path": path})
    ]
    assert found == places


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


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("rm -rf", '"-rf" was read as text; to exclude the word write -"rf"'),
        ("plan date:2024-13", "\"date:2024-13\" was read as text: there is no date '2024-13'"),
        ("plan date:1/3/2024", "can be read in two ways; write 2024-03-01 or 2024-01-03"),
        ("plan after:soon", "'soon' is no date"),
        ("plan date:2024..2023", "the earlier date comes first: date:2023..2024"),
        ("plan page:7-3", "the lower page comes first: page:3-7"),
        ("plan page:last", "a page is written page:3"),
        ("type:object valve", "'object' is neither a format nor a file ending"),
        ("-draft", "without it there is nothing to search for"),
    ],
)
def test_what_was_not_understood_is_said(typed: str, note: str) -> None:
    query = parse(typed)
    assert query == Query(typed)
    assert len(query.notes) == 1
    assert note in query.notes[0]


def test_notes_are_few() -> None:
    log = " ".join(f"type:kind{n % 9} page:no" for n in range(60))
    assert len(parse(log).notes) == 3
    assert len(parse("rm -rf, then rm -rf").notes) == 1


@given(st.text(alphabet='ab1 "+-:“”(\n.', max_size=40))
def test_any_text_is_a_query(typed: str) -> None:
    query = parse(typed)
    assert (query == Query(typed)) is (query.where is None)
    letters = [c for c in query.text if c.isalnum()]
    assert letters or query.where is None
    assert set(letters) <= set(typed)


def test_a_sign_left_over_is_nothing_to_look_for() -> None:
    assert parse("+( -draft") == Query("+( -draft")
    assert parse("€ -draft").excluded == ("draft",)


# A search makes of it what the conditions say


MODES = ("hybrid", "dense", "keyword")
TEXTS = {
    "plans/budget.pdf": "The budget plan for access control was approved",
    "plans/draft.pdf": "A draft of the budget plan; control of access is open",
    "notes/access.md": "Access controls, and nothing else that matters",
    "notes/other.md": "A policy about whales, apples and pears",
    "parts.txt": "Order of spare parts: AC-2100/7, by Kowalczyk",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("query") / "index"
    with Index.open_or_create(folder, FakeEmbedder(64, same={"fruit": "appl"})) as opened:
        opened.add(
            Document(
                path, path.rsplit(".")[-1], (Page(1, text), Page(2, f"more, page two of {path}"))
            )
            for path, text in TEXTS.items()
        )
        opened.add(
            Document(f"fill/{n}.txt", "txt", (Page(None, f"budget plan filler words {n}"),))
            for n in range(40)
        )
        yield opened


def found(index: Index, query: str, mode: str, **options) -> list[str]:
    return sorted({hit.chunk.path for hit in index.search(query, 100, mode=mode, **options)})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "spec"),
    [
        ('"access control" budget', {"$text": "access control"}),
        (
            "budget plan -draft -filler",
            {"$not": {"$or": [{"$text": "draft"}, {"$text": "filler"}]}},
        ),
        ("budget +approved", {"$text": "approved"}),
        ("plan file:plans page:1", {"path": {"glob": "plans/*"}, "page": 1}),
        ("plan -type:pdf", {"$not": {"format": "pdf"}}),
    ],
)
def test_conditions_hold_before_the_search(index, query, spec, mode) -> None:
    plain = parse(query).text
    hits = index.search(query, 100, mode=mode, fold=False)
    expected = index.search(plain, 100, mode=mode, where=spec, syntax=False, fold=False)
    assert hits == expected
    assert hits
    if mode == "dense":  # nothing but the filter decides what is there
        allowed = [c for row in index.documents() for c in index.chunks(row.id)]
        rows = {row.id: row for row in index.documents()}
        where = Filter.parse(spec)
        ids = {c.id for c in allowed if where.matches(chunk_fields(rows[c.document_id], c))}
        assert {hit.chunk.id for hit in hits} == ids
    inside = {"path": {"glob": "notes/**"}}
    caller = index.search(query, 100, mode=mode, where=inside, fold=False)
    assert {h.chunk.id for h in caller} == {
        h.chunk.id for h in hits if h.chunk.path.startswith("notes/")
    }


def test_a_program_may_search_for_the_text_as_it_stands(index) -> None:
    asked: list[str] = []

    def embed(text: str):
        asked.append(text)
        return index.embed_query(text)

    index.search("budget -draft type:pdf", embed=embed)
    index.search("budget -draft type:pdf", embed=embed, syntax=False)
    assert asked == ["budget", "budget -draft type:pdf"]
    assert "plans/draft.pdf" in found(index, "budget -draft", "keyword", syntax=False)


@pytest.mark.parametrize("mode", MODES)
def test_a_file_alone_gives_its_passages_in_order(index, mode) -> None:
    hits = index.search("file:budget.pdf", mode=mode)
    assert [(hit.chunk.path, hit.chunk.page) for hit in hits] == [
        ("plans/budget.pdf", 1),
        ("plans/budget.pdf", 2),
    ]
    assert [hit.rank for hit in hits] == [1, 2]
    assert [hit.chunk.page for hit in index.search("file:budget page:2", mode=mode)] == [2]
    assert found(index, "file:plans", mode, by_file=True) == ["plans/budget.pdf", "plans/draft.pdf"]
    assert found(index, "file:plans -draft", mode, by_file=True) == ["plans/budget.pdf"]
    assert len(index.search("file:plans", 3, mode=mode)) == 3
    assert index.search("file:nowhere", mode=mode) == []
    assert index.explain("file:budget.pdf", hits[0]).score == 0
    assert index.query_words("file:budget.pdf") == ()
    assert index.why_not("file:budget.pdf", "plans/budget.pdf").outcome == "shown"
    assert index.why_not("file:budget.pdf", "plans/draft.pdf").outcome == "filtered"
    assert found(index, "file:notes", mode, where={"path": {"glob": "*other*"}}) == [
        "notes/other.md"
    ]


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_a_typing_error_finds_the_word_meant(index, mode) -> None:
    assert index.search("whalse", 1, mode=mode)[0].chunk.path == "notes/other.md"
    assert index.corrections("whalse +budget") == {"whalse": ["whales"]}
    assert index.corrections("budget whales") == {}
    exact = index.search("whales", 1, mode="keyword")[0]
    guess = index.search("whalse", 1, mode="keyword")[0]
    assert guess.keyword == pytest.approx(0.6 * exact.keyword)
    assert index.search("whalse", mode="keyword", syntax=False) == []


@pytest.mark.parametrize(
    "query", ["AC-2100/7", "Kowalczyk", "Kowalcyzk", "plan for AC-2100/7 budget"]
)
def test_a_clear_keyword_hit_is_never_buried(index, query) -> None:
    """Whatever the vectors say: the part number and the name stand in one passage only."""

    def astray(text: str):
        return index.embed_query("budget plan filler words")

    for mode in ("hybrid", "keyword"):
        assert index.search(query, 3, mode=mode, embed=astray)[0].chunk.path == "parts.txt"


def test_a_text_without_an_end_is_searched_for_by_its_beginning() -> None:
    for read in (parse, plain):
        query = read("word " * 200_000)
        assert query.text == "word " * 4_000
        assert query.notes == ("only the first 20,000 characters of the query are searched for",)
        assert read("a" * 20_000) == Query("a" * 20_000)
        assert read("a" * 20_000).notes == ()
