from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.cli import main
from tests.fakes import FakeEmbedder
from tests.interface.server.running import Running, make_index, running, served


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of one index, `notes`, with an embedder without a model."""
    folder = make_index(tmp_path_factory.mktemp("served") / "notes")
    with running(served({"notes": folder})) as server:
        yield server


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], notes: Running
) -> Any:
    """Runs a command on the index that is served, and gives its JSON."""
    folder = notes.served.places["notes"]
    opened = Index.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Index, "open", classmethod(lambda cls, path, *_, **__: opened(cls, path, FakeEmbedder()))
    )

    def run(*arguments: str) -> Any:
        assert main([*arguments, "--index", str(folder), "--json"]) == 0
        return {**json.loads(capsys.readouterr().out), "index": "notes"}

    return run
