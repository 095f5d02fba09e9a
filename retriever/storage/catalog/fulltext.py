"""The full-text index: the terms of each chunk, analysed in the chunk's language.

It can be rebuilt from titles and texts, without the model. This happens if the version of the
analyzer differs from the one that made the terms.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from retriever.storage.catalog.schema import FULLTEXT, VOCABULARY, unblob
from retriever.text import analyzer as terms
from retriever.text.detection import detect_language
from retriever.text.languages import LINKING_ELEMENTS

ANALYSER = "analyser"
"""The name of the meta value with the version of the analyzer that made the terms."""

MIN_LETTERS = 7
"""The minimum length of a compound."""


def detect_languages(texts: Sequence[str]) -> list[str]:
    """The language of each of a document's chunks; the document's if a chunk shows none."""
    found = [detect_language(text) for text in texts]
    if "" in found and len(texts) > 1:
        whole = detect_language("\n".join(texts))
        return [language or whole for language in found]
    return found


def insert(connection: sqlite3.Connection, key: int, title: str, text: str, language: str) -> None:
    """Write a chunk's terms, and its long words if its language has compounds."""
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
    """Whether the terms were made by this version of the analyzer."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (ANALYSER,)).fetchone()
    return row is not None and json.loads(row[0]) == terms.VERSION


def rebuild(connection: sqlite3.Connection) -> None:
    """Rebuild the full-text index from the chunks; call it in a transaction."""
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
    """Store the version of the analyzer."""
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
