"""The page Collections in a real Chromium: ticks, uploads, what needs attention, undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.collections import create_collection, store_upload, uploads_folder
from tests.fakes import FakeEmbedder
from tests.pdfs import locked
from tests.servers import ROOT, page_server, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def make(home: Path) -> Callable[..., Path]:
    """Makes a collection of uploaded files, by name and content."""

    def make(name: str, files: dict[str, bytes]) -> Path:
        folder = create_collection(home, name)
        for file, data in files.items():
            store_upload(folder, file, data)
        if files:
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
    dialog.get_by_text("fig.txt").wait_for()
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
    tab.get_by_role("dialog").get_by_text("pear.txt").wait_for()
    assert "apple.txt" not in tab.get_by_role("dialog").inner_text()
    wait_until(
        lambda: (
            sorted(p.name for p in uploads_folder(folder).iterdir()) == ["apple.txt", "pear.txt"]
        )
    )


@pytest.mark.timeout(120)
def test_files_are_checked_before_they_are_uploaded_and_indexed_without_a_click(
    tab: Any, home_address: str, make: Callable[..., Path]
) -> None:
    folder = make("drop", {})
    visit(tab, home_address, "drop")
    sent: list[str] = []
    tab.on("request", lambda one: one.method == "PUT" and sent.append(one.url))
    tab.locator(".st-key-uploads input[type=file]").wait_for(state="attached")
    tab.wait_for_function("window.wvaUploadGuard")
    # Dropped beside the field: anywhere on the page.
    tab.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(41000000)], "huge.txt"));
          data.items.add(new File(["x"], "<b>film.mp4"));
          data.items.add(new File(["A plum tree."], "plum.md"));
          document.querySelector(".wva-title").dispatchEvent(
            new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    tab.get_by_text("Done: 1 file").wait_for(timeout=60_000)
    refused = tab.get_by_role("alert").filter(has_text="huge.txt").inner_text()
    assert "“huge.txt” has 41 MB, and 40 MB is the most: split it." in refused
    assert "“<b>film.mp4” is of no format that is read" in refused
    assert len(sent) == 1, "only what is kept is transferred"
    assert [path.name for path in uploads_folder(folder).iterdir()] == ["plum.md"]


@pytest.mark.timeout(120)
def test_what_needs_attention_has_its_remedy_beside_it(
    tab: Any, home_address: str, make: Callable[..., Path]
) -> None:
    folder = make(
        "needy", {"locked.pdf": locked("sesame"), "zero.txt": b"", "fig.txt": b"A fig tree."}
    )
    visit(tab, home_address, "needy")
    tab.get_by_role("heading", name="2 files need attention").wait_for()
    assert "2 files need attention" in tab.locator(".st-key-cards").inner_text()
    assert "--" not in tab.locator(".stMain").inner_text()
    tab.get_by_label("Password of locked.pdf").fill("sesame")
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="1 file needs attention").wait_for(timeout=60_000)

    # Removed, and taken back.
    settle(tab)
    tab.get_by_role("button", name="Remove zero.txt").click()
    tab.get_by_role("dialog").get_by_role("button", name="Remove").click()
    tab.get_by_text("1 file removed.").wait_for()
    assert tab.get_by_text("need attention").count() == 0
    assert not (uploads_folder(folder) / "zero.txt").exists()
    tab.get_by_role("button", name="Undo").click()
    wait_until(lambda: (uploads_folder(folder) / "zero.txt").exists())


@pytest.mark.timeout(90)
def test_a_collection_is_renamed_and_described_by_keyboard(
    tab: Any, home: Path, home_address: str, make: Callable[..., Path]
) -> None:
    make("old name", FRUIT)
    visit(tab, home_address, "old name")
    menu = tab.get_by_role("button", name="Change old name")
    menu.focus()
    tab.keyboard.press("Enter")
    tab.get_by_text("Describe", exact=True).click()
    tab.get_by_label("What is in old name").fill("Trees <b>of mine</b>")
    tab.keyboard.press("Enter")
    tab.locator(".st-key-cards").get_by_text("Trees <b>of mine</b>").wait_for()

    tab.get_by_role("button", name="Change old name").click()
    tab.get_by_text("Rename", exact=True).click()
    name = tab.get_by_label("Its new name")
    name.fill("a/b")
    tab.keyboard.press("Enter")
    tab.get_by_text("cannot be a collection's name").wait_for()
    name.fill("Orchard")
    tab.keyboard.press("Enter")
    tab.locator(".wva-title").get_by_text("Orchard", exact=True).wait_for()
    settle(tab)
    tab.get_by_text("3 files", exact=True).first.wait_for()
    assert "index=Orchard" in tab.url
    assert not (home / "old name").exists()


@pytest.mark.timeout(90)
def test_a_folder_is_chosen_with_clicks(
    tab: Any, home_address: str, make: Callable[..., Path]
) -> None:
    make("browse", {})
    visit(tab, home_address, "browse")
    tab.get_by_role("button", name="Browse folders").click()
    tab.get_by_role("button", name="Use this folder").click()
    wait_until(lambda: tab.locator(".st-key-folder input").input_value() == str(Path.home()))


@pytest.mark.timeout(120)
def test_a_file_that_is_dropped_while_another_is_stored_is_not_lost(
    chromium: Any, tmp_path: Path
) -> None:
    folder = create_collection(tmp_path, "drop")
    with Index.open_or_create(folder, FakeEmbedder()):
        pass
    with (
        page_server(folder, app=ROOT / "tests" / "apps" / "slow_store.py") as port,
        chromium.new_context() as context,
    ):
        tab = context.new_page()
        tab.goto(f"http://127.0.0.1:{port}/collections?index=drop")
        field = tab.locator(".st-key-uploads section[aria-disabled=false] input[type=file]")
        field.wait_for(state="attached")
        settle(tab)
        field.set_input_files([_text("apple.txt")])
        wait_until((tmp_path / "storing").exists)
        with tab.expect_response(lambda one: one.request.method == "PUT"):
            field.set_input_files([_text("pear.txt")])
        (tmp_path / "go").touch()
        stored = uploads_folder(folder)
        wait_until(lambda: sorted(p.name for p in stored.glob("*.*")) == ["apple.txt", "pear.txt"])
        tab.get_by_text("Done:").wait_for(timeout=60_000)
        # What was taken is a row of the table now, and no chip of the field any more.
        assert not tab.locator('[data-testid="stFileChip"]:visible').count()


def _text(name: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "text/plain", "buffer": f"A {name} tree.".encode()}


@pytest.mark.timeout(120)
def test_a_file_that_is_dropped_where_none_is_taken_is_told(
    tab: Any, home_address: str, make: Callable[..., Path]
) -> None:
    folder = make("taken", {"fig.txt": b"A fig tree."})
    with Index.open(folder, FakeEmbedder()) as writer:
        writer.backend.set_progress(
            {
                "files_done": 1, "files_total": 4, "chunks": 9, "tokens": 800, "seconds": 2.0,
                "tokens_per_second": 400.0, "seconds_left": 6.0, "current": "x.txt",
            }
        )  # fmt: skip
        visit(tab, home_address, "taken")
        tab.locator(".st-key-uploads section[aria-disabled=true]").wait_for()
        tab.wait_for_function("window.wvaUploadGuard")
        tab.evaluate(
            """() => {
              const data = new DataTransfer();
              data.items.add(new File(["A plum tree."], "plum.md"));
              const drop = new DragEvent(
                "drop", {dataTransfer: data, bubbles: true, cancelable: true});
              document.querySelector(".wva-title").dispatchEvent(drop);
              window.prevented = drop.defaultPrevented;
            }"""
        )
        said = tab.get_by_role("alert").filter(has_text="drop the files again")
        said.wait_for()
        assert tab.evaluate("window.prevented")
