"""`AlignedWVACompressor`: reranks retrieved documents, and cuts them down to their best sentences.

The model judges each document by how well it predicts the query after it (see
`retriever.searching.rerank`). A document's best sentence is chosen without a model (see
`retriever.searching.sentences`), verbatim, with its place in the document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import ConfigDict, Field, PlainValidator, StrictBool, model_validator

from retriever.embedding.protocols import Judge
from retriever.langchain.embeddings import AlignedWVAEmbeddings
from retriever.settings import RERANK_COUNT, RERANK_SECONDS
from retriever.types import Chunk, Excerpt, Hit, check_text


def _as_judge(value: object) -> Judge | None:
    judge = value.embedder if isinstance(value, AlignedWVAEmbeddings) else value
    if judge is not None and not isinstance(judge, Judge):
        raise ValueError(
            f"judge is AlignedWVAEmbeddings, or a model that can judge; this is not: {value!r:.80}"
        )
    return judge


class AlignedWVACompressor(BaseDocumentCompressor):
    """Keeps the best documents for a query, best first, and the best sentence of each.

    - `judge`: the model that reranks: `AlignedWVAEmbeddings`, or an `AlignedWVA`. Without it the
      documents keep their order.
    - `rerank`: how many of the first documents are judged, `seconds`: the approximate time limit.
    - `top_n`: how many documents are kept; None: all.
    - `sentences`: each document's content becomes its best sentence. Otherwise the sentence is in
      the metadata only.

    A document's metadata gets `rerank` (the mean log-likelihood of the query's tokens, None if not
    judged) and `sentence` (its text, `start` and `end` in the content; None without text). The
    documents given stay as they are.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    judge: Annotated[Any, PlainValidator(_as_judge)] = None
    rerank: int = Field(default=RERANK_COUNT, ge=1, strict=True)
    seconds: float = Field(default=RERANK_SECONDS, gt=0)
    top_n: int | None = Field(default=None, ge=1, strict=True)
    sentences: StrictBool = False

    @model_validator(mode="after")
    def _has_work(self) -> Self:
        if self.judge is None and not self.sentences and self.top_n is None:
            raise ValueError(
                "without judge, sentences and top_n every document would stay as it is"
            )
        return self

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The best documents, as new objects."""
        check_text(query, "the query")
        from retriever.searching.rerank import rerank

        hits = [_as_hit(at, document) for at, document in enumerate(documents)]
        if self.judge is not None and hits:
            hits = rerank(query, hits, self.judge, self.rerank, seconds=self.seconds)
        chosen = best_sentences(query, hits[: self.top_n])
        return [self._compressed(documents[int(hit.chunk.id)], hit) for hit in chosen]

    def _compressed(self, document: Document, hit: Hit) -> Document:
        metadata = {**document.metadata, "sentence": _as_json(hit.sentence)}
        if self.judge is not None:
            metadata["rerank"] = hit.rerank
        text = document.page_content
        if self.sentences and hit.sentence is not None:
            text = hit.sentence.text
        return Document(id=document.id, page_content=text, metadata=metadata)


def best_sentences(query: str, hits: Sequence[Hit]) -> list[Hit]:
    """The hits with their best sentences; a word of the query counts by how rare it is here."""
    from retriever.searching.sentences import SentenceChooser
    from retriever.storage.catalog.postings import idf
    from retriever.text.analyzer import index_terms, query_words

    words = [word.terms for word in query_words(query) if word.terms]
    terms = [set(index_terms(hit.chunk.text)) for hit in hits]
    counts = {term: sum(term in each for each in terms) for word in words for term in word}
    # Where all documents have a word it still tells their sentences apart.
    chooser = SentenceChooser(
        [[((term, idf(len(hits) + 2, counts[term])),) for term in word] for word in words]
    )
    return [replace(hit, sentence=chooser.best(hit)) for hit in hits]


def _as_hit(at: int, document: Document) -> Hit:
    """A document as a result: its own score, or else its rank, says how good it was so far."""
    text = document.page_content
    title = document.metadata.get("title")
    chunk = Chunk(
        *(str(at), str(at), "", "text", title if isinstance(title, str) else "", None),
        *(0, len(text), text),
    )
    return Hit(at + 1, _score(document.metadata, at), chunk)


def _score(metadata: Mapping[str, Any], at: int) -> float:
    score = metadata.get("score")
    known = isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    return float(score) if known else -float(at)  # type: ignore[arg-type]  # it is a number


def _as_json(sentence: Excerpt | None) -> dict[str, Any] | None:
    if sentence is None:
        return None
    return {"text": sentence.text, "start": sentence.start, "end": sentence.end}


__all__ = ["AlignedWVACompressor"]
