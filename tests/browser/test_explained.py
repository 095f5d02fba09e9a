"""Explanations and steering in a real Chromium: what is opened, moved and chosen."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import act_on, results
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


def settled(tab: Any) -> None:
    """Wait until the page is drawn: what is opened meanwhile may close again."""
    tab.locator('[data-test-script-state="notRunning"]').wait_for()


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


def open_why(tab: Any, rank: int = 1) -> Any:
    """Open the explanation of a result; its panel, when the passage is shaded."""
    act_on(tab, rank, "why")
    panel = tab.locator(f".st-key-explained-{rank}")
    panel.locator(".wva-why mark").first.wait_for()
    return panel


def open_numbers(panel: Any) -> None:
    panel.get_by_text("All numbers").click()
    panel.get_by_text("How the score adds up").wait_for()


def shaded(panel: Any) -> list[str]:
    return [str(text) for text in panel.locator(".wva-why mark:not(.wva-off)").all_inner_texts()]


def test_an_explanation_opens_and_its_parts_add_up_to_the_score(
    tab: Any, address: str, home: Path
) -> None:
    tab.goto(f"{address}&q={QUERY}")
    tab.wait_for_selector(".wva-card")
    before = results(tab)
    panel = open_why(tab)
    assert "Found for red (" in panel.locator(".wva-summary").inner_text()
    assert panel.locator("table, canvas, svg.marks").count() == 0
    open_numbers(panel)
    *parts, total = numbers(tab, "How the score adds up")
    with Index.open(home / "explained", FakeEmbedder()) as index:
        score = index.search(QUERY.replace("+", " "))[0].score
    assert total == pytest.approx(score, abs=6e-4)
    assert sum(parts) == pytest.approx(total, abs=2e-3)
    assert results(tab) == before
    panel.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first.wait_for()
    panel.get_by_role("button", name="Check it").click()
    panel.get_by_text("at least twice as many are needed").wait_for()

    tab.keyboard.press("Escape")
    wait_until(lambda: tab.locator(".st-key-explained-1").count() == 0)


def test_pointing_at_a_word_shows_what_it_met_also_by_keyboard(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    panel = open_why(tab)
    every = shaded(panel)
    word = panel.get_by_role("button", name="red", exact=True)
    lines = panel.locator(".wva-lines path")
    told = panel.locator(".wva-met")
    assert lines.count() == 0

    word.hover()
    wait_until(lambda: shaded(panel) != every)
    assert "red" in shaded(panel)
    assert "red met: red" in told.inner_text()
    assert lines.count() >= 1
    tab.mouse.move(0, 0)
    wait_until(lambda: shaded(panel) == every)

    word.focus()
    wait_until(lambda: lines.count() >= 1)
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert panel.get_by_role("button", name="apples", exact=True).evaluate(
        "e => e === document.activeElement"
    )
    wait_until(lambda: "apples met: Apples" in told.inner_text())
    tab.evaluate("document.activeElement.blur()")
    wait_until(lambda: "red met: red" in told.inner_text())  # chosen: it stays
    assert word.get_attribute("aria-pressed") == "true"


def test_why_above_the_next_one_is_a_sentence(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    panel = open_why(tab)
    panel.get_by_role("button", name="Why above the next one?").click()
    panel.get_by_text("above result 2, most of all").wait_for()
    assert not panel.locator("table").first.is_visible()
    panel.get_by_text("Both side by side").click()
    assert panel.locator("table").first.is_visible()


def test_pointing_at_the_picture_tells_the_pair_and_its_value(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q={QUERY}")
    open_numbers(open_why(tab))
    chart = tab.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first
    chart.wait_for()
    told = tab.locator("#vg-tooltip-element")

    def pointed() -> bool:
        chart.scroll_into_view_if_needed()
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
    tab.locator(".st-key-weigh button").first.click()
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
    tab.locator(".st-key-unweigh-0 button").first.click()
    wait_until(lambda: results(tab)[:1] == ["apples.txt"])
    wait_until(lambda: "weights" not in params(tab))


def test_more_like_a_sentence_is_a_chip_and_in_the_address(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=quinces&mode=dense")
    tab.wait_for_selector(".wva-card")
    before = results(tab)
    at = before.index("pears.txt") + 1
    act_on(tab, at, "open")
    wait_until(lambda: "open" in params(tab))
    settled(tab)
    tab.get_by_role("button", name="More or less like this").click()
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


def test_a_part_of_a_name_finds_the_document_of_why_not(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=apples&k=1")
    tab.wait_for_selector(".wva-card")
    settled(tab)
    tab.locator(".st-key-why-not summary").click()
    box = tab.locator(".st-key-missing input")
    box.wait_for()
    settled(tab)
    option = tab.get_by_role("option", name="quinces.txt")

    def offered() -> bool:
        """A list that is opened while the page is still drawn may close again."""
        if not option.count():
            box.click()
            box.fill("quince")
            tab.wait_for_timeout(300)
        return bool(option.count())

    wait_until(offered)
    assert option.inner_text() == "quinces.txt"  # and no "Add: quince"
    tab.keyboard.press("Enter")
    tab.get_by_text("its best passage has rank").wait_for()
    assert tab.get_by_text("never indexed").count() == 0


def test_what_a_passage_says_is_text_in_its_explanation(tab: Any, address: str) -> None:
    tab.goto(f"{address}&q=quinces")
    panel = open_why(tab)
    shown = tab.locator(".wva-why")
    assert NASTY.replace("**", "") in shown.inner_text()
    assert shown.locator("script, img, b, strong").count() == 0
    open_numbers(panel)
    tab.locator('[data-testid="stVegaLiteChart"]').locator("canvas, svg").first.wait_for()
    assert tab.evaluate("window.owned") is None


def test_two_visitors_weigh_each_their_own(tab: Any, chromium: Any, address: str) -> None:
    with closing(chromium.new_context()) as context:
        other = context.new_page()
        tab.goto(f"{address}&q={QUERY}&weights=-1,-1,1,1")
        other.goto(f"{address}&q={QUERY}")
        wait_until(lambda: results(tab)[:1] == ["pears.txt"])
        wait_until(lambda: results(other)[:1] == ["apples.txt"])
        open_why(other)
        assert tab.locator(".wva-why").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panel_fits_a_narrow_screen(chromium: Any, address: str, scheme: str) -> None:
    size = {"width": 400, "height": 800}
    with closing(chromium.new_context(color_scheme=scheme, viewport=size)) as context:
        narrow = context.new_page()
        narrow.goto(f"{address}&q={QUERY}&weights=1,1,1,2")
        panel = open_why(narrow)
        open_numbers(panel)
        narrow.get_by_text("Compare with another result").wait_for()
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 400
        wide = "e => [...e.querySelectorAll('table')].every(t => t.scrollWidth <= e.clientWidth)"
        assert panel.evaluate(wide)
