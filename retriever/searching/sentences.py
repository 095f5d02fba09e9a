"""The best sentence of a result: the one that most likely answers, as an exact excerpt.

No model runs for it. A sentence is worth the words of the query that occur in it, each by its
inverse document frequency as in BM25, but once however often it occurs. Three things change that:

- **Context**: a sentence goes on about what the sentence before it names ("It shall be at least
  …"). A word of the query in the sentence before, or in the heading above, counts `BEFORE` times,
  one further up `FURTHER` times; together at most as much as the sentence's own words.
  Below a heading with words of the query, a sentence need not have any.
- **Form**: headings, rows of tables, markup and identifiers count less (`KINDS`, and
  `retriever.text.readability`).
- **Passage**: a sentence of the passage that was found counts a little more than one of the
  passages joined to it.

Where no word of the query occurs, as in a search by vector or in another language, it is the first
readable sentence of the passage that was found.

`python -m benchmarks.sentences` measures it. Tried there and left out, because they changed nothing
beyond noise: the words that feedback adds, closeness of the query's words, names, numbers and dates
where the question asks for them, the length of a sentence, and the similarity of words by the
model's input embeddings.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from retriever.arrays import DoubleScores, DoubleVectors
from retriever.storage.backends import Snapshot
from retriever.storage.records import WeightedTerms
from retriever.text.display import without_marks
from retriever.text.readability import readability
from retriever.text.sentences import Sentence, split_sentences
from retriever.text.structure import trim
from retriever.text.words import beginning, scan
from retriever.types import Chunk, Excerpt, Hit

BEFORE = 0.5
"""What a word in the sentence before, or in the heading, counts of one in the sentence itself."""

FURTHER = 0.2
"""The same for a word anywhere before."""

KINDS: Mapping[str, float] = {"prose": 1.0, "item": 1.0, "row": 0.7, "heading": 0.4, "code": 0.3}
"""What a sentence counts by its kind of line."""

OWN_PASSAGE = 1.1
"""The factor of sentences of the passage that was found."""

LONGEST = 600
"""Characters of a sentence; of a longer one (a list, a row) the part with most words is taken."""

PART = 300
"""Characters of such a part, at most."""

# A sentence without a word of the query counts a little, so that a readable one comes before markup
# that has them all; of what cannot be read, the line with most words is taken.
_FLOOR = 0.03
_LEAST_FORM = 0.02
_CLAUSE = re.compile(r"[,;:)\]}>|—–]\s+|\n|\s{2,}|\s(?=[(\[<•])")


def with_sentences(
    snapshot: Snapshot, query: str, hits: Sequence[Hit], *, tolerant: bool = False
) -> list[Hit]:
    """The hits with their best sentences for `query`, which is empty for a search by vector.

    `tolerant` is that of the search: corrections count as the words that they replace.
    """
    words = snapshot.word_values(query, tolerant=tolerant) if query and hits else ()
    chooser = SentenceChooser(words)
    return [replace(hit, sentence=chooser.best(hit)) for hit in hits]


def passages(hit: Hit) -> Iterator[tuple[Excerpt, str]]:
    """The text of a hit's passages page by page, without context, each with its language.

    Each excerpt is a whole number of the hit's passages.
    """
    parts = hit.parts or (hit.chunk,)
    if not hit.passage:
        yield from ((_excerpt(part), part.language) for part in parts)
        return
    for excerpt in hit.passage:
        own = [part for part in parts if _overlap(part, excerpt)]
        if not own:
            continue  # context
        start = max(excerpt.start, min(part.start for part in own))
        end = min(excerpt.end, max(part.end for part in own))
        text = excerpt.text[start - excerpt.start : end - excerpt.start]
        yield replace(excerpt, start=start, end=end, text=text), own[0].language


def _excerpt(chunk: Chunk) -> Excerpt:
    return Excerpt(chunk.page, chunk.label, chunk.start, chunk.end, chunk.text)


def _overlap(chunk: Chunk, excerpt: Excerpt) -> bool:
    same = (chunk.page, chunk.label) == (excerpt.page, excerpt.label)
    return same and chunk.start < excerpt.end and excerpt.start < chunk.end


class _Place(NamedTuple):
    """An occurrence of the term of a word of the query; `way` is the alternative it belongs to."""

    start: int
    word: int
    way: int
    term: str
    value: float


@dataclass(slots=True)
class _Candidate:
    """A sentence of an excerpt, with the words of the query in it."""

    sentence: Sentence
    excerpt: Excerpt
    places: list[_Place] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.excerpt.text[self.sentence.start : self.sentence.end]

    @property
    def form(self) -> float:
        """What it counts by its form."""
        shown = without_marks(self.text).text
        return max(_LEAST_FORM, KINDS[self.sentence.kind] * readability(shown))

    def is_in(self, chunk: Chunk) -> bool:
        """Whether it begins in the chunk."""
        at = self.excerpt.start + self.sentence.start
        same = (chunk.page, chunk.label) == (self.excerpt.page, self.excerpt.label)
        return same and chunk.start <= at < chunk.end


class SentenceChooser:
    """Chooses sentences for one query, given the values of its words.

    `words` has for each word of the query its alternatives, as `Snapshot.word_values` gives them.
    """

    def __init__(self, words: Sequence[Sequence[WeightedTerms]]) -> None:
        self._terms: dict[str, list[tuple[int, int, float]]] = {}
        self._most = np.zeros(len(words))
        for at, ways in enumerate(words):
            for way, terms in enumerate(ways):
                for term, value in terms:
                    if " " not in term:  # the pieces of a phrase are words, too
                        self._terms.setdefault(term, []).append((at, way, value))
                        self._most[at] = max(self._most[at], value)
        self._beginnings = frozenset(map(beginning, self._terms))

    def best(self, hit: Hit) -> Excerpt | None:
        """The best sentence of a hit; None if its passages have no text."""
        candidates, _, bounds = self._bounds(hit)
        if not candidates:
            return None
        chosen, score = candidates[0], -1.0
        for at in np.argsort(-bounds, kind="stable").tolist():
            if bounds[at] <= score:
                break  # no form makes up for it
            if (found := float(bounds[at]) * candidates[at].form) > score:
                chosen, score = candidates[at], found
        return _as_excerpt(chosen)

    def ranked(self, hit: Hit) -> list[tuple[float, Excerpt]]:
        """The sentences of a hit with words of the query, best first, each with its value.

        The value is at most `OWN_PASSAGE`, and comparable between the hits of one query. The first
        is `best`. It is alone where no sentence has such words.
        """
        candidates, values, bounds = self._bounds(hit)
        scores = bounds * [one.form for one in candidates]
        order = np.lexsort((-bounds, -scores)).tolist()
        kept = [at for n, at in enumerate(order) if n == 0 or values[at]]
        return [(float(scores[at]), _as_excerpt(candidates[at])) for at in kept]

    def _bounds(self, hit: Hit) -> tuple[list[_Candidate], DoubleScores, DoubleScores]:
        """The sentences of a hit, their values, and what they count at most, in any form."""
        candidates = [one for part in passages(hit) for one in self._candidates(*part)]
        values = self._values(candidates)
        own = np.array([OWN_PASSAGE if one.is_in(hit.chunk) else 1.0 for one in candidates])
        return candidates, values, (values + _FLOOR) * own

    def _candidates(self, excerpt: Excerpt, language: str) -> list[_Candidate]:
        """The sentences of an excerpt with the query's words in them."""
        found = [_Candidate(one, excerpt) for one in split_sentences(excerpt.text)]
        starts = [one.sentence.start for one in found]
        for word in scan(excerpt.text, language, beginnings=self._beginnings):
            for at, way, value in self._terms.get(word.term, ()):
                if (place := bisect_right(starts, word.start)) > 0:
                    known = _Place(word.start, at, way, word.term, value)
                    found[place - 1].places.append(known)
        return found

    def _values(self, candidates: Sequence[_Candidate]) -> DoubleScores:
        """The share of the query's words that each sentence has, with its context: (n,)."""
        total = self._most.sum()
        values = np.zeros(len(candidates))
        if not total:
            return values
        before, further, heading = (np.zeros(len(self._most)) for _ in range(3))
        for at, one in enumerate(candidates):
            own = self._matched(one)
            context = np.maximum(BEFORE * np.maximum(before, heading), FURTHER * further)
            added = np.maximum(context - own, 0).sum()
            values[at] = max(own.sum() + min(own.sum(), added), BEFORE * heading.sum()) / total
            further = np.maximum(further, before)
            before = own
            if one.sentence.kind == "heading":
                heading = own
        return values

    def _matched(self, candidate: _Candidate) -> DoubleVectors:
        """The value of each word of the query in one sentence: (words,)."""
        ways: dict[tuple[int, int], float] = {}
        for at, way, _, value in {place[1:] for place in candidate.places}:
            ways[at, way] = ways.get((at, way), 0.0) + value
        found = np.zeros(len(self._most))
        for (at, _), value in ways.items():
            found[at] = max(found[at], min(value, self._most[at]))
        return found


def _as_excerpt(chosen: _Candidate) -> Excerpt:
    sentence, excerpt = chosen.sentence, chosen.excerpt
    start, end = sentence.start, sentence.end
    if end - start > LONGEST:
        start, end = _part(excerpt.text, start, end, chosen.places)
    return replace(
        excerpt,
        start=excerpt.start + start,
        end=excerpt.start + end,
        text=excerpt.text[start:end],
    )


def _part(text: str, start: int, end: int, places: Sequence[_Place]) -> tuple[int, int]:
    """The clauses of `text[start:end]` with most words of the query, `PART` characters at most.

    Of several that have as many, the one that begins nearest to the most telling of them.
    """
    cuts = [start, *(cut.end() for cut in _CLAUSE.finditer(text, start, end))]
    begins = {start}
    for place in places:
        begin = cuts[bisect_right(cuts, place.start) - 1]
        begins.add(begin if place.start - begin <= PART // 2 else place.start)

    def worth(begin: int) -> tuple[float, int]:
        words: dict[int, _Place] = {}
        for place in places:
            if begin <= place.start < begin + PART:
                words.setdefault(place.word, place)
        most = max(words.values(), key=lambda place: place.value, default=None)
        return sum(place.value for place in words.values()), begin - most.start if most else 0

    first = max(sorted(begins), key=worth)
    span = trim(text, first, _end_of_part(text, first, end))
    return span.start, span.end


def _end_of_part(text: str, first: int, end: int) -> int:
    """The end of the last clause, or else of the last word, that fits."""
    limit = first + PART
    if limit >= end:
        return end
    cuts = [cut.start() + 1 for cut in _CLAUSE.finditer(text, first + PART // 2, limit)]
    blank = text.rfind(" ", first + 1, limit)
    return cuts[-1] if cuts else blank if blank > 0 else limit


__all__ = ["SentenceChooser", "passages", "with_sentences"]
