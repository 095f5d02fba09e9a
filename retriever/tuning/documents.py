"""Pairs from an index without labels: what its documents themselves say of their passages.

- A title, or a heading → the text under it, without the heading and the title.
- A sentence → the rest of its passage (the inverse cloze task: Lee et al., "Latent Retrieval for
  Weakly Supervised Open Domain Question Answering", 2019).
- Some sentences of a passage → a larger crop of it, which may contain them (Izacard et al.,
  "Unsupervised Dense Information Retrieval with Contrastive Learning", 2022).

A part of the *documents* is held out. They are asked for by sentences, as `known_items` does, among
their own passages and others. A passage that is a near-duplicate of an earlier one, or of one that
is held out, is not trained on. No document gives many more passages than the others do.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from retriever.evaluation.known_items import known_items
from retriever.index import Index
from retriever.indexing.cloze import cloze_questions, hash_key
from retriever.searching.near_duplicates import repeating_pairs
from retriever.searching.toc import looks_like_toc
from retriever.text.analyzer import count_words
from retriever.text.detection import present_languages
from retriever.text.readability import readability
from retriever.text.sentences import split_sentences
from retriever.tuning.leakage import chosen, normalised, without
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import Chunk, UsageError

PAIRS = 20_000
"""Most pairs by default."""

HELD_QUERIES = 300
"""Most sentences that are asked of the held-out documents."""

HELD_PASSAGES = 1_000
"""Most passages that are searched for them."""

_LEAST_WORDS = 25
_READABLE = 0.5
_SHARE = 0.1  # of all passages, at most of one document
_FREE = 200  # passages that any document may give
_QUERY_WORDS = 60
_TITLE_WORDS = range(2, 25)
_NUMBERING = re.compile(r"^(?:\d+(?:\.\d+)*\.?|[A-Z](?:\.\d+)+\.?|[IVX]+\.)\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class DocumentPairs:
    """Pairs to train on, pairs of other documents to measure with, and what was left out and why.

    In a corpus a passage has its whole text (in that of `held`, without the sentence that is
    asked); the positive of a pair to train on is a part of it and has its id, a chunk's.
    """

    train: PairData
    held: PairData
    left_out: tuple[str, ...]


def pairs_from_index(
    index: Index, *, seed: int = 0, most: int = PAIRS, held_share: float = 0.15
) -> DocumentPairs:
    """At most `most` pairs of an index's documents; about `held_share` of these are held out.

    The same passages give the same pairs. Raises UsageError if there are too few to train on.
    """
    if most < 1 or not 0 < held_share < 1:
        raise UsageError("there must be pairs to make, and a share between 0 and 1 to hold out")
    counts = {row.id: row.chunks for row in index.documents() if row.chunks}
    if len(counts) < 2:
        raise UsageError(
            f"the index has {len(counts)} documents with text; two are needed, one to train on and "
            "one to measure with"
        )
    held = chosen({name: name.encode() for name in counts}, held_share, seed)
    reader = _Reader(index, seed)
    ours = {name: count for name, count in counts.items() if name not in held}
    theirs = {name: count for name, count in counts.items() if name in held}
    measured, trained = _without_repeats(
        reader.passages(theirs, HELD_PASSAGES), reader.passages(ours, most), reader.reasons
    )
    name = index.name or "documents"
    asked = _held_pairs(measured, trained, name)
    pairs = _interleaved([_document_pairs(own, seed) for own in _by_document(trained)])
    train, leaked = without(
        PairData(pairs, {each.id: _whole(each) for each in trained}, name), asked
    )
    reader.reasons["pairs share a text with a held-out one"] += sum(leaked.values())
    if not train.pairs:
        raise UsageError("the documents have too little text to train on")
    left_out = tuple(f"left out: {count} {why}" for why, count in reader.reasons.items() if count)
    return DocumentPairs(
        PairData(train.pairs[:most], train.corpus, name, left_out), asked, left_out
    )


class _Reader:
    """Reads usable passages of an index; `reasons` counts why others are not."""

    def __init__(self, index: Index, seed: int) -> None:
        self.index, self.seed = index, seed
        self.reasons: Counter[str] = Counter()
        with index.snapshot(dense=False) as now:
            self.languages = present_languages(now.catalog.language_counts())

    def passages(self, counts: Mapping[str, int], limit: int) -> list[Chunk]:
        """At most `limit` usable passages, from documents in a random order, few of each."""
        most = passages_per_document(list(counts.values()), limit)
        found: list[Chunk] = []
        for name in sorted(counts, key=self._key):
            if len(found) >= limit:
                break
            usable = [chunk for chunk in self.index.chunks(name) if self._is_usable(chunk)]
            found += sorted(usable, key=lambda chunk: self._key(chunk.id))[:most]
        return found[:limit]

    def _key(self, name: str) -> str:
        return hash_key(f"{self.seed} {name}")

    def _is_usable(self, chunk: Chunk) -> bool:
        reason = _unusable(chunk)
        if not reason and chunk.language and chunk.language not in self.languages:
            reason = "passages are in a language that hardly any other has"
        self.reasons[reason] += bool(reason)
        return not reason


def _unusable(chunk: Chunk) -> str:
    """Why a passage is not trained on; empty if it is."""
    if looks_like_toc(chunk.text):
        return "passages are tables of contents, or the like"
    if count_words(chunk.text, _LEAST_WORDS) < _LEAST_WORDS:
        return f"passages have fewer than {_LEAST_WORDS} words"
    return "passages are hardly readable" if readability(chunk.text) < _READABLE else ""


def passages_per_document(counts: Sequence[int], limit: int) -> int:
    """The most passages that a document of a corpus gives, if documents have so many.

    With it there are at most `limit`, and none gives more than a tenth of them, except that 200
    (or, in a corpus of few documents, twice an equal share) are always allowed.

    >>> passages_per_document([10] * 100, 500), passages_per_document([10] * 100, 5000)
    (5, 10)
    >>> passages_per_document([10] * 1000 + [10**6], 50_000)
    1111
    """
    share = max(_SHARE, 2 / len(counts)) if counts else 1.0

    def fits(most: int) -> bool:
        total = sum(min(count, most) for count in counts)
        return total <= limit and (most <= _FREE or most <= share * total)

    low, high = 1, max(counts, default=1)
    while low < high:  # the largest that fits; both conditions hold up to some number
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _without_repeats(
    held: Sequence[Chunk], train: Sequence[Chunk], reasons: Counter[str]
) -> tuple[list[Chunk], list[Chunk]]:
    """Both sides without the passages that are near-duplicates of earlier ones, held first."""
    every = [*held, *train]
    related: dict[int, set[int]] = {}
    for one, other in repeating_pairs([chunk.text for chunk in every]):
        first, second = sorted((one, other))
        related.setdefault(second, set()).add(first)
    dropped: set[int] = set()
    for at in sorted(related):
        if related[at] - dropped:
            dropped.add(at)
    reasons["passages repeat others"] += len(dropped)
    kept = [at for at in range(len(every)) if at not in dropped]
    return (
        [every[at] for at in kept if at < len(held)],
        [every[at] for at in kept if at >= len(held)],
    )


def _held_pairs(held: Sequence[Chunk], train: Sequence[Chunk], name: str) -> PairData:
    """Sentences of held-out documents and the rest of their passages, among other passages."""
    asked = known_items(
        [(chunk.id, chunk.title, chunk.text) for chunk in held],
        most=HELD_QUERIES,
        others=[chunk.text for chunk in train],
    )
    corpus = {key: Passage(text, title, key) for key, (title, text) in asked.corpus.items()}
    pairs = [Pair(sentence, corpus[key], id=key) for key, sentence in asked.queries.items()]
    corpus |= {each.id: _whole(each) for each in train[: max(0, HELD_PASSAGES - len(corpus))]}
    return PairData(pairs, corpus, name)


def _document_pairs(chunks: Sequence[Chunk], seed: int) -> list[Pair]:
    """The pairs of a document's passages; its title asks for one of them."""
    found: list[Pair] = []
    title = " ".join(chunks[0].title.split())
    if _is_informative(title):
        first = min(chunks, key=lambda chunk: (chunk.page or 0, chunk.start))
        found.append(Pair(title, Passage(first.text, id=first.id)))
    for chunk in chunks:
        makers = (_sentence_pair(chunk), _heading_pair(chunk), _crop_pair(chunk, seed))
        found += (pair for pair in makers if pair is not None)
    return found


def _sentence_pair(chunk: Chunk) -> Pair | None:
    for sentence, rest in cloze_questions(chunk.text):
        if _is_asked(sentence):
            return Pair(sentence, Passage(rest, chunk.title, chunk.id))
    return None


def _is_asked(sentence: str) -> bool:
    """Whether a text is sentences, and not a heading, rows of a table or markup."""
    is_marked = sentence.startswith("#") or "|" in sentence
    return not is_marked and readability(sentence) >= _READABLE


def _heading_pair(chunk: Chunk) -> Pair | None:
    """The first heading that says something and has enough text under it."""
    for heading, body in headed_sections(chunk.text):
        if _is_informative(heading) and count_words(body, _LEAST_WORDS) == _LEAST_WORDS:
            return Pair(heading, Passage(body, id=chunk.id))
    return None


def headed_sections(text: str) -> Iterator[tuple[str, str]]:
    r"""(heading without its number, the text under it) for the headings of a text.

    Of headings in a row the last one counts; if it is one word, the one before it, too.

    >>> list(headed_sections("# Tea\n## 2.1 Hot\nBoil it.\n\n# Cold tea\nLeave it."))
    [('Tea Hot', 'Boil it.'), ('Cold tea', 'Leave it.')]
    """
    above: list[str] = []
    start = end = 0
    for one in split_sentences(text):
        if one.kind != "heading":
            end = one.end
            continue
        if above and end > start:
            yield _heading(above), text[start:end].strip()
            above = []
        line = " ".join(text[one.start : one.end].split())
        above.append(_NUMBERING.sub("", line))
        start = one.end
    if above and end > start:
        yield _heading(above), text[start:end].strip()


def _heading(above: Sequence[str]) -> str:
    return " ".join(above[-2:]) if count_words(above[-1], 2) < 2 else above[-1]


def _is_informative(title: str) -> bool:
    words = count_words(title, _TITLE_WORDS.stop)
    return words in _TITLE_WORDS and readability(title) >= _READABLE


def _crop_pair(chunk: Chunk, seed: int) -> Pair | None:
    """One to three sentences, and at least half of the passage's; both at random."""
    spans = [(one.start, one.end) for one in split_sentences(chunk.text) if one.kind != "heading"]
    if len(spans) < 4:
        return None
    draw = random.Random(hash_key(f"{seed} crop {chunk.id}"))  # noqa: S311  (not a secret)

    def crop(least: int, most: int) -> str:
        length = draw.randint(least, most)
        first = draw.randrange(len(spans) - length + 1)
        return chunk.text[spans[first][0] : spans[first + length - 1][1]]

    query = " ".join(crop(1, 3).split())
    larger = crop((len(spans) + 1) // 2, len(spans) - 1)
    words = count_words(query, _QUERY_WORDS)
    if not 6 <= words < _QUERY_WORDS or count_words(larger, _LEAST_WORDS) < _LEAST_WORDS:
        return None
    if normalised(query) == normalised(larger) or not _is_asked(query):
        return None
    return Pair(query, Passage(larger, chunk.title, chunk.id))


def _by_document(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    found: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        found.setdefault(chunk.document_id, []).append(chunk)
    return list(found.values())


def _interleaved(documents: Sequence[Sequence[Pair]]) -> list[Pair]:
    """One pair of each document, then a second one of each, …; no query is asked of two passages.

    A title or heading that several passages have says nothing of any of them.
    """
    turns = [pair for turn in zip_longest(*documents) for pair in turn if pair is not None]
    asked: dict[str, set[str]] = {}
    for pair in turns:
        asked.setdefault(normalised(pair.query), set()).add(pair.positive.id)
    return [pair for pair in turns if len(asked[normalised(pair.query)]) == 1]


def _whole(chunk: Chunk) -> Passage:
    return Passage(chunk.text, chunk.title, chunk.id)


__all__ = [
    "HELD_PASSAGES",
    "HELD_QUERIES",
    "PAIRS",
    "DocumentPairs",
    "headed_sections",
    "pairs_from_index",
    "passages_per_document",
]
