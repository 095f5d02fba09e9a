"""Keyword search in several languages, and compounds, on indexes of known answers.

The expected scores are an independent implementation of BM25 (k1 1.2, b 0.75).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from math import log
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from retriever.storage.backends import keyword_query
from retriever.storage.backends.compounds import is_part, split_compound, terms_within
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.keyword_query import MAX_WORDS
from retriever.storage.catalog.connections import LOCK_FILE
from retriever.storage.catalog.lock import WriterLock
from retriever.storage.filters import Words
from retriever.storage.records import NewChunk
from retriever.text.analyzer import content_terms, index_terms, matching_words
from retriever.types import DocumentRow, IndexStateError, Page, Span, document_id
from tests.live import live
from tests.older import without_seals

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
    lengths = {one: len(content_terms(index_terms(f"\n{one}", texts[one]))) for one in texts}
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
        without_seals(connection)
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
    """By hand: k1 1.2, b 0.75; a length is of terms, the title's twice, without stop words."""
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
    lengths = {"a": 1 + 2 + 1, "b": 1, "c": 1 + 1 + 1, "d": 2, "e": 1}
    average = sum(lengths.values()) / 5
    idf = log((5 - 2 + 0.5) / (2 + 0.5))
    for path, times in (("a", 2), ("b", 1)):
        norm = 1.2 * (0.25 + 0.75 * lengths[path] / average)
        assert found[path] == pytest.approx(idf * times * 2.2 / (times + norm), rel=1e-5)
    assert [len(pairs[text]) for text in PAIRS] == [1, 0]


# Words that a query repeats, and pasted texts

SHORT_TEXTS = (
    "Green tea is brewed at eighty degrees.",
    "Black tea is brewed hotter than green tea and drunk with milk.",
    "The platform of the coast train is number four.",
    "Coffee beans are roasted.",
    "Bread dough rises with yeast.",
    "The harbour has a green light and a red one.",
    "Sheep give wool; wool is spun into yarn for knitting.",
)


def naive_scores(times: dict[str, int], texts: Sequence[str], length: int) -> list[float]:
    """BM25 with Okapi's saturation of the query's term frequencies, written out.

    `times` is term → number of times in a query of `length` words.
    """
    read = [content_terms(index_terms(text)) for text in texts]
    mean = sum(map(len, read)) / len(read)
    scores = []
    for terms in read:
        score = 0.0
        for term, said in times.items():
            documents = sum(term in other for other in read)
            if not documents or 2 * documents > len(texts):
                continue
            idf = log((len(texts) - documents + 0.5) / (documents + 0.5))
            here = terms.count(term)
            k1, k3 = 1.2 * (0.25 + 0.75 * len(terms) / mean), 0.1 * max(0, length - 20)
            score += idf * here * 2.2 / (here + k1) * said * (k3 + 1) / (said + k3)
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    ("query", "times", "length"),
    [
        ("green tea", {"green": 1, "tea": 1}, 2),
        ("tea tea green", {"green": 1, "tea": 2}, 3),
        ("Is green tea a tea, and are teas GREEN? Tea!", {"green": 2, "tea": 4}, 6),
        ("wool, wool and more wool and zeppelin zeppelin", {"wool": 3}, 6),
        ("wool " * 50 + "tea", {"wool": 50, "tea": 1}, 51),
        (
            "wool tea " * 9 + "yarn knitting spun",
            {"wool": 9, "tea": 9, "yarn": 1, "knit": 1, "spun": 1},
            21,
        ),
    ],
)
def test_a_repeated_word_counts_more(
    folder: Path, query: str, times: dict[str, int], length: int
) -> None:
    expected = naive_scores(times, SHORT_TEXTS, length)
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, *SHORT_TEXTS)
        there = {t: s for t, s in zip(SHORT_TEXTS, expected, strict=True) if s > 0}
        assert found(backend, query) == pytest.approx(there, rel=1e-5)
        assert list(found(backend, query)) == sorted(there, key=there.__getitem__, reverse=True)


def test_a_repeated_word_counts_more_whatever_matches_it(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own stem, compounds with it, its parts, and the words instead of it."""
    monkeypatch.setattr(keyword_query, "SENTENCE_WORDS", 0)
    twice = 1.2 * 2 / 2.2  # of a query of two words
    for word, options in (
        ("Gericht", {}),
        ("Bundesverfassungsgericht", {}),
        ("houses", {}),
        ("Polizzei", {"tolerant": True}),
    ):
        once = found(backend, word, **options)
        assert once
        assert found(backend, f"{word} {word.lower()}", **options) == pytest.approx(
            {text: twice * score for text, score in once.items()}, rel=1e-5
        )
    # "city" and "cities" have different German stems, and one English stem, which occurs.
    assert index_terms("city cities", "de") == ["cityøde", "citiøde"]
    both = {text: twice * score for text, score in found(backend, "cities").items()}
    assert found(backend, "city cities") == pytest.approx(both, rel=1e-5)
    with backend.snapshot() as now:
        (chunk,) = (each for each in now.catalog.sample_chunks(10) if each.text == HOUSES)
        told = now.explain_bm25("city house cities", chunk.id)
    assert [(word.word, word.count) for word in told.words] == [("city", 2), ("house", 1)]
    assert told.words[0].boost == pytest.approx(1.3 * 2 / 2.3)
    assert told.score == pytest.approx(found(backend, "city house cities")[HOUSES], rel=1e-5)


def pasted_words(count: int, first: int = 0) -> list[str]:
    """Different words, each its own stem."""
    letters = "bcdfghjklm"
    return [f"w{''.join(letters[int(n)] for n in str(first + at))}ok" for at in range(count)]


def test_a_pasted_text_is_searched_for_by_its_most_telling_words(folder: Path) -> None:
    common, rare = pasted_words(200), pasted_words(MAX_WORDS, 1000)
    unknown = pasted_words(300, 3000)
    texts = [" ".join([*common, *rare[n::9]]) for n in range(9)]
    texts += [" ".join([*common, other]) for other in pasted_words(4, 5000)]
    texts += [f"other text {other}" for other in pasted_words(40, 6000)]
    query = " ".join([*unknown, *common, *rare, *unknown[:50]])
    with EmbeddedBackend.open(folder, create=True) as backend:
        put(backend, *texts)
        with backend.snapshot() as now:
            assert now.matched_terms(query) == {index_terms(word)[0] for word in rare}
            assert now.corrections(query) == {}
            assert now.query_weight(query) == MAX_WORDS
            # Against its maximum counts all that it asks for.
            idf = lambda n: log((53 - n + 0.5) / (n + 0.5))  # noqa: E731
            k3 = 0.1 * (len(query.split()) - 20)
            several = 50 * 2 * (k3 + 1) / (k3 + 2) + 250
            most = 2.2 * (several * idf(0) + 200 * idf(13) + MAX_WORDS * idf(1))
            assert now.max_bm25(query) == pytest.approx(most)
            (chunk,) = (each for each in now.catalog.sample_chunks(60) if each.text == texts[0])
            told = now.explain_bm25(query, chunk.id)
        assert [word.word for word in told.words] == rare
        scores = found(backend, query)
        assert set(scores) == set(texts[:9])
        assert told.score == pytest.approx(scores[texts[0]], rel=1e-5)
        assert found(backend, " ".join(unknown)) == {}


@pytest.mark.parametrize("word", ["bundesverfassungsgericht", "amtsgerichte", "landesbanken"])
def test_the_terms_within_a_word_are_all_that_its_splits_count(word: str) -> None:
    within = terms_within(word, "de")
    asked: set[str] = set()
    for seed in range(8):
        known: dict[str, int] = {}

        def count(term: str, seed: int = seed, known: dict[str, int] = known) -> int:
            return known.setdefault(term, 3 * (crc32(f"{seed} {term}".encode()) % 3 > 0))

        split_compound(word, "de", count)
        for length in range(3, len(word) - 2):
            is_part(word[-length:], word, "de", count)
        asked |= known.keys()
    assert asked <= within
    assert len(asked) > 20
