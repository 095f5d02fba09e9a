"""`wva serve` with a model that never ends a batch; the server takes less time to stop."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retriever.interface.commands.output import INTERRUPTED
from retriever.interface.server import run
from retriever.interface.server.served import Loading, Served
from tests.fakes import FakeEmbedder


class StuckEmbedder(FakeEmbedder):
    """A model that never answers."""

    def embed_queries(self, queries: Sequence[str]) -> Any:
        sys.stderr.write("computing\n")
        threading.Event().wait()
        raise AssertionError("nothing sets the event")


def ready(url: str) -> None:
    sys.stderr.write(f"{url}\n")


if __name__ == "__main__":
    run.STOP_SECONDS = 0
    run.END_SECONDS = 0.2
    served = Served({"notes": Path(sys.argv[1])}, Loading(embedder=StuckEmbedder))
    try:
        run.serve(served, run.Address(port=0), sys.argv[2], ready=ready)
    except KeyboardInterrupt:  # as the command does
        sys.exit(INTERRUPTED)
