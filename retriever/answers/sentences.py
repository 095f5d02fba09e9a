"""The sentences that answer a question, word for word, each with its place in the documents.

Each sentence of the best passages has a value (see `retriever.searching.sentences`), divided by the
square root of its passage's rank: a sentence with all words of the question beats one with half of
them in a passage that was found before it, but not one with nearly all of them.
`python -m benchmarks.answers` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Unpack

from retriever.index import Index
from retriever.searching.match import nothing_matches
from retriever.searching.options import SearchChanges, SearchOptions, check_count
from retriever.searching.sentences import SentenceChooser
from retriever.settings import ANSWER_SENTENCES
from retriever.storage.backends import Snapshot
from retriever.types import Excerpt, Hit, UsageError, check_text

PASSAGES = 10
"""Results whose sentences are compared."""


@dataclass(frozen=True, slots=True)
class BestSentence:
    """A sentence of an answer: an exact excerpt of the result `hit`. Larger scores are better."""

    excerpt: Excerpt
    hit: Hit
    score: float

    @property
    def text(self) -> str:
        """The sentence, exactly as it stands in the document."""
        return self.excerpt.text

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the text, its place (`page_text[start:end]`), and its passage's match."""
        return {"text": self.text, "score": self.score, **place_json(self.hit, self.excerpt)}


@dataclass(frozen=True, slots=True)
class Answer:
    """The best sentences for a question, best first, and the results that they come from.

    - `abstained`: nothing really matches the question, so there are no sentences; `hits` are the
      nearest results.
    - `said`: what is to be told about the answer in one sentence, such as that a word of the
      question occurs nowhere; "" for nothing.
    """

    question: str
    sentences: tuple[BestSentence, ...]
    hits: tuple[Hit, ...]
    abstained: bool = False
    said: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `nearest` are the places of the results of a question without an answer."""
        nearest = self.hits[:ANSWER_SENTENCES] if self.abstained else ()
        return {
            "question": self.question,
            "abstained": self.abstained,
            "said": self.said,
            "sentences": [one.to_json() for one in self.sentences],
            "nearest": [place_json(hit, None) for hit in nearest],
        }


def best_sentences(
    index: Index,
    question: str,
    k: int = ANSWER_SENTENCES,
    *,
    options: SearchOptions | None = None,
    **changes: Unpack[SearchChanges],
) -> Answer:
    """The `k` sentences of an index that answer a question best; none if nothing really matches.

    The other arguments are those of `Index.search`, for the search behind it. Raises UsageError for
    an impossible option and for a question without text.
    """
    check_count(k)
    how = (options or SearchOptions()).changed(PASSAGES, **changes)
    hits = find_passages(index, question, how)
    said, abstained = judge(index, question, hits, how)
    chosen = () if abstained else _chosen(index, question, hits, how, k)
    return Answer(question, tuple(chosen), tuple(hits), abstained, said)


def find_passages(index: Index, question: str, how: SearchOptions) -> list[Hit]:
    """The results for a question, without their sentences."""
    check_text(question, "the question")
    if not question.strip():
        raise UsageError("the question is empty; ask in some words")
    return index.search(question, options=how, sentences=False)


def judge(index: Index, question: str, hits: Sequence[Hit], how: SearchOptions) -> tuple[str, bool]:
    """What the index says of the results in a sentence, and whether there is no answer in them.

    There is none without results, and where nothing really matches and not even all words of the
    question stand in one of them.
    """
    if not hits:
        return "Nothing was found.", True
    said = index.verdict(question, hits, options=how)
    return said, nothing_matches(hits) and not any(hit.exact for hit in hits)


def _chosen(
    index: Index, question: str, hits: Sequence[Hit], how: SearchOptions, k: int
) -> list[BestSentence]:
    asked = index.searched_text(question, options=how)
    with index.snapshot(dense=False) as now:
        return choose(now, asked, hits, k, tolerant=how.tolerant)


def choose(
    snapshot: Snapshot, question: str, hits: Sequence[Hit], k: int, *, tolerant: bool
) -> list[BestSentence]:
    """The `k` best sentences of results for a question's text, each text once.

    `tolerant`: corrections of typing errors count as the words that they replace.
    """
    words = snapshot.word_values(question, tolerant=tolerant) if question else ()
    chooser = SentenceChooser(words)
    several = (
        BestSentence(excerpt, hit, value / sqrt(hit.rank))
        for hit in hits
        for value, excerpt in chooser.ranked(hit)
    )
    found: dict[str, BestSentence] = {}
    for one in sorted(several, key=lambda one: -one.score):
        found.setdefault(" ".join(one.text.split()).casefold(), one)
    return list(found.values())[:k]


def place_json(hit: Hit, excerpt: Excerpt | None) -> dict[str, Any]:
    """Where an excerpt of a result stands, or without one its best passage, as plain JSON."""
    chunk = hit.chunk
    at = excerpt or chunk
    same_page = (at.page, at.label) == (chunk.page, chunk.label)
    return {
        "rank": hit.rank,
        "match": hit.match,
        "path": chunk.path,
        "title": chunk.title,
        "page": at.page,
        "printed": chunk.printed if same_page else "",
        "label": at.label,
        "start": at.start,
        "end": at.end,
        "document_id": chunk.document_id,
        "chunk_id": chunk.id,
    }


__all__ = [
    "PASSAGES",
    "Answer",
    "BestSentence",
    "best_sentences",
    "choose",
    "find_passages",
    "judge",
    "place_json",
]
