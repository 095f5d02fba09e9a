"""In a real Chromium: the start, suggestions while typing, filters, history and saved searches."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from retriever.index import Index
from tests.browser.pages import DOCUMENTS, NASTY, results
from tests.fakes import FakeEmbedder
from tests.servers import wait_until

pytestmark = pytest.mark.browser

NAME = "start"
BOX = ".st-key-q input"


@pytest.fixture(scope="module")
def start(home: Path, home_address: str) -> str:
    """The start of an index of this module."""
    with Index.open_or_create(home / NAME, FakeEmbedder()) as index:
        index.add(DOCUMENTS)
    return f"{home_address}/?index={NAME}"


def params(tab: Any) -> dict[str, list[str]]:
    return parse_qs(tab.evaluate("location.search")[1:])


def idle(tab: Any) -> None:
    tab.wait_for_function("window.wvaSuggestions")  # the script of the suggestions
    tab.locator('[data-test-script-state="notRunning"]').wait_for()


def suggested(tab: Any) -> list[str]:
    return [str(text) for text in tab.locator(".wva-suggestions li bdi").all_inner_texts()]


def test_suggestions_are_chosen_by_keys_and_typing_is_not_disturbed(tab: Any, start: str) -> None:
    tab.goto(start)
    tab.wait_for_function("document.activeElement?.type === 'search'")
    idle(tab)
    box = tab.locator(BOX)
    tab.keyboard.type("gre", delay=30)
    tab.get_by_role("option", name="green").wait_for()
    assert box.input_value() == "gre"
    assert box.get_attribute("role") == "combobox"
    assert box.get_attribute("aria-expanded") == "true"
    tab.keyboard.press("Escape")
    assert not tab.locator(".wva-suggestions").is_visible()
    assert box.get_attribute("aria-expanded") == "false"
    assert box.input_value() == "gre"
    tab.keyboard.type("e", delay=30)
    tab.get_by_role("option", name="green").wait_for()
    tab.keyboard.press("ArrowDown")
    active = box.get_attribute("aria-activedescendant")
    option = tab.locator(f"#{active}")
    assert option.get_attribute("aria-selected") == "true"
    assert option.inner_text().strip() == "green"
    tab.keyboard.press("Enter")
    wait_until(lambda: "pears.txt" in results(tab))
    assert box.input_value() == "green"
    wait_until(lambda: params(tab).get("q") == ["green"])
    assert not tab.locator(".wva-suggestions").is_visible()


def test_a_name_in_a_suggestion_is_text(tab: Any, start: str) -> None:
    tab.goto(start)
    idle(tab)
    tab.locator(BOX).click()
    tab.keyboard.type("script", delay=30)
    tab.locator(".wva-suggestions li").first.wait_for()
    assert any("window.owned" in text for text in suggested(tab))
    assert tab.evaluate("window.owned") is None
    assert tab.locator(".wva-suggestions script").count() == 0


def test_leaving_the_box_does_not_search_what_is_half_typed(tab: Any, start: str) -> None:
    tab.goto(f"{start}&q=turnip&mode=keyword")
    wait_until(lambda: results(tab) == [NASTY])
    box = tab.locator(BOX)
    box.fill("pea")
    tab.get_by_role("button", name="Help").click()
    tab.get_by_text("these words side by side").wait_for()
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Format").click()
    tab.locator(".st-key-menu-format").wait_for()
    tab.get_by_text("markdown · 1").click()
    tab.get_by_role("button", name="markdown", exact=True).wait_for()
    idle(tab)
    assert params(tab)["q"] == ["turnip"]
    assert results(tab) == [NASTY]
    assert box.input_value() == "pea", "what is typed stays"
    tab.get_by_role("button", name="Search", exact=True).click()
    wait_until(lambda: params(tab)["q"] == ["pea"])


def test_a_filter_s_menu_does_not_move_and_its_chip_removes_it(tab: Any, start: str) -> None:
    tab.goto(f"{start}&q=apples+pears+turnip&mode=keyword")
    wait_until(lambda: len(results(tab)) == 3)
    menu = tab.get_by_role("button", name="Format")
    before = menu.bounding_box()
    menu.click()
    tab.get_by_text("txt · 1").click()
    wait_until(lambda: results(tab) == ["pears.txt"])
    assert menu.bounding_box() == before
    assert tab.get_by_text("pdf · 1").is_visible(), "the menu stays open, with its counts"
    tab.keyboard.press("Escape")
    wait_until(lambda: params(tab).get("format") == ["txt"])
    tab.locator(".st-key-chips-row").get_by_role("button", name="txt").click()
    wait_until(lambda: len(results(tab)) == 3)
    assert "format" not in params(tab)


def test_searches_made_and_saved_are_there_for_the_next_visit(
    tab: Any, chromium: Any, start: str
) -> None:
    tab.goto(f"{start}&q=turnip&mode=keyword&format=markdown")
    wait_until(lambda: results(tab) == [NASTY])
    tab.get_by_role("button", name="Save", exact=True).click()
    tab.get_by_role("button", name="Saved", exact=True).wait_for()
    tab.goto(f"{start}&q=pears&mode=keyword")
    wait_until(lambda: results(tab) == ["pears.txt"])
    with closing(chromium.new_context()) as context:
        other = context.new_page()
        other.goto(start)
        saved = other.locator(".st-key-home-saved")
        saved.get_by_role("button", name="turnip").first.wait_for()
        assert "Keywords only · markdown · start" in saved.inner_text()
        recent = other.locator(".st-key-home-recent")
        assert recent.get_by_role("button", name="pears").count() >= 1
        saved.get_by_role("button", name="turnip").first.click()
        wait_until(lambda: results(other) == [NASTY])
        wait_until(lambda: params(other).get("format") == ["markdown"])
        other.get_by_role("button", name="Saved", exact=True).click()
        other.get_by_role("button", name="Save", exact=True).wait_for()
        other.goto(start)
        other.locator(".st-key-home-recent").wait_for()
        assert other.locator(".st-key-home-saved").count() == 0


def test_an_example_of_the_start_searches(tab: Any, start: str) -> None:
    tab.goto(start)
    tab.get_by_role("heading", name="Finds the passage in your own documents.").wait_for()
    tab.get_by_role("button", name=f"{NAME} · 3 documents").wait_for()
    assert tab.get_by_role("link", name="Add documents").is_visible()
    examples = tab.locator(".st-key-examples button")
    if examples.count():
        text = examples.first.inner_text()
        examples.first.click()
        wait_until(lambda: tab.locator(BOX).input_value() in text and bool(results(tab)))
