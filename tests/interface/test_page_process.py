"""`wva ui` as a process: it starts, indexes beside the page, and ends with its page."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from retriever.interface import cli, page_process
from retriever.types import IndexStateError, UsageError
from tests.fakes import FakeEmbedder
from tests.servers import free_port, own_host, request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The page of an index that does not exist yet, told to bring in a folder that does not."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "retriever.interface.cli",
        "ui",
        "--index",
        str(tmp_path / "index"),
    ]
    command += ["--port", str(port), "--sync", str(tmp_path / "no-folder")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield process, port
    process.kill()
    process.wait(10)
    if process.stderr:
        process.stderr.close()


def test_the_page_outlives_a_folder_that_cannot_be_indexed(
    server: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = server
    assert process.stderr is not None
    lines = []
    for line in process.stderr:  # until the sentence comes; the test has a time limit
        lines.append(line)
        if "no-folder" in line:
            break
    text = "".join(lines)
    assert f"search at http://127.0.0.1:{port}" in text
    assert "wva: there is no file or folder" in text
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer:
        assert answer.status == 200
    token = re.findall(rf"http://127.0.0.1:{port}/\?token=(\S+)", text)[0]
    assert len(token) >= 32
    assert request(port, "GET", "/", own_host(port)).status == 403
    assert request(port, "GET", f"/?token={token}", own_host(port)).status == 303
    ours = psutil.Process(process.pid)
    lines = [" ".join(one.cmdline()) for one in (ours, *ours.children(recursive=True))]
    assert len(lines) > 1
    assert not any(token in line for line in lines), "others can read the list of processes"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == page_process.TERMINATED
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the page was left behind"


def test_the_page_ends_with_a_process_that_is_killed(
    server: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = server
    assert process.stderr is not None
    next(line for line in process.stderr if "search at" in line)
    (page,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait(10)
    psutil.wait_procs([page], timeout=20)
    assert not page.is_running(), "the page's server was left behind"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            page_process.serve_page(Path("index"), port)


def test_without_streamlit_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'wva-retriever\[ui\]'"):
        page_process.serve_page(Path("index"), 8501)


def test_indexing_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Red apples grow on trees.")
    monkeypatch.setattr("retriever.embedding.aligned_wva.AlignedWVA", lambda **_: FakeEmbedder())
    seen = []
    page_process._index_paths(tmp_path / "index", [tmp_path / "docs"], seen.append, {"ocr": ""})
    assert seen[-1].files_done == seen[-1].files_total == 1
    assert "1 indexed" in capsys.readouterr().err


def test_a_page_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [sys.executable, "-c", "raise SystemExit(7)"]
    monkeypatch.setattr(page_process, "server_command", lambda *_, **__: broken)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process's own stays
    with pytest.raises(IndexStateError, match=r"the page could not be started \(exit code 7\)"):
        page_process.serve_page(tmp_path / "index", free_port())


class StartedError(Exception):
    """Instead of a server."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments and the token of the servers that would have been started."""
    seen: list[dict[str, Any]] = []

    def start(argv: list[str], env: dict[str, str], **_: object) -> None:
        seen.append({"argv": argv, "token": env.get("WVA_TOKEN")})
        raise StartedError

    monkeypatch.delenv("WVA_TOKEN", raising=False)
    monkeypatch.setattr(subprocess, "Popen", start)
    return seen


def test_a_token_is_given_in_the_environment_or_by_an_option_or_made_anew(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    for environment, more in (
        ("", []),
        ("", []),
        ("from the environment", []),
        ("from the environment", ["--token", "by an option"]),
        ("from the environment", ["--no-token"]),
    ):
        monkeypatch.setenv("WVA_TOKEN", environment)
        with pytest.raises(StartedError):
            cli.main(["ui", "--port", port, *more])
        assert "WVA_TOKEN" not in os.environ, "readers of documents need it not"
    first, second, *chosen = [one["token"] for one in started]
    assert first != second
    assert min(len(first), len(second)) >= 32
    assert chosen == ["from the environment", "by an option", None]
    assert ["--no-token" in one["argv"] for one in started] == [False] * 4 + [True]
    assert not any("option" in part for one in started for part in one["argv"])


@pytest.mark.parametrize("token", ["short", "a\nb" * 9, "\udc80" * 9])
def test_a_token_that_is_no_secret_is_refused(started: list[dict[str, Any]], token: str) -> None:
    with pytest.raises(UsageError, match="at least 8 characters"):
        page_process.serve_page(Path("index"), free_port(), token=token)
    assert not started


def test_a_page_without_an_index_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page_process, "server_command", lambda *_, **__: [sys.executable, "-c", ""])
    monkeypatch.setattr(page_process, "_wait_until_healthy", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process's own stays
    assert page_process.serve_page(tmp_path / "missing", free_port()) == 0
    assert f"there is no index in {tmp_path / 'missing'} yet" in capsys.readouterr().err


def test_whether_the_page_is_up_is_not_asked_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    monkeypatch.setattr(page_process, "START_SECONDS", 5)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    page = mock.Mock(**{"poll.return_value": None})
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        page_process._wait_until_healthy(page, server.server_port)
