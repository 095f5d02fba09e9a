"""The examples of docs/serving.md, against a server."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.interface.server.running import (
    TEXTS,
    TOKEN,
    JudgingEmbedder,
    Running,
    make_index,
    running,
    served,
)
from tests.test_documents import SERVED, Block, blocks_of, read

ADDRESS = "http://127.0.0.1:8600"


class Named(JudgingEmbedder):
    """It has the name of the model in the examples."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = replace(self.settings, model="smollm2-135m")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("documented") / "docs"
    make_index(folder, TEXTS, Named())
    with running(served({"docs": folder}, Named())) as started:
        yield started


def blocks(language: str) -> list[Block]:
    return [block for block in blocks_of(SERVED) if block.language == language]


def test_the_python_examples_run(
    server: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = blocks("python")
    assert len(examples) == 2
    for block in examples:
        with openai.DefaultHttpxClient() as client:
            # The examples do not close their connections, a test has to.
            code = block.text.replace("api_key=", "http_client=http_client, api_key=")
            code = code.replace(ADDRESS, server.url).replace("the token", TOKEN)
            exec(code, {"http_client": client})  # noqa: S102 - our own document
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] for line in lines[:2]] == [
        "Eat more fruit.",
        "A password has eight characters.",
    ]
    assert float(lines[0].split()[0]) > float(lines[1].split()[0])
    assert lines[2:] == ["256"]


def test_the_requests_of_the_shell_are_answered(server: Running) -> None:
    paths = set()
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            if program == "curl":
                paths.add(curl(server, words))
    assert paths >= {"/search", "/v1/rerank", "/retrieval"}


def curl(server: Running, words: list[str]) -> str:
    """Asks as curl does with these words; gives the path."""
    url, *options = words
    given = list(zip(options[::2], options[1::2], strict=True))
    headers = dict(one.split(": ", 1) for name, one in given if name == "-H")
    assert headers == {
        "Authorization": "Bearer $WVA_TOKEN",
        "Content-Type": "application/json",
    }
    (body,) = [json.loads(one) for name, one in given if name == "-d"]
    path = url.removeprefix(ADDRESS)
    answer: Any = server.post(path, body)
    assert answer.status == 200, answer.json
    return path


def test_every_request_that_is_documented_exists(server: Running) -> None:
    text = read(SERVED)
    paths = server.get("/openapi.json").json["paths"]
    for path in paths:
        beginning = path.split("{")[0].rstrip("/")
        assert beginning in text, path
