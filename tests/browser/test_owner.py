"""In a real Chromium: the page opens with its token, and for no other site and no other user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.page_guard import cookie_name
from retriever.types import Document, Page
from tests.browser.pages import results
from tests.fakes import FakeEmbedder
from tests.servers import page_server

pytestmark = pytest.mark.browser

TOKEN = "of-the-tests"  # noqa: S105 - of the tests
DRAWN = ".st-key-q input"
WEBSOCKET = """port => new Promise(done => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/_stcore/stream`, ["streamlit"]);
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    notes = tmp_path_factory.mktemp("indexes") / "notes"
    with Index.open_or_create(notes, FakeEmbedder()) as index:
        index.add([Document("apples.txt", "txt", (Page(None, "Apples are red & sweet."),))])
    return notes


@pytest.fixture(scope="module")
def guarded(notes: Path, chromium: Any) -> Iterator[int]:
    """The port of a server with a token."""
    with page_server(notes, TOKEN) as port:
        yield port


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    with closing(chromium.new_context()) as context:
        context.set_default_timeout(15_000)
        yield context.new_page()


def test_a_site_that_names_this_machine_its_own_sees_nothing(tab: Any, port: int) -> None:
    """DNS rebinding; the page needs no token here, so that the address alone must keep it out."""
    answer = tab.goto(f"http://evil.example:{port}/?q=apples")
    tab.wait_for_load_state("networkidle")
    assert "sweet" not in tab.locator("body").inner_text()
    assert tab.locator(DRAWN).count() == 0
    assert answer.status == 403
    fetched = "url => fetch(url).then(got => got.status, () => 'failed')"
    for route in ("/", "/_stcore/host-config", "/_stcore/health"):
        assert tab.evaluate(fetched, route) == 403
        assert tab.evaluate(fetched, f"http://127.0.0.1:{port}{route}") == "failed"
    assert tab.evaluate(WEBSOCKET, port) == "refused"
    assert tab.evaluate(WEBSOCKET.replace("127.0.0.1", "evil.example"), port) == "refused"

    tab.goto(f"http://127.0.0.1:{port}/?q=apples")
    tab.wait_for_selector(".wva-card")
    assert tab.evaluate(WEBSOCKET, port) == "open"


def test_the_token_opens_the_page_and_leaves_the_address(tab: Any, guarded: int) -> None:
    page = f"http://127.0.0.1:{guarded}"
    tab.goto("about:blank")
    tab.goto(f"{page}/?q=apples&token={TOKEN}&mode=keyword")
    tab.wait_for_selector(".wva-card")
    assert results(tab) == ["apples.txt"]
    assert TOKEN not in tab.url
    assert "mode=keyword" in tab.url
    (cookie,) = [one for one in tab.context.cookies() if one["name"] == cookie_name(guarded)]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie_name(guarded) not in tab.evaluate("document.cookie")
    tab.reload()
    tab.wait_for_selector(".wva-card")
    tab.goto(page)
    tab.wait_for_selector(DRAWN)
    assert tab.evaluate("history.length") == 3, "blank, the search, the page: no address between"


def test_without_the_token_only_a_sentence_is_shown(tab: Any, guarded: int) -> None:
    answer = tab.goto(f"http://127.0.0.1:{guarded}/collections")
    assert answer.status == 403
    assert "in the terminal where the page was started" in tab.locator("body").inner_text()
    assert tab.locator(DRAWN).count() == 0
    assert tab.evaluate(WEBSOCKET, guarded) == "refused"


def test_a_link_of_another_site_leads_there_with_one_more_click(tab: Any, guarded: int) -> None:
    """SameSite=Strict: the browser holds the cookie back on the way from another site."""
    link = f'<a href="http://127.0.0.1:{guarded}/?q=apples&amp;token={TOKEN}">the page</a>'
    tab.route(
        "http://mail.example/", lambda route: route.fulfill(body=link, content_type="text/html")
    )
    tab.goto("http://mail.example/")
    tab.get_by_text("the page").click()
    again = tab.get_by_text("Open it again")
    again.wait_for()
    assert TOKEN not in tab.content()
    again.click()
    tab.wait_for_selector(".wva-card")
    assert results(tab) == ["apples.txt"]


def test_two_servers_keep_their_visitors(tab: Any, notes: Path, guarded: int) -> None:
    with page_server(notes, "another-token") as other:
        tab.goto(f"http://127.0.0.1:{guarded}/?token={TOKEN}")
        tab.wait_for_selector(DRAWN)
        assert tab.goto(f"http://127.0.0.1:{other}").status == 403
        tab.goto(f"http://127.0.0.1:{other}/?token=another-token")
        tab.wait_for_selector(DRAWN)
        tab.goto(f"http://127.0.0.1:{guarded}")
        tab.wait_for_selector(DRAWN)
