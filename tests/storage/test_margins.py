"""Words of a page that stand in none of its chunks, but find it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from retriever.explaining.why_not import Outcome
from retriever.index import Index
from retriever.storage.catalog.margins import margin_texts
from retriever.text.analyzer import matching_words
from retriever.types import Document, Page, Span
from tests.fakes import FakeEmbedder
from tests.older import without_seals

BODIES = [
    "Lobsters moult in the spring and hide under stones.",
    "Herons fish at dawn beside the weir and leave at noon.",
    "Eels travel by night through wet grass and into ponds.",
    "Otters sleep by day in holts under the roots of ash trees.",
]


def page(number: int, above: str, body: str, below: str = "") -> Page:
    text = f"{above}\n{body}\n{below}"
    return Page(number, text, body=Span(len(above) + 1, len(above) + 1 + len(body)))


def texts_of(*pages: Page, chunks: int = 1) -> list[tuple[str, ...]]:
    places = [(at, start) for at in range(len(pages)) for start in range(chunks)]
    return margin_texts(dict(enumerate(pages)), places)


def test_lines_with_words_of_their_own_belong_to_the_first_chunk_of_their_page():
    one = page(4, "Work package 4\nRivers", "Of rivers and weirs.", "Draft for Kowalczyk\n- 4 -")
    assert texts_of(one, chunks=2) == [("Work package 4", "Draft for Kowalczyk"), ()]
    assert texts_of(page(4, "A\nB", "x", "C")) == [("A\nB", "C")]
    assert texts_of(Page(4, "All of it is body.")) == [()]


@pytest.mark.parametrize("line", ["4", "Page 4 of 9", "- iv -", "Seite 3", "3-4"])
def test_page_numbers_are_no_words_of_a_page(line):
    assert texts_of(page(4, line, "Of rivers.")) == [()]


@pytest.mark.parametrize("line", ["1004", "Page 4a", "§ 4", "4/2025"])
def test_other_numbers_are(line):
    assert texts_of(page(4, line, "Of rivers.")) == [(line,)]


@pytest.mark.parametrize(
    ("end", "start", "word"),
    [
        ("and the trans-", "portation of", "transportation"),
        ("and the trans\u2010 ", "portation of", "transportation"),
        ("and the trans\u00ad", "portation of", "transportation"),
        ("and the trans-\n4", "The Book\n\nportation of", "transportation"),
        ("in the years 1914-", "eighteen", ""),
        ("and the trans", "portation of", ""),
        ("a dash -", "then", ""),
        ("of trans-", "Portation", ""),
    ],
)
def test_a_word_cut_by_the_end_of_a_page_belongs_to_the_last_chunk_before(end, start, word):
    following = Page(5, start + " whales")
    assert texts_of(Page(4, end), following, chunks=2) == [(), (word,) if word else (), (), ()]
    assert texts_of(page(4, "Head 1", end, "- 4 -"), page(5, "Head 2", start))[0][-1:] == (
        (word,) if word else ("Head 1",)
    )
    for other in (Page(6, start), Page(5, start, label="sheet B"), Page(None, start)):
        assert texts_of(Page(4, end), other)[0] == ()


@pytest.fixture
def index(tmp_path: Path):
    pages = tuple(
        page(
            at + 1,
            f"Invoice {1001 + at} of Kowalczyk & Söhne",
            body + (" And so trans-" * (at == 1)),
        )
        for at, body in enumerate(BODIES)
    )
    pages = (*pages[:2], Page(3, "portation. " + BODIES[2]), *pages[3:])
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        opened.add([Document("bills.pdf", "pdf", pages)])
        yield opened


def found(index: Index, query: str, **options) -> list[int | None]:
    hits = index.search(query, mode="keyword", **options)
    return [chunk.page for hit in hits for chunk in hit.parts or (hit.chunk,)]


def test_a_page_is_found_by_the_words_of_its_margins(index):
    assert found(index, "1002") == [2]
    assert found(index, '"Invoice 1002"') == found(index, "+1002 herons") == [2]
    assert found(index, '"invoice 1003"') == []
    assert found(index, "herons -kowalczyk") == []
    assert sorted(found(index, "kowalczyk")) == [1, 2, 4]
    assert found(index, "transportation") == found(index, '"transportation"') == [2]


def test_no_phrase_crosses_from_the_body_into_a_margin(index):
    assert found(index, '"leave at noon"') == [2]
    assert found(index, '"noon invoice"') == found(index, '"transportation invoice"') == []
    assert found(index, '"söhne transportation"') == []


def test_a_word_of_a_margin_is_explained_but_not_highlighted(index):
    (hit,) = index.search("1002 fish", mode="keyword")
    words = {word.word: word for word in index.explain("1002 fish", hit).keyword.words}
    assert (words["1002"].times, words["fish"].times) == (1, 1)
    assert words["1002"].score > 0
    assert hit.chunk.text.startswith("Herons")
    assert [word.term for word in matching_words(hit.chunk.text, "1002 fish")] == ["fish"]
    assert index.why_not('"Invoice 1002"', "bills.pdf").outcome is Outcome.SHOWN


def test_terms_made_anew_are_the_same(index, tmp_path):
    def terms() -> list[tuple[int, str]]:
        with closing(sqlite3.connect(tmp_path / "index" / "catalog.sqlite")) as connection:
            return connection.execute("SELECT rowid, terms FROM fulltext ORDER BY rowid").fetchall()

    before = terms()
    assert sum("1002" in row[1] for row in before) == 1
    index.close()
    with closing(sqlite3.connect(tmp_path / "index" / "catalog.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'analyser'")
        connection.execute("UPDATE fulltext SET terms = 'old'")
    with Index.open(tmp_path / "index", FakeEmbedder()) as opened:
        assert found(opened, '"Invoice 1002"') == [2]
    assert terms() == before


def test_terms_of_an_index_without_bodies_are_made_anew(index, tmp_path):
    index.close()
    with closing(sqlite3.connect(tmp_path / "index" / "catalog.sqlite")) as connection, connection:
        without_seals(connection)
        connection.execute("ALTER TABLE pages DROP COLUMN body_start")
        connection.execute("ALTER TABLE pages DROP COLUMN body_stop")
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'analyser'")
    with Index.open(tmp_path / "index", FakeEmbedder()) as opened:
        assert found(opened, "1002") == []
        assert found(opened, "herons") == [2]
