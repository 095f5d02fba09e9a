"""The command line with an embedder that needs no model: what the tests of the page index with."""

import sys
from types import ModuleType

from retriever.embedding.models import trusted
from retriever.interface.cli import main
from tests.fakes import FakeEmbedder


class Fake(FakeEmbedder):
    """Made as `AlignedWVA` is made."""

    def __init__(self, **_: object) -> None:
        super().__init__()

    @classmethod
    def from_settings(cls, *_: object, **__: object) -> "Fake":
        return cls()


if __name__ == "__main__":  # pytest imports every file, to look for examples in it
    # In the place of the whole module: importing torch takes seconds of every process.
    sys.modules["retriever.embedding.aligned_wva"] = embedder = ModuleType(
        "retriever.embedding.aligned_wva"
    )
    embedder.AlignedWVA = Fake  # type: ignore[attr-defined]  # a new module has no names yet
    # Nobody has named the model "fake", and no file says which one it is.
    trusted.check_own = lambda *_, **__: False  # type: ignore[assignment]
    sys.exit(main())
