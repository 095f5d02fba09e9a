"""Cutting: a document → its passages, and their terms for the keyword side.

`python -m retriever.indexing.cutting` reads files as `retriever.reading.worker` does, and also cuts
and analyses their documents. It needs no model: the tokenizer comes from the parent in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from retriever.embedding.protocols import Embedder, SharedTokenizer
from retriever.reading import worker
from retriever.reading.subprocess_reader import Preparing
from retriever.settings import ChunkSettings
from retriever.storage.backends import NewChunk
from retriever.storage.catalog.analysis import analyse_chunks
from retriever.storage.records import PassageTerms
from retriever.text.chunking import Tokenize, chunk_document
from retriever.types import Document, Span

MODULE = "retriever.indexing.cutting"


@dataclass(frozen=True, slots=True)
class Cut:
    """A document's passages, by the position of the page, and the terms of the distinct ones."""

    spans: tuple[tuple[int, Span], ...]
    terms: tuple[PassageTerms, ...] | None = None

    def to_json(self) -> bytes:
        """The passages as JSON in UTF-8."""
        spans = [(page, span.start, span.end) for page, span in self.spans]
        terms = None if self.terms is None else [astuple(one) for one in self.terms]
        return json.dumps([spans, terms]).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Cut:
        """The passages from the output of `to_json`."""
        spans, terms = json.loads(body)
        return cls(
            tuple((page, Span(start, end)) for page, start, end in spans),
            None if terms is None else tuple(_terms(values) for values in terms),
        )


def _terms(values: Iterable[Any]) -> PassageTerms:
    language, terms, length, long_words = values
    return PassageTerms(language, terms, length, tuple(long_words))


def cut(document: Document, chunking: ChunkSettings, tokenize: Tokenize) -> Cut:
    """The passages of a document; their terms are found when they are written."""
    return Cut(tuple(chunk_document(document.pages, chunking, tokenize)))


def preparing_for(embedder: Embedder, chunking: ChunkSettings) -> Preparing | None:
    """What a process needs to cut documents; None if it cannot have the embedder's tokenizer."""
    if not isinstance(embedder, SharedTokenizer):
        return None
    tokenizer = embedder.tokenizer_json()
    values = {"tokenizer": tokenizer, "size": chunking.size, "overlap": chunking.overlap}
    return Preparing(MODULE, values)


class _Cutting:
    """Cuts and analyses documents in the process that reads them."""

    def __init__(self) -> None:
        self._chunking = ChunkSettings()
        self._token_spans: Tokenize | None = None

    def configure(self, values: dict[str, Any]) -> None:
        """Take the tokenizer and the sizes of passages."""
        # The parent, which cuts nothing, need not import it.
        from retriever.embedding.shared_tokenizer import span_finder

        self._chunking = ChunkSettings(size=values["size"], overlap=values["overlap"])
        self._token_spans = span_finder(values["tokenizer"])

    def prepare(self, document: Document) -> bytes:
        """The passages of a document with their terms."""
        if self._token_spans is None:
            raise ValueError("configure comes before prepare")
        spans = tuple(chunk_document(document.pages, self._chunking, self._token_spans))
        chunks = [NewChunk(page, span, "") for page, span in spans]
        terms = analyse_chunks(document.title, document.pages, chunks)
        return Cut(spans, tuple(terms)).to_json()


if __name__ == "__main__":
    worker.main(_Cutting())


__all__ = ["Cut", "cut", "preparing_for"]
