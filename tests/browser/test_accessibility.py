"""The rules of axe-core on every view, light and dark, and what they do not see: sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import act_on
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page
from tests.servers import wait_until

pytestmark = pytest.mark.browser

STREAMLIT_OWN = {
    # Its file uploader is a button inside of a section with a role of its own.
    ("presentation-role-conflict", "stFileUploader"),
}


@pytest.fixture(scope="module")
def address(home: Path, home_address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page with `{view}` for a page's path; its index has a PDF and texts."""
    files = tmp_path_factory.mktemp("axe") / "files"
    files.mkdir()
    (files / "hills.pdf").write_bytes(
        pdf_file([text_page("A hill is green."), text_page("Another hill is blue.")])
    )
    with Index.open_or_create(home / "axe", FakeEmbedder()) as index:
        index.sync(files)
        index.add(
            Document(f"walks/{at}.txt", "txt", (Page(None, f"Walk {at} goes up a hill."),))
            for at in range(5)
        )
    return f"{home_address}/{{view}}?index=axe"


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Callable[[str], Any]]:
    """A function that opens an address in a tab with a colour scheme."""
    context = chromium.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(15_000)
    with closing(context):
        tab = context.new_page()

        def opened(address: str) -> Any:
            tab.goto("about:blank")
            tab.goto(address)
            return tab

        yield opened


def violations(tab: Any) -> list[str]:
    """What axe finds once the page stands still, without what Streamlit alone could change."""
    tab.locator('[data-test-script-state="notRunning"]').wait_for()
    # Elements fade while a run goes on; their contrast is that of the finished page.
    wait_until(lambda: not tab.evaluate("document.querySelectorAll('[data-stale=true]').length"))
    tab.wait_for_timeout(300)
    found = Axe().run(tab).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for rule in found
        for node in rule["nodes"]
        if not any(rule["id"] == name and part in str(node) for name, part in STREAMLIT_OWN)
    ]


def results_shown(tab: Any) -> None:
    tab.wait_for_selector(".wva-hit")
    wait_until(lambda: tab.locator(".wva-waiting").count() == 0)


def document_opened(tab: Any) -> None:
    results_shown(tab)
    card = tab.locator(".wva-card").filter(has_text="hills.pdf")
    act_on(tab, int(card.locator(".wva-hit").first.get_attribute("data-rank")), "open")
    tab.locator(".wva-paper img").wait_for()


def explained(tab: Any) -> None:
    results_shown(tab)
    act_on(tab, 1, "why")
    tab.locator(".st-key-pane .wva-why").first.wait_for()


VIEWS: dict[str, tuple[str, str, Callable[[Any], None]]] = {
    "home": ("", "", lambda tab: tab.locator(".st-key-q input").first.wait_for()),
    "results": ("", "&q=hill", results_shown),
    "nothing": ("", "&q=qqqxyzzy&mode=keyword", lambda tab: tab.locator(".wva-nothing").wait_for()),
    "document": ("", "&q=hill", document_opened),
    "explained": ("", "&q=hill", explained),
    "about": ("about", "", lambda tab: tab.locator('[data-testid="stVegaLiteChart"]').wait_for()),
    "collections": ("collections", "", lambda tab: tab.get_by_role("heading", level=1).wait_for()),
}


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(visit: Callable[[str], Any], address: str, view: str) -> None:
    path, asked, shown = VIEWS[view]
    tab = visit(address.format(view=path) + asked)
    shown(tab)
    assert violations(tab) == []


@pytest.mark.parametrize("width", [400, 640, 2560])
def test_nothing_is_cut_off_or_lost_on_any_width(chromium: Any, address: str, width: int) -> None:
    """640 pixels are 1,280 at 200 %."""
    with closing(chromium.new_context(viewport={"width": width, "height": 800})) as context:
        tab = context.new_page()
        tab.goto(address.format(view="") + "&q=hill")
        results_shown(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        text = tab.locator(".wva-hit .wva-text").first.bounding_box()
        assert text["x"] >= 0
        assert text["x"] + text["width"] <= width
        assert text["width"] >= min(0.7 * width, 400)
        assert text["width"] <= 1000
