"""The page with an embedder that needs no model: what the tests of the page run."""

from retriever.index import Index
from tests.fakes import FakeEmbedder
from ui.app import main

if __name__ == "__main__":
    main(open_index=lambda path: Index.open(path, FakeEmbedder()))
