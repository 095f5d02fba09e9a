"""The page with an embedder that needs no model: what the tests of the page run."""

import sys
from pathlib import Path

from retriever.index import Index
from tests.fakes import FakeEmbedder
from ui.app import main

INDEXER = (sys.executable, str(Path(__file__).with_name("indexer.py")))

if __name__ == "__main__":
    main(open_index=lambda path: Index.open(path, FakeEmbedder()), indexer=INDEXER)
