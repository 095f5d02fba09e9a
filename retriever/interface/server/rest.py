"""Our own shapes: search, explanations, documents and passages, as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field, create_model

from retriever.interface.commands.searching import (
    Which,
    explanation_document,
    search_document,
)
from retriever.interface.document_texts import LENGTH, document_json, passage_json
from retriever.interface.server.asked import OPTIONS, Asked, one_index
from retriever.interface.server.errors import NotFoundError, RequestError, as_json
from retriever.interface.server.served import Served, ServedIndex
from retriever.searching.options import SearchOptions
from retriever.types import IndexStateError, ModelError, RetrieverError


class _ToExplain(Asked):
    hit: int = Field(default=1, ge=1, description="explain the result with this number")
    chunk: str = Field(default="", description="or the passage with this id")
    file: str = Field(default="", description="or why this document is not among the results")
    above: list[str] = Field(
        default=[], description="or why the first of two passages ranks above the second"
    )
    check: bool = Field(default=False, description="test the explanation; takes seconds")


SearchRequest = create_model("SearchRequest", __base__=Asked, **OPTIONS)
ExplainRequest = create_model("ExplainRequest", __base__=_ToExplain, **OPTIONS)


def rest_routes(served: Served) -> APIRouter:
    """The routes of these shapes."""
    router = APIRouter(tags=["search"])

    @router.post("/search", summary="Find passages, as `wva search --json`")
    async def search(body: SearchRequest) -> Response:  # type: ignore[valid-type]  # made at run time
        asked: Any = body
        options = asked.options()
        query, names = asked.query, asked.names
        return await served.with_query(
            *(names, query, options),
            lambda indexes: as_json(search_document(indexes, query, options)),
        )

    @router.post("/explain", summary="Why a passage was found, as `wva explain --json`")
    async def explain(body: ExplainRequest) -> Response:  # type: ignore[valid-type]  # made at run time
        asked: Any = body
        options = asked.options()
        return await served.with_query(
            *(asked.names, asked.query, options),
            lambda indexes: as_json(_explanation(indexes, asked, options)),
        )

    @router.get("/documents/{document_id}", summary="A document's facts and text")
    async def document(
        document_id: str,
        index: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
        page: int | None = None,
        offset: int = 0,
        length: int = LENGTH,
    ) -> Response:
        return await served.run(
            lambda: _first(
                served.chosen(index),
                lambda one: document_json(
                    one, document_id, page=page, offset=offset, length=length
                ),
                f"there is no document {document_id!r} here; it may have changed",
            )
        )

    @router.get("/passages/{passage_id}", summary="A passage, with those around it")
    async def passage(
        passage_id: str,
        index: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
        context: int = 0,
    ) -> Response:
        return await served.run(
            lambda: _first(
                served.chosen(index),
                lambda one: passage_json(one, passage_id, context=context),
                f"there is no passage {passage_id!r} here; it may have changed",
            )
        )

    return router


def _explanation(
    indexes: Mapping[str, ServedIndex], asked: Any, options: SearchOptions
) -> Mapping[str, Any]:
    name, index = one_index(indexes, "an explanation")
    if len(asked.above) not in (0, 2):
        raise RequestError("above takes the ids of two passages", "above")
    with index.snapshot():  # search and explanation read the same generation
        for chunk in filter(None, [asked.chunk, *asked.above]):
            if passage_json(index, chunk) is None:
                raise NotFoundError(f"there is no passage {chunk!r} here; it may have changed")
        which = Which(asked.hit, asked.chunk, asked.file, asked.above, asked.check)
        return explanation_document(index, name, asked.query, which, options)


def _first(indexes: Mapping[str, ServedIndex], ask: Any, missing: str) -> Response:
    """What the first index that knows it says, with the index's name.

    An index that cannot be read hides no other one: its error is raised where none knows it.
    """
    failed: RetrieverError | None = None
    for name, index in indexes.items():
        try:
            found = ask(index)
        except (IndexStateError, ModelError) as error:
            failed = failed or error
            continue
        if found is not None:
            return as_json({"index": name, **found})
    raise failed or NotFoundError(missing)


__all__: Sequence[str] = ["rest_routes"]
