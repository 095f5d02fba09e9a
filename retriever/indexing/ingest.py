"""Ingest: the first wave of indexing. Documents are cut and written, findable by keyword at once.

The second wave gives the passages their vectors: see `retriever.indexing.vectors`. A passage whose
vector is stored already, because its text was indexed before, has it from the beginning.

Several documents are written in one transaction, the first one alone, so that it is found soon.
Memory is bounded: the text of the documents of one transaction, or one document.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from retriever.embedding.protocols import Embedder
from retriever.indexing.cutting import Cut, cut
from retriever.indexing.fitting import Fitter
from retriever.indexing.hands import Hands, OwnHands
from retriever.indexing.vectors import VectorWave
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents, NewChunk, NewDocument
from retriever.types import Document, Phase, Span

TITLE_TOKENS = 48
"""Tokens reserved for a title when chunks are limited to a small model."""


WRITE_SECONDS = 0.5
"""Longest time for which a document waits to be written with others, while others come."""

WRITE_CHARACTERS = 4_000_000
"""Characters of the documents that are written together."""


@dataclass(slots=True)
class Ingest:
    """Writes documents into a backend. Call `add` for each, then `close`.

    With `together`, documents may wait to be written with others; `write_due` and `write` write
    them.

    `on_document` is called with every document when it has been written, `on_batch` after every
    batch of vectors, and `on_phase` before a batch is embedded and before each step of fitting,
    with the share of the steps that are done. `hands` embed.
    """

    backend: Documents
    embedder: Embedder
    chunking: ChunkSettings
    on_document: Callable[[DocumentRow], None] = lambda row: None
    on_batch: Callable[[], None] = lambda: None
    on_phase: Callable[[Phase, float], None] = lambda phase, part: None
    together: bool = False
    hands: Hands = field(default_factory=OwnHands)
    vectors: VectorWave = field(init=False)
    _some_known: bool = False  # whether vectors were stored before
    _waiting: list[NewDocument] = field(default_factory=list)
    _characters: int = 0  # of the documents that wait
    _written_at: float = 0.0

    def __post_init__(self) -> None:
        # Another process must not drop vectors between the look at those known and their use.
        self.backend.acquire()
        fitter = Fitter(self.backend, self.embedder, self.on_phase)
        self.vectors = VectorWave(
            *(self.backend, self.embedder, fitter),
            on_batch=self.on_batch,
            on_phase=self.on_phase,
            hands=self.hands,
        )
        with self.backend.reading() as catalog:
            self._some_known = catalog.has_vectors()

    def add(self, row: DocumentRow, document: Document, found: Cut | None = None) -> None:
        """Write a document, now or with those that follow; it is cut unless it was already.

        Its passages get their vectors in `close`.
        """
        found = found or cut(document, self.chunking, self.embedder.token_spans)
        pieces = self._pieces(document, found.spans)
        states = Counter(page.state for page in document.pages)
        row = replace(row, pages=len(document.pages), page_states=states, chunks=len(pieces))
        self._waiting.append(
            NewDocument(
                *(row, document.pages, pieces, document.account, document.left_out, found.terms)
            )
        )
        self._characters += sum(len(page.text) for page in document.pages)
        self.write_due()

    def write_due(self) -> None:
        """Write the documents that wait, if it is time."""
        late = time.monotonic() - self._written_at >= WRITE_SECONDS
        if late or not self.together or self._characters >= WRITE_CHARACTERS:
            self.write()

    def write(self) -> None:
        """Write the documents that wait in one transaction."""
        waiting, self._waiting, self._characters = self._waiting, [], 0
        if not waiting:
            return
        self.backend.upsert_many(waiting)
        self._written_at = time.monotonic()
        for document in waiting:
            self.on_document(document.row)

    def close(self) -> None:
        """Make the vectors that are missing, and fit the index to the whole corpus."""
        self.write()
        self.vectors.run()
        self.vectors.fitter.fit_if_due()

    def _pieces(self, document: Document, spans: Iterable[tuple[int, Span]]) -> list[NewChunk]:
        """The document's passages, with the keys of vectors that are stored already."""
        if not self._some_known:
            return [NewChunk(number, span, "") for number, span in spans]
        pieces = []
        for number, span in spans:
            text = document.pages[number].text[span.start : span.end]
            model_input = self.embedder.passage_input(text, document.title)
            pieces.append(NewChunk(number, span, self.embedder.key(model_input)))
        with self.backend.reading() as catalog:
            known = catalog.known_vectors([piece.vector for piece in pieces])
        return [one if one.vector in known else replace(one, vector="") for one in pieces]


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
