"""The page with a model that is loaded when a file named `loaded` lies beside the index."""

import time
from pathlib import Path

from retriever.embedding.protocols import Embedder
from retriever.index import Index
from tests.fakes import FakeEmbedder
from ui.app import main


class SlowIndex(Index):
    """An index whose model takes as long as the test likes."""

    def _load(self) -> Embedder:
        while not Path(self.name).with_name("loaded").exists():
            time.sleep(0.02)
        return FakeEmbedder()


if __name__ == "__main__":
    main(open_index=SlowIndex.open)
