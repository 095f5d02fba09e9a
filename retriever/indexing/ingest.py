"""Ingest: documents are chunked, embedded in batches across documents, and written one by one.

Vectors are stored as soon as they exist, under the hash of the exact model input. So whatever stops
a run, the next one embeds only what is missing. A document is written in one transaction when all
its vectors are stored. The means are refitted as the corpus grows, from stored vectors.

Memory is bounded: one document's text, and one batch of chunks.
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
from retriever.indexing.dense_weight import cloze_items, fit_dense_weight, fit_is_due
from retriever.searching import match
from retriever.settings import ChunkSettings
from retriever.storage.backends import CatalogReader, DocumentRow, Documents, NewChunk
from retriever.text.analyzer import count_words, word_ends
from retriever.text.chunking import chunk_document
from retriever.text.structure import sentences
from retriever.types import Chunk, Document, Phase, Span

CHARACTERS_PER_TOKEN = 4
"""Approximate number of characters in a token."""

BATCH_TOKENS = 16_384
"""Approximate number of tokens embedded between two commits."""

FIRST_BATCH_TOKENS = 2_048
"""Tokens of the first batch, which is small so that something can be found soon."""

MAX_WAITING = 256
"""Largest number of documents waiting for vectors; their text is at most a batch's."""

BLOCK = 16
"""Chunks of one document that are looked up together."""

FIT_PASSAGES = 16_384
"""Largest number of chunk vectors for the passage mean."""

FIT_SENTENCES = 256
"""Number of sentences of the corpus, embedded as queries, for the query mean."""

EARLY_SENTENCES = 128
"""Number of sentences while the corpus still grows; the last fit samples others."""

GENERAL_SHARE = 0.5
"""Share of the general questions in the query mean, for a corpus in English; the rest are sentences
of the corpus. People type questions, and rarely the corpus's sentences. The general questions are
in
English, so they do not represent queries in other languages."""

_DENSE_WEIGHT_FACTS = ("dense_weight", "held_out", "found_again", "weighed_at", "weighing")
"""Facts about the dense weight, kept when only the means are fitted again."""

GROWTH = 4
"""Factor of growth (in chunks) after which the means are fitted again during a run."""

TITLE_TOKENS = 48
"""Tokens reserved for a title when chunks are limited to a small model."""

SENTENCE_WORDS = range(5, 41)
"""Lengths, in words, of sentences that can represent a query."""

LONG_SENTENCE_WORDS = 20
"""Number of words kept of a longer sentence."""

# Approximate shares of the time of the last fit: the means; then the weight of the dense side.
_MEANS_SHARE, _WEIGHT_SHARE = 0.5, 0.9


@dataclass(slots=True)
class _PendingDocument:
    """A document whose vectors are not all stored yet."""

    row: DocumentRow
    document: Document
    pieces: Sequence[NewChunk]


@dataclass(slots=True)
class Ingest:
    """Writes documents into a backend. Call `add` for each, then `close`.

    `on_document` is called with every document when it has been written, `on_batch` after every
    batch, and `on_phase` before a batch is embedded and before each step of fitting, with the share
    of the steps that are done. `chunks` and `tokens` count what was embedded, `waiting` the chunks
    of the batch that is being embedded. `part` is the share of the current document that was looked
    up.
    """

    backend: Documents
    embedder: Embedder
    chunking: ChunkSettings
    on_document: Callable[[DocumentRow], None] = lambda row: None
    on_batch: Callable[[], None] = lambda: None
    on_phase: Callable[[Phase, float], None] = lambda phase, part: None
    chunks: int = 0
    waiting: int = 0
    tokens: int = 0
    part: float = 0.0
    _inputs: dict[str, str] = field(default_factory=dict)  # vector key → model input
    _queued_characters: int = 0  # characters queued
    _pending: list[_PendingDocument] = field(default_factory=list)
    _pending_characters: int = 0  # characters of pending documents, left-out text included
    _corpus_chunks: int = 0  # approximate number of chunks
    _chunks_at_fit: int = 0  # number of chunks at the last fit

    def __post_init__(self) -> None:
        with self.backend.reading() as catalog:
            self._corpus_chunks = sum(row.chunks for row in catalog.documents())
            if catalog.calibration_facts() is not None:
                self._chunks_at_fit = self._corpus_chunks

    def add(self, row: DocumentRow, document: Document) -> None:
        """Queue a document; it is written when its batch is embedded."""
        spans = chunk_document(document.pages, self.chunking, self.embedder.token_spans)
        pieces: list[NewChunk] = []
        for start in range(0, len(spans), BLOCK):
            block = self._inputs_of(document, spans[start : start + BLOCK])
            self.part = (start + len(block)) / len(spans)
            pieces += [piece for piece, _ in block]
            self._queue({piece.vector: model_input for piece, model_input in block})
        self.part = 0.0
        states = Counter(page.state for page in document.pages)
        row = replace(row, pages=len(document.pages), page_states=states, chunks=len(pieces))
        self._enqueue(_PendingDocument(row, document, pieces))

    def close(self) -> None:
        """Embed and write what is queued, and fit the means to the whole corpus."""
        self._flush()
        with self.backend.reading() as catalog:
            fitted = calibration_is_current(catalog)
        if not fitted:
            self.fit()

    def fit(self, *, early: bool = False) -> None:
        """Fit both means to the documents in the backend; nothing is embedded twice.

        `early`: the corpus still grows, so fewer sentences are enough.
        """
        self.on_phase(Phase.FITTING, 0.0)
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
        facts |= {name: before[name] for name in _DENSE_WEIGHT_FACTS if name in before}
        self.backend.calibrate(*means, facts)
        if not early:
            self.on_phase(Phase.FITTING, _MEANS_SHARE)
            if fit_is_due(before, sum(row.chunks for row in rows)):
                self.backend.calibrate(*means, facts | self._fit_dense_weight())
            self.on_phase(Phase.FITTING, _WEIGHT_SHARE)
            self._fit_match_scale()
        self._chunks_at_fit = self._corpus_chunks

    def _fit_dense_weight(self) -> dict[str, Any]:
        """Fit the weight of the dense side, with the fitted means."""
        with self.backend.snapshot() as snapshot:
            asked = cloze_items(snapshot)
        sentences = self._query_vectors([one.sentence for one in asked])
        inputs = [self.embedder.passage_input(one.rest, one.chunk.title) for one in asked]
        rests = self.embedder.embed_inputs(inputs) if inputs else sentences
        with self.backend.snapshot() as snapshot:
            facts = fit_dense_weight(snapshot, asked, sentences, rests)
            return facts | {"weighed_at": snapshot.passages.count()}

    def _fit_match_scale(self) -> None:
        """Fit the match scale to the general questions, with the fitted means."""
        with self.backend.reading() as catalog:
            chunks = sum(row.chunks for row in catalog.documents())
        if not chunks:
            self.backend.set_match_scale(None)
            return
        questions = match.general_questions()
        vectors = self._general_vectors()
        with self.backend.snapshot() as snapshot:
            fitted = match.fit_match_scale(snapshot, questions, vectors)
        facts = {"questions": fitted.questions, "chunks": chunks, "at": _now()}
        self.backend.set_match_scale({**fitted.to_json(), "facts": facts})

    def _inputs_of(
        self, document: Document, spans: Iterable[tuple[int, Span]]
    ) -> list[tuple[NewChunk, str]]:
        """The document's chunks at these spans, with their exact model inputs."""
        block = []
        for number, span in spans:
            text = document.pages[number].text[span.start : span.end]
            model_input = self.embedder.passage_input(text, document.title)
            block.append((NewChunk(number, span, self.embedder.key(model_input)), model_input))
        return block

    def _queue(self, inputs: dict[str, str]) -> None:
        """Queue inputs without a vector; a full batch is embedded."""
        with self.backend.reading() as catalog:
            known = catalog.known_vectors(list(inputs))
        for key, model_input in inputs.items():
            if key not in known and key not in self._inputs:
                self._inputs[key] = model_input
                self._queued_characters += len(model_input)
        budget = FIRST_BATCH_TOKENS if self.tokens == 0 else BATCH_TOKENS
        if self._queued_characters > CHARACTERS_PER_TOKEN * budget:
            self._flush()

    def _enqueue(self, waiting: _PendingDocument) -> None:
        """Add a document to the pending ones; write all of them if there are too many."""
        self._pending.append(waiting)
        document = waiting.document
        self._pending_characters += sum(len(page.text) for page in document.pages)
        self._pending_characters += sum(len(part.text) for part in document.left_out)
        too_many = (
            len(self._pending) >= MAX_WAITING
            or self._pending_characters > CHARACTERS_PER_TOKEN * BATCH_TOKENS
        )
        if not self._inputs or too_many:
            self._flush()

    def _flush(self) -> None:
        """Embed what is queued, and write the documents that waited for it."""
        embedded = self._embed()
        self._release()
        if embedded:
            self.on_batch()

    def _embed(self) -> bool:
        if not self._inputs:
            return False
        inputs, self._inputs, self._queued_characters = self._inputs, {}, 0
        self.waiting = len(inputs)
        self.on_phase(Phase.EMBEDDING, 0.0)
        self.backend.save_vectors(list(inputs), self.embedder.embed_inputs(list(inputs.values())))
        self.chunks += len(inputs)
        self.waiting = 0
        self.tokens += self.embedder.count_tokens(list(inputs.values()))
        return True

    def _release(self) -> None:
        """Write the pending documents, whose vectors are all stored."""
        for waiting in self._pending:
            document = waiting.document
            self.backend.upsert(
                *(waiting.row, document.pages, waiting.pieces),
                *(document.account, document.left_out),
            )
            self._corpus_chunks += waiting.row.chunks
            self.on_document(waiting.row)
        self._pending.clear()
        self._pending_characters = 0
        if self._corpus_chunks and self._corpus_chunks >= GROWTH * self._chunks_at_fit:
            self.fit(early=True)

    def _question_vectors(self, chunks: Sequence[Chunk]) -> Vectors:
        """Raw vectors of sentences of these chunks, embedded as queries: (n, dim)."""
        return self._query_vectors(list(filter(None, map(typical_sentence, chunks))))

    def _general_vectors(self) -> Vectors:
        """Raw vectors of the general questions: (questions, dim)."""
        questions = match.general_questions()

        def remembered(new: Sequence[str]) -> Vectors:
            of = dict(zip(questions, self.embedder.embed_fixed_queries(questions), strict=True))
            return np.array([of[question] for question in new])

        return self._query_vectors(questions, remembered)

    def _query_vectors(
        self, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors] | None = None
    ) -> Vectors:
        """Raw vectors of the distinct texts as queries; nothing is embedded twice: (n, dim)."""
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
    """16 hex digits that change with the corpus's content, but not when a file is renamed."""
    facts = sorted(f"{r.sha256 or r.id} {r.format} {r.settings} {r.chunks}" for r in rows)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def calibration_is_current(catalog: CatalogReader) -> bool:
    """Whether the means and the match scale are fitted to the current documents."""
    facts = catalog.calibration_facts()
    rows = catalog.documents()
    # An index of an earlier version has the same share of questions in every language.
    if (
        facts is None
        or "questions_share" not in facts
        or facts.get("corpus") != corpus_digest(rows)
    ):
        return False
    # An index of an earlier version has no match scale.
    known = match.MatchScale.from_json(catalog.match_scale())
    return known is not None or not any(row.chunks for row in rows)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def english_share(chunks: Sequence[Chunk]) -> float:
    """The share of the chunks that are in English; 1 where there are no chunks.

    A chunk in an unknown language counts as English if most of its letters are ASCII.
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
    """A random sentence of the chunk, always the same one; empty if none is usable.

    A very long one (text without capitals or full stops) is cut.
    """
    found = [" ".join(chunk.text[s.start : s.end].split()) for s in sentences(chunk.text)]
    usable = [
        _beginning(text)
        for text in found
        if count_words(text, SENTENCE_WORDS.stop) >= SENTENCE_WORDS.start
    ]
    # Seeded by the text, so that moving the file does not change the sentence.
    seed = hashlib.sha256(chunk.text.encode("utf-8", "surrogatepass")).digest()
    return random.Random(seed).choice(usable) if usable else ""  # noqa: S311  (not a secret)


def _beginning(text: str) -> str:
    if count_words(text, SENTENCE_WORDS.stop) in SENTENCE_WORDS:
        return text
    return text[: next(islice(word_ends(text), LONG_SENTENCE_WORDS - 1, None))]


def limit_chunking(chunking: ChunkSettings, embedder: Embedder) -> ChunkSettings:
    """`chunking` limited to the model's context size, less prompt and title."""
    room = embedder.max_tokens - embedder.prompt_tokens() - TITLE_TOKENS
    size = max(8, min(chunking.size, room))
    return ChunkSettings(size=size, overlap=min(chunking.overlap, size // 2))


def document_row(document: Document, **facts: object) -> DocumentRow:
    """The backend's row of a document, without counts; `facts` are fields of the row."""
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
    return replace(base, **facts)  # type: ignore[arg-type]  # fields of the row
