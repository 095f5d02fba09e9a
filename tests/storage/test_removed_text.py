"""A removed document's text is in no row of the catalog, whatever way it went."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from retriever import Index
from retriever.storage.catalog import CATALOG_FILE
from tests.fakes import FakeEmbedder

NAME = "zanzibarian"
SENTENCE = "The zanzibarian queen sails at midnight."


def places_of(word: str, folder: Path) -> set[str]:
    """The tables that hold the word as text; those in which FTS5 keeps its terms are left out."""
    found = set()
    with closing(sqlite3.connect(f"file:{folder / CATALOG_FILE}?mode=ro", uri=True)) as catalog:
        tables = catalog.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith("fulltext"):
                continue
            for row in catalog.execute(f'SELECT * FROM "{table}"'):
                texts = [one.encode() if isinstance(one, str) else one for one in row]
                if any(isinstance(one, bytes) and word.encode() in one.lower() for one in texts):
                    found.add(table)
    return found


def by_deleting_the_file(index: Index, docs: Path) -> None:
    (docs / f"{NAME}.md").unlink()
    index.sync(docs)


def by_editing_the_file(index: Index, docs: Path) -> None:
    (docs / f"{NAME}.md").rename(docs / "other.md")
    (docs / "other.md").write_text("# Other\n\nNothing of it is left in this note.\n")
    index.sync(docs)


def by_removing_it(index: Index, docs: Path) -> None:
    index.discard([(str(docs.resolve()), f"{NAME}.md")])


def by_emptying_the_folder(index: Index, docs: Path) -> None:
    """The folder is emptied but for one file."""
    for path in sorted(docs.iterdir())[1:]:
        path.unlink()
    index.sync(docs, force=True)


@pytest.mark.parametrize(
    "remove",
    [by_deleting_the_file, by_editing_the_file, by_removing_it, by_emptying_the_folder],
)
def test_a_removed_documents_text_is_in_no_row(
    remove: Callable[[Index, Path], None], tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(4):
        (docs / f"note-{number}.md").write_text(
            f"# Note {number}\n\nAn ordinary note on gardens.\n"
        )
    front = f"---\ntitle: Of {NAME}\ntags: [{NAME}]\n---\n"
    (docs / f"{NAME}.md").write_text(f"{front}# {NAME}\n\n{SENTENCE}\n\n<!-- {SENTENCE} -->\n")
    folder = tmp_path / "index"
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.sync(docs)
        assert {"documents", "pages", "metadata"} <= places_of(NAME, folder)
        assert index.search(NAME, mode="keyword")
        remove(index, docs)
        assert not index.search(NAME, mode="keyword")
    assert places_of(NAME, folder) == set()
