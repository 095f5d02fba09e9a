"""A survey of an index: a map of its passages, clusters, hubs, near-duplicates, boilerplate.

It uses a fixed sample of the passages and their calibrated vectors: raw vectors minus the sample's
mean, at length one. Nothing is random and no model is used, so the same index gives the same
survey.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from retriever.arrays import DoubleVectors, Integers, Vectors, normalise
from retriever.storage.backends import CatalogReader
from retriever.text.analyzer import words
from retriever.types import Chunk

SAMPLE = 2000
"""Number of passages in the sample; their similarities are one matrix in memory."""

NEIGHBOURS = 10
"""Number of nearest neighbours; a hub is a nearest neighbour of many other passages."""

TWINS = 0.97
"""Smallest cosine of near-duplicates."""

MAX_CLUSTERS = 12
_ROUNDS = 25
_LISTED = 10
_WORDS = 3
_FORM = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Hub:
    """A passage, and how many others have it among their nearest neighbours."""

    chunk: Chunk
    count: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The survey of a sample.

    - `chunks`: the sample, n passages; `places` (n, 2): their coordinates on the map; `shown`: the
      explained variance, as a share.
    - `clusters` (n,): each passage's cluster; `names`: each cluster's characteristic words.
    - `hubs`: the passages nearest to most others.
    - `twins`: groups of near-duplicates, the largest first.
    - `middle`: the passages whose raw vectors are nearest to the mean, with the cosine. They have
      what all passages have in common: boilerplate, or the prompt.
    """

    chunks: tuple[Chunk, ...]
    places: Vectors
    clusters: Integers
    names: tuple[str, ...]
    shown: float
    hubs: tuple[Hub, ...]
    twins: tuple[tuple[Chunk, ...], ...]
    middle: tuple[tuple[Chunk, float], ...]


def survey(catalog: CatalogReader, limit: int = SAMPLE) -> Survey:
    """Survey a sample of at most `limit` passages of an index."""
    chunks, raw = catalog.sample_chunks(limit, embedded=True), catalog.sample_vectors(limit)
    if len(chunks) < 2:
        empty = np.zeros((len(chunks), 2), np.float32)
        none = np.zeros(len(chunks), np.int64)
        return Survey(tuple(chunks), empty, none, ("",) * len(chunks), 0.0, (), (), ())
    vectors = centre_vectors(raw)
    similar = vectors @ vectors.T
    places, shown = project_vectors(vectors)
    clusters = cluster_vectors(vectors, _cluster_count(len(chunks)))
    counts = occurrences(similar, NEIGHBOURS)
    first = sorted(range(len(chunks)), key=lambda at: (-counts[at], chunks[at].id))[:_LISTED]
    mean = raw.mean(axis=0)
    nearness = raw @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    central = np.argsort(-nearness, kind="stable")[:_LISTED]
    return Survey(
        chunks=tuple(chunks),
        places=places,
        clusters=clusters,
        names=characteristic_words([chunk.text for chunk in chunks], clusters),
        shown=shown,
        hubs=tuple(Hub(chunks[at], int(counts[at])) for at in first if counts[at]),
        twins=tuple(
            tuple(chunks[at] for at in group) for group in duplicate_groups(similar, TWINS)
        ),
        middle=tuple((chunks[at], float(nearness[at])) for at in central),
    )


def centre_vectors(raw: Vectors) -> Vectors:
    """Raw vectors (n, dim) minus their mean, at length one; one equal to the mean is zero."""
    return normalise(raw - raw.mean(axis=0), least=1e-6)


def project_vectors(vectors: Vectors) -> tuple[Vectors, float]:
    """The first two principal components (n, 2), and their share of the variance.

    The largest coordinate of each axis is positive, so that the map is never mirrored.
    """
    cloud = (vectors - vectors.mean(axis=0)).astype(np.float64)
    axes = _principal(cloud)
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    places = cloud @ (axes * signs[:, None]).T
    total = float(np.square(cloud).sum())
    shown = float(np.square(places).sum()) / total if total > 1e-12 else 0.0
    return places.astype(np.float32), shown


def _principal(cloud: DoubleVectors) -> DoubleVectors:
    """The two directions of the largest variance (2, dim), at length one; zero where there is none.

    They come from the smaller of the two products of the cloud with itself: a full singular value
    decomposition takes ten times as long.
    """
    wide = cloud.shape[1] > cloud.shape[0]
    product = cloud @ cloud.T if wide else cloud.T @ cloud
    vectors = np.linalg.eigh(product)[1][:, ::-1][:, :2].T
    axes = vectors @ cloud if wide else vectors
    unit = normalise(axes, least=1e-9)
    return np.vstack([unit, np.zeros((2 - len(unit), cloud.shape[1]))])


def _cluster_count(passages: int) -> int:
    return max(1, min(MAX_CLUSTERS, round(float(np.sqrt(passages / 4)))))


def cluster_vectors(vectors: Vectors, count: int) -> Integers:
    """Which of `count` clusters each unit vector belongs to (n,), the largest cluster first.

    Spherical k-means with deterministic centres: the vector nearest to all others, then the vectors
    farthest from the centres so far.
    """
    centres = vectors[[int(np.argmax(vectors @ vectors.sum(axis=0)))]]
    while len(centres) < count:
        nearest = (vectors @ centres.T).max(axis=1)
        centres = np.vstack([centres, vectors[[int(np.argmin(nearest))]]])
    members = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        now = (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(now, members):
            break
        members = now
        for number in set(members.tolist()):
            total = vectors[members == number].sum(axis=0)
            centres[number] = total / max(float(np.linalg.norm(total)), 1e-12)
    order = [number for number, _ in Counter(members.tolist()).most_common()]
    return np.array([order.index(number) for number in members.tolist()], dtype=np.int64)


def characteristic_words(texts: Sequence[str], clusters: Integers) -> tuple[str, ...]:
    """Three words for each cluster: frequent in its texts and rare in all of them (tf-idf).

    >>> texts = ["red apple", "apple pie", "car oil", "oil rig"]
    >>> characteristic_words(texts, np.array([0, 0, 1, 1]))[1]
    'oil, car, rig'
    """
    forms: dict[str, Counter[str]] = {}
    seen = []
    known: dict[str, dict[str, str]] = {}  # most words are read again and again
    for text in texts:
        here: dict[str, str] = {}
        for form in _FORM.findall(text.lower()):
            if form not in known:
                known[form] = _terms(form)
            here |= known[form]
        seen.append(set(here))
        for term, form in here.items():
            forms.setdefault(term, Counter())[form] += 1
    everywhere = Counter(term for terms in seen for term in terms)
    names = []
    for number in range(int(clusters.max()) + 1 if len(clusters) else 0):
        inside = Counter(
            term
            for terms, own in zip(seen, clusters, strict=True)
            if own == number
            for term in terms
        )
        weight = {term: n * log((1 + len(texts)) / everywhere[term]) for term, n in inside.items()}
        best = sorted(weight, key=lambda term: (-weight[term], term))[:_WORDS]
        names.append(", ".join(min(forms[t], key=lambda f: (-forms[t][f], f)) for t in best))
    return tuple(names)


def _terms(form: str) -> dict[str, str]:
    """The terms of a word as it is written → its parts that they stand for."""
    return {
        word.term: form[word.start : word.end]
        for word in words(form)
        if word.kind == "word" and len(word.term) > 1 and not word.term.isdigit()
    }


def occurrences(similar: Vectors, count: int) -> Integers:
    """How many others have each passage among their `count` nearest: (n, n) cosines → (n,)."""
    others = similar.copy()
    np.fill_diagonal(others, -np.inf)
    count = min(count, len(similar) - 1)
    nearest = np.argsort(-others, axis=1, kind="stable")[:, :count]
    return np.bincount(nearest.ravel(), minlength=len(similar))


def duplicate_groups(similar: Vectors, least: float) -> list[list[int]]:
    """Connected components of two or more by cosines of at least `least`, largest first."""
    waiting = set(range(len(similar)))
    found = []
    while waiting:
        group, edge = [], [min(waiting)]
        waiting.remove(edge[0])
        while edge:
            at = edge.pop()
            group.append(at)
            near = [int(one) for one in np.flatnonzero(similar[at] >= least) if one in waiting]
            waiting.difference_update(near)
            edge += near
        if len(group) > 1:
            found.append(sorted(group))
    return sorted(found, key=lambda group: (-len(group), group[0]))[:_LISTED]


__all__ = [
    "SAMPLE",
    "Hub",
    "Survey",
    "centre_vectors",
    "characteristic_words",
    "cluster_vectors",
    "duplicate_groups",
    "occurrences",
    "project_vectors",
    "survey",
]
