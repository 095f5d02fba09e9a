"""Counts and times in Prometheus's format, and the ASGI middleware that takes them.

Nothing of what is asked is in them: no query, no path of a document, no address of a caller.
"""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from retriever.embedding.batching import Batch
from retriever.interface.server.guard import Application, Receive, Scope, Send
from retriever.interface.server.served import Served

CANCELLED = 499
"""The status of a request whose caller hung up before the answer, as other servers write it."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wva_requests", "Requests by route and status", ["route", "status"], **self._here
        )
        self.seconds = Histogram(
            "wva_request_seconds",
            "Seconds until the end of the answer",
            ["route"],
            buckets=_SECONDS,
            **self._here,
        )
        self.batch_texts = Histogram(
            "wva_batch_texts",
            "Texts that a model computed together",
            ["model"],
            buckets=_SIZES,
            **self._here,
        )
        self.batch_callers = Histogram(
            "wva_batch_requests",
            "Requests whose texts were computed together",
            ["model"],
            buckets=_SIZES,
            **self._here,
        )
        self.batch_seconds = Histogram(
            "wva_batch_seconds", "Seconds of a batch", ["model"], buckets=_SECONDS, **self._here
        )
        self.waiting = Gauge(
            "wva_model_queue_requests", "Requests that wait for a model", ["model"], **self._here
        )
        self.characters = Gauge(
            "wva_model_queue_characters", "Characters that wait", ["model"], **self._here
        )
        self.running = Gauge(
            "wva_requests_in_threads", "Requests in a thread, or waiting for one", **self._here
        )

    @property
    def _here(self) -> dict[str, Any]:
        return {"registry": self.registry}

    def batch(self, model: str, batch: Batch) -> None:
        """Note a batch of a model."""
        self.batch_texts.labels(model).observe(batch.texts)
        self.batch_callers.labels(model).observe(batch.callers)
        self.batch_seconds.labels(model).observe(batch.seconds)

    def page(self, served: Served) -> bytes:
        """What `/metrics` shows."""
        for model in served.models:
            self.waiting.labels(model.name).set(model.queue.waiting)
            self.characters.labels(model.name).set(model.queue.waiting_characters)
        self.running.set(served.running)
        return generate_latest(self.registry)


class Measured:
    """Counts the requests of an application, by route and status."""

    def __init__(self, app: Application, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = CANCELLED
        begin = time.perf_counter()

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = _route(scope)
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begin)


def _route(scope: Scope) -> str:
    """The route's pattern, such as /documents/{document_id}; "other" where there is none."""
    return getattr(scope.get("route"), "path", "other")


__all__ = ["CANCELLED", "Measured", "Metrics"]
