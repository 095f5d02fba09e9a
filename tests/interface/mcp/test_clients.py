"""Clients as they connect: by standard input and output, over HTTP, in both protocol eras."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from retriever import AlignedWVA, Document, Index, Page
from retriever.interface.mcp.run import http_application
from retriever.interface.server.run import Address, _Server, bound
from retriever.interface.server.served import Loading, Served
from tests.fakes import FakeEmbedder
from tests.interface.server.running import SECONDS, TEXTS, TOKEN, make_index
from tests.tiny import save_model

ROOT = Path(__file__).parents[3]
ERAS = ("auto", "legacy")
"""How the SDK's client speaks: the newest revision that both know, or the one with a handshake."""

OLD_CLIENT = "WVA_OLD_MCP"
"""A folder with langchain-mcp-adapters, which needs an SDK of before 2.0, so a place of its own.

pip install --target FOLDER langchain-mcp-adapters
"""


@contextmanager
def http_server(served: Served, token: str | None = TOKEN) -> Iterator[str]:
    ready = threading.Event()
    with bound(Address(port=0)) as listener, served:
        app = http_application(served, Address(port=0), token)
        server = _Server(app, served, ready.set, "on")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert ready.wait(SECONDS)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            thread.join(SECONDS)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folders = {"pets": make_index(tmp_path_factory.mktemp("http") / "pets")}
    with http_server(Served(folders, Loading(embedder=FakeEmbedder))) as address:
        yield address


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a server by standard input and output, with a tiny model."""
    folder = tmp_path_factory.mktemp("stdio")
    embedder = AlignedWVA(str(save_model(folder / "model")))
    with Index.open_or_create(folder / "pets", embedder) as index:
        index.add(Document(name, "text", (Page(None, text),)) for name, text in TEXTS.items())
    return [sys.executable, "-m", "retriever", "mcp", "--index", str(folder / "pets")]


async def asked(client: Client) -> None:
    """What every client does: list the tools, search, read what was found."""
    tools = (await client.list_tools()).tools
    assert {"search", "fetch"} <= {tool.name for tool in tools}
    arguments = {"query": "cat on the roof", "mode": "keyword"}
    found = (await client.call_tool("search", arguments)).structured_content
    assert found is not None
    assert found["results"][0]["path"] == "cats.txt"
    read = (await client.call_tool("fetch", {"id": found["results"][0]["id"]})).structured_content
    assert read is not None
    assert read["text"] == TEXTS["cats.txt"]


@pytest.mark.parametrize("era", ERAS)
async def test_by_standard_input_and_output(command: list[str], era: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    async with Client(server, mode=era, read_timeout_seconds=50) as client:
        await asked(client)


@pytest.mark.parametrize("era", ERAS)
async def test_over_http(url: str, era: Any) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        await asked(client)


def post(url: str, **headers: str) -> int:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    given = {"Accept": "application/json, text/event-stream", **headers}
    return httpx2.post(url, json=asked, headers=given).status_code


def test_only_the_owner_is_answered_and_no_web_site(url: str) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert post(url, **token) == 200
    assert post(url) == 401
    assert post(url, Authorization="Bearer wrong") == 401
    assert post(url, **token, Origin="https://evil.example") == 403
    assert post(url, **token, Host="evil.example") == 403
    assert post(url.removesuffix("/mcp") + "/healthz") == 401


def test_the_wire_has_nothing_but_messages(command: list[str]) -> None:
    """Also what a library prints while the model is loaded stays off it."""
    asked = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                   "clientInfo": {"name": "test", "version": "1"}},
    }  # fmt: skip
    said = subprocess.run(
        command, input=json.dumps(asked) + "\n", capture_output=True, text=True, cwd=ROOT,
        timeout=50, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "Traceback" not in said.stderr
    messages = [json.loads(line) for line in said.stdout.splitlines()]
    assert [one.get("id") for one in messages] == [1]
    assert "instructions" in messages[0]["result"]


@pytest.mark.skipif(OLD_CLIENT not in os.environ, reason=f"{OLD_CLIENT} names no folder")
def test_langchains_adapters(command: list[str], url: str) -> None:
    script = f"""
import asyncio, json, sys
from langchain_mcp_adapters.client import MultiServerMCPClient
client = MultiServerMCPClient({{
    "stdio": {{"transport": "stdio", "command": {command[0]!r}, "args": {command[1:]!r},
              "env": {{"PYTHONPATH": {str(ROOT)!r}}}}},
    "http": {{"transport": "streamable_http", "url": {url!r},
             "headers": {{"Authorization": "Bearer {TOKEN}"}}}},
}})
async def main():
    for name in ("stdio", "http"):
        tools = {{tool.name: tool for tool in await client.get_tools(server_name=name)}}
        found = await tools["search"].ainvoke({{"query": "cat on the roof", "mode": "keyword"}})
        print(json.dumps([sorted(tools), found[0]["text"]]))
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.environ[OLD_CLIENT]}
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment,
        timeout=55, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    for line in said.stdout.splitlines():
        tools, found = json.loads(line)
        assert {"search", "fetch"} <= set(tools)
        assert json.loads(found)["results"][0]["path"] == "cats.txt"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_it_while_its_client_says_nothing(command: list[str]) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"},
        },
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(hello).encode() + b"\n")
        process.stdin.flush()
        assert b'"result"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(SECONDS) == 130
        finally:
            process.kill()
        assert process.stderr.read().strip().endswith(b"stopped")
