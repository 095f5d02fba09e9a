from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interface.server.running import Running, make_index, running, served


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of one index, `notes`, with an embedder without a model."""
    folder = make_index(tmp_path_factory.mktemp("served") / "notes")
    with running(served({"notes": folder})) as server:
        yield server
