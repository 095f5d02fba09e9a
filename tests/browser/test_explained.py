"""Explanations and steering in a real Chromium: what is opened, moved and chosen."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import results
from tests.fakes import FakeEmbedder
from tests.servers import wait_until

pytestmark = pytest.mark.browser

NASTY = "Quinces <script>window.owned=1</script><img src=x onerror='window.owned=1'> **grow**."
QUERY = "red+apples+or+pears"

DOCUMENTS = [
    Document("apples.txt", "txt", (Page(None, "Apples are red & sweet. They hang on trees."),)),
    Document("pears.txt", "txt", (Page(None, "Pears are green. They hang on trees, too."),)),
    Document("quinces.txt", "txt", (Page(None, NASTY),)),
    *(
        Document(f"more{at}.txt", "txt", (Page(None, f"Number {at} says much."),))
        for at in range(6)
    ),
]


@pytest.fixture(scope="module")
def address(home: Path, home_address: str) -> str:
    """The page with an index of `DOCUMENTS`; more can be added to its parameters."""
    with Index.open_or_create(home / "explained", FakeEmbedder()) as index:
        index.add(DOCUMENTS)
    return f"{home_address}/?index=explained"


def params(tab: Any) -> dict[str, list[str]]:
    """What the address says now: asked of the page, since `tab.url` only learns of it in calls."""
    return parse_qs(tab.evaluate("location.search")[1:])


def choose(tab: Any, key: str, name: str) -> None:
    """Choose from a list; one that is opened while the page is still drawn may close again."""
    option = tab.get_by_role("option", name=name)

    def offered() -> bool:
        if not option.count():
            tab.locator(f".st-key-{key} input").click()
            tab.wait_for_timeout(200)
        return bool(option.count())

    wait_until(offered)
    option.click()


def numbers(tab: Any, name: str) -> list[float]:
    """The last column of a table."""
    found = tab.locator(".wva-sum table").filter(has=tab.locator("caption", has_text=name))
    cells = found.first.locator("tr td:last-child").all_inner_texts()
    return [float(text) for text in cells]


def test_an_explanation_opens_and_its_parts_add_up_to_the_score(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    tab.wait_for_selector(".wva-card")
    before = results(tab)
    tab.locator(".st-key-why-1 button").click()
    tab.locator(".st-key-explained-1 .wva-why mark").first.wait_for()
    tab.get_by_text("Where the closeness of meaning comes from").wait_for()
    score = float(tab.locator(".wva-score").first.inner_text().split()[1])
    *parts, total = numbers(tab, "The terms of the score")
    assert total == pytest.approx(score, abs=6e-3)
    assert sum(parts) == pytest.approx(total, abs=2e-3)
    assert results(tab) == before

    panel = tab.locator(".st-key-explained-1")
    chart = panel.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first
    chart.wait_for()
    words = panel.locator(".wva-why mark")
    every = words.all_inner_texts()
    panel.get_by_text("red +").click()
    wait_until(lambda: words.all_inner_texts() != every)
    assert "red" in words.all_inner_texts()

    tab.locator(".st-key-why-1 button").click()
    wait_until(lambda: tab.locator(".st-key-explained-1").count() == 0)


def test_pointing_at_the_picture_tells_the_pair_and_its_value(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    tab.locator(".st-key-why-1 button").click()
    chart = tab.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first
    chart.wait_for()
    told = tab.locator("#vg-tooltip-element")

    def pointed() -> bool:
        box = chart.bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 20)
        tab.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] - 22)
        return bool(told.count() and "value" in told.inner_text())

    wait_until(pointed)
    said = told.inner_text()
    assert "your word" in said
    assert "its word" in said


def test_a_slider_changes_the_order_and_back_and_reload_keep_it(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    wait_until(lambda: results(tab)[:1] == ["apples.txt"])
    tab.locator(".st-key-weigh summary").click()
    tab.locator(".st-key-weight-0 input").wait_for(state="attached")
    slider = tab.locator(".st-key-weight-0 input")  # "red"

    def moved() -> bool:
        """The page may still be drawing itself: a key is pressed again if none was heard."""
        slider.focus()
        tab.keyboard.press("Home")
        return bool(params(tab).get("weights") == ["-1,1,1,1"])

    wait_until(moved)
    wait_until(lambda: results(tab)[:1] == ["pears.txt"])
    tab.go_back()
    wait_until(lambda: results(tab)[:1] == ["apples.txt"])
    wait_until(lambda: slider.input_value() == "1")
    tab.go_forward()
    wait_until(lambda: results(tab)[:1] == ["pears.txt"])
    tab.reload()
    wait_until(lambda: results(tab)[:1] == ["pears.txt"])
    tab.locator(".st-key-unweigh button").click()
    wait_until(lambda: results(tab)[:1] == ["apples.txt"])
    wait_until(lambda: "weights" not in params(tab))


def test_more_like_a_sentence_is_a_chip_and_in_the_address(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=quinces&mode=dense")
    tab.wait_for_selector(".wva-card")
    before = results(tab)
    at = before.index("pears.txt") + 1
    tab.locator(f'.st-key-actions-{at} [data-testid="stPopover"] button').click()
    tab.get_by_role("button", name="More like this", exact=True).click()
    chip = tab.get_by_role("button", name="More like “Pears are green.")
    chip.wait_for()
    wait_until(lambda: results(tab).index("pears.txt") + 1 < at or at == 1)
    assert len(params(tab)["like"]) == 1
    chip.click()
    wait_until(lambda: results(tab) == before)
    wait_until(lambda: "like" not in params(tab))


def test_why_not_a_document_is_answered(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=apples&k=1")
    tab.wait_for_selector(".wva-card")
    tab.locator(".st-key-why-not summary").click()
    choose(tab, "missing", "pears.txt")
    tab.get_by_text("its best passage has rank").wait_for()
    choose(tab, "missing-above", "1. apples.txt")
    tab.get_by_text("Result 1 stands").wait_for()


def test_what_a_passage_says_is_text_in_its_explanation(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=quinces")
    tab.locator(".st-key-why-1 button").click()
    shown = tab.locator(".wva-why")
    shown.wait_for()
    assert NASTY in shown.inner_text()
    assert shown.locator("script, img, b, strong").count() == 0
    tab.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first.wait_for()
    assert tab.evaluate("window.owned") is None


def test_two_visitors_weigh_each_their_own(tab: Any, chromium: Any, address: str) -> None:
    with closing(chromium.new_context()) as context:
        other = context.new_page()
        tab.goto(f"{address}&q={QUERY}&weights=-1,-1,1,1")
        other.goto(f"{address}&q={QUERY}")
        wait_until(lambda: results(tab)[:1] == ["pears.txt"])
        wait_until(lambda: results(other)[:1] == ["apples.txt"])
        other.locator(".st-key-why-1 button").click()
        other.locator(".wva-why").wait_for()
        assert tab.locator(".wva-why").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panel_fits_a_narrow_screen(chromium: Any, address: str, scheme: str) -> None:
    size = {"width": 400, "height": 800}
    with closing(chromium.new_context(color_scheme=scheme, viewport=size)) as context:
        narrow = context.new_page()
        narrow.goto(f"{address}&q={QUERY}&weights=1,1,1,2")
        narrow.locator(".st-key-why-1 button").click()
        narrow.locator(".wva-why").wait_for()
        narrow.get_by_text("Compare with another result").wait_for()
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 400
        panel = narrow.locator(".st-key-explained-1")
        wide = "e => [...e.querySelectorAll('table')].every(t => t.scrollWidth <= e.clientWidth)"
        assert panel.evaluate(wide)
