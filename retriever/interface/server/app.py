"""The application: all routes, errors in the shape of each route, and the layers around them.

From the outside in: counts and times (`metrics`), who may ask (`guard`), how much and for how long
(`limits`), the routes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from retriever import __version__
from retriever.interface.server.answers import answer_routes
from retriever.interface.server.dify import dify_routes
from retriever.interface.server.errors import as_json, error_response, refusal
from retriever.interface.server.guard import Application, Guard
from retriever.interface.server.limits import Limits
from retriever.interface.server.metrics import Measured, Metrics
from retriever.interface.server.open_webui import open_webui_routes
from retriever.interface.server.openai import openai_routes
from retriever.interface.server.openapi_page import openapi_page
from retriever.interface.server.rerank import rerank_routes
from retriever.interface.server.rest import rest_routes
from retriever.interface.server.served import Served
from retriever.types import RetrieverError

ROUTES = (
    *(rest_routes, answer_routes, openai_routes, rerank_routes, dify_routes, open_webui_routes),
)


def application(
    served: Served,
    token: str | None,
    *,
    hosts: Collection[str] = (),
    numbers: bool = False,
) -> Application:
    """What a server runs. `hosts` and `numbers` are those of `guard.Guard`."""
    metrics = Metrics()
    served.observe = metrics.batch
    guarded = Guard(Limits(routes(served, metrics)), token, hosts=hosts, numbers=numbers)
    return Measured(guarded, metrics)


def routes(served: Served, metrics: Metrics) -> FastAPI:
    """All routes, without the layers around them."""
    app = _App(
        title="wva serve",
        version=__version__,
        description="Semantic search over your own documents, and the embeddings behind it.",
        docs_url=None,  # FastAPI's own page loads its scripts from another server
        redoc_url=None,
    )
    for make in ROUTES:
        app.include_router(make(served))
    app.include_router(_about(app, served, metrics))
    app.add_exception_handler(RetrieverError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the token, and without FastAPI's own shape of errors."""
        if not self.openapi_schema:
            document = super().openapi()
            for methods in document["paths"].values():
                for route in methods.values():
                    route["responses"].pop("422", None)
            document["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{"token": []}]
        return self.openapi_schema or document


def _about(app: FastAPI, served: Served, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["server"])

    @router.get("/healthz", summary="Whether the server is up; needs no token")
    async def health() -> Response:
        return as_json({"status": "ok"})

    @router.get("/metrics", summary="Counts and times, for Prometheus")
    async def show_metrics() -> Response:
        return Response(metrics.page(served), media_type=CONTENT_TYPE_LATEST)

    @router.get("/docs", summary="This page; needs no token")
    async def docs() -> Response:
        return Response(openapi_page(app.openapi()), media_type="text/html")

    return router


# Errors


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, RetrieverError)  # noqa: S101 - it is registered for these
    return error_response(request.url.path, error)


async def _invalid(request: Request, error: Exception) -> Response:
    """A request of a wrong shape: its first fault as a sentence."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    first = error.errors()[0]
    field = _field(first["loc"])
    sentence = f"{field}: {_lower(first['msg'])}" if field else _lower(first["msg"])
    if first["type"] == "json_invalid":
        field, sentence = "", f"the request is no valid JSON: {first['ctx']['error'].lower()}"
    elif "json" not in request.headers.get("content-type", "json" if field else ""):
        field, sentence = "", "send JSON, with the header Content-Type: application/json"
    elif first["type"] == "missing" and not field:
        sentence = "the request has no body: send a JSON object"
    return refusal(request.url.path, 400, sentence, param=field or None)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    sentence = str(error.detail).lower()
    if error.status_code == 404:
        sentence = f"there is nothing at {request.url.path}; /docs lists what there is"
    elif error.status_code == 405:
        sentence = f"{request.method} is not for {request.url.path}; /docs lists what there is"
    return refusal(request.url.path, error.status_code, sentence, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """An error of ours: it is logged, and the caller is told no details."""
    sentence = "the server has failed at this; its terminal shows the error"
    # uvicorn closes the connection: a client that is not told would ask again on it.
    return refusal(request.url.path, 500, sentence, headers={"Connection": "close"})


def _field(location: Sequence[Any]) -> str:
    """The name of a field in a request.

    >>> _field(("body", "documents", 2)), _field(("body",))
    ('documents.2', '')
    """
    return ".".join(map(str, location[1:]))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


__all__ = ["application", "routes"]
