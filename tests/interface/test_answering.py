"""Searches that a running page answers: the same output, for its owner alone, gone with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import Document, Index, Page
from retriever.interface import answering
from retriever.interface.answering import Answering, ask, socket_path
from retriever.interface.cli import main
from retriever.interface.commands.searching import answer_request
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix-domain sockets")

TEXTS = {
    "cats.txt": "A cat sleeps on the roof of the house.",
    "dogs.txt": "A dog barks at the postman every morning.",
}


REQUEST = {
    "command": "search",
    "query": "cat",
    "options": {"mode": "keyword"},
    "index": "ix",
    "json": True,
    "colour": False,
    "columns": 80,
}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="wva-") as folder:
        monkeypatch.setenv("WVA_CACHE", folder)
        yield


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as opened:
        opened.add([Document(name, "text", (Page(None, text),)) for name, text in TEXTS.items()])
        yield opened


def served(index: Index) -> Answering:
    """The index's folder is listened at, until the test closes it."""
    answering = Answering(Path(index.name), lambda request: answer_request(index, request))
    answering.start()
    assert answering.listening.wait(10)
    return answering


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
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
    command = ("search", "cat on the roff", "--mode", "keyword", "--index", index.name, *options)
    alone = printed(capsys, *command)
    running = served(index)
    try:
        assert ask(index.name, {}) is None  # asked and refused: it is not the test that is deaf
        assert printed(capsys, *command) == alone
    finally:
        running.close()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--json",),
        ("--hit", "2", "--check"),
        ("--file", "dogs.txt"),
        ("--file", "dogs.txt", "--json"),
        ("--hit", "9"),
    ],
)
def test_a_page_explains_as_the_command_itself(
    index: Index, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    command = ("explain", "cat on the roff", "--mode", "keyword", "--index", index.name, *options)
    alone = printed(capsys, *command)
    running = served(index)
    try:
        assert printed(capsys, *command) == alone
    finally:
        running.close()


def test_a_difference_is_explained_by_a_page(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (hit.chunk.id for hit in index.search("a cat", mode="dense"))
    running = served(index)
    try:
        answer = ask(
            index.name,
            {**REQUEST, "command": "explain", "which": {"above": [first, second]}},
        )
    finally:
        running.close()
    alone = index.compare("cat", first, second, mode="keyword")
    assert answer is not None
    assert answer["output"]["document"].items() >= alone.to_json().items()


def test_a_command_beside_a_page_opens_no_index(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = served(index)
    monkeypatch.setattr(Index, "open", None)
    try:
        code, out, _ = printed(capsys, "search", "cat", "--index", index.name, "--json")
        explained, why, _ = printed(
            capsys, "explain", "cat", "--mode", "keyword", "--index", index.name
        )
    finally:
        running.close()
    assert code == explained == 0
    assert json.loads(out.replace(",\n  ,", ","))["hits"][0]["path"] == "cats.txt"
    assert "cats.txt" in why


def test_the_socket_is_its_owners_and_gone_at_the_end(index: Index) -> None:
    running = served(index)
    path = socket_path(Path(index.name))
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    running.close()
    assert not path.exists()


def test_a_folder_that_others_can_enter_is_not_used(index: Index) -> None:
    path = socket_path(Path(index.name))
    assert path is not None
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o750)
    answering = Answering(Path(index.name), lambda _: {})
    answering._listen(path)
    assert not path.exists()
    path.parent.chmod(0o700)
    running = served(index)
    try:
        assert ask(index.name, REQUEST) is not None
        path.parent.chmod(0o750)
        assert ask(index.name, REQUEST) is None
    finally:
        running.close()


def test_stale_sockets_are_removed_and_replaced(index: Index) -> None:
    path = socket_path(Path(index.name))
    assert path is not None
    path.parent.mkdir(mode=0o700, parents=True)
    other = path.with_name("0123456789abcdef.sock")
    for each in (path, other):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(each))
    assert ask(index.name, REQUEST) is None
    running = served(index)
    try:
        assert ask(index.name, REQUEST) is not None
        assert not other.exists()
    finally:
        running.close()
    assert not path.exists()


def test_an_index_can_be_copied_while_it_answers(index: Index, tmp_path: Path) -> None:
    running = served(index)
    try:
        copied = shutil.copytree(index.name, tmp_path / "copy")
        assert not [path for path in copied.rglob("*") if path.is_socket()]
        assert ask(copied, REQUEST) is None  # it is another index from now on
        with Index.open(copied, FakeEmbedder()) as other:
            assert other.search("cat", mode="keyword")
    finally:
        running.close()


def test_an_index_that_took_anothers_place_is_not_answered(index: Index, tmp_path: Path) -> None:
    folder = Path(index.name)
    running = served(index)
    try:
        assert ask(folder, REQUEST) is not None
        shutil.copytree(folder, tmp_path / "other")
        folder.rename(tmp_path / "before")
        (tmp_path / "other").rename(folder)
        assert ask(folder, REQUEST) is None
    finally:
        running.close()


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
    own = os.geteuid()
    try:
        assert ask(index.name, REQUEST) is not None
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        assert ask(index.name, REQUEST) is None
    finally:
        running.close()


def test_an_index_on_a_long_path_is_answered(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "ix"
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.add([Document("cats.txt", "text", (Page(None, TEXTS["cats.txt"]),))])
        running = served(index)
        try:
            assert ask(folder, REQUEST) is not None
        finally:
            running.close()


def test_with_a_cache_on_a_long_path_the_socket_is_a_temporary_file(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / ("long" * 30)))
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/short")  # noqa: S108 - nothing is written there
    path = socket_path(Path(index.name))
    assert path is not None
    assert path.is_relative_to(Path("/tmp/short").resolve())  # noqa: S108
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    assert socket_path(Path(index.name)) is None
    assert socket_path(tmp_path / "no index") is None
