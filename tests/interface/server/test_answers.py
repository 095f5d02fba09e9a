"""Answers: those of the command line, and written ones by the server's own model alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from retriever.interface.server import run
from tests.interface.server.running import SECONDS, Running, make_index, running, served
from tests.servers import wait_until

QUESTION = "where does the cat sleep?"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        (("-k", "1"), {"k": 1}),
        (
            ("--mode", "keyword", "--path", "dogs*"),
            {"mode": "keyword", "where": {"path": {"glob": "dogs*"}}},
        ),
    ],
)
def test_an_answer_is_that_of_the_command_line(
    notes: Running, command: Any, arguments: tuple[str, ...], options: dict[str, Any]
) -> None:
    answer = notes.post("/answer", {"query": QUESTION, **options})
    assert answer.json == command("answer", QUESTION, *arguments)


def test_an_answer_abstains(notes: Running) -> None:
    answer = notes.post("/answer", {"query": "zyzzyva quokka"}).json
    assert (answer["abstained"], answer["sentences"]) == (True, [])


class Writer:
    """A chat model that cites the first passage, when it is let."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []

    def __call__(self, system: str, user: str) -> str:
        self.asked.append(user)
        assert self.gate.wait(SECONDS)
        quotes = ["A cat sleeps on the roof", "A cat sleeps on the moon"]
        return json.dumps(
            {
                "sentences": [
                    {"text": "On it.", "citations": [{"passage": 1, "quote": quote}]}
                    for quote in quotes
                ]
            }
        )


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[tuple[Running, Writer]]:
    writer = Writer()
    with running(served({"notes": make_index(tmp_path / "notes")}, chat=writer)) as server:
        yield server, writer
        writer.gate.set()


def test_a_written_answer_has_checked_quotations(writing: Any) -> None:
    server, writer = writing
    writer.gate.set()
    answer = server.post("/answer", {"query": QUESTION, "written": True, "passages": 2}).json
    assert [one["verified"] for one in answer["sentences"]] == [True, False]
    assert answer["sentences"][0]["citations"][0]["path"] == "cats.txt"
    assert len(answer["passages"]) <= 2
    assert QUESTION in writer.asked[0]
    assert server.post("/answer", {"query": QUESTION}).json["sentences"][0]["text"]
    assert len(writer.asked) == 1, "only if it is asked for"


def test_searches_do_not_wait_for_answers_that_are_written(writing: Any) -> None:
    server, writer = writing
    body = {"query": QUESTION, "written": True}
    with ThreadPoolExecutor() as callers:
        slow = [callers.submit(server.post, "/answer", body) for _ in range(12)]
        assert server.post("/search", {"query": QUESTION}).status == 200
        writer.gate.set()
        assert {one.result(SECONDS).status for one in slow} == {200}


def test_a_model_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "STOP_SECONDS", 0)
    writer = Writer()
    folder = make_index(tmp_path / "notes")
    with ThreadPoolExecutor() as callers:
        with running(served({"notes": folder}, chat=writer)) as server:
            body = {"query": QUESTION, "written": True}
            hangs = callers.submit(server.post, "/answer", body)
            wait_until(lambda: bool(writer.asked))
        refused = hangs.result(SECONDS)
    assert not writer.gate.is_set()
    assert (refused.status, refused.json["error"]) == (
        503,
        "the server is stopping; try again later",
    )
    assert not caplog.records
    writer.gate.set()
    for thread in threading.enumerate():
        if thread.name == "answer slowly":
            thread.join(SECONDS)


def test_a_request_cannot_name_a_model(notes: Running) -> None:
    refused = notes.post("/answer", {"query": QUESTION, "written": True})
    assert refused.status == 400
    assert "wva serve --llm URL names one" in refused.json["error"]
    refused = notes.post("/answer", {"query": QUESTION, "llm": "http://127.0.0.1:1/v1"})
    assert "'llm' is no search option" in refused.json["error"]
