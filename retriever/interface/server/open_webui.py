"""Open WebUI's shape of an external web search: an index as what its chats search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from pydantic import Field

from retriever.interface.server.asked import Foreign
from retriever.interface.server.errors import as_json
from retriever.interface.server.served import Served, ServedIndex
from retriever.searching.options import SearchOptions
from retriever.searching.several import NamedHit, search_all


class WebSearchRequest(Foreign):
    """What Open WebUI asks."""

    query: str = Field(max_length=20_000)
    count: int = Field(default=5, ge=1, le=100)


def open_webui_routes(served: Served) -> APIRouter:
    """The route of this shape."""
    router = APIRouter(tags=["Open WebUI"])

    @router.post("/open-webui/search", summary="Passages as the results of a web search")
    async def search(asked: WebSearchRequest, request: Request) -> Response:
        base = f"{request.url.scheme}://{request.url.netloc}"
        options = SearchOptions(k=asked.count, syntax=False)
        if not asked.query.strip():
            return as_json([])

        def results(indexes: Mapping[str, ServedIndex]) -> Response:
            hits = search_all(indexes, asked.query, options)
            return as_json([_result(base, hit) for hit in hits])

        return await served.with_query((), asked.query, options, results)

    return router


def _result(base: str, found: NamedHit) -> dict[str, Any]:
    chunk = found.hit.chunk
    where = {"index": found.name} | ({} if chunk.page is None else {"page": chunk.page})
    place = ", ".join(filter(None, [chunk.path, chunk.place]))
    return {
        "link": f"{base}/documents/{quote(chunk.document_id)}?{urlencode(where)}",
        "title": f"{chunk.title} ({place})" if chunk.title else place,
        "snippet": found.hit.text,
    }


__all__ = ["open_webui_routes"]
