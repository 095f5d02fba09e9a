"""The page Collections in a real Chromium: ticks, uploads, what needs attention, undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.collections import create_collection, store_upload, uploads_folder
from tests.fakes import FakeEmbedder
from tests.servers import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def make(home: Path) -> Callable[..., Path]:
    """Makes a collection of uploaded files, by name and content."""

    def make(name: str, files: dict[str, bytes]) -> Path:
        folder = create_collection(home, name)
        for file, data in files.items():
            store_upload(folder, file, data)
        with Index.open(folder, FakeEmbedder()) as index:
            index.sync(uploads_folder(folder))
        return folder

    return make


def visit(tab: Any, address: str, name: str) -> None:
    tab.goto(f"{address}/collections?index={name}")
    tab.locator(".wva-title").get_by_text(name, exact=True).wait_for()
    settle(tab)


def settle(tab: Any) -> None:
    tab.locator('[data-test-script-state="notRunning"]').wait_for()


def tick(tab: Any, row: int) -> None:
    """Tick a row of the table, which is a canvas."""
    table = tab.locator('[data-testid="stDataFrame"]')
    table.wait_for()
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    tab.mouse.click(box["x"] + 15, box["y"] + 52 + 35 * row)


FRUIT = {f"{name}.txt": f"A {name} tree.".encode() for name in ("apple", "fig", "pear")}


@pytest.mark.timeout(90)
def test_nothing_is_ticked_that_nobody_ticked(
    tab: Any, home_address: str, make: Callable[..., Path]
) -> None:
    folder = make("ticks", FRUIT)
    visit(tab, home_address, "ticks")
    tick(tab, 1)
    tab.get_by_role("button", name="Remove 1 file").click()
    dialog = tab.get_by_role("dialog")
    assert "fig.txt" in dialog.inner_text()
    dialog.get_by_role("button", name="Remove").click()
    dialog.wait_for(state="detached")
    tab.get_by_text("2 files", exact=True).first.wait_for()
    settle(tab)
    # The file that has moved up is not ticked: there is nothing to remove.
    assert tab.get_by_role("button", name="Remove", exact=True).is_disabled()

    # A filter that brings another file into the row of the ticked one: same.
    tick(tab, 0)
    tab.get_by_role("button", name="Remove 1 file").wait_for()
    tab.locator(".st-key-ledger-words input").fill("pear")
    tab.keyboard.press("Enter")
    tab.get_by_text("1 of 2 files", exact=True).wait_for()
    settle(tab)
    assert tab.get_by_role("button", name="Remove", exact=True).is_disabled()

    # A tick stays with its file while rows come and go.
    tick(tab, 0)
    tab.get_by_role("button", name="Remove 1 file").wait_for()
    tab.locator(".st-key-ledger-words input").fill("")
    tab.keyboard.press("Enter")
    tab.get_by_text("2 files", exact=True).first.wait_for()
    tab.get_by_role("button", name="Remove 1 file").click()
    assert "pear.txt" in tab.get_by_role("dialog").inner_text()
    assert "apple.txt" not in tab.get_by_role("dialog").inner_text()
    wait_until(
        lambda: (
            sorted(p.name for p in uploads_folder(folder).iterdir()) == ["apple.txt", "pear.txt"]
        )
    )
