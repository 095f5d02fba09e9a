"""The full-text index: chunks' terms, each chunk's in its language, and how it is made anew.

It holds nothing that the other tables do not: when the analyser gives other terms than those it
was made with, it is made again from titles and texts, without the model.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from retriever.storage.catalog.schema import FULLTEXT, VOCABULARY, unblob
from retriever.text import analyzer as terms
from retriever.text.languages import LINKING_ELEMENTS, detect_language

ANALYSER = "analyser"
"""The meta value that says by which version of the analyser the terms were made."""

MIN_LETTERS = 7
"""A compound has at least so many."""


def detect_languages(texts: Sequence[str]) -> list[str]:
    """The language of each of a document's chunks; one that does not show it has the document's."""
    found = [detect_language(text) for text in texts]
    if "" in found and len(texts) > 1:
        whole = detect_language("\n".join(texts))
        return [language or whole for language in found]
    return found


def insert(connection: sqlite3.Connection, key: int, title: str, text: str, language: str) -> None:
    """Write a chunk's terms, and remember its long words, if its language has compounds."""
    found = terms.passage_terms(title, text, language)
    connection.execute("INSERT INTO fulltext (rowid, terms) VALUES (?, ?)", (key, " ".join(found)))
    if language in LINKING_ELEMENTS:
        ending = len(terms.MARK + language)
        connection.executemany(
            "INSERT OR IGNORE INTO long_words VALUES (?, ?)",
            (
                (language, term[:-ending][::-1])
                for term in set(found)
                if len(term) >= MIN_LETTERS + ending and terms.language_mark(term)
            ),
        )


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the terms were made by this version of the analyser."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (ANALYSER,)).fetchone()
    return row is not None and json.loads(row[0]) == terms.VERSION


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the full-text index again from the chunks; call it in a transaction."""
    for statement in (
        "DROP TABLE vocabulary",
        "DROP TABLE fulltext",
        "DELETE FROM long_words",
        FULLTEXT,
        VOCABULARY,
    ):
        connection.execute(statement)
    documents = connection.execute("SELECT key, title FROM documents ORDER BY key").fetchall()
    for document, title in documents:
        rows = connection.execute(
            "SELECT key, text FROM chunks WHERE document = ? ORDER BY key", (document,)
        ).fetchall()
        texts = [unblob(text) for _, text in rows]
        for (key, _), text, language in zip(rows, texts, detect_languages(texts), strict=True):
            connection.execute("UPDATE chunks SET language = ? WHERE key = ?", (language, key))
            insert(connection, key, unblob(title), text, language)
    record_version(connection)


def record_version(connection: sqlite3.Connection) -> None:
    """Record the analyser's version."""
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", (ANALYSER, json.dumps(terms.VERSION))
    )


__all__ = [
    "ANALYSER",
    "MIN_LETTERS",
    "detect_languages",
    "insert",
    "is_current",
    "rebuild",
    "record_version",
]
