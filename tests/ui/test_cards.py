"""Hits → the HTML of the list of results."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from retriever.types import Chunk, DocumentRow, Excerpt, Hit, PageState
from ui.cards import ListView, card_html, citation_text, group_by_document, list_html
from ui.highlighting import HighlightTerms

TAG = re.compile(r"<[^>]*>")
PEARS = ListView(HighlightTerms("pears"))


def hit(**changes: object) -> Hit:
    values = {
        "id": "1", "document_id": "d", "path": "a/b.pdf", "format": "pdf", "title": "", "page": 3,
        "start": 7, "end": 11, "text": "pear",
    }  # fmt: skip
    chunk = Chunk(**{**values, **changes})  # type: ignore[arg-type]  # the chunk's own fields
    return Hit(rank=1, score=2.5, chunk=chunk, dense=0.25, keyword=1.75)


def plain(shown: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(TAG.sub(" ", shown))).strip()


def test_a_card_has_a_heading_a_snippet_and_named_buttons() -> None:
    shown = card_html([hit()], PEARS)
    assert plain(shown) == "b.pdf a/ page 3 pear pear more ? + −"
    assert '<h3 class="wva-file" id="wva-card-1" title="a/b.pdf"><bdi>b.pdf</bdi></h3>' in shown
    assert 'aria-labelledby="wva-card-1"' in shown
    assert 'aria-label="Open page 3 of b.pdf, result 1"' in shown
    names = re.findall(r'<button[^>]*aria-label="([^"]*)"', shown)
    assert len(names) == len(set(names)) == 5
    assert all(name.endswith("result 1") for name in names)
    assert shown.count("<mark>pear</mark>") == 2  # the snippet, and the whole passage


def test_all_numbers_are_in_the_tooltip_and_none_in_the_text() -> None:
    shown = card_html([replace(hit(), match=0.9499)], PEARS)
    assert 'title="score 2.50 · meaning 0.25 · keywords 1.8 · match 94 %' in shown
    assert not re.search(r"\d\.\d", plain(shown))


@pytest.mark.parametrize(
    ("mode", "numbers"), [("keyword", "score 2.50 · meaning"), ("dense", "score 2.50 · keywords")]
)
def test_the_score_of_one_side_is_not_told_twice(mode: str, numbers: str) -> None:
    assert f'title="{numbers}' in card_html([hit()], replace(PEARS, mode=mode))


def test_a_document_is_one_card_with_its_best_passages_first() -> None:
    hits = [
        replace(hit(id=str(at), document_id=document), rank=at)
        for at, document in enumerate("abaaaba", 1)
    ]
    assert [[one.rank for one in group] for group in group_by_document(hits)] == [
        [1, 3, 4, 5, 7], [2, 6],
    ]  # fmt: skip
    shown = list_html(hits, PEARS)
    assert shown.count("<article") == 2
    assert re.findall(r'data-rank="(\d)" role', shown) == ["1", "3", "4", "5", "2", "6"]
    assert 'data-card="1" aria-expanded="false"' in shown
    assert "1 more passage in this document" in shown
    opened = list_html(hits, replace(PEARS, unfolded=frozenset({"1"})))
    assert re.findall(r'data-rank="(\d)" role', opened) == ["1", "3", "4", "5", "7", "2", "6"]
    assert 'data-card="1" aria-expanded="true"' in opened
    assert list_html(hits, replace(PEARS, by_document=False)).count("<article") == 7


def test_many_documents_show_two_passages_each() -> None:
    hits = [
        replace(hit(id=f"{document}{at}", document_id=str(document)), rank=10 * document + at)
        for document in range(9)
        for at in range(3)
    ]
    assert list_html(hits, PEARS).count("1 more passage in this document") == 9


def test_the_whole_of_a_joined_result_has_its_best_passage_highlighted() -> None:
    first = hit().chunk
    parts = (first, replace(first, id="2", start=18, end=22, text="figs"))
    text = "before pear after figs and plums"
    joined = replace(hit(), parts=parts, passage=(Excerpt(3, "", 7, 22, text[7:22]),))
    shown = card_html([joined], replace(PEARS, words=HighlightTerms("figs")))
    whole = shown[shown.index("wva-whole") :]
    assert re.findall(r'<span class="wva-found">(.*?)</span>', whole) == ["pear"]
    assert "after <mark>figs</mark>" in whole


def test_headings_look_like_it_except_in_code() -> None:
    words = replace(PEARS, words=HighlightTerms("pie"))
    chunk = replace(hit().chunk, text="## Pie\n\nBake it.\n# <b>", format="markdown")
    shown = card_html([replace(hit(), chunk=chunk)], words)
    assert "<strong><mark>Pie</mark></strong>\n\nBake it.\n<strong>&lt;b&gt;</strong>" in shown
    shown = card_html([replace(hit(), chunk=replace(chunk, format="code"))], words)
    assert "## <mark>Pie</mark>" in shown


def test_a_card_names_the_part_and_says_what_an_ocr_has_read() -> None:
    shown = card_html([hit(label="sheet <b>", state=PageState.OCR)], PEARS)
    assert "sheet <b> OCR" in plain(shown)
    assert "page 3" not in plain(shown)


def test_a_search_by_words_alone_offers_nothing_that_needs_the_model() -> None:
    shown = card_html([hit()], replace(PEARS, steerable=False))
    assert 'data-act="more"' not in shown
    assert 'data-act="copy"' in shown


def test_near_duplicates_are_named() -> None:
    copy = replace(hit().chunk, id="9", path="c/d.pdf")
    assert "Also in: c/d.pdf, page 3" in plain(card_html([replace(hit(), also=(copy,))], PEARS))


def test_a_passage_is_copied_with_its_source() -> None:
    row = DocumentRow("d", "", "", "a/b.pdf", "pdf", author="Ann", date="2024-05-01")
    assert citation_text(hit(text="a\n pear"), row) == "“a pear”\nAnn (2024). a/b.pdf, page 3"
    quoted = replace(PEARS, documents={"d": row})
    assert 'data-cite="“pear”\nAnn (2024). a/b.pdf, page 3"' in card_html([hit()], quoted)


@settings(deadline=None)  # a busy machine is not a failure
@given(
    some.text(min_size=1, max_size=60), some.text(min_size=1, max_size=30), some.text(max_size=9)
)
def test_no_text_of_a_document_is_markup(text: str, path: str, title: str) -> None:
    nasty = "<script>\"'>" + text
    shown = list_html([hit(text=nasty, path=path + nasty, title=title + nasty, label=nasty)], PEARS)
    assert "<script" not in shown
    assert set(re.findall(r"</?([a-z0-9]+)[ >]", shown)) <= {
        *("ol", "li", "article", "header", "h3", "div", "bdi", "span", "p", "a", "button"),
        *("svg", "rect", "path", "mark"),
    }
    shown.encode()  # a lone surrogate could not be sent


def test_a_passage_without_a_vector_is_marked() -> None:
    shown = card_html([replace(hit(), dense=0.25, keyword=1.0, embedded=False)], PEARS)
    assert shown.count("Its meaning is not compared yet") == 1
    assert "meaning not known yet" in shown
    assert "0.25" not in shown
    assert "not compared yet" not in card_html([replace(hit(), dense=0.25)], PEARS)
