"""Documents → backend: chunked, embedded in batches across documents, visible one by one.

Vectors are stored as soon as they exist, under the hash of the exact model input, so whatever stops
a run, the next one embeds only what was not yet embedded. A document appears in one transaction
when all its vectors are there. The means are refitted as the corpus grows, from stored vectors.

What is held in memory is bounded: one document's text, and one batch of chunks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retriever import calibration
from retriever.backends import Backend, DocumentRow, Piece
from retriever.chunks import split
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.structure import sentences
from retriever.terms import words
from retriever.types import Chunk, Document, Page, PageState

Vectors = NDArray[np.float32]

BATCH_TOKENS = 16_384
"""Chunks of about so many tokens are embedded between two commits."""

FIRST_BATCH_TOKENS = 2_048
"""The first batch is small, so that something can be found soon."""

FIT_PASSAGES = 16_384
"""At most so many chunk vectors make the passage mean."""

FIT_SENTENCES = 512
"""So many sentences of the corpus, read through the query prompt, make the query mean."""

TITLE_TOKENS = 48
"""Room left for a title when chunks are fitted to a small model."""

SENTENCE_WORDS = range(5, 41)
"""A sentence of so many words can stand for a question."""


class Embedder(Protocol):
    """What ingesting and searching need of an embedder; `AlignedWVA` is one and explains them."""

    @property
    def settings(self) -> EmbedderSettings:
        """What the vectors depend on."""

    @property
    def max_tokens(self) -> int:
        """The longest input read in one piece."""

    def passage_input(self, text: str, title: str = "") -> str:
        """The exact model input for a passage."""

    def query_input(self, text: str) -> str:
        """The exact model input for a query."""

    def key(self, model_input: str) -> str:
        """The name of this input's vector."""

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact model inputs: (n, dim)."""

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """Tokens of exact model inputs."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token."""

    def prompt_tokens(self) -> int:
        """Tokens of the longest prompt."""

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Means of general texts as passages and as queries: (dim,) each."""


@dataclass(slots=True)
class _Waiting:
    """A document whose vectors are not all there yet."""

    row: DocumentRow
    pages: Sequence[Page]
    pieces: Sequence[Piece]


@dataclass(slots=True)
class Ingest:
    """Writes documents into a backend. Call `add` for each, then `close`.

    `done` is told of every document when it has become visible; `tick` after every batch.
    """

    backend: Backend
    embedder: Embedder
    chunking: ChunkSettings
    done: Callable[[DocumentRow], None] = lambda row: None
    tick: Callable[[], None] = lambda: None
    chunks: int = 0
    tokens: int = 0
    _inputs: dict[str, str] = field(default_factory=dict)  # vector key → model input
    _size: int = 0  # characters queued
    _waiting: list[_Waiting] = field(default_factory=list)
    _fitted_at: int = -1

    def add(self, row: DocumentRow, document: Document) -> None:
        """Queue a document; it becomes visible when its batch is embedded."""
        pieces, inputs = self._pieces(document)
        states: dict[PageState, int] = {}
        for page in document.pages:
            states[page.state] = states.get(page.state, 0) + 1
        row = replace(row, pages=len(document.pages), page_states=states, chunks=len(pieces))
        for start in range(0, len(inputs), 256):
            self._queue(dict(list(inputs.items())[start : start + 256]))
        self._waiting.append(_Waiting(row, document.pages, pieces))
        if not self._inputs:
            self._release()

    def close(self) -> None:
        """Embed what is queued, make it visible, and fit the means to the whole corpus."""
        self._embed()
        self._release()
        self.fit()

    def fit(self) -> None:
        """Fit both means to what is in the backend now; nothing is embedded twice."""
        passages = self.backend.sample_vectors(FIT_PASSAGES)
        queries = self._question_vectors()
        passage_prior, query_prior = self.embedder.general_means()
        self.backend.calibrate(
            calibration.shrunk_mean(passages, passage_prior),
            calibration.shrunk_mean(queries, query_prior),
            {"passages": len(passages), "sentences": len(queries)},
        )

    def _pieces(self, document: Document) -> tuple[list[Piece], dict[str, str]]:
        """The document's chunks, and the model input of every vector they need."""
        pieces, inputs = [], {}
        for number, span in split(document.pages, self.chunking, self.embedder.token_spans):
            text = document.pages[number].text[span.start : span.end]
            model_input = self.embedder.passage_input(text, document.title)
            key = self.embedder.key(model_input)
            pieces.append(Piece(number, span, key))
            inputs[key] = model_input
        return pieces, inputs

    def _queue(self, inputs: dict[str, str]) -> None:
        known = self.backend.known_vectors(list(inputs))
        for key, model_input in inputs.items():
            if key not in known and key not in self._inputs:
                self._inputs[key] = model_input
                self._size += len(model_input)
        budget = FIRST_BATCH_TOKENS if self.tokens == 0 else BATCH_TOKENS
        if self._size > 4 * budget:  # about four characters a token
            self._embed()
            self._release()

    def _embed(self) -> None:
        if not self._inputs:
            return
        inputs, self._inputs, self._size = self._inputs, {}, 0
        self.backend.save_vectors(list(inputs), self.embedder.embed_inputs(list(inputs.values())))
        self.chunks += len(inputs)
        self.tokens += self.embedder.count_tokens(list(inputs.values()))
        self.tick()

    def _release(self) -> None:
        """Make the waiting documents visible; all their vectors are there."""
        for waiting in self._waiting:
            self.backend.upsert(waiting.row, waiting.pages, waiting.pieces)
            self.done(waiting.row)
        self._waiting.clear()
        self._fit_if_grown()

    def _fit_if_grown(self) -> None:
        """Fit again whenever the corpus has doubled, so that what is there is found well."""
        count = len(self.backend.sample_chunks(FIT_SENTENCES))
        if count and (self._fitted_at < 0 or count >= 2 * self._fitted_at):
            self._fitted_at = count
            self.fit()

    def _question_vectors(self) -> Vectors:
        """Raw vectors of sentences of the corpus read through the query prompt: (n, dim)."""
        chunks = self.backend.sample_chunks(FIT_SENTENCES)
        texts = list(dict.fromkeys(filter(None, map(typical_sentence, chunks))))
        inputs = [self.embedder.query_input(text) for text in texts]
        keys = ["q:" + self.embedder.key(model_input) for model_input in inputs]
        known = self.backend.known_vectors(keys)
        new = {key: text for key, text in zip(keys, inputs, strict=True) if key not in known}
        if new:
            self.backend.save_vectors(list(new), self.embedder.embed_inputs(list(new.values())))
        if not keys:
            return np.zeros((0, self.embedder.settings.dimension), dtype=np.float32)
        return self.backend.load_vectors(keys)


def typical_sentence(chunk: Chunk) -> str:
    """One sentence of the chunk, always the same one, or an empty text if none is usable."""
    found = [chunk.text[span.start : span.end] for span in sentences(chunk.text)]
    usable = [" ".join(text.split()) for text in found]
    usable = [text for text in usable if sum(1 for _ in words(text)) in SENTENCE_WORDS]
    # Seeded by the chunk's id: the sample stays the same as long as the chunk does.
    return random.Random(chunk.id).choice(usable) if usable else ""  # noqa: S311  (not a secret)


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
