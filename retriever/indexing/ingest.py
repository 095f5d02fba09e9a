"""Documents → backend: chunked, embedded in batches across documents, visible one by one.

Vectors are stored as soon as they exist, under the hash of the exact model input, so whatever stops
a run, the next one embeds only what was not yet embedded. A document appears in one transaction
when all its vectors are there. The means are refitted as the corpus grows, from stored vectors.

What is held in memory is bounded: one document's text, and one batch of chunks.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from retriever.arrays import Vectors, shrunk_mean
from retriever.embedding.protocols import Embedder
from retriever.indexing import dense_weight as fusion
from retriever.searching import match as background
from retriever.settings import ChunkSettings
from retriever.storage.backends import CatalogReader, DocumentRow, Documents, Piece
from retriever.text.analyzer import count_words, words
from retriever.text.chunking import split
from retriever.text.structure import sentences
from retriever.types import Chunk, Document, Page, Span

CHARACTERS = 4
"""About so many make a token."""

BATCH_TOKENS = 16_384
"""Chunks of about so many tokens are embedded between two commits."""

FIRST_BATCH_TOKENS = 2_048
"""The first batch is small, so that something can be found soon."""

MAX_WAITING = 256
"""So many documents, or as much text as a batch has, wait for their vectors at most."""

BLOCK = 16
"""Chunks of one document that are looked at together."""

FIT_PASSAGES = 16_384
"""At most so many chunk vectors make the passage mean."""

FIT_SENTENCES = 256
"""So many sentences of the corpus, read through the query prompt, make the query mean."""

EARLY_SENTENCES = 128
"""So many make it while the corpus still grows: the last fit needs others of them."""

GENERAL_SHARE = 0.5
"""What people type are questions, and rarely the corpus's sentences: half of each, in English. The
general questions are in English; where the passages are not, they say nothing of what is asked."""

_WEIGHING = ("dense_weight", "held_out", "found_again", "weighed_at", "weighing")
"""Facts that stay when only the means are fitted anew."""

GROWTH = 4
"""While it grows, the means are fitted again when there are so many times as many chunks."""

TITLE_TOKENS = 48
"""Room left for a title when chunks are fitted to a small model."""

SENTENCE_WORDS = range(5, 41)
"""A sentence of so many words can stand for a question."""

LONG_SENTENCE_WORDS = 20
"""So many words of a longer one do."""


@dataclass(slots=True)
class _Waiting:
    """A document whose vectors are not all there yet."""

    row: DocumentRow
    pages: Sequence[Page]
    pieces: Sequence[Piece]


@dataclass(slots=True)
class Ingest:
    """Writes documents into a backend. Call `add` for each, then `close`.

    `done` is told of every document when it has become visible; `tick` after every batch. `chunks`
    and `tokens` count what was embedded; `part` is the share of the document being added that
    was looked at.
    """

    backend: Documents
    embedder: Embedder
    chunking: ChunkSettings
    done: Callable[[DocumentRow], None] = lambda row: None
    tick: Callable[[], None] = lambda: None
    chunks: int = 0
    tokens: int = 0
    part: float = 0.0
    _inputs: dict[str, str] = field(default_factory=dict)  # vector key → model input
    _size: int = 0  # characters queued
    _waiting: list[_Waiting] = field(default_factory=list)
    _held: int = 0  # characters of the pages waiting
    _corpus: int = 0  # chunks there are, about
    _fitted_at: int = 0  # chunks there were at the last fit

    def __post_init__(self) -> None:
        with self.backend.reading() as catalog:
            self._corpus = sum(row.chunks for row in catalog.documents())
            if catalog.calibration_facts() is not None:
                self._fitted_at = self._corpus

    def add(self, row: DocumentRow, document: Document) -> None:
        """Queue a document; it becomes visible when its batch is embedded."""
        spans = split(document.pages, self.chunking, self.embedder.token_spans)
        pieces: list[Piece] = []
        for start in range(0, len(spans), BLOCK):
            block = self._inputs_of(document, spans[start : start + BLOCK])
            self.part = (start + len(block)) / len(spans)
            pieces += [piece for piece, _ in block]
            self._queue({piece.vector: model_input for piece, model_input in block})
        self.part = 0.0
        states = Counter(page.state for page in document.pages)
        row = replace(row, pages=len(document.pages), page_states=states, chunks=len(pieces))
        self._wait(_Waiting(row, document.pages, pieces))

    def close(self) -> None:
        """Embed what is queued, make it visible, and fit the means to the whole corpus."""
        self._flush()
        with self.backend.reading() as catalog:
            fitted = is_fitted(catalog)
        if not fitted:
            self.fit()

    def fit(self, *, early: bool = False) -> None:
        """Fit both means to what is in the backend now; nothing is embedded twice.

        `early`: more is to come, so fewer sentences will do.
        """
        with self.backend.reading() as catalog:
            passages = catalog.sample_vectors(FIT_PASSAGES)
            sample = catalog.sample_chunks(EARLY_SENTENCES if early else FIT_SENTENCES)
            rows = [] if early else catalog.documents()
            before = catalog.calibration_facts() or {}
        queries = self._question_vectors(sample)
        passage_prior, query_prior = self.embedder.general_means()
        facts: dict[str, Any] = {"passages": len(passages), "sentences": len(queries)}
        if not early:
            facts["corpus"] = corpus_digest(rows)
        general = self._general_vectors()
        share = GENERAL_SHARE * english_share(sample)
        means = (
            shrunk_mean(passages, passage_prior),
            (1 - share) * shrunk_mean(queries, query_prior) + share * general.mean(axis=0),
        )
        facts |= {"questions": len(general), "questions_share": round(share, 3)}
        facts |= {name: before[name] for name in _WEIGHING if name in before}
        self.backend.calibrate(*means, facts)
        if not early:
            if fusion.is_due(before, sum(row.chunks for row in rows)):
                self.backend.calibrate(*means, facts | self._weigh())
            self._fit_background()
        self._fitted_at = self._corpus

    def _weigh(self) -> dict[str, Any]:
        """Measure what the dense side's scores are worth, now that the means are there."""
        with self.backend.snapshot() as snapshot:
            asked = fusion.items(snapshot)
        sentences = self._query_vectors([one.sentence for one in asked])
        inputs = [self.embedder.passage_input(one.rest, one.chunk.title) for one in asked]
        rests = self.embedder.embed_inputs(inputs) if inputs else sentences
        with self.backend.snapshot() as snapshot:
            facts = fusion.fit(snapshot, asked, sentences, rests)
            return facts | {"weighed_at": snapshot.passages.count()}

    def _fit_background(self) -> None:
        """Ask questions that have no answer here, now that the means are what they will be."""
        with self.backend.reading() as catalog:
            chunks = sum(row.chunks for row in catalog.documents())
        if not chunks:
            self.backend.set_background(None)
            return
        questions = background.general_questions()
        vectors = self._general_vectors()
        with self.backend.snapshot() as snapshot:
            fitted = background.fit(snapshot, questions, vectors)
        facts = {"questions": fitted.questions, "chunks": chunks, "at": _now()}
        self.backend.set_background({**fitted.to_json(), "facts": facts})

    def _inputs_of(
        self, document: Document, spans: Iterable[tuple[int, Span]]
    ) -> list[tuple[Piece, str]]:
        """The document's chunks at these places, with the exact model inputs of their vectors."""
        block = []
        for number, span in spans:
            text = document.pages[number].text[span.start : span.end]
            model_input = self.embedder.passage_input(text, document.title)
            block.append((Piece(number, span, self.embedder.key(model_input)), model_input))
        return block

    def _queue(self, inputs: dict[str, str]) -> None:
        """Queue what has no vector yet; a full batch is embedded."""
        with self.backend.reading() as catalog:
            known = catalog.known_vectors(list(inputs))
        for key, model_input in inputs.items():
            if key not in known and key not in self._inputs:
                self._inputs[key] = model_input
                self._size += len(model_input)
        budget = FIRST_BATCH_TOKENS if self.tokens == 0 else BATCH_TOKENS
        if self._size > CHARACTERS * budget:
            self._flush()

    def _wait(self, waiting: _Waiting) -> None:
        """Let a document wait for its vectors, or release all that wait."""
        self._waiting.append(waiting)
        self._held += sum(len(page.text) for page in waiting.pages)
        too_many = len(self._waiting) >= MAX_WAITING or self._held > CHARACTERS * BATCH_TOKENS
        if not self._inputs or too_many:
            self._flush()

    def _flush(self) -> None:
        """Embed what is queued, and make visible what waited for it."""
        embedded = self._embed()
        self._release()
        if embedded:
            self.tick()

    def _embed(self) -> bool:
        if not self._inputs:
            return False
        inputs, self._inputs, self._size = self._inputs, {}, 0
        self.backend.save_vectors(list(inputs), self.embedder.embed_inputs(list(inputs.values())))
        self.chunks += len(inputs)
        self.tokens += self.embedder.count_tokens(list(inputs.values()))
        return True

    def _release(self) -> None:
        """Make the waiting documents visible; all their vectors are there."""
        for waiting in self._waiting:
            self.backend.upsert(waiting.row, waiting.pages, waiting.pieces)
            self._corpus += waiting.row.chunks
            self.done(waiting.row)
        self._waiting.clear()
        self._held = 0
        if self._corpus and self._corpus >= GROWTH * self._fitted_at:
            self.fit(early=True)

    def _question_vectors(self, chunks: Sequence[Chunk]) -> Vectors:
        """Raw vectors of sentences of these chunks read as queries: (n, dim)."""
        return self._query_vectors(list(filter(None, map(typical_sentence, chunks))))

    def _general_vectors(self) -> Vectors:
        """Raw vectors of the general questions: (questions, dim)."""
        questions = background.general_questions()

        def remembered(new: Sequence[str]) -> Vectors:
            of = dict(zip(questions, self.embedder.embed_fixed_queries(questions), strict=True))
            return np.array([of[question] for question in new])

        return self._query_vectors(questions, remembered)

    def _query_vectors(
        self, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors] | None = None
    ) -> Vectors:
        """Raw vectors of texts as queries, each once; nothing is embedded twice: (n, dim)."""
        embed = embed or self.embedder.embed_queries
        texts = list(dict.fromkeys(texts))
        inputs = map(self.embedder.query_inputs, texts)
        keys = ["q:" + self.embedder.key("\0".join(readings)) for readings in inputs]
        with self.backend.reading() as catalog:
            known = catalog.known_vectors(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            self.backend.save_vectors(list(new), embed(list(new.values())))
        if not keys:
            return np.zeros((0, self.embedder.settings.dimension), dtype=np.float32)
        with self.backend.reading() as catalog:
            return catalog.load_vectors(keys)


def corpus_digest(rows: Iterable[DocumentRow]) -> str:
    """16 hex digits that change with the content of the corpus, but not when a file is renamed."""
    facts = sorted(f"{r.sha256 or r.id} {r.format} {r.settings} {r.chunks}" for r in rows)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def is_fitted(catalog: CatalogReader) -> bool:
    """Whether means and background are those of the documents that there are."""
    facts = catalog.calibration_facts()
    rows = catalog.documents()
    # One made by an earlier version has its query mean from the same share in every language.
    if (
        facts is None
        or "questions_share" not in facts
        or facts.get("corpus") != corpus_digest(rows)
    ):
        return False
    # An index that was made before there were backgrounds has none.
    known = background.MatchScale.from_json(catalog.background())
    return known is not None or not any(row.chunks for row in rows)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def english_share(chunks: Sequence[Chunk]) -> float:
    """The share of the chunks that are in English; 1 where there is none.

    What shows no language that is known counts as English if its script does not say otherwise.
    """
    english = [
        chunk.language == "en" or (not chunk.language and _is_mostly_ascii(chunk.text))
        for chunk in chunks
    ]
    return sum(english) / len(english) if english else 1.0


def _is_mostly_ascii(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(map(str.isascii, letters)) >= len(letters)


def typical_sentence(chunk: Chunk) -> str:
    """One sentence of the chunk, always the same one, or an empty text if none is usable.

    Of a very long one (text without capitals or full stops) the beginning is taken.
    """
    found = [" ".join(chunk.text[s.start : s.end].split()) for s in sentences(chunk.text)]
    usable = [
        _beginning(text)
        for text in found
        if count_words(text, SENTENCE_WORDS.stop) >= SENTENCE_WORDS.start
    ]
    # Seeded by the text: wherever its file is moved, the sentence stays the same.
    seed = hashlib.sha256(chunk.text.encode("utf-8", "surrogatepass")).digest()
    return random.Random(seed).choice(usable) if usable else ""  # noqa: S311  (not a secret)


def _beginning(text: str) -> str:
    if count_words(text, SENTENCE_WORDS.stop) in SENTENCE_WORDS:
        return text
    return text[: next(islice(words(text), LONG_SENTENCE_WORDS - 1, None)).end]


def fitting(chunking: ChunkSettings, embedder: Embedder) -> ChunkSettings:
    """`chunking` reduced to what the model can read in one piece, prompt and title included."""
    room = embedder.max_tokens - embedder.prompt_tokens() - TITLE_TOKENS
    size = max(8, min(chunking.size, room))
    return ChunkSettings(size=size, overlap=min(chunking.overlap, size // 2))


def row_for(document: Document, **facts: object) -> DocumentRow:
    """The backend's row of a document, without its counts."""
    base = DocumentRow(
        id="",
        source="",
        root="",
        path=document.path,
        format=document.format,
        title=document.title,
        author=document.author,
        date=document.date,
        metadata=dict(document.metadata),
    )
    return replace(base, **facts)  # type: ignore[arg-type]  # the facts are fields of the row
