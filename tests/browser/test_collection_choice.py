"""In a real Chromium: a link is answered by the collection that it names, or by a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from retriever.index import Index
from retriever.types import Document, Page
from tests.browser.pages import results
from tests.fakes import FakeEmbedder
from tests.servers import page_server, wait_until

pytestmark = pytest.mark.browser


def make(folder: Path, name: str) -> None:
    with Index.open_or_create(folder / name, FakeEmbedder()) as index:
        index.add([Document(f"{name}.txt", "txt", (Page(None, "A kiwi."),))])


@pytest.fixture
def shelf(tmp_path: Path, chromium: Any) -> Iterator[tuple[Path, str]]:
    """A folder with the one collection "sample", and its page."""
    make(tmp_path, "sample")
    with page_server(tmp_path) as port:
        yield tmp_path, f"http://127.0.0.1:{port}"


def named(tab: Any) -> list[str] | None:
    return parse_qs(tab.evaluate("location.search")[1:]).get("index")


@pytest.mark.timeout(120)
def test_a_link_keeps_its_collection_and_one_that_is_gone_is_a_sentence(
    tab: Any, shelf: tuple[Path, str]
) -> None:
    folder, address = shelf
    tab.goto("about:blank")
    tab.goto(f"{address}/?q=kiwi&mode=keyword")
    wait_until(lambda: results(tab) == ["sample.txt"])
    wait_until(lambda: named(tab) == ["sample"])
    assert tab.evaluate("history.length") == 2, "the name is added without another step"
    link = tab.url

    make(folder, "Tests of mine")  # before "sample" in the alphabet
    tab.goto(link)
    wait_until(lambda: results(tab) == ["sample.txt"])
    tab.goto(f"{address}/?q=kiwi&mode=keyword")
    wait_until(lambda: results(tab) == ["sample.txt"])
    tab.get_by_text("This link names no collection; sample answers.").wait_for()

    shutil.move(folder / "sample", folder / ".away")
    box = tab.locator(".st-key-q input")
    box.fill("a kiwi")
    box.press("Enter")
    gone = tab.get_by_text("The collection sample is not there any more")
    gone.wait_for()
    assert results(tab) == []
    for _ in range(2):  # the link, and a reload
        tab.goto(link)
        gone.wait_for()
        assert results(tab) == []
        link = tab.url
    assert named(tab) == ["sample"]
    tab.get_by_role("button", name="Tests of mine").click()
    wait_until(lambda: results(tab) == ["Tests of mine.txt"])
    wait_until(lambda: named(tab) == ["Tests of mine"])
