"""Keyword search in several languages, and compounds, on indexes of known answers.

The expected scores are an independent implementation of BM25 (k1 1.2, b 0.75).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from math import log
from pathlib import Path

import numpy as np
import pytest

from retriever.storage.backends.compounds import is_part, split_compound
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog.connections import LOCK_FILE
from retriever.storage.catalog.lock import WriterLock
from retriever.storage.filters import Words
from retriever.storage.records import NewChunk
from retriever.text.analyzer import index_terms, matching_words
from retriever.types import DocumentRow, IndexStateError, Page, Span, document_id
from tests.live import live

COURT = "Das Bundesverfassungsgericht hat über die Klage und den Antrag nicht entschieden."
COURT_OF = "Das Gericht des Bundes ist in der Stadt und nicht auf dem Land."
LAW = "Die Verfassung ist das Gesetz, nach dem wir leben und von dem wir reden."
KINGS = "Die Monarchen waren auf dem Schiff und nicht in der Stadt."
ARK = "Die Arche war ein Schiff, das auf dem Wasser und nicht auf dem Land fuhr, jeden Mon."
HOUSES = "The houses of the city are old and they will die soon."
HAEUSER = "Die Häuser der Stadt sind alt und werden nicht repariert."
SMALL_COURT = "Das Verfassungsgericht und die Polizei haben sich nicht geeinigt."
TEXTS = (COURT, COURT_OF, LAW, KINGS, ARK, HOUSES, HAEUSER, SMALL_COURT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def backend(folder: Path) -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend.open(folder, create=True) as opened:
        put(opened, *TEXTS)
        yield opened


def put(backend: EmbeddedBackend, *texts: str) -> None:
    backend.save_vectors(["v"], np.ones((1, 2), np.float32))
    for text in texts:
        row = DocumentRow(document_id("", text), "", "", text, "text")
        backend.upsert(row, [Page(None, text)], [NewChunk(0, Span(0, len(text)), "v")])


def found(backend: EmbeddedBackend, query: str, **options: bool) -> dict[str, float]:
    """Text → score, best first."""
    side = live(backend).keyword(query, 10, **options)
    texts = [chunk.text for chunk in live(backend).get(side.ids)]
    return dict(zip(texts, side.scores.tolist(), strict=True))


def bm25(text: str, language: str, documents: int, texts: dict[str, str]) -> float:
    """The BM25 score of a word that occurs once in `text` and in that many of the texts."""
    lengths = {one: len(index_terms(f"\n{one}", texts[one])) for one in texts}
    mean = sum(lengths.values()) / len(lengths)
    idf = log((len(texts) - documents + 0.5) / (documents + 0.5))
    assert texts[text] == language
    return idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths[text] / mean))


LANGUAGES = {text: "en" if text == HOUSES else "de" for text in TEXTS}


@pytest.mark.parametrize("query", ["Gericht", "Gerichte", "GERICHTS", "Wo ist das Gericht?"])
def test_a_compound_is_found_by_its_last_part_and_counts_half(
    backend: EmbeddedBackend, query: str
) -> None:
    expected = {
        COURT_OF: bm25(COURT_OF, "de", 1, LANGUAGES),
        SMALL_COURT: bm25(SMALL_COURT, "de", 1, LANGUAGES) / 2,
        COURT: bm25(COURT, "de", 1, LANGUAGES) / 2,
    }
    assert found(backend, query) == pytest.approx(expected, rel=1e-5)


def test_a_compound_is_found_by_a_shorter_one_and_finds_its_parts(backend: EmbeddedBackend) -> None:
    assert list(found(backend, "Verfassungsgericht"))[:2] == [SMALL_COURT, COURT]
    parted = found(backend, "Bundesverfassungsgericht")
    assert set(parted) >= {COURT, COURT_OF}
    # Bund and Gericht, two of its three parts; each occurs in one chunk.
    two_of_three = bm25(COURT_OF, "de", 1, LANGUAGES) * 2 * 0.5 / 3
    assert parted[COURT] > parted[COURT_OF] == pytest.approx(two_of_three, rel=1e-5)


def test_matched_terms_are_all_terms_searched_for(backend: EmbeddedBackend) -> None:
    def marked(text: str, query: str) -> list[str]:
        found = matching_words(text, query, live(backend).matched_terms(query), LANGUAGES[text])
        return [text[word.start : word.end] for word in found]

    assert marked(COURT, "Gericht") == ["Bundesverfassungsgericht"]
    assert marked(SMALL_COURT, "das Gericht") == ["Verfassungsgericht"]
    assert marked(COURT_OF, "Bundesverfassungsgericht") == ["Gericht", "Bundes"]
    assert marked(SMALL_COURT, "Polizzei") == ["Polizei"]
    assert marked(KINGS, "Arche") == []


def test_names_and_short_words_are_no_compounds(backend: EmbeddedBackend) -> None:
    assert list(found(backend, "Arche")) == [ARK]
    assert list(found(backend, "Archen")) == [ARK]
    assert list(found(backend, "Monarchen")) == [KINGS]


def test_each_passage_is_found_by_the_forms_of_its_language(backend: EmbeddedBackend) -> None:
    for query in ("Haus", "Häuser", "haeuser", "HAUSES"):
        assert list(found(backend, query)) == [HAEUSER]
    for query in ("house", "Houses"):
        assert list(found(backend, query)) == [HOUSES]
    assert list(found(backend, "to die")) == [HOUSES]  # in German it is the article
    assert set(found(backend, "die Stadt")) == {COURT_OF, KINGS, HAEUSER}
    assert {chunk.text: chunk.language for chunk in live(backend).sample_chunks(10)} == LANGUAGES


def test_a_word_of_two_languages_counts_as_one_word(folder: Path) -> None:
    german = [f"Das Patent ist von der Firma und nicht von dem Staat {n}." for n in "ABCD"]
    english = [f"The lake is near the town and not in the forest {n}." for n in "ABCDEFGH"]
    both = "The patent is owned by the town and it is not for the lake."
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, *german, *english, both)
        scores = found(backend, "patent")
        languages = dict.fromkeys(german, "de") | dict.fromkeys((*english, both), "en")
        expected = {text: bm25(text, languages[text], 5, languages) for text in (*german, both)}
        assert scores == pytest.approx(expected, rel=1e-5)


def test_a_phrase_and_a_typing_error_are_read_in_each_language(backend: EmbeddedBackend) -> None:
    def within(phrase: str) -> set[str]:
        side = live(backend).keyword("Stadt city", 10, Words(phrase))
        return {chunk.text for chunk in live(backend).get(side.ids)}

    assert within("Häuser der Städte") == {HAEUSER}
    assert within("house of the cities") == {HOUSES}
    assert live(backend).corrections("Verfasungsgericht") == {
        "Verfasungsgericht": ("verfassungsgericht",)
    }
    assert list(found(backend, "Polizzei", tolerant=True)) == [SMALL_COURT]


def test_a_short_passage_has_its_document_s_language(folder: Path) -> None:
    texts = (COURT, "Häuser")
    page = "\n".join(texts)
    spans = [Span(0, len(COURT)), Span(len(COURT) + 1, len(page))]
    with EmbeddedBackend.open(folder, create=True) as backend:
        backend.save_vectors(["v"], np.ones((1, 2), np.float32))
        row = DocumentRow("d", "", "", "a.txt", "text")
        backend.upsert(row, [Page(None, page)], [NewChunk(0, span, "v") for span in spans])
        assert list(found(backend, "Haus")) == ["Häuser"]


def test_an_index_of_another_analyzer_version_is_analysed_again(
    folder: Path, backend: EmbeddedBackend
) -> None:
    queries = ("Gericht", "Haus", "houses", "Bundesverfassungsgericht", "to die")
    before = [found(backend, query) for query in queries]
    backend.close()
    make_older(folder)
    with EmbeddedBackend.open(folder) as reopened:
        assert [found(reopened, query) for query in queries] == before
        assert not found(reopened, "other")


def make_older(folder: Path) -> None:
    """Turn a catalog into one of format 2."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection, connection:
        connection.execute("DROP INDEX chunks_language")
        connection.execute("ALTER TABLE chunks DROP COLUMN language")
        connection.execute("DROP TABLE long_words")
        connection.execute("ALTER TABLE pages DROP COLUMN scan")
        connection.execute("UPDATE fulltext SET terms = 'other'")
        connection.execute("DELETE FROM meta WHERE name = 'analyser'")
        connection.execute("PRAGMA user_version = 2")


def test_an_older_index_is_left_alone_while_another_process_writes(
    folder: Path, backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(backend, "houses")
    backend.close()
    make_older(folder)
    catalog = (folder / "catalog.sqlite").read_bytes()
    monkeypatch.setattr("retriever.storage.catalog.connections._UPGRADE_PATIENCE", 0.0)
    other = WriterLock(folder / LOCK_FILE)
    other.acquire()
    with pytest.raises(IndexStateError, match=r"older version .* another process is writing"):
        EmbeddedBackend.open(folder)
    assert (folder / "catalog.sqlite").read_bytes() == catalog
    other.release()
    with EmbeddedBackend.open(folder) as reopened:
        assert found(reopened, "houses") == before


def test_tables_of_another_version_are_no_damage(folder: Path, backend: EmbeddedBackend) -> None:
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection, connection:
        connection.execute("ALTER TABLE chunks RENAME COLUMN language TO tongue")
    with pytest.raises(IndexStateError, match="another version of wva-retriever is using"):
        live(backend).keyword("houses", 3)


def test_the_parts_of_a_compound_by_hand() -> None:
    known = {"gerichtøde": 9, "amtøde": 3, "landøde": 4, "monøde": 5, "archøde": 5, "schifføde": 2}

    def count(term: str) -> int:
        return known.get(term, 0)

    assert split_compound("amtsgerichte", "de", count) == ("amtøde", "gerichtøde")
    assert split_compound("landgericht", "de", count) == ("landøde", "gerichtøde")
    assert split_compound("monarchen", "de", count) == ()
    assert split_compound("schifffahrt", "de", count) == ()  # Fahrt is not known
    assert split_compound("landgericht", "en", count) == ()
    known["landgerichtøde"] = 7  # more often than the geometric mean of 4 and 9
    assert split_compound("landgericht", "de", count) == ()
    assert is_part("gericht", "landgericht", "de", count)
    assert not is_part("richt", "gericht", "de", count)


def test_other_languages_have_compounds_too() -> None:
    swedish = {index_terms(word, "sv")[0]: 2 for word in ("arbete", "platsen")}
    assert len(split_compound("arbetsplatsen", "sv", lambda term: swedish.get(term, 0))) == 2


PAIRS = ("budget nothing", "here budget")
"""Phrases match across title and text, but not across text and the repeated title."""


def test_words_of_a_title_count_twice(tmp_path: Path) -> None:
    """By hand: k1 1.2, b 0.75; a passage's length is its terms, its title's again, and two more."""
    with EmbeddedBackend.open(tmp_path / "titles", create=True) as backend:
        backend.save_vectors(["v"], np.ones((1, 2), np.float32))
        for name, title, text in (
            ("a", "Budget", "Nothing here."),
            ("b", "", "The budget."),
            ("c", "Harbour", "Ships."),
            ("d", "", "Trains and stations."),
            ("e", "", "Boats."),
        ):
            row = DocumentRow(document_id("", name), "", "", name, "text", title=title)
            backend.upsert(row, [Page(None, text)], [NewChunk(0, Span(0, len(text)), "v")])
        side = live(backend).keyword("budget", 9)
        found = dict(
            zip((chunk.path for chunk in live(backend).get(side.ids)), side.scores, strict=True)
        )
        pairs = {text: live(backend).keyword("budget", 9, Words(text)).ids for text in PAIRS}
    lengths = {"a": 1 + 2 + 1 + 2, "b": 2, "c": 1 + 1 + 1 + 2, "d": 3, "e": 1}
    average = sum(lengths.values()) / 5
    idf = log((5 - 2 + 0.5) / (2 + 0.5))
    for path, times in (("a", 2), ("b", 1)):
        norm = 1.2 * (0.25 + 0.75 * lengths[path] / average)
        assert found[path] == pytest.approx(idf * times * 2.2 / (times + norm), rel=1e-5)
    assert [len(pairs[text]) for text in PAIRS] == [1, 0]
