"""LangChain components: `AlignedWVAEmbeddings` and `AlignedWVARetriever`.

The embeddings put any causal language model behind LangChain's interface, for any vector store. The
retriever answers from an `Index`, with every search option. Both need
`pip install 'wva-retriever[langchain]'`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Unpack

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
    from langchain_core.runnables import run_in_executor
    from pydantic import ConfigDict, InstanceOf
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] not in ("langchain_core", "pydantic"):
        raise
    raise ModuleNotFoundError(
        "the LangChain components need langchain-core: pip install 'wva-retriever[langchain]'",
        name=error.name,
    ) from error

from retriever.arrays import Vectors, centred
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.index import Index
from retriever.searching.options import SearchChanges, SearchOptions
from retriever.settings import DEFAULT_LAYERS, DEFAULT_MODEL, POOLINGS, Prompts
from retriever.types import Hit, UsageError, check_text


class AlignedWVAEmbeddings(Embeddings):
    """Any causal language model as LangChain embeddings.

    Vectors have length one, so inner product and cosine agree: similarity, larger is closer.
    `calibrated` subtracts the mean of the model's texts. The means do not depend on the texts
    given, so documents and queries may be embedded at different times and places.
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
        """Load a model (see `AlignedWVA`), or use an `embedder` that is already loaded."""
        self.embedder = embedder or AlignedWVA(
            model, layers=layers, prompts=prompts, pooling=pooling, device=device, dtype=dtype
        )
        self.calibrated = calibrated

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of passages: n lists of `dimension` floats.

        Raises UsageError for one text in place of a list, and for anything that is no text.
        """
        return self._finished(self.embedder.embed_passages(texts), query=False)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query: `dimension` floats. Raises UsageError for what is no text."""
        check_text(text, "the query")
        return self._finished(self.embedder.embed_queries([text]), query=True)[0]

    def _finished(self, vectors: Vectors, *, query: bool) -> list[list[float]]:
        if self.calibrated:
            passage_mean, query_mean = self._means
            vectors = centred(vectors, query_mean if query else passage_mean)
        rows: list[list[float]] = vectors.tolist()
        return rows

    @cached_property
    def _means(self) -> tuple[Vectors, Vectors]:
        return self.embedder.general_means()


DEFAULT_OPTIONS = SearchOptions(syntax=False)
"""The default options of a retriever."""


class AlignedWVARetriever(BaseRetriever):
    """A LangChain retriever over an `Index`.

    `index` is an open `Index` or the folder of one. Every search option (see
    `retriever.searching.options.SearchOptions`) can be set here for all calls, by name or together
    as `options`, or passed to `invoke` for one call:
    `AlignedWVARetriever(index="indexes/docs", k=5)`,
    `retriever.invoke(query, where={"format": "pdf"}, min_match=0.95)`. An unknown name is an error.

    Chains often put words in quotes without meaning that they must occur. So a query is plain text
    here (`syntax=False`) by default. A document's id is the chunk's. Its metadata is plain JSON:
    path, source document, page, character range, scores (larger is better) and the document's own
    metadata.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_assignment=True
    )

    index: InstanceOf[Index]
    options: InstanceOf[SearchOptions] = DEFAULT_OPTIONS

    def __init__(
        self,
        *,
        index: Index | str | Path,
        options: SearchOptions | Mapping[str, Any] = DEFAULT_OPTIONS,
        k: int | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **changes: Unpack[SearchChanges],
    ) -> None:
        """Search `index` with `options` (an object or JSON), overridden by options given by name.

        `name`, `tags` and `metadata` are LangChain's own. Raises UsageError for an unknown option
        or an impossible value.
        """
        if isinstance(options, Mapping):
            options = SearchOptions.from_json({"syntax": DEFAULT_OPTIONS.syntax, **options})
        if not isinstance(options, SearchOptions):
            raise UsageError(
                f"options are SearchOptions or a JSON object; this is not: {options!r}"
            )
        if not isinstance(index, Index | str | Path):
            raise UsageError(f"index is an open Index or the folder of one; this is not: {index!r}")
        values: dict[str, Any] = {
            "options": options.changed(k, **changes),  # first, before anything is opened
            "index": Index.open(index) if isinstance(index, str | Path) else index,
        }
        super().__init__(**values, name=name, tags=tags, metadata=metadata)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Document]:
        hits = self.index.search(query, k, options=self.options, **changes)
        return [as_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Document]:
        search = partial(self._get_relevant_documents, query, k=k, **changes)
        return await run_in_executor(None, search)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "wva-retriever"
        settings = self.index.embedder_settings
        if settings is not None:
            params["ls_embedding_model"] = settings.model
        return params


def as_document(hit: Hit) -> Document:
    """A hit as a LangChain document; the document's own metadata cannot override the hit's keys.

    `page`, `start` and `end` are the best passage's. Where several passages were joined, `passage`
    lists the spans of pages that the content consists of. `sentence` is the best sentence, with its
    span. `also` names near-duplicates.
    """
    values = hit.to_json()
    spans = [{name: part[name] for name in _SPAN_FIELDS} for part in values["passage"]]
    return Document(
        id=hit.chunk.id,
        page_content=hit.text,
        metadata={
            **hit.chunk.metadata,
            **{name: values[name] for name in _HIT_FIELDS},
            **values["scores"],
            "passage": spans,
            "sentence": values["sentence"],
            "also": hit.also_in,
        },
    )


_SPAN_FIELDS = ("page", "label", "start", "end")
_HIT_FIELDS = (
    *("score", "match", "exact", "strength", "path", "format", "title", "document_id", "state"),
    *_SPAN_FIELDS,
)
"""The keys of `Hit.to_json` that become metadata."""
