"""One Chromium and two servers of the page for all tests of this folder.

Skipped where there is no Chromium, unless WVA_REQUIRE_BROWSER is set: then that is a failure.
A failing test leaves a screenshot in `test-artifacts/`. Each test has a browser context of its own:
cookies, storage and Streamlit session are those of a new visitor.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from retriever.index import Index
from tests.browser.pages import DOCUMENTS
from tests.fakes import FakeEmbedder
from tests.servers import ROOT, page_server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.environ.get("WVA_REQUIRE_BROWSER"):
        pytest.fail("WVA_REQUIRE_BROWSER is set, but there is no Chromium on the PATH")
    if found is None:
        pytest.skip("no Chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A name whose owner has made it resolve to this machine.
        rebound = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        arguments = ["--no-sandbox", rebound]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two indexes: documents, and an empty one."""
    folder = tmp_path_factory.mktemp("indexes")
    with Index.open_or_create(folder / "notes", FakeEmbedder()) as index:
        index.add(DOCUMENTS)
    Index.open_or_create(folder / "void").close()
    return folder


@pytest.fixture(scope="session")
def port(folder: Path, chromium: Any) -> Iterator[int]:
    """The port of a server of `folder`, started for its index "notes", without a token."""
    with page_server(folder / "notes") as port:
        yield port


@pytest.fixture(scope="session")
def address(port: int) -> str:
    """The page of `folder`."""
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to which modules add indexes of their own."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def home_address(home: Path, chromium: Any) -> Iterator[str]:
    """The page of `home`: `?index=NAME` chooses one of its indexes."""
    with page_server(home) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def tab(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A new visitor's tab. Whatever happens, nothing may be asked of another server."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda sent: asked.append(sent.url))
    failed = request.session.testsfailed
    try:
        yield opened
        hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
        assert hosts <= {"127.0.0.1"}
    finally:
        if request.session.testsfailed > failed:  # pragma: no cover - only when a test fails
            (ROOT / "test-artifacts").mkdir(exist_ok=True)
            opened.screenshot(path=ROOT / "test-artifacts" / f"{request.node.name}.png")
        context.close()
