"""A document opened at a passage: its text and picture as HTML, and the view run by AppTest."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from hypothesis import given, settings
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest

from retriever.index import Index
from retriever.reading.page_images.alignment import Characters, Placement
from retriever.reading.page_images.view import PagePicture
from retriever.types import Chunk, Document, DocumentRow, Page, PageState
from tests import pages
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page
from ui import document
from ui.document_picture import picture_html
from ui.document_text import MAX_CHARACTERS, leaf_at, leaves, shade_colour, text_html

TAG = re.compile(r"<[^>]*>")
OURS = re.compile(
    r"</?(?:p|h[2-6]|pre|table|tbody|tr|td|mark|span|div)"
    r"(?: (?:dir|class|style)=\"[\w :;/().,%-]*\")*>"
)


def seen(shown: str) -> str:
    return html.unescape(TAG.sub("", shown))


# Text


@settings(deadline=None)
@given(
    some.text(alphabet=some.sampled_from("ab <>&\"'\n#|`-*_=\t[](){}$:\\1."), max_size=120),
    some.integers(0, 120),
    some.integers(0, 120),
)
def test_only_our_own_tags_are_in_it_and_all_letters(text: str, start: int, end: int) -> None:
    weights = [(at, at + 1, 0.5) for at in range(0, len(text), 7)]
    shown = text_html(text, 0, len(text), [(min(start, end), max(start, end))], weights)
    assert not TAG.sub("", OURS.sub("", shown)).count("<")
    assert all(OURS.fullmatch(tag) for tag in TAG.findall(shown))
    letters = [letter for letter in text if letter.isalnum()]
    assert [letter for letter in seen(shown) if letter.isalnum()] == letters


def test_headings_tables_code_and_paragraphs_look_like_it() -> None:
    text = (
        "# Title\n\nA paragraph.\n\n| a | b |\n|---|---|\n| <i> | 2 |\n\n"
        "```sh\nrm <x>\n```\n\nUnder\n=====\n\n- one\n- two"
    )
    shown = text_html(text, 0, len(text), [], [])
    assert '<h2 dir="auto">Title</h2>' in shown
    assert '<p dir="auto">A paragraph.</p>' in shown
    assert "<tr><td>a</td><td>b</td></tr><tr><td>&lt;i&gt;</td><td>2</td></tr>" in shown
    assert "<pre>rm &lt;x&gt;\n</pre>" in shown
    assert '<h2 dir="auto">Under</h2>' in shown
    assert '<p dir="auto">- one\n- two</p>' in shown
    assert "---" not in shown


def test_the_passage_is_marked_in_every_block_and_found_once() -> None:
    text = "Before it.\n\n# Head\n\nInside of it, after it."
    start, end = text.index("Head"), text.index(", after")
    word = text.index("Inside")
    shown = text_html(text, 0, len(text), [(start, end)], [(word, word + 6, 1.0)])
    marked = re.findall(r'<span class="wva-found[^"]*">(.*?)</span>', shown)
    assert [seen(part) for part in marked] == ["Head", "Inside of it"]
    assert shown.count("wva-here") == 1
    assert f'<mark style="--weight: {shade_colour(1.0)}">Inside</mark>' in shown


def test_of_markdown_the_targets_of_links_are_left_out() -> None:
    text = "See [[Policies]](#policies) in [Section 5](a.md) and **now**."
    shown = text_html(text, 0, len(text), [(0, 27)], [(5, 13, 1.0)], (5, 27), markdown=True)
    assert seen(shown) == "See Policies in Section 5 and now."
    assert "[[Policies]](#policies)" in seen(text_html(text, 0, len(text), [], []))


def test_the_best_sentence_is_emphasised() -> None:
    text = "One here. Two there."
    shown = text_html(text, 0, len(text), [(0, 20)], [(10, 13, 1.0)], (10, 20))
    marked = re.findall(r'<span class="wva-sentence">(.*?)</span>', shown)
    assert [seen(part) for part in marked] == ["Two", " there."]


def test_long_pages_are_cut_and_every_character_is_on_one_leaf() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "Words. " * 60 for number in range(80))
    pages = [Page(1, "short"), Page(None, text, label="notes.txt"), Page(3, text)]
    made = leaves(pages, whole=[2])
    of_text = [leaf for leaf in made if leaf.page == 1]
    assert "".join(text[leaf.start : leaf.end] for leaf in of_text) == text
    assert all(leaf.end - leaf.start <= MAX_CHARACTERS for leaf in of_text)
    assert all(text[leaf.start :].startswith("Paragraph") for leaf in of_text)
    assert of_text[1].name == f"notes.txt, part 2 of {len(of_text)}"
    assert (made[0].name, made[-1].name, made[-1].end) == ("page 1", "page 3", len(text))
    assert leaf_at(made, 1, of_text[2].start) == 3
    assert leaf_at(made, 1, len(text) + 9) == 1


def test_a_text_without_a_break_is_cut_all_the_same() -> None:
    made = leaves([Page(None, "x" * (3 * MAX_CHARACTERS))])
    assert [leaf.end - leaf.start for leaf in made] == [MAX_CHARACTERS] * 3
    assert [leaf.name for leaf in leaves([Page(None, "")])] == [""]


# Pictures


def test_a_picture_has_the_passage_boxed_by_blocks_and_words_shaded() -> None:
    boxes = [(10, 10, 20, 20), (10, 22, 30, 32), (60, 5, 90, 15)]
    characters = Characters("abc", np.array(boxes, np.float32), np.ones(3, np.bool_), 100.0, 100.0)
    picture = PagePicture(b"png", Placement("a\nb\nc", characters))
    shown = picture_html(picture, "page 1 of <a>.pdf", [(0, 5)], [(2, 3, -1.0)])
    assert 'alt="page 1 of &lt;a&gt;.pdf"' in shown
    assert "data:image/png;base64,cG5n" in shown
    found = re.findall(r'class="(wva-boxed[^"]*)" style="([^"]*)"', shown)
    assert [kind for kind, _ in found] == ["wva-boxed wva-here", "wva-boxed"]
    assert found[0][1].startswith("left:10.000%;top:11.000%;width:20.000%;height:20.000%")
    assert found[1][1].startswith("left:60.000%;top:6.000%")
    assert f"background: {shade_colour(-1.0)}" in shown
    assert "<span" not in picture_html(PagePicture(b"png", None), "x", [(0, 5)], [(0, 5, 1.0)])


# The view


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, and an index of them below."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "fruit.pdf").write_bytes(
        pdf_file([text_page("A cover."), text_page("Apples are red."), text_page("The end.")])
    )
    (files / "long.txt").write_text(
        "\n\n".join(f"Chapter of number {at}. " + "Filler words. " * 40 for at in range(60))
        + "\n\nA quince at last."
    )
    (files / "evil<script>.txt").write_text("# A <b>turnip</b>\n\n**x** <img src=x> [l](x)\n")
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.sync(files)
        index.add([Document("memo", "txt", (Page(1, "A plum."), Page(2, "", PageState.EMPTY)))])
    return tmp_path


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AppTest]]:
    def opened(query: str) -> AppTest:
        asked = {"q": query, "mode": "keyword"}
        app = pages.open_page(monkeypatch, folder / "index", asked, seconds=30)
        (passage,) = re.findall(r'data-id="([^"]*)" data-rank="1"', pages.list_html(app))
        app.query_params["open"] = passage
        app.run()
        assert not app.exception
        return app

    yield opened
    st.cache_resource.clear()


def body(app: AppTest) -> str:
    return "".join(part.value for part in app.html if "<style>" not in part.value)


def test_a_page_of_paper_is_opened_turned_and_left(page: Callable[[str], AppTest]) -> None:
    app = page("apples")
    assert 'alt="page 2 of fruit.pdf"' in body(app)
    assert "wva-boxed" in body(app)
    assert app.number_input(key="leaf").value == 2
    app.button(key="next").click().run()
    assert 'alt="page 3 of fruit.pdf"' in body(app)
    assert "wva-boxed" not in body(app)
    assert app.button(key="next").disabled
    app.number_input(key="leaf").set_value(1).run()
    assert 'alt="page 1 of fruit.pdf"' in body(app)
    app.button(key="home").click().run()
    assert 'alt="page 2 of fruit.pdf"' in body(app)
    assert app.query_params["open"]
    app.button(key="close").click().run()
    assert "wva-paper" not in body(app)
    assert "wva-card" in pages.list_html(app)
    assert "open" not in app.query_params


@pytest.mark.parametrize("what", ["changed", "gone", "broken"])
def test_what_is_wrong_with_the_file_is_one_sentence_and_the_text_is_there(
    page: Callable[[str], AppTest], folder: Path, what: str
) -> None:
    file = folder / "files" / "fruit.pdf"
    if what == "gone":
        file.unlink()
    else:
        file.write_bytes(pdf_file([text_page("New.")]) if what == "changed" else b"%PDF-1.7 x")
    app = page("apples")
    assert len(app.warning) == 1
    assert "fruit.pdf is shown as text" in app.warning[0].value
    assert "Apples" in seen(body(app))
    assert "wva-paper" not in body(app)


def test_a_long_text_is_opened_at_the_passage(page: Callable[[str], AppTest]) -> None:
    app = page("quince")
    assert "quince" in re.findall(r'wva-here">(.*)</span>', body(app))[0]
    assert "Chapter of number 1." not in body(app)
    assert app.button(key="next").disabled
    app.button(key="previous").click().run()
    shown = body(app)
    assert "quince" not in shown[shown.index("wva-text-page") :]


def test_what_a_document_says_is_text(page: Callable[[str], AppTest]) -> None:
    shown = body(page("turnip"))
    assert "A &lt;b&gt;turnip&lt;/b&gt;" in re.sub("</?mark[^>]*>", "", shown)
    assert "evil&lt;script&gt;.txt" in shown
    assert "<img" not in shown
    assert "**x**" in shown


def test_a_page_without_text_says_why(page: Callable[[str], AppTest]) -> None:
    app = page("plum")
    app.button(key="next").click().run()
    assert "There is no text on this page (empty)" in app.caption[-1].value


def test_a_passage_that_is_gone_is_said(page: Callable[[str], AppTest], folder: Path) -> None:
    app = page("plum")
    with Index.open(folder / "index", FakeEmbedder()) as index:
        index.remove(["memo"])
    app.run()
    assert "not in the index any more" in app.info[0].value
    app.button(key="close").click().run()
    assert "Nothing found" in body(app)


def test_joined_passages_are_all_marked(page: Callable[[str], AppTest], folder: Path) -> None:
    with Index.open(folder / "index", FakeEmbedder()) as index:
        row = next(row for row in index.documents() if row.path == "long.txt")
        chunks = index.chunks(row.id)[:2]
    app = page("plum")
    app.query_params["open"] = [chunk.id for chunk in chunks]
    app.run()
    found = re.findall(r'<span class="wva-found[^"]*">(.*?)</span>', body(app), re.DOTALL)
    assert sum(len(seen(part)) for part in found) > len(chunks[0].text)


# One leaf and its passages


class Place:
    """Remembers what was put there last."""

    def html(self, shown: str) -> None:
        self.shown = shown


def chunk(page: int, start: int, end: int) -> Chunk:
    text = "x" * (end - start)
    return Chunk(f"{page}:{start}", "d", "a.md", "md", "", page, start, end, text)


def leaf_of(pages: list[Page], chunks: list[Chunk], at: int) -> document._Sheet:
    row = DocumentRow("d", "", "", "a.md", "md")
    return document._sheet(
        document._OpenDocument(row, tuple(pages), tuple(leaves(pages))), at, chunks
    )


def test_every_page_has_the_shades_of_its_own_passages() -> None:
    pages = [Page(1, "one two three"), Page(2, "six seven eight")]
    chunks = [chunk(1, 4, 13), chunk(2, 0, 9)]
    shades = {"1:4": [(4, 7, 1.0)], "2:0": [(0, 3, 1.0)]}
    for at, word in enumerate(("two", "six")):
        sheet = leaf_of(pages, chunks, at)
        place = Place()
        sheet.draw(place, document._passage_weights(sheet.chunks, lambda one: shades[one.id]))
        assert re.findall(r"<mark[^>]*>(.*?)</mark>", place.shown) == [word]


def test_a_passage_that_a_leaf_would_cut_is_shown_whole_on_both() -> None:
    text = "word " * (MAX_CHARACTERS // 4)
    edge = leaves([Page(1, text)])[0].end
    place = Place()
    for at in (0, 1):
        leaf_of([Page(1, text)], [chunk(1, edge - 50, edge + 50)], at).draw(place, [])
        (found,) = re.findall(r'<span class="wva-found wva-here">(.*?)</span>', place.shown)
        assert seen(found).strip() == text[edge - 50 : edge + 50].strip()
    leaf_of([Page(1, text)], [chunk(1, 0, 50)], 1).draw(place, [])
    assert "wva-found" not in place.shown


def test_nothing_is_shaded_where_nothing_is_known() -> None:
    one, two = chunk(1, 0, 5), chunk(1, 5, 9)
    assert document._passage_weights([one, two], lambda _: None) is None
    assert document._passage_weights([one, two], lambda c: [(5, 9, 1.0)] if c is two else None) == [
        (5, 9, 1.0)
    ]
