"""The full-text index: the terms of each chunk, analysed in the chunk's language.

It can be rebuilt from titles, pages and texts, without the model. This happens if the version of
the analyzer differs from the one that made the terms.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from retriever.storage.catalog import forms
from retriever.storage.catalog.margins import margin_texts
from retriever.storage.catalog.schema import (
    FULLTEXT,
    LENGTHS,
    VOCABULARY,
    added_columns,
    unblob,
)
from retriever.storage.records import PassageTerms
from retriever.text import analyzer as terms
from retriever.text.detection import detect_language
from retriever.text.languages import LINKING_ELEMENTS
from retriever.types import Page, Span

VERSION = terms.VERSION
"""The version of the analyzer whose terms this program makes."""

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


def analyse(title: str, text: str, language: str, margins: Sequence[str] = ()) -> PassageTerms:
    """A chunk's terms, and its long words if its language has compounds.

    The terms of `margins` (see `retriever.storage.catalog.margins`) follow; no phrase crosses from
    one text to another, and they do not lengthen the passage.
    """
    found = terms.passage_terms(title, text, language)
    length = len(terms.content_terms(found))
    for margin in margins:
        found += [terms.BOUNDARY, *terms.index_terms(margin, language)]
    long_words: list[str] = []
    if language in LINKING_ELEMENTS:
        ending = len(terms.MARK + language)
        long_words = sorted(
            term[:-ending][::-1]
            for term in set(found)
            if len(term) >= MIN_LETTERS + ending and terms.language_mark(term)
        )
    return PassageTerms(language, " ".join(found), length, tuple(long_words))


def insert(connection: sqlite3.Connection, key: int, found: PassageTerms) -> None:
    """Write what was found in a chunk."""
    connection.execute("INSERT INTO fulltext (rowid, terms) VALUES (?, ?)", (key, found.terms))
    connection.execute("INSERT INTO lengths (chunk, terms) VALUES (?, ?)", (key, found.length))
    connection.executemany(
        "INSERT OR IGNORE INTO long_words VALUES (?, ?)",
        ((found.language, word) for word in found.long_words),
    )


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the terms were made by this version of the analyzer."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (ANALYSER,)).fetchone()
    with suppress(*forms.UNDECODED):
        return row is not None and bool(forms.setting(ANALYSER, row[0]) == terms.VERSION)
    return False


def rebuild(connection: sqlite3.Connection) -> None:
    """Rebuild the full-text index from the chunks; call it in a transaction."""
    for statement in (
        "DROP TABLE vocabulary",
        "DROP TABLE fulltext",
        "DROP TRIGGER IF EXISTS chunk_length",
        "DROP TABLE IF EXISTS lengths",
        "DELETE FROM long_words",
        FULLTEXT,
        VOCABULARY,
        *LENGTHS,
    ):
        connection.execute(statement)
    documents = connection.execute("SELECT key, title FROM documents ORDER BY key").fetchall()
    for document, title in documents:
        rows = connection.execute(
            "SELECT key, text, position, start FROM chunks WHERE document = ? ORDER BY key",
            (document,),
        ).fetchall()
        texts = [unblob(row[1]) for row in rows]
        margins = margin_texts(_pages(connection, document), [row[2:] for row in rows])
        languages = detect_languages(texts)
        for row, text, language, beside in zip(rows, texts, languages, margins, strict=True):
            connection.execute("UPDATE chunks SET language = ? WHERE key = ?", (language, row[0]))
            insert(connection, row[0], analyse(unblob(title), text, language, beside))
    record_version(connection)


def _pages(connection: sqlite3.Connection, document: int) -> dict[int, Page]:
    """The pages of a document that may have margins, by position."""
    has_bodies = {"body_start", "body_stop"} <= added_columns(connection)
    body = "body_start, body_stop" if has_bodies else "NULL, NULL"
    rows = connection.execute(
        f"""SELECT position, number, label, text, {body} FROM pages
        WHERE document = ? AND (number IS NOT NULL{" OR body_start IS NOT NULL" * has_bodies})""",
        (document,),
    )
    return {
        position: Page(
            number,
            unblob(text),
            label=unblob(label),
            body=None if start is None else Span(start, stop),
        )
        for position, number, label, text, start, stop in rows
    }


def record_version(connection: sqlite3.Connection) -> None:
    """Store the version of the analyzer."""
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", (ANALYSER, json.dumps(terms.VERSION))
    )


__all__ = [
    "ANALYSER",
    "MIN_LETTERS",
    "VERSION",
    "analyse",
    "detect_languages",
    "insert",
    "is_current",
    "rebuild",
    "record_version",
]
