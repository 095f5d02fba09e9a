"""An ASGI middleware: requests are read up to a size, and end when their caller hangs up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from retriever.interface.server.errors import TooLargeError, error_response, refusal
from retriever.interface.server.guard import Application, Receive, Scope, Send

MAX_BYTES = 8 << 20
"""The largest body of a request."""

BODY_SECONDS = 30.0
"""How long the body of a request may take to arrive."""


class Limits:
    """Reads each body before the application sees it, and cancels what nobody waits for."""

    def __init__(
        self, app: Application, *, most: int = MAX_BYTES, seconds: float = BODY_SECONDS
    ) -> None:
        """`most` bytes of a body are read, in `seconds`."""
        self._app, self._most, self._seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._body(scope, receive)
        except TimeoutError:
            sentence = f"the request did not arrive within {self._seconds:g} seconds"
            await refusal(scope["path"], 408, sentence)(scope, receive, send)
            return
        except TooLargeError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if body is not None:
            await self._until_disconnected(scope, body, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None if the caller hung up before its end."""
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"the request is larger than {self._most / (1 << 20):g} MB; send less at once"
        )

    async def _until_disconnected(
        self, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Any:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        answering = asyncio.ensure_future(self._app(scope, replayed, send))
        watching = asyncio.ensure_future(watch())
        try:
            if not await _first_of(answering, watching):
                sentence = "the server is stopping; try again later"
                await refusal(scope["path"], 503, sentence)(scope, receive, send)
                return
            if not answering.done():
                answering.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await answering
            else:
                answering.result()
        finally:
            for task in (answering, watching):
                task.cancel()


async def _first_of(*tasks: asyncio.Future[Any]) -> bool:
    """Wait until one of them is done; False if that is cancelled, as at the end of a server."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        return False
    return True


__all__ = ["MAX_BYTES", "Limits"]
