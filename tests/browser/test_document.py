"""Documents opened in a real Chromium: the picture, its marks, turning pages, and text as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from tests.browser.pages import act_on
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page
from tests.servers import wait_until

pytestmark = pytest.mark.browser

NASTY = "<script>window.owned=1<!script> *b* _u_ [l](x) :red[r] $m$.txt"
TEXT = (
    "# A turnip <script>window.owned=1</script>\n\n"
    "<img src=x onerror='window.owned=1'> **bold** [link](javascript:window.owned=1)\n\n"
    ":red[r] $m$\n\n"
    "| <b>cell</b> | <a href='x'>other</a> |\n|---|---|\n| 1 | 2 |\n"
)


@pytest.fixture(scope="module")
def address(home: Path, home_address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with an index of the files below; more can be added to its parameters."""
    files = tmp_path_factory.mktemp("documents") / "files"
    files.mkdir()
    pages = [text_page(f"Page number {number}.", "A line of no use.") for number in range(1, 6)]
    pages[2] = text_page("Some words above.", "Apples are red and sweet.", "Some words below.")
    (files / "fruit.pdf").write_bytes(pdf_file(pages))
    (files / NASTY).write_text(TEXT)
    long = "\n\n".join(f"Chapter of number {at}. " + "Filler words. " * 40 for at in range(40))
    (files / "long.txt").write_text(f"{long}\n\nA quince in the middle.\n\n{long}")
    with Index.open_or_create(home / "documents", FakeEmbedder()) as index:
        index.sync(files)
    return f"{home_address}/?index=documents"


def opened(tab: Any, address: str, query: str) -> None:
    tab.goto(f"{address}&q={query}&mode=keyword")
    act_on(tab, 1, "open")


def places(tab: Any, *selectors: str) -> list[dict[str, float]]:
    """Where the first element of each selector stands, at one moment: the page may scroll."""
    found: list[dict[str, float]] = tab.evaluate(
        """selectors => selectors.map(one => {
            const box = document.querySelector(one).getBoundingClientRect();
            return {x: box.x, y: box.y, width: box.width, height: box.height};
        })""",
        list(selectors),
    )
    return found


def test_a_hit_opens_at_its_marked_page_and_pages_turn(tab: Any, address: str) -> None:
    opened(tab, address, "apples")
    picture = tab.locator(".wva-paper img")
    picture.wait_for()
    wait_until(lambda: tab.evaluate("document.querySelector('.wva-paper img').naturalWidth") > 1000)
    assert picture.get_attribute("alt") == "page 3 of fruit.pdf"
    # Where the text stands: 72 points from the left, at 720 points of 792, lines of 14 points.
    tab.locator(".wva-shade").first.wait_for()
    paper, boxed, shaded = places(tab, ".wva-paper", ".wva-boxed", ".wva-shade")
    point = paper["width"] / 612
    assert boxed["x"] - paper["x"] == pytest.approx(72 * point, abs=3 * point)
    assert boxed["y"] - paper["y"] == pytest.approx((792 - 730) * point, abs=3 * point)
    assert shaded["y"] - paper["y"] == pytest.approx((792 - 716) * point, abs=4 * point)
    assert shaded["x"] - paper["x"] == pytest.approx(72 * point, abs=3 * point)

    tab.get_by_role("button", name="Next", exact=True).click()
    wait_until(lambda: picture.get_attribute("alt") == "page 4 of fruit.pdf")
    wait_until(lambda: tab.locator(".wva-boxed").count() == 0)
    tab.locator(".st-key-leaf input").fill("1")
    tab.keyboard.press("Enter")
    wait_until(lambda: picture.get_attribute("alt") == "page 1 of fruit.pdf")
    tab.get_by_role("button", name="To the passage").click()
    tab.locator(".wva-boxed").wait_for()

    link = tab.url
    tab.get_by_role("button", name="Close").click()
    wait_until(lambda: tab.locator(".wva-paper").count() == 0)
    assert tab.locator(".wva-card").count() == 1
    assert tab.locator(".st-key-q input").input_value() == "apples"
    tab.goto(link)
    tab.locator(".wva-boxed").wait_for()
    tab.go_back()
    tab.wait_for_selector(".wva-card")
    wait_until(lambda: tab.locator(".wva-opened:not(.wva-auto)").count() == 0)


def test_a_new_question_leaves_the_document(tab: Any, address: str) -> None:
    opened(tab, address, "apples")
    tab.locator(".wva-boxed").wait_for()
    tab.locator(".st-key-q input").fill("quince")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".wva-card")
    first = tab.locator(".wva-card .wva-file bdi").first
    wait_until(lambda: first.inner_text() == "long.txt")
    wait_until(lambda: tab.locator(".wva-paper").count() == 0)


def test_a_long_text_is_scrolled_to_the_passage(tab: Any, address: str) -> None:
    opened(tab, address, "quince")
    here = tab.locator(".wva-here")
    here.wait_for()
    wait_until(lambda: 0 < (here.bounding_box() or {"y": 0})["y"] < 800)
    assert "quince" in here.inner_text()


def test_what_a_document_says_and_is_called_is_text(tab: Any, address: str) -> None:
    opened(tab, address, "turnip")
    page = tab.locator(".wva-text-page")
    page.wait_for()
    said = page.inner_text()
    for line in ("A turnip <script>window.owned=1</script>", "**bold** [link](javascript:"):
        assert line in said
    assert "<img src=x onerror='window.owned=1'>" in said
    assert page.locator("script, img, b, strong, em, a, code").count() == 0
    assert page.locator("h2").count() == 1
    assert page.locator("td").all_inner_texts()[0] == "<b>cell</b>"
    names = tab.locator(".wva-file bdi").all_inner_texts()
    assert NASTY in names
    assert tab.evaluate("window.owned") is None
