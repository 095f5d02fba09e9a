"""BM25 weights as sparse vectors: a passage's terms, and a query's with the bound that they give.

A passage has the factor of each term's frequency, by the term's hash. It depends on the mean length
of all passages, which changes with each document; so the mean at the time of writing is a setting,
`AVERAGE`. A query has the boost times the idf of each term. The inner product is then at least a
passage's score, up to a known factor: Milvus gives candidates, and `scoring` their exact scores.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from retriever.storage.backends.milvus import schema
from retriever.storage.backends.milvus.client import Connection, Row
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.values import loaded
from retriever.storage.catalog.postings import frequency_factors
from retriever.storage.records import TermQuery

AVERAGE = "meta/average"
"""The record of the mean length with which weights are made: a list, of two while they change."""

MAX_DRIFT = 0.25
"""Weights are made anew when the mean length has changed by this share."""

TYPICAL = 100
"""A passage's length where none is known, before workers write to an empty index."""

_NEVER_EMPTY: dict[int, float] = {0: 1e-6}  # Milvus refuses a sparse vector without entries
_LAST = 2**32 - 1  # no index of a sparse vector


def term_hash(term: str) -> int:
    """A term's index in sparse vectors: 1 to 2³² - 2, the same in every process.

    >>> term_hash("apple") == term_hash("apple") != term_hash("pear")
    True
    """
    found = zlib.crc32(term.encode("utf-8", "surrogatepass"))
    return found if 0 < found < _LAST else 1


def split_terms(terms: str) -> list[str]:
    """The terms of a passage as its row keeps them, with boundaries."""
    return loaded(terms).split()


def term_factors(terms: Sequence[str], length: int, average: float) -> dict[str, float]:
    """The frequency factor of each of a passage's terms."""
    times = Counter(terms)
    found = frequency_factors(
        np.array(list(times.values()), np.int64), np.array(length, np.int64), max(average, 1e-9)
    )
    return dict(zip(times, found.tolist(), strict=True))


def passage_vector(terms: Sequence[str], length: int, average: float) -> dict[int, float]:
    """A passage's sparse vector; of two terms with one hash it has the sum."""
    found = dict(_NEVER_EMPTY)
    for term, factor in term_factors(terms, length, average).items():
        index = term_hash(term)
        found[index] = found.get(index, 0.0) + factor
    return found


def query_weights(
    query: TermQuery, idf_of: Callable[[str], float], *, phrases: bool = True
) -> dict[str, float]:
    """Weights of single terms: their sum of factors is at least the score of any passage.

    A word's score is that of its best alternative, so each term counts with its largest boost among
    them. A phrase occurs no more often than each of its words, which share its weight; without
    `phrases` it is left out.
    """
    found: defaultdict[str, float] = defaultdict(float)
    for word in query.words:
        most: dict[str, float] = {}
        for way in word:
            here: defaultdict[str, float] = defaultdict(float)
            for term, boost in way:
                parts = term.split(" ")
                for part in parts if phrases or len(parts) == 1 else ():
                    here[part] += boost * idf_of(term) / len(parts)
            for term, weight in here.items():
                most[term] = max(most.get(term, 0.0), weight)
        for term, weight in most.items():
            found[term] += weight
    return dict(found)


def query_vector(weights: Mapping[str, float]) -> dict[int, float]:
    """A query's sparse vector of its terms' weights."""
    found: dict[int, float] = {}
    for term, weight in weights.items():
        if weight > 0:
            index = term_hash(term)
            found[index] = max(found.get(index, 0.0), weight)
    return found


def bound_factor(averages: Sequence[float], today: float) -> float:
    """What a passage's inner product is multiplied by to be at least its score of today."""
    return max(1.0, today / min(averages)) if averages else 1.0


def averages(records: Records) -> list[float]:
    """The mean lengths that stored weights may be made with; the last is for new ones."""
    return averages_of(records.get([AVERAGE]).get(AVERAGE))


def averages_of(record: Record | None) -> list[float]:
    """`averages` of their record; none without it."""
    return [] if record is None else [float(one) for one in json.loads(record.value)]


def settle_average(records: Records, lengths: Sequence[int]) -> float:
    """The mean length for new weights: the stored one, or that of the first passages written."""
    known = averages(records)
    if known:
        return known[-1]
    average = max(1.0, sum(lengths) / len(lengths)) if len(lengths) else 1.0
    records.put([Record(AVERAGE, json.dumps([average]))])
    return average


def has_drifted(records: Records, today: float) -> bool:
    """Whether weights are to be made anew, or making them anew was not completed."""
    known = averages(records)
    return len(known) > 1 or any(abs(today / one - 1) > MAX_DRIFT for one in known if today)


def rewrite(
    connection: Connection,
    index: str,
    today: float,
    readable: Callable[[list[Row]], Sequence[Row]] = list,
) -> None:
    """Make all passages' weights anew with today's mean length; `rebuild` of terms must follow.

    `readable` gives of rows those that count, the long ones with their terms. If it is interrupted,
    the setting names both lengths, and searches stay right.
    """
    records = Records(connection, index)
    records.put([Record(AVERAGE, json.dumps([*averages(records), today]))])
    name = schema.passages(index)
    fields = ("key", "document", "edition", "terms", "long", "length")
    for rows in connection.scan(name, "", fields, 500):
        changed = [
            {
                "key": row["key"],
                "sparse": passage_vector(split_terms(row["terms"]), row["length"], today),
            }
            for row in readable(rows)
        ]
        connection.upsert(name, changed, partial=True)
    records.put([Record(AVERAGE, json.dumps([today]))])


__all__ = [
    "AVERAGE",
    "MAX_DRIFT",
    "TYPICAL",
    "averages",
    "averages_of",
    "bound_factor",
    "has_drifted",
    "passage_vector",
    "query_vector",
    "query_weights",
    "rewrite",
    "settle_average",
    "split_terms",
    "term_factors",
    "term_hash",
]
