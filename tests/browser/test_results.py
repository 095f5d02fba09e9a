"""The list of results and the opened one in a real Chromium: by mouse, by keys, on every size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import act_on, results
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page
from tests.servers import ROOT, page_server, wait_until

pytestmark = pytest.mark.browser

HILLS = ["A hill of number one is green."] + [
    f"Filler of page {at}, which tells of valleys and of nothing else." for at in range(2, 12)
]


@pytest.fixture(scope="module")
def address(home: Path, home_address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with files of several hits, and many documents."""
    files = tmp_path_factory.mktemp("hills") / "files"
    files.mkdir()
    lines = [*HILLS, "The last hill is blue, and a hill it stays."]
    (files / "hills.pdf").write_bytes(pdf_file([text_page(line) for line in lines]))
    with Index.open_or_create(home / "hills", FakeEmbedder()) as index:
        index.sync(files)
        index.add(
            Document(f"walks/{at:02}.txt", "txt", (Page(None, f"Walk {at} goes up a hill. " * 9),))
            for at in range(12)
        )
    return f"{home_address}/?index=hills&q=hill&mode=keyword&k=20"


def params(tab: Any) -> dict[str, list[str]]:
    return parse_qs(tab.evaluate("location.search")[1:])


def current(tab: Any) -> str | None:
    """The rank of the opened result, as the list shows it."""
    found = tab.locator('.wva-hit[aria-current="true"]')
    return found.first.get_attribute("data-rank") if found.count() else None


def place_of(tab: Any, name: str) -> int:
    return results(tab).index(name)


def ranks_in(tab: Any, name: str) -> list[str]:
    """The ranks of the hits in a document."""
    card = tab.locator(".wva-card").nth(place_of(tab, name))
    ranks: list[str] = card.locator(".wva-hit").evaluate_all("all => all.map(e => e.dataset.rank)")
    return ranks


def test_a_document_is_one_card_and_its_hits_are_walked_in_the_pane(tab: Any, address: str) -> None:
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.goto(address)
    wait_until(lambda: "hills.pdf" in results(tab))
    first, second = ranks_in(tab, "hills.pdf")
    act_on(tab, int(first), "open")
    picture = tab.locator(".wva-paper img")
    picture.wait_for()
    one = picture.get_attribute("alt")
    assert current(tab) == first
    assert tab.locator(".wva-card").first.is_visible(), "the list stays beside it"
    tab.get_by_role("button", name="Next hit in this document").click()
    wait_until(lambda: picture.get_attribute("alt") != one)
    wait_until(lambda: current(tab) == second)
    assert {one, picture.get_attribute("alt")} == {
        "page 1 of hills.pdf", "page 12 of hills.pdf",
    }  # fmt: skip
    tab.go_back()
    wait_until(lambda: picture.get_attribute("alt") == one)


def test_the_place_in_the_list_is_kept_on_a_narrow_window(chromium: Any, address: str) -> None:
    with closing(chromium.new_context(viewport={"width": 800, "height": 600})) as context:
        tab = context.new_page()
        tab.goto(address)
        wait_until(lambda: len(results(tab)) > 10)
        assert not tab.locator(".st-key-pane").is_visible()
        hit = tab.locator(".wva-hit").nth(11)
        hit.scroll_into_view_if_needed()
        rank = hit.get_attribute("data-rank")
        act_on(tab, int(rank), "open")
        tab.locator(".st-key-pane h2").wait_for()
        wait_until(lambda: not tab.locator(".wva-card").first.is_visible())
        tab.keyboard.press("Escape")
        hit.wait_for(state="visible")
        wait_until(lambda: 0 <= (hit.bounding_box() or {"y": -1})["y"] <= 600)
        wait_until(lambda: tab.evaluate("document.activeElement.dataset.rank") == rank)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 800


def test_a_passage_is_read_in_place_and_copied_with_its_source(chromium: Any, address: str) -> None:
    with closing(chromium.new_context()) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab = context.new_page()
        tab.goto(address)
        tab.wait_for_selector(".wva-hit")
        hit = tab.locator(".wva-hit").first
        assert not hit.locator(".wva-whole").is_visible()
        act_on(tab, 1, "longer")
        assert hit.locator(".wva-whole").is_visible()
        assert not hit.locator(".wva-text").is_visible()
        assert hit.locator(".wva-longer").get_attribute("aria-expanded") == "true"
        act_on(tab, 1, "copy")
        tab.get_by_text("Copied, with its source.").wait_for()
        copied = tab.evaluate("navigator.clipboard.readText()")
        name = results(tab)[0]
        assert copied.startswith("“")
        assert name in copied.splitlines()[-1]


def test_without_a_mouse_a_result_is_found_opened_explained_and_left(
    tab: Any, address: str
) -> None:
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.goto(address.partition("&q=")[0])
    tab.wait_for_function("document.activeElement?.type === 'search'")
    tab.keyboard.type("hill")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".wva-hit")
    tab.keyboard.press("Escape")  # leaves the box
    tab.keyboard.press("j")
    assert tab.evaluate("document.activeElement.dataset.rank") == "1"
    second = tab.locator(".wva-hit").nth(1).get_attribute("data-rank")
    tab.keyboard.press("Enter")
    wait_until(lambda: "open" in params(tab))
    wait_until(lambda: tab.evaluate("document.activeElement.tagName") == "H2")
    opened = params(tab)["open"]
    tab.keyboard.press("j")
    wait_until(lambda: params(tab)["open"] != opened)
    wait_until(lambda: current(tab) == second)
    tab.keyboard.press("w")
    wait_until(lambda: params(tab).get("view") == ["why"])
    tab.locator(".st-key-pane").get_by_text("score").first.wait_for()
    tab.keyboard.press("Escape")
    wait_until(lambda: "open" not in params(tab))
    wait_until(lambda: tab.locator(".wva-opened").count() == 0)
    wait_until(lambda: tab.evaluate("document.activeElement.dataset.rank") == second)


def test_arrow_keys_turn_pages(tab: Any, address: str) -> None:
    tab.goto(address)
    wait_until(lambda: "hills.pdf" in results(tab))
    act_on(tab, int(ranks_in(tab, "hills.pdf")[0]), "open")
    picture = tab.locator(".wva-paper img")
    picture.wait_for()
    before = picture.get_attribute("alt")
    forth, back = ("ArrowRight", "ArrowLeft") if before.startswith("page 1 ") else (
        "ArrowLeft", "ArrowRight",
    )  # fmt: skip
    tab.keyboard.press(forth)
    wait_until(
        lambda: picture.get_attribute("alt") in ("page 2 of hills.pdf", "page 11 of hills.pdf")
    )
    tab.keyboard.press(back)
    wait_until(lambda: picture.get_attribute("alt") == before)


def test_results_are_announced_and_every_one_has_a_heading(tab: Any, address: str) -> None:
    tab.goto(address)
    tab.wait_for_selector(".wva-hit")
    wait_until(lambda: "passages in" in tab.locator(".wva-status").inner_text())
    headings = tab.get_by_role("heading", level=3).all_inner_texts()
    assert headings[: len(results(tab))] == results(tab)
    names = tab.locator(".wva-hit:visible .wva-open").evaluate_all(
        "all => all.map(one => one.ariaLabel)"
    )
    assert len(names) == len(set(names)) > 10


def test_passages_one_by_one_and_the_link_says_so(tab: Any, address: str) -> None:
    tab.goto(address)
    wait_until(lambda: "hills.pdf" in results(tab))
    tab.get_by_role("button", name="Arrange").click()
    tab.get_by_text("a passage", exact=True).click()
    wait_until(lambda: results(tab).count("hills.pdf") == 2)
    wait_until(lambda: params(tab).get("by") == ["passages"])
    tab.reload()
    wait_until(lambda: results(tab).count("hills.pdf") == 2)


def test_the_tab_is_called_by_the_query(tab: Any, address: str) -> None:
    tab.goto(address)
    wait_until(lambda: tab.title() == "hill · Search")


@pytest.fixture
def slow(tmp_path: Path, chromium: Any) -> Iterator[tuple[str, Path]]:
    """The page of an index whose model is loaded when the file is made."""
    with Index.open_or_create(tmp_path / "slow", FakeEmbedder()) as index:
        index.add([Document("plum.txt", "txt", (Page(None, "A plum tree."),))])
    with page_server(tmp_path / "slow", app=ROOT / "tests" / "apps" / "slow.py") as port:
        yield f"http://127.0.0.1:{port}", tmp_path / "loaded"


def test_words_are_found_while_the_model_is_loaded(tab: Any, slow: tuple[str, Path]) -> None:
    address, loaded = slow
    tab.goto(f"{address}/?q=plum")
    wait_until(lambda: results(tab) == ["plum.txt"])
    assert "meaning" not in tab.locator(".wva-strength").first.get_attribute("title")
    tab.get_by_text("Found by words so far").wait_for()
    loaded.touch()
    wait_until(lambda: tab.get_by_text("Found by words so far").count() == 0)
    wait_until(lambda: "meaning" in tab.locator(".wva-strength").first.get_attribute("title"))


def test_a_stopped_server_is_told_in_words_that_help(tab: Any, tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "notes", FakeEmbedder()) as index:
        index.add([Document("plum.txt", "txt", (Page(None, "A plum tree."),))])
    with page_server(tmp_path / "notes") as port:
        tab.goto(f"http://127.0.0.1:{port}/?q=plum")
        tab.wait_for_selector(".wva-hit")
        tab.wait_for_function("window.wvaConnection")  # the last that a page loads
    # Streamlit asks several times, each time after a longer pause, before it says so.
    tab.get_by_text("Start it again with the command wva ui").wait_for(timeout=45_000)
    assert tab.get_by_text("internet").count() == 0


MARKUP = (
    '<related-observation observation-uuid="0aa5c1c2-11d2-4b3f-8f0e-6a1d2c3b4e5f"/>\n\n'
    '<risk uuid="5e1a7c9e-2b7d-4d0e-9a55-0c1b2d3e4f5a"><status>open</status></risk>\n\n'
    "A risk exception is approved by the owner of the system and kept for a year.\n\n"
    '<origin><actor type="tool" actor-uuid="77a0c1c2-11d2-4b3f-8f0e-6a1d2c3b4e5f"/></origin>\n'
)


def test_a_word_that_is_there_is_never_doubted_and_its_readable_line_is_shown(
    tab: Any, home: Path, home_address: str
) -> None:
    with Index.open_or_create(home / "markup", FakeEmbedder()) as index:
        index.add([Document("risks.txt", "txt", (Page(None, MARKUP),))])
    said = tab.locator(".wva-verdict")
    tab.goto(f"{home_address}/?index=markup&q=exception&mode=keyword")
    snippet = tab.locator(".wva-hit .wva-text").first
    snippet.wait_for()
    assert "A risk exception is approved by the owner" in snippet.inner_text()
    assert "uuid" not in snippet.inner_text()
    assert said.count() == 0
