"""The process that reads files: requests in, documents out. Its parent is `subprocess_reader`.

A request is a line of JSON on standard input. The process ends as soon as standard input ends, so
it never outlives its parent. A `Preparation` does further work on each document that was read.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from retriever.reading import ulimits
from retriever.reading.formats import read_document
from retriever.reading.options import ReadOptions
from retriever.reading.recognised import KnownPages
from retriever.reading.subprocess_reader import (
    DOCUMENT,
    ERROR,
    EXTEND,
    HEADER,
    PREPARED,
    READY,
    document_to_json,
    encode,
    page_from_json,
)
from retriever.types import Document, ReadError

MAX_WRITTEN = 2_000_000_000
"""Maximum size in bytes of a file that a reader writes, such as a picture for OCR."""


COLLECT_AFTER = 100_000, 20, 50
"""Objects made between two collections of garbage: the terms and tokens of a text are many."""


class Preparation(Protocol):
    """Further work on a document that was read; what it finds is sent after the document."""

    def configure(self, values: dict[str, Any]) -> None:
        """Take the JSON value that the parent sends first."""

    def prepare(self, document: Document) -> bytes:
        """The result for a document."""


def main(preparation: Preparation | None = None) -> None:
    """Serve requests until standard input ends."""
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What libraries print must not get into the responses.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    hint = _limit_self(int(sys.argv[1]))
    gc.freeze()  # what is imported stays
    gc.set_threshold(*COLLECT_AFTER)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    _send(responses, READY, b"")
    try:
        while True:
            _handle(requests.get(), responses, hint, preparation)
    finally:
        os._exit(1)  # a normal exit would report the thread that blocks on standard input


def _receive(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)  # the parent has gone; the file being read is not needed


def _handle(
    request: dict[str, Any],
    responses: IO[bytes],
    hint: str,
    preparation: Preparation | None = None,
) -> None:
    """Handle one request; `hint` ends the message for a file that needs too much memory."""
    if preparation is not None and "configure" in request:
        preparation.configure(request["configure"])
        return
    try:
        document, body = _response(request, responses)
    except ReadError as error:
        end = hint if isinstance(error.__context__, MemoryError) else ""
        _send(responses, ERROR, encode(f"{error}{end}") or b"it cannot be read")
    except MemoryError:
        message = f"it needs more memory than a file may take; split it{hint}"
        _send(responses, ERROR, encode(message))
    else:
        _send(responses, DOCUMENT, body)
        if request.get("prepare"):
            _prepare(document, responses, preparation, hint)


def _prepare(
    document: Document | None,
    responses: IO[bytes],
    preparation: Preparation | None,
    hint: str,
) -> None:
    """Send the further work on a document; nothing if it fails, so that the parent does it.

    What needs too much memory here is not for the parent either, which has no limit.
    """
    found, kind = b"", PREPARED
    if document is not None and preparation is not None:
        try:
            found = preparation.prepare(document)
        except MemoryError:
            found = encode(f"it needs more memory than a file may take; split it{hint}")
            kind = ERROR
        except Exception:  # noqa: BLE001 - the parent tries it again, and shows the error
            found = b""
    _send(responses, kind, found)


def _response(request: dict[str, Any], responses: IO[bytes]) -> tuple[Document | None, bytes]:
    """A document as it is and as JSON; or the picture or the characters of one page."""
    if "what" in request:
        from retriever.reading.page_images import render

        return None, render.handle_request(request)
    options = ReadOptions(
        passwords=tuple(request["passwords"]),
        ocr=request["ocr"],
        allow_native=request["allow_native"],
        known=KnownPages(tuple(map(page_from_json, request["known"]))),
        insist=request["insist"],
        extend_deadline=lambda seconds: _send(responses, EXTEND, str(seconds).encode()),
    )
    document = read_document(Path(request["path"]), request["name"], options)
    return document, document_to_json(document)


def _send(responses: IO[bytes], kind: bytes, body: bytes) -> None:
    responses.write(HEADER.pack(kind, len(body)) + body)
    responses.flush()


def _limit_self(memory: int) -> str:
    """Lower the system's limits on this process as far as it allows.

    Returns the end of a sentence that names the system's own limit on memory, if that is lower.
    """
    hint = ulimits.hint_for_memory(memory)
    with suppress(OSError):  # without /proc, only the parent limits the memory
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        ulimits.MEMORY.lower(used + memory)
    ulimits.FILE_SIZE.lower(MAX_WRITTEN)
    ulimits.CORE.lower(0)
    ulimits.warn_before_kill()
    return hint


if __name__ == "__main__":
    main()
