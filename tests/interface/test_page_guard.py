"""The page answers its owner at its own address: a real server asked with all kinds of headers."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import streamlit as st
from streamlit.runtime.context import StreamlitHeaders

from retriever.interface.page_guard import Guard, cookie_name, cookie_value
from retriever.interface.page_server import server_command, server_environment
from tests import pages
from tests.servers import (
    ROOT,
    Answer,
    Headers,
    connected,
    free_port,
    handshake,
    is_healthy,
    own_host,
    page_server,
    request,
    wait_until,
)

TOKEN = "päge+token & more"  # noqa: S105 - of the tests
ROUTES = (
    ("GET", "/"),
    ("HEAD", "/"),
    ("OPTIONS", "/"),
    ("POST", "/"),
    ("GET", "/static/index.js"),
    ("GET", "/favicon.png"),
    ("GET", "/search?q=apples"),
    ("GET", "/media/0123.pdf"),
    ("GET", "/component/x/index.html"),
    ("GET", "/_stcore/host-config"),
    ("GET", "/_stcore/metrics"),
    ("GET", "/_stcore/health/"),
    ("GET", "/_stcore/health%00"),
    ("POST", "/_stcore/health"),
    ("GET", "/_stcore/stream"),
    ("PUT", "/_stcore/upload_file/session/file"),
    ("POST", "/_stcore/upload_file/session/file"),
    ("DELETE", "/_stcore/upload_file/session/file"),
)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes") / "connections"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> Iterator[int]:
    with page_server(tmp_path_factory.mktemp("indexes"), TOKEN, notes) as port:
        yield port


def hosts(port: int) -> dict[Headers, bool]:
    """What is said of the host, and whether it is right."""
    right = [f"127.0.0.1:{port}", f"localhost:{port}", f"LocalHost:{port}", f"[::1]:{port}"]
    wrong = [
        f"evil.example:{port}", "evil.example", "127.0.0.1", "localhost", f"127.0.0.1:{port + 1}",
        f"localhost.:{port}", f"127.0.0.1.evil.example:{port}", f"me@127.0.0.1:{port}",
        f"0.0.0.0:{port}", f"127.1:{port}", f"127.0.0.1:{port}, evil.example", "", ":",
    ]  # fmt: skip
    table: dict[Headers, bool] = {(("Host", host),): True for host in right}
    table |= {(("Host", host),): False for host in wrong}
    table[()] = False
    table[("Host", f"evil.example:{port}"), ("Host", f"127.0.0.1:{port}")] = False
    table[("Host", f"127.0.0.1:{port}"), ("Host", f"evil.example:{port}")] = False
    return table


def origins(port: int, host: str) -> dict[Headers, bool]:
    """What is said of the origin, and whether it is this host's own."""
    wrong = [
        "http://evil.example", f"http://evil.example:{port}", "null", "", f"https://{host}",
        f"http://127.0.0.1:{port + 1}", "http://localhost", f"http://{host}.evil.example",
        f"http://{host}/x", f"file://{host}",
    ]  # fmt: skip
    table: dict[Headers, bool] = {(): True, (("Origin", f"http://{host}"),): True}
    table |= {(("Origin", origin),): False for origin in wrong}
    table[("Origin", f"http://{host}"), ("Origin", "http://evil.example")] = False
    return table


def credentials(port: int) -> dict[Headers, bool]:
    """What is said to show that one is the owner, and whether it does."""
    name, value = cookie_name(port), cookie_value(TOKEN, port)
    wrong = [
        "", name, f"{name}=", f"{name}={value[:-1]}", f"{name}={value}0", f"{name}={TOKEN}",
        f"{name}={cookie_value(TOKEN, port + 1)}", f"{cookie_name(port + 1)}={value}",
        f"x{name}={value}", f"x={name}={value}",
    ]  # fmt: skip
    table: dict[Headers, bool] = {(): False, (("Cookie", f"{name}={value}"),): True}
    table |= {(("Cookie", cookie),): False for cookie in wrong}
    table[(("Cookie", f"a=1; {name}=old; {name}={value}; b=2"),)] = True
    table[("Cookie", "a=1"), ("Cookie", f"{name}={value}")] = True
    table[(("Authorization", f"token {TOKEN}".encode().decode("latin-1")),)] = False
    return table


def is_refused(answer: Answer) -> bool:
    """By the guard: the application's own answers of 403 do not count."""
    ours = "opens only for its owner" in answer.body or "not the page’s address" in answer.body
    return answer.status == 403 and ours


def test_a_page_is_given_to_the_owner_at_the_own_address_only(port: int) -> None:
    for (host, is_own), (who, owner) in itertools.product(
        hosts(port).items(), credentials(port).items()
    ):
        # A server may refuse what is no HTTP at all, several hosts or none, by itself.
        answer = request(port, "GET", "/", [*host, *who])
        assert (answer.status == 200) == (is_own and owner), (host, who)
        assert is_own <= (is_refused(answer) != owner), (host, who)
        assert "streamlit" not in answer.body.lower() or answer.status == 200


def test_a_foreign_origin_is_refused_whoever_asks(port: int) -> None:
    for (origin, own_origin), (who, owner) in itertools.product(
        origins(port, f"127.0.0.1:{port}").items(), credentials(port).items()
    ):
        answer = request(port, "GET", "/", own_host(port, *origin, *who))
        assert answer.status == (200 if own_origin and owner else 403), (origin, who)


def test_a_websocket_opens_for_the_owner_at_the_own_address_only(port: int) -> None:
    who = owner_of(port)
    for host, is_own in hosts(port).items():
        answer = handshake(port, [*host, *who])
        assert (answer.status == 101) == is_own, host
    for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        for origin, own_origin in origins(port, name).items():
            answer = handshake(port, [("Host", name), *origin, *who])
            # The server itself refuses two origins, with 400.
            assert answer.status in ((101,) if own_origin else (400, 403)), (name, origin)
    for who, owner in credentials(port).items():
        answer = handshake(port, own_host(port, ("Origin", f"http://127.0.0.1:{port}"), *who))
        assert answer.status == (101 if owner else 403), who
    assert handshake(port, [("Host", f"evil.example:{port}")]).status == 403


def owner_of(port: int) -> Headers:
    return [("Cookie", f"{cookie_name(port)}={cookie_value(TOKEN, port)}")]


@pytest.mark.parametrize(("method", "target"), ROUTES)
def test_every_route_is_guarded(port: int, method: str, target: str) -> None:
    body = [("Content-Length", "0")]
    who = owner_of(port)
    evil = [("Host", f"evil.example:{port}")]
    refused = [
        request(port, method, target, [*own_host(port), *body]),
        request(
            port, method, target, [*own_host(port, ("Origin", "http://evil.example")), *who, *body]
        ),
        request(port, method, target, [*evil, *who, *body]),
        request(
            port, method, target, [*evil, ("Origin", f"http://evil.example:{port}"), *who, *body]
        ),
    ]
    assert [answer.status for answer in refused] == [403] * 4
    if method != "HEAD":
        assert all(map(is_refused, refused))
        assert not is_refused(request(port, method, target, [*own_host(port), *who, *body]))


def test_health_needs_no_token_but_the_own_address(port: int) -> None:
    assert request(port, "GET", "/_stcore/health", own_host(port)).body == "ok"
    assert is_refused(request(port, "GET", "/_stcore/health", [("Host", f"evil.example:{port}")]))
    foreign = own_host(port, ("Origin", "http://evil.example"))
    assert is_refused(request(port, "GET", "/_stcore/health", foreign))


def test_a_token_becomes_a_cookie_and_leaves_the_address(port: int) -> None:
    token = quote(TOKEN, safe="")
    answer = request(port, "GET", f"/search?q=a%20b%26&token={token}&k=5", own_host(port))
    assert answer.status == 303
    assert answer.header("location") == "/search?q=a%20b%26&k=5"
    assert answer.header("cache-control") == "no-store"
    name, _, rest = answer.header("set-cookie").partition("=")
    value, *attributes = rest.split("; ")
    assert name == f"wva-page-{port}"
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    assert TOKEN not in value
    assert request(port, "GET", "/", own_host(port, ("Cookie", f"{name}={value}"))).status == 200

    assert request(port, "GET", f"/?token={token}", own_host(port)).header("location") == "/"
    plus = request(port, "GET", f"/?token={token.replace('%20', '+')}", own_host(port))
    assert plus.status == 303
    stale = request(port, "GET", "/?q=x&token=stale", own_host(port, *owner_of(port)))
    assert (stale.status, stale.header("location")) == (303, "/?q=x")
    assert stale.header("set-cookie") == ""


@pytest.mark.parametrize(
    "given", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "p%E4ge", "%FF%00"]
)
def test_a_wrong_token_opens_nothing(port: int, given: str) -> None:
    given = given if "%" in given else quote(given, safe="")
    answer = request(port, "GET", f"/?token={given}", own_host(port))
    assert is_refused(answer)
    assert answer.header("set-cookie") == ""
    assert given not in answer.body or not given


def test_a_right_token_opens_nothing_at_a_wrong_address(port: int) -> None:
    target = f"/?token={quote(TOKEN, safe='')}"
    for headers in (
        [("Host", f"evil.example:{port}")],
        own_host(port, ("Origin", "http://evil.example")),
    ):
        answer = request(port, "GET", target, headers)
        assert is_refused(answer)
        assert answer.header("set-cookie") == ""


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "//", "///evil.example"])
def test_the_redirect_stays_on_this_server(port: int, path: str) -> None:
    answer = request(port, "GET", f"{path}?token={quote(TOKEN, safe='')}", own_host(port))
    assert answer.status == 303
    assert answer.header("location").startswith("/")
    assert not answer.header("location").startswith(("//", "/\\"))


def test_the_refusal_says_where_the_address_is_and_shows_no_markup_of_the_request(
    port: int,
) -> None:
    answer = request(port, "GET", "/a\"><b>?q=<script>&token=x'", own_host(port))
    assert "in the terminal" in answer.body
    assert f"http://127.0.0.1:{port}/?token=" in answer.body
    assert "<script>" not in answer.body
    assert "<b>" not in answer.body
    assert answer.header("content-type") == "text/html; charset=utf-8"


def test_no_other_site_may_frame_or_embed_the_page(port: int) -> None:
    for who in (owner_of(port), []):
        answer = request(port, "GET", "/", own_host(port, *who))
        assert answer.header("content-security-policy") == "frame-ancestors 'self'"
        assert answer.header("cross-origin-resource-policy") == "same-origin"
        assert answer.header("referrer-policy") == "same-origin"


def test_no_request_makes_the_server_look_outward(port: int, notes: Path) -> None:
    """Also those that Streamlit would compare with the addresses of this machine."""
    names = [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"evil.example:{port}"]
    for name, other in itertools.product(names, [*names, "evil.example", "192.168.1.7"]):
        headers = [("Host", name), ("Origin", f"http://{other}"), *owner_of(port)]
        handshake(port, headers)
        for target in (
            "/",
            "/_stcore/health",
            "/_stcore/host-config",
            "/media/x",
            "/component/x/y",
        ):
            request(port, "GET", target, headers)
            request(port, "OPTIONS", target, headers)
    assert notes.read_text().splitlines() == ["('127.0.0.1', 9)"], "the first one is our own"


# Without a server


def passed(
    method: str, target: str, headers: Headers, token: str | None
) -> tuple[list[Any], list[Any]]:
    """What a guarded application of port 80 gets, and what is sent back."""
    got: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read of a request that is refused")

    path, _, query = target.partition("?")
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers],
    }  # fmt: skip
    asyncio.run(Guard(app, 80, token)(scope, receive, send))
    return got, sent


def test_without_a_token_the_address_is_still_checked() -> None:
    for host, allowed in (("localhost", True), ("127.0.0.1:80", True), ("evil.example", False)):
        got, sent = passed("GET", "/", [("Host", host)], None)
        assert bool(got) == allowed
        assert bool(sent) != allowed
    got, sent = passed("GET", "/?token=old&q=x", [("Host", "localhost")], None)
    assert not got
    assert (b"location", b"/?q=x") in sent[0]["headers"]


def test_the_application_sees_no_origin() -> None:
    headers = [("Host", "localhost"), ("Origin", "http://localhost"), ("Accept", "*/*")]
    got, _ = passed("GET", "/", headers, None)
    assert got[0]["headers"] == [(b"host", b"localhost"), (b"accept", b"*/*")]


def test_the_server_does_not_start_without_a_token_by_mistake(tmp_path: Path) -> None:
    done = subprocess.run(
        server_command(tmp_path, 8501), env=server_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "WVA_TOKEN" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_cleans_up(how: int, tmp_path: Path) -> None:
    """Runs of the index are ended at exit; also while a browser is connected."""
    port = free_port()
    code = "import atexit; atexit.register(print, 'cleaned up')"
    code += "; import retriever.interface.page_server as it; it.main()"
    argv = [sys.executable, "-P", "-c", code, *server_command(tmp_path, port)[4:]]
    variables = {**server_environment(TOKEN), "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=variables, text=True, **pipes) as server:
        try:
            wait_until(lambda: is_healthy(port))
            with connected(port, own_host(port, *owner_of(port))) as answer:
                assert answer.status == 101
                server.send_signal(how)
                said, complaints = server.communicate(timeout=20)
        finally:
            server.kill()
    assert said == "cleaned up\n"
    assert "Traceback" not in complaints
    assert server.returncode == 128 + how


def test_the_environment_carries_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_TOKEN", "an old one")
    assert server_environment("new").get("WVA_TOKEN") == "new"
    assert "WVA_TOKEN" not in server_environment(None)
    assert server_environment(None)["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("headers", "drawn"),
    [
        ([("Host", "evil.example:8501")], False),
        ([("Host", "localhost:8502")], False),
        ([("Host", "localhost:8501"), ("Origin", "http://evil.example:8501")], False),
        ([("Host", "localhost:8501"), ("Origin", "http://localhost:8501")], True),
    ],
)
def test_the_script_itself_draws_nothing_for_another_site(
    headers: list[tuple[str, str]], drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a second wall: where Streamlit runs the script without the guard."""
    monkeypatch.setattr(type(st.context), "headers", StreamlitHeaders(headers))
    app = pages.open_page(monkeypatch, tmp_path, {})
    assert bool(app.error) != drawn
    assert bool(app.html) == drawn


def test_the_command_is_run_by_this_interpreter() -> None:
    assert server_command(Path("x"), 1)[0] == sys.executable
