"""The term dictionary of an index in Milvus, and the weights of its terms, on Milvus Lite."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from retriever.storage.addresses import Address
from retriever.storage.backends.milvus import schema, weights
from retriever.storage.backends.milvus.client import Connection
from retriever.storage.backends.milvus.records import Records
from retriever.storage.backends.milvus.vocabulary import TermDictionary, TermFacts, Totals
from retriever.storage.catalog.postings import frequency_factors, idf
from retriever.storage.records import TermQuery

pytest.importorskip("pymilvus", reason="Milvus is not installed: the extra 'milvus'")
pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed")

INDEX = "terms"


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    path = tmp_path_factory.mktemp("lite") / "index.db"
    found = Connection(Address.parse(f"milvus+file:{path}#{INDEX}"))
    found.change("create", lambda client: schema.create_records(client, INDEX, wait=False))
    found.change("create", lambda client: schema.create(client, INDEX, 2, wait=False))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def empty(connection: Connection) -> None:
    Records(connection, INDEX).delete_beginning("term/")
    Records(connection, INDEX).delete_beginning("long/")
    Records(connection, INDEX).delete_beginning("meta/")
    connection.delete(INDEX, "position >= 0")


def row(key: int, terms: str, language: str = "", long_words: str = "") -> dict[str, Any]:
    length = len(terms.split())
    return {"key": key, "terms": terms, "length": length, "language": language} | {
        "long_words": long_words,
        "long": False,
    }


def stored_row(dictionary: TermDictionary, passage: dict[str, Any]) -> dict[str, Any]:
    texts = dict.fromkeys(("document", "edition", "text", "vector", "source", "path"), "x")
    numbers = dict.fromkeys(("position", "page_at", "start", "stop", "added"), 0)
    optional = dict.fromkeys(("page", "date_from", "date_to", "metadata"))
    sparse = dictionary.weigh(passage["terms"].split(), passage["length"])
    return {
        **(texts | numbers | optional | dict.fromkeys(("format", "title", "author"), "")),
        **({"embedded": False, "dense": np.zeros(2, np.float32), "sparse": sparse} | passage),
    }


def kept(connection: Connection) -> dict[str, TermFacts]:
    records = Records(connection, INDEX).beginning("term/")
    return {record.id.removeprefix("term/"): TermFacts.of(record) for record in records}


def naive(rows: list[dict[str, Any]], average: float) -> dict[str, tuple[int, float, float]]:
    found: dict[str, tuple[int, float, float]] = {}
    for passage in rows:
        for term, times in Counter(passage["terms"].split()).items():
            within = times + 1.2 * (0.25 + 0.75 * passage["length"] / average)
            factor = 2.2 * times / within
            count, total, square = found.get(term, (0, 0.0, 0.0))
            found[term] = count + 1, total + factor, square + factor**2
    return found


def check(connection: Connection, rows: list[dict[str, Any]], average: float) -> None:
    expected, stored = naive(rows, average), kept(connection)
    assert stored.keys() == expected.keys()
    for term, (count, total, square) in expected.items():
        facts = stored[term]
        assert facts.documents == count
        assert (facts.total, facts.square) == pytest.approx((total, square), abs=1e-5)
    totals = Totals.read(Records(connection, INDEX))
    assert (totals.passages, totals.terms) == (len(rows), sum(row["length"] for row in rows))
    assert totals.languages == Counter(row["language"] for row in rows)


def test_the_dictionary_follows_what_is_written_and_deleted(connection: Connection) -> None:
    rows = [
        row(1, "tea \u00f8 tea pot", "en"),
        row(2, "pot t\u00e4\u00f8de \U0001f600", "de", "tsewolf"),
        row(3, "tea"),
    ]
    dictionary = TermDictionary(connection, INDEX)
    dictionary.plus(rows[:2])
    dictionary.flush()
    check(connection, rows[:2], 3.5)
    dictionary.plus(rows[2:])
    dictionary.minus(rows[:1])
    assert dictionary.totals() == (2, 4)
    dictionary.flush()
    check(connection, rows[1:], 3.5)
    assert kept(connection)["pot"].first == 1
    again = TermDictionary(connection, INDEX)
    assert (again.totals(), again.average) == ((2, 4), 3.5)
    again.minus(rows[1:])
    again.flush()
    check(connection, [], 3.5)
    assert [record.id for record in Records(connection, INDEX).beginning("long/")] == [
        "long/de/tsewolf"
    ]


def test_a_very_long_term_is_counted_under_its_hash(connection: Connection) -> None:
    long = "a" * 600
    dictionary = TermDictionary(connection, INDEX)
    dictionary.plus([row(1, f"tea {long}")])
    dictionary.flush()
    assert kept(connection).keys() == {"tea"}
    (record,) = Records(connection, INDEX).beginning("longterm/")
    assert record.number == 1


def test_a_dictionary_is_made_anew_from_the_passages(connection: Connection) -> None:
    rows = [row(at, f"tea word{at} \u00f8", "en") for at in range(5)]
    dictionary = TermDictionary(connection, INDEX)
    dictionary.plus([row(9, "gone \u00f8", "de", "enog"), *rows])
    dictionary.flush()
    connection.upsert(INDEX, [stored_row(dictionary, one) for one in rows])
    dictionary.rebuild(lambda found: [one for one in found if one["key"] != 3])
    check(connection, [one for one in rows if one["key"] != 3], dictionary.average)
    assert not list(Records(connection, INDEX).beginning("long/"))


def test_weights_are_made_anew_with_the_mean_length_of_today(connection: Connection) -> None:
    records = Records(connection, INDEX)
    dictionary = TermDictionary(connection, INDEX)
    rows = [row(at, " ".join(["tea"] * (at + 1) + ["pot"])) for at in range(4)]
    connection.upsert(INDEX, [stored_row(dictionary, one) for one in rows])
    assert weights.averages(records) == [2.0]
    assert not weights.has_drifted(records, 2.4)
    assert weights.has_drifted(records, 2.6)
    records.put([weights.Record(weights.AVERAGE, json.dumps([2.0, 3.5]))])
    assert weights.has_drifted(records, 3.5)
    weights.rewrite(connection, INDEX, 3.5)
    assert weights.averages(records) == [3.5]
    found = connection.query(INDEX, "key == 3", ("key", "sparse", "terms"))
    expected = weights.passage_vector(rows[3]["terms"].split(), 5, 3.5)
    assert found[0]["sparse"] == pytest.approx(expected, rel=1e-6)
    assert found[0]["terms"] == rows[3]["terms"]


def test_the_weights_bound_every_score() -> None:
    rng = np.random.default_rng(5)
    words = [f"w{at}" for at in range(12)]
    passages = [rng.choice(words, rng.integers(1, 30)).tolist() for _ in range(200)]
    lengths = np.array([len(one) for one in passages])
    average, before = float(lengths.mean()), 11.0
    for _ in range(30):
        query = TermQuery(
            tuple(
                tuple(
                    tuple((_term(rng, words), float(rng.uniform(0.1, 3))) for _ in range(2))
                    for _ in range(rng.integers(1, 4))
                )
                for _ in range(3)
            )
        )
        idf_of = {term: idf(200, int(rng.integers(1, 90))) for term in _terms(query)}
        vector = weights.query_vector(weights.query_weights(query, idf_of.__getitem__))
        factor = weights.bound_factor([before], average)
        for terms, length in zip(passages, lengths, strict=True):
            own = weights.passage_vector(terms, int(length), before)
            bound = factor * sum(own.get(index, 0.0) * value for index, value in vector.items())
            assert _score(query, terms, average, idf_of) <= bound * (1 + 1e-9)


def _term(rng: np.random.Generator, words: list[str]) -> str:
    return " ".join(rng.choice(words, rng.integers(1, 3)))


def _terms(query: TermQuery) -> set[str]:
    return {term for word in query.words for way in word for term, _ in way}


def _score(query: TermQuery, terms: list[str], average: float, idf_of: dict[str, float]) -> float:
    def one(term: str) -> float:
        within = f" {' '.join(terms)} "
        places = (within.startswith(f" {term} ", at) for at in range(len(within)))
        times = np.array(sum(places))
        found = frequency_factors(times, np.array(len(terms)), average)
        return float(found) * idf_of[term]

    return sum(
        max(sum(boost * one(term) for term, boost in way) for way in word) for word in query.words
    )
