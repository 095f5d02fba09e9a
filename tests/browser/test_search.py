"""The page in a real Chromium: what is seen, typed and clicked, and that no text acts on it."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import DOCUMENTS, NASTY, TEXT, act_on, results
from tests.fakes import FakeEmbedder
from tests.servers import wait_until

pytestmark = pytest.mark.browser


def params(tab: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.url).query)


def test_typing_and_enter_find_marked_passages_and_the_link_restores_them(
    tab: Any, address: str
) -> None:
    tab.goto(address)
    tab.wait_for_function("document.activeElement?.type === 'search'")
    tab.keyboard.type("red apple")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".wva-card mark")
    assert results(tab)[0] == "apples.pdf"
    first = tab.locator(".wva-card").first
    assert first.locator(".wva-text mark").all_inner_texts() == ["Apples", "red"]
    assert "page 2" in first.inner_text()

    tab.get_by_role("button", name="More", exact=True).click()
    tab.get_by_text("Keywords", exact=True).first.click()
    wait_until(lambda: results(tab) == ["apples.pdf"])
    wait_until(lambda: params(tab).get("mode") == ["keyword"])
    assert params(tab)["q"] == ["red apple"]
    tab.reload()
    tab.wait_for_selector(".wva-card mark")
    assert results(tab) == ["apples.pdf"]
    assert tab.locator(".st-key-q input").input_value() == "red apple"


def test_back_and_forward_go_through_the_searches(tab: Any, address: str) -> None:
    tab.goto("about:blank")
    tab.goto(f"{address}/?mode=keyword&files=true&k=new")
    for query, file in (("turnip", NASTY), ("pears", "pears.txt")):
        tab.locator(".st-key-q input").fill(query)
        tab.keyboard.press("Enter")
        wait_until(lambda file=file: results(tab) == [file])
    tab.go_back()
    wait_until(lambda: results(tab) == [NASTY])
    assert tab.locator(".st-key-q input").input_value() == "turnip"
    tab.go_forward()
    wait_until(lambda: results(tab) == ["pears.txt"])
    for _ in range(3):
        tab.go_back()
    wait_until(lambda: tab.url == "about:blank")


def test_a_filter_narrows_and_stays_open_while_it_is_set(tab: Any, address: str) -> None:
    tab.goto(f"{address}/?q=apples+pears+turnip&mode=keyword")
    wait_until(lambda: len(results(tab)) == 3)
    tab.get_by_role("button", name="More", exact=True).click()
    tab.locator("[class*=st-key-path-] input").fill("fruit")
    tab.keyboard.press("Enter")
    wait_until(lambda: sorted(results(tab)) == ["apples.pdf", "pears.txt"])
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Pages").click()
    tab.locator("[class*=st-key-first_page-] input").fill("2")
    tab.keyboard.press("Enter")
    wait_until(lambda: results(tab) == ["apples.pdf"])
    wait_until(lambda: params(tab).get("first") == ["2"])
    assert params(tab)["path"] == ["fruit"]


def test_what_a_document_says_is_text(tab: Any, address: str) -> None:
    tab.goto(f"{address}/?q=turnip&mode=keyword")
    tab.wait_for_selector(".wva-card mark")
    assert results(tab) == [NASTY]
    act_on(tab, 1, "longer")
    shown = tab.locator(".wva-card").inner_text()
    assert TEXT in shown
    assert "<b onclick='window.owned=1'>*t*</b>" in shown
    tab.get_by_text("<b onclick").last.click()
    assert tab.evaluate("window.owned") is None
    assert tab.locator(".wva-card").locator("script, img, b, em, code").count() == 0
    assert tab.locator(".wva-card a").all_inner_texts() == ["open"]


def test_typing_goes_on_while_the_index_grows(tab: Any, folder: Path, address: str) -> None:
    tab.goto(f"{address}/?q=plum&mode=keyword")
    tab.get_by_text("Nothing found.").wait_for()
    box = tab.locator(".st-key-q input")
    box.fill("plum tr")
    with Index.open(folder / "notes", FakeEmbedder()) as index:
        index.add([Document("plum.txt", "txt", (Page(None, "A plum tree."),))])
        again = tab.get_by_role("button", name="Search again")
        again.wait_for()
        assert box.input_value() == "plum tr"
        assert results(tab) == []
        box.fill("plum")
        again.click()
        wait_until(lambda: results(tab) == ["plum.txt"])
        index.remove(["plum.txt"])


def test_an_empty_index_says_which_command_fills_it(tab: Any, folder: Path, address: str) -> None:
    tab.goto(f"{address}/?index=void")
    tab.get_by_text("This index is empty.").wait_for()
    assert f"wva index FOLDER --index {folder / 'void'}" in tab.locator("code").inner_text()


def test_a_broken_index_is_a_sentence_not_a_traceback(tab: Any, folder: Path, address: str) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "catalog.sqlite").write_bytes(b"not a database" * 500)
    try:
        tab.goto(f"{address}/?index=broken")
        tab.locator('[data-testid="stAlert"]').wait_for()
        said = tab.locator("body").inner_text()
        assert "broken" in said
        assert "Traceback" not in said
    finally:
        shutil.rmtree(folder / "broken")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(chromium: Any, address: str, scheme: str) -> None:
    """Marked words keep a contrast of at least 4.5 to 1 (WCAG AA), measured on the pixels."""
    with closing(
        chromium.new_context(color_scheme=scheme, viewport={"width": 400, "height": 800})
    ) as c:
        tab = c.new_page()
        tab.goto(f"{address}/?q=turnip&mode=keyword")
        tab.wait_for_selector(".wva-card mark")
        ink, paper, page = tab.evaluate(
            """() => { const mark = document.querySelector(".wva-card mark"),
              app = document.querySelector(".stApp"), of = (e, p) => getComputedStyle(e)[p];
              return [of(mark, "color"), of(mark, "backgroundColor"),
                      of(app, "backgroundColor")]; }"""
        )
        width = tab.evaluate("document.documentElement.scrollWidth")
    assert contrast(colour(ink), blend(colour(paper), colour(page))) >= 4.5
    assert (luminance(colour(page)) < 0.2) == (scheme == "dark")
    assert width <= 400


def colour(css: str) -> list[float]:
    """Red, green, blue (0 to 255) and opacity of `rgb(…)` or `rgba(…)`."""
    numbers = [float(part) for part in css[css.index("(") + 1 : -1].split(",")]
    return numbers if len(numbers) == 4 else [*numbers, 1.0]


def blend(above: list[float], below: list[float]) -> list[float]:
    mixed = [a * above[3] + b * (1 - above[3]) for a, b in zip(above[:3], below[:3], strict=True)]
    return [*mixed, 1.0]


def luminance(rgb: list[float]) -> float:
    parts = [value / 255 for value in rgb[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[float], other: list[float]) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_a_search_is_still_there_after_a_look_at_the_collections(tab: Any, address: str) -> None:
    tab.goto("about:blank")
    with tab.expect_websocket() as connection:
        tab.goto(f"{address}/?q=turnip&mode=keyword")
    wait_until(lambda: results(tab) == [NASTY])
    tab.get_by_role("link", name="Collections").click()
    tab.get_by_role("heading", name="Collections").wait_for()
    tab.get_by_role("link", name="Search").click()
    wait_until(lambda: results(tab) == [NASTY])
    assert tab.locator(".st-key-q input").input_value() == "turnip"
    wait_until(lambda: params(tab).get("q") == ["turnip"])
    answers: list[bytes] = []

    def keep(frame: bytes) -> None:  # Playwright refuses a built-in function
        answers.append(frame)

    connection.value.on("framereceived", keep)
    steps = 0
    while address_of(tab) != "about:blank":  # the way back is open, and short
        assert steps < MOST_STEPS, f"still at {tab.url} after {steps} steps back"
        back(tab, answers)
        steps += 1


MOST_STEPS = 8
"""Four, and some for steps that Streamlit takes for new ones."""


def back(tab: Any, answers: list[bytes]) -> None:
    """A step back, until its page is drawn.

    Streamlit takes the answer to a step for a new one when the next is taken before it comes.
    """
    before = len(answers)
    tab.go_back()
    wait_until(
        lambda: address_of(tab) == "about:blank" or any(map(names_the_page, answers[before:]))
    )
    tab.locator('[data-test-script-state="running"]').wait_for(state="detached")


def address_of(tab: Any) -> str:
    """Asked of the page: `tab.url` stays as it is while nothing else is asked."""
    return str(tab.evaluate("location.href"))


def names_the_page(frame: bytes) -> bool:
    return bool(ForwardMsg.FromString(frame).HasField("navigation"))


def collections(tab: Any, address: str, name: str) -> None:
    """Go to the page of the collections, with one of them chosen."""
    tab.goto(f"{address}/collections?index={name}")
    tab.locator(".wva-title").get_by_text(name, exact=True).wait_for()


@pytest.mark.timeout(180)
def test_an_uploaded_file_is_found_and_a_removed_one_is_not(
    tab: Any, folder: Path, address: str
) -> None:
    collections(tab, address, "notes")
    tab.get_by_role("button", name="New collection").click()
    tab.locator(".st-key-new-name input").fill("Field trip")
    tab.get_by_role("button", name="Create").click()
    tab.locator(".wva-title").get_by_text("Field trip").wait_for()
    assert (folder / "Field trip" / "catalog.sqlite").is_file()

    files = [
        {"name": "fig <b>.txt", "mimeType": "text/plain", "buffer": b"A fig tree grows here."},
        {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"x"},
    ]
    # Files given to an uploader that is drawn once more are lost.
    tab.locator('[data-test-script-state="notRunning"]').wait_for()
    tab.locator("input[type=file]").set_input_files(files)
    # Uploaded and indexed without another click, but for what nobody reads.
    tab.get_by_text("“film.mp4” is of no format that is read").wait_for()
    tab.get_by_text("Done: 1 file").wait_for(timeout=60_000)
    assert (folder / "Field trip" / "uploads" / "fig _b_.txt").is_file()

    tab.get_by_role("link", name="Search").click()
    tab.locator(".st-key-q input").fill("fig tree")
    tab.keyboard.press("Enter")
    wait_until(lambda: results(tab) == ["fig _b_.txt"])

    tab.get_by_role("link", name="Collections").click()
    table = tab.locator('[data-testid="stDataFrame"]')
    table.wait_for()
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    tab.mouse.click(box["x"] + 15, box["y"] + 52)  # the mark of the first row: it is a canvas
    tab.get_by_role("button", name="Remove 1 file").click()
    tab.get_by_role("dialog").get_by_role("button", name="Remove").click()
    tab.get_by_text("There is no file in this collection yet.").wait_for()
    tab.get_by_text("1 file removed.").wait_for()
    tab.get_by_role("link", name="Search").click()
    tab.get_by_text("This index is empty.").wait_for()
    assert list((folder / "Field trip" / "uploads").iterdir()) == []

    tab.get_by_role("link", name="Collections").click()
    tab.get_by_role("button", name="Change Field trip").click()
    tab.get_by_text("Delete", exact=True).click()
    dialog = tab.get_by_role("dialog")
    dialog.locator("input").fill("field")
    dialog.get_by_role("button", name="Delete for good").click()
    dialog.get_by_text("That is not its name").wait_for()
    dialog.locator("input").fill("Field trip")
    dialog.locator("input").press("Enter")
    wait_until(lambda: not (folder / "Field trip").exists())
    wait_until(lambda: tab.locator(".wva-title").get_by_text("Field trip").count() == 0)


def test_two_visitors_at_once_see_each_their_own(
    tab: Any, chromium: Any, folder: Path, address: str
) -> None:
    with closing(chromium.new_context()) as context:
        other = context.new_page()
        tab.goto(f"{address}/?q=apples&mode=keyword&index=notes")
        other.goto(f"{address}/?q=turnip&mode=keyword&index=notes")
        wait_until(lambda: results(tab) == ["apples.pdf"])
        wait_until(lambda: results(other) == [NASTY])
        other.get_by_role("link", name="Collections").click()
        other.get_by_role("button", name="Choose void", exact=True).click()
        other.locator(".wva-title").get_by_text("void").wait_for()
        tab.locator(".st-key-q input").fill("pears")
        tab.keyboard.press("Enter")
        wait_until(lambda: results(tab) == ["pears.txt"])
        other.get_by_role("link", name="Search").click()
        other.get_by_text("This index is empty.").wait_for()
        assert results(tab) == ["pears.txt"]


def test_the_address_keeps_the_collection(tab: Any, address: str) -> None:
    collections(tab, address, "notes")
    tab.get_by_role("button", name="Choose void", exact=True).click()
    tab.locator(".wva-title").get_by_text("void", exact=True).wait_for()
    wait_until(lambda: params(tab).get("index") == ["void"])
    tab.reload()
    tab.locator(".wva-title").get_by_text("void", exact=True).wait_for()
    tab.get_by_role("link", name="About").click()
    tab.get_by_text("There is nothing in this collection yet.").wait_for()
    wait_until(lambda: params(tab).get("index") == ["void"])
    tab.reload()
    tab.get_by_text("There is nothing in this collection yet.").wait_for()


def test_a_folder_that_is_not_there_is_a_sentence(tab: Any, address: str) -> None:
    collections(tab, address, "void")
    tab.locator(".st-key-folder input").first.fill("/no/such/folder")
    tab.get_by_role("button", name="Add and index").click()
    tab.get_by_text("There is no file or folder '/no/such/folder'").wait_for()


def test_filters_show_counts_and_the_link_keeps_them(tab: Any, address: str) -> None:
    tab.goto(f"{address}/?q=apples+pears+turnip&mode=keyword&index=notes")
    wait_until(lambda: len(results(tab)) == 3)
    tab.get_by_role("button", name="Folder").click()
    tab.get_by_text("fruit · 2").click()
    wait_until(lambda: sorted(results(tab)) == ["apples.pdf", "pears.txt"])
    wait_until(lambda: params(tab).get("folder") == ["/fruit"])
    tab.reload()
    wait_until(lambda: sorted(results(tab)) == ["apples.pdf", "pears.txt"])


def test_results_are_taken_along_and_searches_come_back(tab: Any, address: str) -> None:
    tab.goto(f"{address}/?q=turnip&mode=keyword&index=notes")
    wait_until(lambda: results(tab) == [NASTY])
    tab.get_by_role("button", name="Export").click()
    with tab.expect_download() as taken:
        tab.get_by_role("button", name="JSON").click()
    found = json.loads(Path(taken.value.path()).read_text("utf-8"))
    assert taken.value.suggested_filename == "turnip.json"
    assert [one["text"] for one in found["hits"]] == [TEXT]
    tab.keyboard.press("Escape")
    tab.locator(".st-key-q input").fill("red apples")
    tab.keyboard.press("Enter")
    wait_until(lambda: results(tab) == ["apples.pdf"])
    tab.get_by_role("button", name="History").click()
    tab.get_by_role("button", name="turnip —").first.click()
    wait_until(lambda: results(tab) == [NASTY])
    wait_until(lambda: params(tab)["q"] == ["turnip"])


def test_keys_go_through_the_results(tab: Any, address: str) -> None:
    tab.goto(f"{address}/?q=apples+pears+turnip&mode=keyword&index=notes")
    wait_until(lambda: len(results(tab)) == 3)
    tab.keyboard.press("Escape")  # out of the search box
    tab.evaluate("document.activeElement.blur()")
    at = "document.activeElement.dataset.rank"
    for key, rank in (("j", "1"), ("j", "2"), ("k", "1"), ("k", "1"), ("j", "2")):
        tab.keyboard.press(key)
        assert tab.evaluate(at) == rank
    tab.keyboard.press("/")
    tab.wait_for_function("document.activeElement?.type === 'search'")
    tab.keyboard.type("jk")
    assert tab.locator(".st-key-q input").input_value() == "jk"


def test_a_point_of_the_map_shows_its_passage(tab: Any, address: str) -> None:
    tab.goto(f"{address}/about?index=notes")
    chart = tab.locator(
        '[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg'
    )
    chart.first.wait_for()
    tab.wait_for_timeout(500)  # it is drawn once more when its width is known
    box = chart.first.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 150)
    clicked = tab.locator(".wva-clicked")
    clicked.wait_for()
    texts = [" ".join(page.text.split()) for one in DOCUMENTS for page in one.pages]
    assert any(
        " ".join(clicked.locator(".wva-text").inner_text().split()) in text for text in texts
    )
    tab.get_by_text("Every page has text.").wait_for()


@pytest.mark.timeout(120)
def test_a_folder_is_added_searched_and_removed(
    tab: Any, folder: Path, address: str, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"plum{number}.txt").write_text(f"Plum number {number}.")
    collections(tab, address, "void")
    tab.locator(".st-key-folder input").first.fill(str(tmp_path))
    tab.get_by_role("button", name="Add and index").click()
    tab.get_by_text("Done: 3 files").wait_for(timeout=60_000)
    tab.get_by_role("link", name="Search").click()
    tab.locator(".st-key-q input").fill("plum")
    tab.keyboard.press("Enter")
    wait_until(lambda: sorted(results(tab)) == ["plum0.txt", "plum1.txt", "plum2.txt"])
    tab.get_by_role("link", name="Collections").click()
    tab.get_by_role("button", name="Remove folder").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text("until you add the folder again").wait_for()
    dialog.get_by_role("button", name="Remove").click()
    tab.get_by_text("There is no file in this collection yet.").wait_for()
    tab.get_by_text("3 files removed.").wait_for()
    assert len(list(tmp_path.iterdir())) == 3, "the files themselves stay"
