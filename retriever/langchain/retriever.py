"""`AlignedWVARetriever`: a LangChain retriever that answers from an `Index`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, InstanceOf, PlainValidator, StrictBool

from retriever.searching.options import Mode, SearchChanges, SearchOptions
from retriever.types import Hit, UsageError

if TYPE_CHECKING:
    from retriever.index import Index


def _as_index(value: object) -> Any:
    from retriever.index import Index  # not before it is needed: it loads FAISS

    if not isinstance(value, Index):
        raise ValueError(f"index is an open Index; this is not: {value!r}")
    return value


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
    path, source document, page, character range, scores (larger is better), the best sentence and
    the document's own metadata; with `explain`, also why it was found (`Index.explain`).
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_assignment=True
    )

    index: Annotated[Any, PlainValidator(_as_index)]
    options: InstanceOf[SearchOptions] = DEFAULT_OPTIONS
    explain: StrictBool = False

    def __init__(
        self,
        *,
        index: Index | str | Path,
        options: SearchOptions | Mapping[str, Any] = DEFAULT_OPTIONS,
        k: int | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        explain: bool = False,
        **changes: Unpack[SearchChanges],
    ) -> None:
        """Search `index` with `options` (an object or JSON), overridden by options given by name.

        `name`, `tags` and `metadata` are LangChain's own. Raises UsageError for an unknown option
        or an impossible value.
        """
        from retriever.index import Index  # not before it is needed: it loads FAISS

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
            "explain": _checked_truth(explain),
        }
        super().__init__(**values, name=name, tags=tags, metadata=metadata)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        explain: bool | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Document]:
        options = self.options.changed(k, **changes)
        wanted = self.explain if explain is None else _checked_truth(explain)
        with self.index.snapshot(dense=options.mode != Mode.KEYWORD):
            hits = self.index.search(query, options=options)
            documents = [as_document(hit) for hit in hits]
            for hit, document in zip(hits, documents, strict=True) if wanted else ():
                explained = self.index.explain(query, hit, options=options)
                document.metadata["explanation"] = explained.to_json()
        return documents

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        k: int | None = None,
        explain: bool | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Document]:
        search = partial(self._get_relevant_documents, query, k=k, explain=explain, **changes)
        return await run_in_executor(None, search)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "wva-retriever"
        settings = self.index.embedder_settings
        if settings is not None:
            params["ls_embedding_model"] = settings.model
        return params


def _checked_truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"explain must be true or false; it is {value!r}")
    return value


def as_document(hit: Hit) -> Document:
    """A hit as a LangChain document; the document's own metadata cannot override the hit's keys.

    `page`, `start` and `end` are the best passage's, `printed` is the number printed on its page.
    Where several passages were joined, `passage` lists the spans of pages that the content consists
    of. `sentence` is the best sentence, with its span. `also` names near-duplicates.
    """
    values = hit.to_json()
    spans = [{name: part[name] for name in _SPAN_FIELDS} for part in values["passage"]]
    return Document(
        id=hit.chunk.id,
        page_content=hit.text,
        metadata={
            **values["metadata"],
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
    *("printed", *_SPAN_FIELDS),
)
"""The keys of `Hit.to_json` that become metadata."""
