"""The process in which files are read: requests come in, documents go out. See `isolated`.

A request is a line of JSON on standard input; when that ends the process ends at once, so that it
never outlives who started it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from retriever.reading import ulimits
from retriever.reading.formats import ReadOptions, read_document
from retriever.reading.recognised import KnownPages
from retriever.reading.subprocess_reader import (
    DOCUMENT,
    EARNED,
    HEAD,
    READY,
    REFUSED,
    document_json,
    encoded,
    page_of,
)
from retriever.types import ReadError

MAX_WRITTEN = 2_000_000_000
"""Bytes of one file that a reader may write, such as a picture for an OCR."""


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not stand among the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    hint = _limit_self(int(sys.argv[1]))
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    _say(answers, READY, b"")
    try:
        while True:
            _answer(requests.get(), answers, hint)
    finally:
        os._exit(1)  # the other thread waits for standard input, which would end us noisily


def _receive(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)  # nobody listens any more, whatever is being read


def _answer(request: dict[str, Any], answers: IO[bytes], hint: str) -> None:
    """Do what is asked; `hint` ends the sentence on a file for which the memory does not do."""
    try:
        body = _body(request, answers)
    except ReadError as error:
        end = hint if isinstance(error.__context__, MemoryError) else ""
        _say(answers, REFUSED, encoded(f"{error}{end}") or b"it cannot be read")
    except MemoryError:
        said = f"it needs more memory than a file may take; split it{hint}"
        _say(answers, REFUSED, encoded(said))
    else:
        _say(answers, DOCUMENT, body)


def _body(request: dict[str, Any], answers: IO[bytes]) -> bytes:
    """A document, or what is asked of one page."""
    if "what" in request:
        from retriever.reading.page_images import render as pagedraw

        return pagedraw.answer(request)
    run = ReadOptions(
        passwords=tuple(request["passwords"]),
        ocr=request["ocr"],
        allow_native=request["native"],
        known=KnownPages(tuple(map(page_of, request["known"]))),
        insist=request["insist"],
        extend_deadline=lambda seconds: _say(answers, EARNED, str(seconds).encode()),
    )
    return document_json(read_document(Path(request["path"]), request["name"], run))


def _say(answers: IO[bytes], kind: bytes, body: bytes) -> None:
    answers.write(HEAD.pack(kind, len(body)) + body)
    answers.flush()


def _limit_self(memory: int) -> str:
    """Let the system refuse what no file may need, where it can.

    Returns the end of a sentence that names the system's own limit on memory, if that is lower.
    """
    hint = ulimits.of_memory(memory)
    with suppress(OSError):  # elsewhere than on Linux the parent alone watches the memory
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        ulimits.MEMORY.lower(used + memory)
    ulimits.WRITTEN.lower(MAX_WRITTEN)
    ulimits.CORE.lower(0)
    ulimits.warn_before_kill()
    return hint


if __name__ == "__main__":
    main()
