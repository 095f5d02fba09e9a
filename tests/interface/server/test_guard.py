"""Who is answered: the holder of the token, at the server's own names, from no other web site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retriever.interface.server.guard import Guard
from tests.interface.server.running import TOKEN, Running, make_index, running, served
from tests.servers import Answer, handshake, own_host, request

KNOWN = ("Authorization", f"Bearer {TOKEN}")


def asked(server: Running, *headers: tuple[str, str], path: str = "/v1/models") -> Answer:
    return request(server.port, "GET", path, headers)


def test_the_token_is_needed(notes: Running) -> None:
    host = ("Host", f"127.0.0.1:{notes.port}")
    assert asked(notes, host, KNOWN).status == 200
    assert asked(notes, host, ("Authorization", f"bearer  {TOKEN}")).status == 200
    for wrong in ("", TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ", "Bearer ünknown"):
        refused = asked(notes, host, ("Authorization", wrong))
        assert refused.status == 401, wrong
        assert refused.header("www-authenticate") == "Bearer"
        error = json.loads(refused.body)["error"]
        assert error["type"] == "authentication_error"
        assert "Authorization: Bearer TOKEN" in error["message"]
        assert TOKEN not in refused.body


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json"])
def test_what_tells_nothing_needs_no_token(notes: Running, path: str) -> None:
    assert asked(notes, *own_host(notes.port), path=path).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/search", "/documents/x", "/nothing", "/retrieval"])
def test_everything_else_needs_it(notes: Running, path: str) -> None:
    refused = asked(notes, *own_host(notes.port), path=path)
    assert refused.status == 401
    told = json.loads(refused.body)
    assert "token is missing or wrong" in (told.get("error_msg") or told["error"])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("localhost", 200),
        ("[::1]:{port}", 200),
        ("localhost:9999", 200),  # a forwarded port
        ("evil.example", 403),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.7:{port}", 403),
        ("", 403),
    ],
)
def test_the_host_is_checked_before_the_token(notes: Running, host: str, status: int) -> None:
    name = host.format(port=notes.port)
    assert asked(notes, ("Host", name), KNOWN).status == status
    if status != 200:
        assert "--allow-host" in asked(notes, ("Host", name)).body


def test_pages_of_other_servers_are_refused(notes: Running) -> None:
    host = f"127.0.0.1:{notes.port}"
    for origin, status in (
        (f"http://{host}", 200),
        ("http://localhost:3000", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ):
        assert asked(notes, ("Host", host), ("Origin", origin), KNOWN).status == status, origin


def test_further_names_and_numbers(tmp_path: Path) -> None:
    opened = served({"notes": make_index(tmp_path / "notes")})
    with running(opened, hosts=["Search.Intranet"], numbers=True) as server:
        for host, status in (
            ("search.intranet:8600", 200),
            ("10.0.0.7:8600", 200),
            ("[fe80::1]", 200),
            ("other.intranet", 403),
        ):
            assert asked(server, ("Host", host), KNOWN).status == status, host


def test_without_a_token_the_host_still_counts(tmp_path: Path) -> None:
    with running(served({"notes": make_index(tmp_path / "notes")}), token=None) as server:
        assert asked(server, *own_host(server.port)).status == 200
        assert asked(server, ("Host", "evil.example")).status == 403
        assert asked(server, *own_host(server.port, ("Origin", "http://a.example"))).status == 403


def test_websockets_are_refused(notes: Running) -> None:
    assert handshake(notes.port, own_host(notes.port, KNOWN)).status in (400, 403, 404)


async def test_a_websocket_never_reaches_the_application() -> None:
    sent = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def unreachable(*_: object) -> None:
        raise AssertionError

    await Guard(unreachable, None)({"type": "websocket"}, unreachable, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
