"""Running headers and footers, on generated pages whose running lines are known."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.pdf.headers_footers import exclude_running_lines
from retriever.reading.pdf.reader import read_pdf
from retriever.types import Page, PageState, Span

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "government-pdf"
WORDS = [
    "acid",
    "bird",
    "cloud",
    "dune",
    "echo",
    "fern",
    "gate",
    "hill",
    "iron",
    "jade",
    "kelp",
    "lake",
]


def prose(seed: int, lines: int = 12) -> str:
    """Lines that are all different."""
    rng = random.Random(seed)
    return "\n".join(f"{' '.join(rng.choices(WORDS, k=9))} {seed}.{row}" for row in range(lines))


def book(count: int, around) -> list[Page]:
    """Pages with prose between the lines that `around(index)` gives."""
    pages = []
    for at in range(count):
        above, below = around(at)
        pages.append(Page(at + 1, "\n".join([*above, prose(at), *below])))
    return pages


def bodies(pages: list[Page]) -> list[str]:
    """The body of each page; checks that nothing else of it changed."""
    found = exclude_running_lines(pages)
    for page, before in zip(found, pages, strict=True):
        assert page.text == before.text
        assert (page.number, page.state, page.reason) == (
            before.number,
            before.state,
            before.reason,
        )
    return [
        page.text if page.body is None else page.text[page.body.start : page.body.end]
        for page in found
    ]


def test_header_and_footer_on_every_page():
    pages = book(9, lambda at: (["Zero Trust Architecture", ""], ["", f"Page {at + 1} of 9"]))
    found = bodies(pages)
    assert found[0] == pages[0].text  # the words stay where they stand first
    assert found[1:] == [prose(at) for at in range(1, 9)]


def test_a_number_alone_need_not_be_found_and_goes_from_the_first_page_on():
    pages = book(6, lambda at: ([], [f"- {at + 40} -"]))
    assert bodies(pages) == [prose(at) for at in range(6)]


def test_roman_numbers_then_others():
    roman = ["i", "ii", "iii", "iv", "v", "vi", "vii"]
    pages = book(14, lambda at: ([roman[at] if at < 7 else str(at - 6)], []))
    assert bodies(pages) == [prose(at) for at in range(14)]


CONTENT = [
    lambda at: f"Invoice {1001 + at}",
    lambda at: f"Article {at + 1}",
    lambda at: f"Lesson {at + 3}:",
    lambda at: f"Case no. 2024/{115 + at}",
    lambda at: f"Case number {at + 1}",
    lambda at: f"Participant {at + 12}",
    lambda at: f"Year {1901 + at}",
    lambda at: f"{at + 3} March 2025",
    lambda at: f"{at + 1}. März 2025",
    lambda at: f"March {at + 1}, 2025",
    lambda at: f"{at + 1}.3.2025",
    lambda at: f"2025-03-{at + 1:02}",
    lambda at: f"{at + 1}/2025",
    lambda at: f"Total carried to page {at + 2}",
    lambda at: f"§ {at + 1}",
    lambda at: f"#{at + 1}",
    lambda at: f"Chapter {['I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX'][at]}",
    lambda at: f"Minutes of the meeting {at + 204}",
    lambda at: f"Day {at + 1} of 9",
    lambda at: f"Section 2.{at + 1}",
    lambda at: f"{at + 1}. Question",
    lambda at: f"Experiment {at + 1}: results",
    lambda at: f"Daily report, {at + 1} May",
    lambda at: f"Lundi, {at + 1} mars",
]


@pytest.mark.parametrize("count", [3, 9])
@pytest.mark.parametrize("write", CONTENT)
def test_a_line_with_another_number_than_the_pages_own_is_content(write, count):
    for around in (lambda at: ([write(at)], []), lambda at: ([], [write(at)])):
        pages = book(count, around)
        assert bodies(pages) == [page.text for page in pages]
    numbered = book(count, lambda at: ([write(at)], [f"- {at + 1} -"]))
    assert bodies(numbered) == [f"{write(at)}\n{prose(at)}" for at in range(count)]


@pytest.mark.parametrize(
    "write",
    [
        lambda at: f"Page {at + 1}",
        lambda at: f"- {at + 12} -",
        lambda at: f"{at + 1} of 9",
        lambda at: f"{at + 1}/9",
        lambda at: f"[{at + 1}]",
        lambda at: f"Seite {at + 1} von 9",
        lambda at: f"第 {at + 1} 页 共 9 页",
        lambda at: f"3-{at + 1}",
        lambda at: f"B-{at + 1}",
        lambda at: ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"][at],
    ],
)
def test_page_numbers_are_furniture(write):
    for around in (lambda at: ([write(at)], []), lambda at: ([], [write(at)])):
        assert bodies(book(9, around))[1:] == [prose(at) for at in range(1, 9)]


def test_left_and_right_titles_share_the_pages_number_in_an_offprint():
    """Pages 231 and on: no title could be told from "Invoice 231" without the other."""
    pages = book(9, lambda at: ([f"Adams {at + 231}" if at % 2 else f"{at + 231} Botany"], []))
    assert bodies(pages)[2:] == [prose(at) for at in range(2, 9)]


def test_left_and_right_pages_differ():
    pages = book(12, lambda at: ([f"{at + 1} The Book" if at % 2 else f"A Chapter {at + 1}"], []))
    assert bodies(pages)[2:] == [prose(at) for at in range(2, 12)]


def test_headers_change_with_the_chapter():
    pages = book(40, lambda at: (["The Book", f"{at // 5 + 1} About {WORDS[at // 5]}"], []))
    found = bodies(pages)
    for at in range(1, 40):
        title = [] if at % 5 else [f"{at // 5 + 1} About {WORDS[at // 5]}"]
        assert found[at] == "\n".join([*title, prose(at)])


def test_titles_of_some_slides_are_no_headers():
    """Three successive slides share a title; most slides have their own."""
    pages = book(
        20, lambda at: (["Quarterly Meeting", "Roadmap" if at in (7, 8, 9) else f"Topic {at}x"], [])
    )
    found = bodies(pages)
    assert [text.split("\n")[0] for text in found[7:10]] == ["Roadmap"] * 3


def test_the_head_of_a_table_that_goes_on_is_kept():
    rows = ["Control Owner Due date"]
    pages = book(10, lambda at: (["The Guide", *(rows if at > 3 else [])], [f"{at + 1}"]))
    inside = prose(3) + "\n" + rows[0] + "\n" + prose(99)
    pages[3] = Page(4, f"The Guide\n{inside}\n4")
    assert [text.split("\n")[0] for text in bodies(pages)[4:]] == rows * 6


def test_text_that_repeats_itself_is_kept():
    lines = prose(1, 14).split("\n") * 9
    turned = [Page(at + 1, "\n".join(lines[at * 5 : at * 5 + 40])) for at in range(8)]
    assert bodies(turned) == [page.text for page in turned]


def test_blanks_that_an_extractor_put_elsewhere():
    pages = book(6, lambda at: ([["Zero-Trust Guide", "Zero -Trust  Guide"][at % 2]], []))
    assert bodies(pages)[1:] == [prose(at) for at in range(1, 6)]


def test_footnotes_and_unlike_lines_are_kept():
    pages = book(8, lambda at: ([f"Section {at * 7 % 5}"], [f"{at % 3} See {WORDS[at]} 19{at}4."]))
    assert bodies(pages) == [page.text for page in pages]


def test_a_page_of_running_lines_only_has_its_words_as_body():
    pages = book(7, lambda at: (["The Guide"], [f"{at + 1}"]))
    pages[4] = Page(5, "The Guide\n5")
    pages[5] = Page(6, "6")
    found = exclude_running_lines(pages)
    assert found[4] == pages[4]
    assert found[5].body == Span(0, 0)
    assert found[5].state is PageState.TEXT
    for write in (lambda at: f"Potato {at}", lambda at: "Work package 4\nReport"):
        pages = [Page(at + 1, write(at)) for at in range(9)]
        assert bodies(pages) == [page.text for page in pages]


def test_few_pages_and_others_than_numbered_ones_stay():
    two = book(2, lambda at: (["The Guide"], []))
    assert exclude_running_lines(two) == tuple(two)
    labelled = [Page(None, "The Guide\nx", label=f"attachment {at}") for at in range(6)]
    assert exclude_running_lines(labelled) == tuple(labelled)
    pages = book(8, lambda at: (["The Guide"], []))
    pages[3] = Page(4, "", PageState.EMPTY, "nothing drawn on it")
    pages[5] = Page(6, "The Guide\nkept", body=Span(0, 14))
    found = exclude_running_lines(pages)
    assert (found[3], found[5]) == (pages[3], pages[5])
    assert found[4].body is not None


def test_a_guide_of_the_sample():
    """Checked by hand: pages have a title, a subtitle, and "fedramp.gov" with their number."""
    pages = read_pdf((SAMPLE / "FedRAMP_guide_POAM_rev5.pdf").read_bytes(), "a.pdf").pages
    found = exclude_running_lines(pages)
    assert [page.number for page in found if page.body] == list(range(3, 38))
    for page in found[2:]:
        above = page.text[: page.body.start].split("\n")
        assert [line for line in above if line.strip()][-1] == f"fedramp.gov {page.number - 4}" or (
            page.number < 7
        )
        assert page.body.end == len(page.text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["Head", "12", "iv", "", " ", "Page 3", "x 1 2 3 4 5", "é" * 400])
        ),
        max_size=12,
    )
)
def test_every_body_is_a_piece_of_its_page(texts):
    pages = [Page(at + 1, "\n".join(lines)) for at, lines in enumerate(texts)]
    for page, before in pairwise([*exclude_running_lines(pages), None]) if not pages else ():
        assert page.text == before.text
    for page in exclude_running_lines(pages):
        if page.body is not None:
            assert 0 <= page.body.start <= page.body.end <= len(page.text)
            body = page.text[page.body.start : page.body.end]
            assert body == body.strip()
    assert exclude_running_lines(pages) == exclude_running_lines(list(pages))
