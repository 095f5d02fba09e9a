"""The page with a disk so slow that an upload is stored when the test likes.

Storing begins with a file `storing` beside the collection, and goes on when there is one `go`.
"""

import time
from pathlib import Path
from unittest.mock import patch

from retriever.index import Index
from retriever.interface.collections import store_upload
from tests.apps.search import INDEXER
from tests.fakes import FakeEmbedder
from ui.app import main


def _slowly(folder: Path, name: str, data: bytes) -> str:
    folder.with_name("storing").touch()
    while not folder.with_name("go").exists():
        time.sleep(0.02)
    return store_upload(folder, name, data)


if __name__ == "__main__":
    with patch("ui.add_documents.store_upload", _slowly):
        main(open_index=lambda path: Index.open(path, FakeEmbedder()), indexer=INDEXER)
