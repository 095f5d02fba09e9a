"""LangChain components: `AlignedWVAEmbeddings` and `AlignedWVARetriever`.

The embeddings put any causal language model behind LangChain's interface, for any vector store; the
retriever answers from an `Index`, with everything a search here can do. Needs
`pip install 'wva-retriever[langchain]'`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
    from langchain_core.runnables import run_in_executor
    from pydantic import ConfigDict, Field, field_validator
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] not in ("langchain_core", "pydantic"):
        raise
    raise ModuleNotFoundError(
        "the LangChain components need langchain-core: pip install 'wva-retriever[langchain]'",
        name=error.name,
    ) from error

from retriever import calibration
from retriever.arrays import Vectors
from retriever.embedder import AlignedWVA
from retriever.index import Index
from retriever.search import Mode
from retriever.settings import DEFAULT_LAYERS, DEFAULT_MODEL, POOLINGS, RERANK_SECONDS, Prompts
from retriever.types import Hit


class AlignedWVAEmbeddings(Embeddings):
    """Any causal language model as LangChain embeddings.

    Vectors have length one, so inner product and cosine agree: similarity, larger is closer. What
    is common to all texts of the model is removed (`calibrated`), with means that do not depend on
    the texts given, so documents and queries may be embedded at different times and places.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        layers: str | Sequence[int] = DEFAULT_LAYERS,
        prompts: Prompts | None = None,
        pooling: str = POOLINGS[0],
        device: str | None = None,
        dtype: str | None = None,
        calibrated: bool = True,
        embedder: AlignedWVA | None = None,
    ) -> None:
        """Load a model (see `AlignedWVA`), or take an `embedder` that is loaded already."""
        self.embedder = embedder or AlignedWVA(
            model, layers=layers, prompts=prompts, pooling=pooling, device=device, dtype=dtype
        )
        self.calibrated = calibrated

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of passages: n lists of `dimension` floats."""
        return self._finished(self.embedder.embed_passages(texts), query=False)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query: `dimension` floats."""
        return self._finished(self.embedder.embed_queries([text]), query=True)[0]

    def _finished(self, vectors: Vectors, *, query: bool) -> list[list[float]]:
        if self.calibrated:
            passage_mean, query_mean = self._means
            vectors = calibration.apply(vectors, query_mean if query else passage_mean)
        rows: list[list[float]] = vectors.tolist()
        return rows

    @cached_property
    def _means(self) -> tuple[Vectors, Vectors]:
        return self.embedder.general_means()


class AlignedWVARetriever(BaseRetriever):
    """A LangChain retriever over an `Index`.

    `index` is an open `Index` or the folder of one. `k`, `mode`, `where`, `by_file`, `rerank`
    and `min_match` are those of `Index.search`, set here for all calls or given to `invoke` for one
    (`min_match=0.95` gives no document where nothing really matches, but for one in twenty);
    `rerank_seconds`, `syntax`, `fold`, `diversity`, `context` and `feedback` are set here.
    Chains often put words in quotes without meaning that they must occur, so here a query is taken
    as it stands unless `syntax` is True. A document's id is the chunk's; its metadata is plain
    JSON: path, source document, page, character range, scores (larger is better) and the document's
    own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    k: int = Field(default=10, ge=1)
    mode: Mode = Mode.HYBRID
    where: Mapping[str, Any] | None = None
    by_file: bool = False
    syntax: bool = False
    rerank: int = Field(default=0, ge=0)
    rerank_seconds: float = Field(default=RERANK_SECONDS, gt=0)
    fold: bool = True
    diversity: float = Field(default=0.0, ge=0, le=1)
    context: int = Field(default=0, ge=0)
    min_match: float | None = Field(default=None, ge=0, le=1)
    feedback: bool = True

    @field_validator("index", mode="before")
    @classmethod
    def _open(cls, value: Any) -> Any:
        return Index.open(value) if isinstance(value, str | Path) else value

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
        by_file: bool | None = None,
        rerank: int | None = None,
        min_match: float | None = None,
    ) -> list[Document]:
        hits = self.index.search(
            query,
            self.k if k is None else k,
            mode=mode or self.mode,
            where=self.where if where is None else where,
            by_file=self.by_file if by_file is None else by_file,
            syntax=self.syntax,
            rerank=self.rerank if rerank is None else rerank,
            rerank_seconds=self.rerank_seconds,
            fold=self.fold,
            diversity=self.diversity,
            context=self.context,
            min_match=self.min_match if min_match is None else min_match,
            feedback=self.feedback,
        )
        return [as_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
        by_file: bool | None = None,
        rerank: int | None = None,
        min_match: float | None = None,
    ) -> list[Document]:
        search = partial(
            self._get_relevant_documents,
            query,
            k=k,
            mode=mode,
            where=where,
            by_file=by_file,
            rerank=rerank,
            min_match=min_match,
        )
        return await run_in_executor(None, search)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        where: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        """`k` of the `fetch_k` passages nearest in meaning, as LangChain's vector stores do.

        `lambda_mult`: 1 for the nearest ones, 0 for those that differ most from each other.
        """
        vector = self.index.embed_query(query).tolist()
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, where)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        where: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, with a query's raw vector (`Index.embed_query`)."""
        hits = self.index.diverse_by_vector(
            np.array(embedding, dtype=np.float32),
            k,
            candidates=fetch_k,
            weight=lambda_mult,
            where=self.where if where is None else where,
        )
        return [as_document(hit) for hit in hits]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "wva-retriever"
        settings = self.index.embedder_settings
        if settings is not None:
            params["ls_embedding_model"] = settings.model
        return params


def as_document(hit: Hit) -> Document:
    """A hit as a LangChain document; the document's own metadata cannot hide our keys.

    `page`, `start` and `end` are the best passage's; where several were joined, `passage` tells of
    what pages' spans the content consists. `also` names near-duplicates.
    """
    chunk = hit.chunk
    return Document(
        id=chunk.id,
        page_content=hit.text,
        metadata={
            **chunk.metadata,
            "path": chunk.path,
            "format": chunk.format,
            "title": chunk.title,
            "document_id": chunk.document_id,
            "page": chunk.page,
            "label": chunk.label,
            "state": chunk.state.value,
            "start": chunk.start,
            "end": chunk.end,
            "score": hit.score,
            "dense": hit.dense,
            "keyword": hit.keyword,
            "rerank": hit.rerank,
            "passage": [
                {"page": part.page, "label": part.label, "start": part.start, "end": part.end}
                for part in hit.passage
            ],
            "also": hit.also_in,
            "match": hit.match,
        },
    )
