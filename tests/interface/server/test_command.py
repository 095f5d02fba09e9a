"""`wva serve` as a process, and what it says before it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retriever import AlignedWVA, Index
from retriever.interface import cli
from retriever.interface.commands import serving
from retriever.interface.page_server import TERMINATED
from retriever.interface.server.run import Address, bound
from retriever.interface.server.served import served_places
from retriever.interface.server.token import server_token
from retriever.types import IndexStateError, UsageError
from tests.interface.server.running import make_index
from tests.tiny import save_model

ROOT = Path(__file__).parents[3]
GIVEN = "a-token-from-the-environment"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


@contextmanager
def process(*arguments: str, token: str = "") -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A `wva serve` at any free port: the process, what it said, and its address."""
    others = {name: value for name, value in os.environ.items() if name != "WVA_TOKEN"}
    started = subprocess.Popen(
        [sys.executable, "-m", "retriever", "serve", "--port", "0", *arguments],
        env={**others, **({"WVA_TOKEN": token} if token else {})},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stderr is not None
        said = started.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said + started.stderr.read()
        yield started, said, found[0]
    finally:
        started.kill()
        started.wait(10)
        if started.stderr:
            started.stderr.close()


def asked(url: str, token: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - it begins with http
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read())


@pytest.mark.timeout(180)
def test_it_serves_an_index_until_it_is_interrupted(tmp_path: Path, model: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Red apples grow on trees.")
    with Index.open_or_create(tmp_path / "fruit", AlignedWVA(str(model))) as index:
        index.sync(tmp_path / "docs")
    with process("--index", str(tmp_path / "fruit"), "--device", "cpu") as (started, said, url):
        assert started.stderr is not None
        assert said.startswith(f"serving fruit and the model tiny at {url}; {url}/docs says how")
        told = re.fullmatch(r"token: (\S{32,})\n", started.stderr.readline())
        assert told, "a token was made, and is printed once"
        (hit,) = asked(f"{url}/search", told[1], {"query": "apples"})["hits"]
        assert hit["path"] == "a.txt"
        body = {"input": "apples", "model": "tiny:query"}
        assert len(asked(f"{url}/v1/embeddings", told[1], body)["data"][0]["embedding"]) > 8
        started.send_signal(signal.SIGINT)
        assert started.wait(20) == 130
        assert started.stderr.read().strip() == "stopped", "one word, no traceback"


@pytest.mark.timeout(180)
def test_a_model_alone_with_a_token_from_the_environment(model: Path) -> None:
    arguments = ("--no-index", "--model", str(model), "--device", "cpu")
    with process(*arguments, token=GIVEN) as (started, said, url):
        assert said.startswith(f"serving the model tiny at {url}")
        assert [one["id"] for one in asked(f"{url}/v1/models", GIVEN)["data"]] == [
            "tiny",
            "tiny:query",
        ]
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == TERMINATED
        assert started.stderr is not None
        assert started.stderr.read() == "", "the token is not repeated, and there is no traceback"


def test_a_model_that_never_ends_a_batch_does_not_hold_up_the_end(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "notes")
    command = [sys.executable, "-m", "tests.apps.stuck", str(folder), GIVEN]
    body = b'{"input": "apples", "model": "fake:query"}'
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {GIVEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr is not None
            port = int(started.stderr.readline().rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(head.encode() + body)
                assert started.stderr.readline() == "computing\n"
                started.send_signal(signal.SIGINT)
                assert started.wait(20) == 130
            assert "ended without waiting" in started.stderr.read()
        finally:
            started.kill()


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The sentence with which a command ends; its index is `notes`."""
    monkeypatch.delenv("WVA_TOKEN", raising=False)
    folder = make_index(tmp_path / "notes")

    def run(*arguments: str, index: bool = True) -> str:
        given = ["--index", str(folder)] if index else []
        assert cli.main(["serve", *given, *arguments]) in (1, 2)
        return capsys.readouterr().err

    return run


def test_a_port_that_is_taken_is_named(refused: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("--port", str(port))
        assert said == f"wva: port {port} is taken; choose another one, e.g. --port {port + 1}\n"


def test_what_cannot_be_served_is_said(refused: Any, tmp_path: Path) -> None:
    assert "there is no index in" in refused("--index", str(tmp_path / "missing"))
    assert "--port needs a number between 0 and 65535" in refused("--port", "70000")
    assert "cannot listen at 192.0.2.1" in refused("--host", "192.0.2.1", "--port", "0")
    assert "leave it or --index out" in refused("--no-index")
    everywhere = ("--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert "--no-token is for this machine alone" in refused("--no-token", *everywhere)


def test_without_the_extra_a_sentence_says_what_to_install(
    refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EXTRA", ("fastapi", "no_such_package"))
    said = refused()
    assert said == "wva: this command needs no-such-package: pip install 'wva-retriever[server]'\n"


def test_a_token_of_a_file_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_TOKEN", GIVEN)
    file = tmp_path / "token"
    file.write_text("a-token-from-a-file\n")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others: chmod 600"):
        server_token(str(file))
    file.chmod(0o600)
    assert server_token(str(file)) == ("a-token-from-a-file", False)
    assert "WVA_TOKEN" not in os.environ, "child processes need it not"
    with pytest.raises(UsageError, match="cannot be read as text"):
        server_token(str(tmp_path / "missing"))
    monkeypatch.setenv("WVA_TOKEN", GIVEN)
    assert server_token() == (GIVEN, False)
    (first, is_new), (second, _) = server_token(), server_token()
    assert is_new
    assert first != second
    assert min(len(first), len(second)) >= 32


@pytest.mark.parametrize("token", ["short", "with a space in it", "non-ascii-ümlauts"])
def test_a_token_that_is_no_secret_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_TOKEN", token)
    with pytest.raises(UsageError, match="WVA_TOKEN needs at least 16 characters") as told:
        server_token()
    assert token not in str(told.value)


def test_a_folder_of_indexes_and_indexes_of_one_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Index.open_or_create(tmp_path / "home" / name).close()
    Index.open_or_create(tmp_path / "other" / "a").close()
    home, other = tmp_path / "home", tmp_path / "other"
    assert served_places([home]) == {"a": home / "a", "b": home / "b"}
    assert served_places([home / "b", home / "b"]) == {"b": home / "b"}
    with pytest.raises(UsageError, match="two indexes are named 'a'"):
        served_places([home, other])
    with pytest.raises(IndexStateError, match="make one with wva index PATH"):
        served_places([tmp_path / "missing"])


def test_two_indexes_of_one_model_load_it_once(tmp_path: Path, model: Path) -> None:
    from retriever.interface.server.served import Loading, Served

    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"The text {name}.")
        with Index.open_or_create(tmp_path / name, AlignedWVA(str(model))) as index:
            index.sync(tmp_path / f"{name}.txt")
    Index.open_or_create(tmp_path / "empty").close()
    folders = {name: tmp_path / name for name in ("empty", "one", "two")}
    with Served(folders, Loading("cpu")) as served:
        assert [one.name for one in served.models] == ["tiny"]
        indexes = served.chosen()
        assert indexes["one"].embedder is indexes["two"].embedder
        assert indexes["empty"].queue is None
        with Index.open_or_create(tmp_path / "empty", indexes["one"].embedder) as index:
            index.sync(tmp_path / "one.txt")
        assert served.index("empty").queue is served.models[0].queue
        assert served.index("empty").embedder is indexes["one"].embedder


def test_a_port_is_free_again_after_an_error() -> None:
    with bound(Address(port=0)) as listener:
        port = listener.getsockname()[1]
    with bound(Address(port=port)) as again:
        assert again.getsockname()[1] == port
