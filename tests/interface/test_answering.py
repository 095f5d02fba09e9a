"""Searches that a running page answers: the same output, for its owner alone, gone with it."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import Document, Index, Page
from retriever.interface import answering
from retriever.interface.answering import Answering, ask, socket_path
from retriever.interface.cli import main
from retriever.interface.commands.searching import answer_search
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix-domain sockets")

TEXTS = {
    "cats.txt": "A cat sleeps on the roof of the house.",
    "dogs.txt": "A dog barks at the postman every morning.",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as opened:
        opened.add([Document(name, "text", (Page(None, text),)) for name, text in TEXTS.items()])
        yield opened


def served(index: Index) -> Answering:
    """The index's folder is listened at, until the test closes it."""
    answering = Answering(Path(index.name), lambda request: answer_search(index, request))
    answering.start()
    assert answering.listening.wait(10)
    return answering


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["search", *arguments])
    output = capsys.readouterr()
    return code, re.sub(r'"took_ms": [\d.]+', "", output.out), output.err


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--json",),
        ("-k", "1", "--json"),
        ("--path", "dogs*"),
        ("--path", "nothing"),
    ],
)
def test_a_page_answers_as_the_command_itself(
    index: Index, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    command = ("cat on the roff", "--mode", "keyword", "--index", index.name, *options)
    alone = printed(capsys, *command)
    running = served(index)
    try:
        assert ask(index.name, {}) is None  # asked and refused: it is not the test that is deaf
        assert printed(capsys, *command) == alone
    finally:
        running.close()


def test_a_command_beside_a_page_opens_no_index(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = served(index)
    monkeypatch.setattr(Index, "open", None)
    try:
        code, out, _ = printed(capsys, "cat", "--index", index.name, "--json")
    finally:
        running.close()
    assert code == 0
    assert json.loads(out.replace(",\n  ,", ","))["hits"][0]["path"] == "cats.txt"


def test_the_socket_is_its_owners_and_gone_at_the_end(index: Index) -> None:
    running = served(index)
    path = socket_path(Path(index.name))
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(path.parent.glob(".ask-*"))
    running.close()
    assert not path.exists()


def test_a_stale_socket_is_replaced(index: Index) -> None:
    path = socket_path(Path(index.name))
    assert path is not None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert ask(index.name, {"query": "cat"}) is None
    running = served(index)
    running.close()
    assert not path.exists()


def test_another_version_is_not_answered(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    running = served(index)
    try:
        line = json.dumps({"protocol": 0, "version": "0"}).encode()
        assert running._answer(line) == {"error": "another version"}
        assert "error" in running._answer(b"no JSON")
        monkeypatch.setattr(answering, "PROTOCOL", 99)
        assert ask(index.name, {}) is None  # the handler fails
    finally:
        running.close()


def test_other_users_are_neither_answered_nor_asked(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = served(index)
    request = {
        "query": "cat",
        "options": {"mode": "keyword"},
        "index": "ix",
        "json": True,
        "colour": False,
        "columns": 80,
    }
    own = os.geteuid()
    try:
        assert ask(index.name, request) is not None
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        assert ask(index.name, request) is None
    finally:
        running.close()


def test_a_long_path_has_its_socket_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", "/tmp/wva-cache")  # noqa: S108 - nothing is written there
    path = socket_path(tmp_path / ("long" * 30))
    assert path is not None
    assert path.is_relative_to(Path("/tmp/wva-cache").resolve())  # noqa: S108
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / ("long" * 30)))
    assert socket_path(tmp_path / ("long" * 30)) is None
