"""Files are read in a process of their own, so that a crash, a hang or a bomb costs that file only.

The libraries that parse documents meet what anybody may have written. A `FileReader` has a process
that reads one file
after another; it is killed when a file takes too long, too much memory or gives too much text, and
the next file gets a new one. What it sends back is JSON, never a pickle. The other end is
`retriever.reading.worker`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from retriever.reading import ulimits
from retriever.reading.formats import ReadOptions
from retriever.reading.ulimits import of_signal
from retriever.types import Document, Page, PageState, ReadError, RetrieverError, Scan, Span

MB = 1_000_000

COMMAND = ("-P", "-m", "retriever.reading.worker")
"""What the process runs. It finds modules where we do, and nothing in the current folder (-P)."""

STARTS = 3
"""Times that a process which is killed before it is ready is started."""

START_SECONDS = 60.0
"""A process that says nothing for so long after its start is not going to."""

END_SECONDS = 5.0
"""How long it is waited for a process that has closed its output to end."""

TICK = 0.2
"""Seconds between two looks at the memory of what reads."""

RECYCLE = 600 * MB
"""A process that has grown to this many bytes is replaced before the next file."""

HEAD = struct.Struct(">cQ")
"""Before every message: what it is, and its length in bytes."""

READY, EARNED, DOCUMENT, REFUSED, TOO_MUCH = b"y", b"e", b"d", b"r", b"t"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    `seconds` and `seconds_per_mb` are given in advance, and every part of a file gets the time it
    asks for when the one before it is done; `most_seconds` is for all parts together. `memory` is
    of the process with its children, in bytes; `output` that of the document as JSON.
    """

    seconds: float = 60.0
    seconds_per_mb: float = 10.0
    most_seconds: float = 6 * 3600.0
    memory: int = 2_500 * MB
    output: int = 100 * MB


@dataclass(frozen=True, slots=True)
class _Message:
    kind: bytes
    body: bytes


class _CrashError(ReadError):
    """The process ended by itself."""


class _CPUTimeError(_CrashError):
    """The process used up the processor time that the system gives it, for all of its files."""


class FileReader:
    """A process that reads files; started when the first one is to be read, anew after a failure.

    `on_part` is told how many parts of the file being read have been begun. Not for use from
    several threads at once.
    """

    def __init__(self, run: ReadOptions | None = None, limits: Limits | None = None) -> None:
        self.run = run or ReadOptions()
        self.limits = limits or Limits()
        self.on_part: Callable[[int], None] = lambda part: None
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: queue.Queue[_Message | None] = queue.Queue()
        self._complaints: IO[bytes] | None = None

    def read(self, path: Path, name: str) -> Document:
        """As `readers.read_document`, within the limits."""
        try:
            return self._read(path, name, native=True)
        except _CPUTimeError:
            raise
        except _CrashError:
            with suppress(_CrashError):  # most readers can do without compiled code
                return self._read(path, name, native=False)
            raise

    def look(self, path: Path, request: dict[str, Any]) -> bytes:
        """What `pagedraw.answer` says of a page of the file, within the limits.

        Raises ReadError, with the end of a sentence.
        """
        return self._guarded(path, {**request, "path": str(path.absolute())})

    def warm(self) -> None:
        """Start the process now, so that the first file need not wait for it."""
        self._start()

    def _read(self, path: Path, name: str, *, native: bool) -> Document:
        request = {
            "path": str(path.absolute()),
            "name": name,
            "passwords": self.run.passwords,
            "ocr": self.run.ocr,
            "native": native,
            "insist": self.run.insist,
            "known": [_page_json(page) for page in self.run.known.pages],
        }
        return document_of(self._guarded(path, request))

    def _guarded(self, path: Path, request: dict[str, Any]) -> bytes:
        try:
            return self._begun(path, request)
        except _CPUTimeError:  # the files before this one may have taken it: a new one has all
            return self._begun(path, request)

    def _begun(self, path: Path, request: dict[str, Any]) -> bytes:
        self._start()
        try:
            return self._ask(path, request)
        except ReadError:
            raise
        except BaseException:  # Ctrl-C: what it is doing is of no use any more
            self.close()
            raise

    def close(self) -> None:
        """End the process, whatever it is doing, and what it has started."""
        process, self._process = self._process, None
        complaints, self._complaints = self._complaints, None
        streams = [complaints]
        if process is not None:
            _kill(process)
            streams += [process.stdin, process.stdout]
        for stream in streams:
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    # Asking

    def _ask(self, path: Path, request: dict[str, Any]) -> bytes:
        try:
            self._send(request)
        except OSError:
            raise self._crash() from None
        size = path.stat().st_size if path.exists() else 0
        started = time.monotonic()
        last = started + self.limits.most_seconds
        deadline = started + self.limits.seconds + self.limits.seconds_per_mb * size / MB
        parts = 0
        while True:
            message = self._next(deadline, started)
            if message.kind == EARNED:
                deadline = min(last, max(deadline, time.monotonic() + float(message.body)))
                parts += 1
                self.on_part(parts)
            elif message.kind == REFUSED:
                raise ReadError(_text(message.body))
            else:
                return message.body

    def _next(self, deadline: float, started: float) -> _Message:
        """The next message. Raises ReadError when a limit is passed, or the process has gone."""
        while True:
            left = deadline - time.monotonic()
            try:
                message = self._messages.get(timeout=max(0.0, min(left, TICK)))
            except queue.Empty:
                if left <= 0:
                    spent = time.monotonic() - started
                    raise self._too_much(f"it was given up after {spent:,.0f} seconds") from None
                if self._memory() > self.limits.memory:
                    limit = f"{self.limits.memory / MB:,.0f} MB"
                    raise self._too_much(f"it needs more than {limit} of memory") from None
                continue
            if message is None:
                raise self._crash()
            if message.kind == TOO_MUCH:
                limit = f"{self.limits.output / MB:,.0f} MB"
                raise self._too_much(f"it holds more than {limit} of text")
            return message

    def _too_much(self, what: str) -> ReadError:
        self.close()
        return ReadError(f"{what}; split the file")

    def _memory(self) -> int:
        """Bytes the process and what it has started hold; 0 if it has ended."""
        if self._process is None:
            return 0
        try:
            root = psutil.Process(self._process.pid)
            return sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])
        except psutil.Error:
            return 0

    def _crash(self) -> _CrashError:
        """What to say of a process that has ended by itself."""
        code = None if self._process is None else _exit_code(self._process, END_SECONDS)
        self.close()
        if code is None or code >= 0:
            return _CrashError("the reader crashed on it")
        ended = signal.Signals(-code)
        if ended.name == "SIGXCPU":
            hint = of_signal(ended)
            return _CPUTimeError(f"it needs more processor time than there is{hint}")
        return _CrashError(f"the reader crashed on it ({ended.name}){of_signal(ended)}")

    # Starting

    def _start(self) -> None:
        if self._process is not None and self._memory() > RECYCLE:
            self.close()
        if self._process is not None and _exit_code(self._process) is None:
            return
        self.close()
        ulimits.check()
        for _ in range(STARTS):
            if self._started():
                return
            code, said = self._ended()
            if code is None or code >= 0:
                why = said or "it says nothing"
                raise _start_error(why, "; wva doctor tells what is missing")
            killed = signal.Signals(-code)
        raise _start_error(f"it was killed {STARTS} times, {killed.name}", of_signal(killed))

    def _started(self) -> bool:
        """Whether a new process is ready within its time."""
        with suppress(OSError):  # nothing can be written anywhere
            self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, *COMMAND, str(self.limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints or subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_module_folders())},
                start_new_session=True,  # Ctrl-C is for us; we tell it
            )
        except OSError as error:
            self.close()
            raise _start_error(error.strerror or "", ulimits.of_error(error)) from None
        self._messages = queue.Queue()
        threading.Thread(
            target=_listen,
            args=(self._process.stdout, self._messages, self.limits.output),
            daemon=True,
        ).start()
        with suppress(queue.Empty):
            first = self._messages.get(timeout=START_SECONDS)
            return first is not None and first.kind == READY
        return False

    def _ended(self) -> tuple[int | None, str]:
        """(exit code of a process that did not become ready, its last words); it is closed."""
        code = None if self._process is None else _exit_code(self._process, END_SECONDS)
        lines: list[str] = []
        if self._complaints is not None:
            self._complaints.seek(0)
            lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        self.close()
        return code, lines[-1] if lines else ""

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()


def _listen(stream: IO[bytes], messages: queue.Queue[_Message | None], limit: int) -> None:
    """Put what the process says into the queue; None when it has gone."""
    with suppress(OSError, ValueError):  # closed by close()
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            kind, length = HEAD.unpack(head)
            if length > limit:
                messages.put(_Message(TOO_MUCH, b""))
                return
            body = stream.read(length)
            if len(body) < length:
                break
            messages.put(_Message(kind, body))
    messages.put(None)


def _start_error(why: str, end: str) -> RetrieverError:
    return RetrieverError(f"the process that reads files could not be started ({why}){end}")


def _module_folders() -> list[str]:
    """Where this process finds modules, in its order; last the folder that this package is in.

    With that folder in front, as the current one, everything installed beside the package would
    stand before the standard library.
    """
    return [*(folder for folder in sys.path if folder), str(Path(__file__).absolute().parents[2])]


def _exit_code(process: subprocess.Popen[bytes], seconds: float = 0.0) -> int | None:
    """As `Popen.poll`, after waiting for so long; but its id stays taken.

    Once an ended process is waited for, its id may be given to another one, which `_kill` would
    then end.
    """
    if process.returncode is not None or not hasattr(os, "waitid"):  # pragma: no cover - not Linux
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode
    end = time.monotonic() + seconds
    with suppress(ChildProcessError):  # somebody else has waited for it
        while True:
            found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            if time.monotonic() >= end:
                return None
            time.sleep(0.01)
    return process.poll()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those it has started: they are one group where there are groups."""
    if process.returncode is None:  # else its id may be another's by now
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:  # pragma: no cover - Windows
                process.kill()
    process.wait()


@contextmanager
def file_reader(run: ReadOptions, limits: Limits | None = None) -> Iterator[FileReader]:
    """A reader for one run; no process is left behind it."""
    with closing(FileReader(run, limits)) as reader:
        yield reader


# Documents as JSON


def document_json(document: Document) -> bytes:
    """A document as it travels."""
    values = {
        "path": document.path,
        "format": document.format,
        "title": document.title,
        "author": document.author,
        "date": document.date,
        "metadata": dict(document.metadata),
        "read_as": document.read_as,
        "pages": [_page_json(page) for page in document.pages],
    }
    return encoded(json.dumps(values, ensure_ascii=False))


def document_of(body: bytes) -> Document:
    """What `document_json` made."""
    values = json.loads(_text(body))
    pages = tuple(map(page_of, values.pop("pages")))
    return Document(**{**values, "read_as": tuple(values["read_as"])}, pages=pages)


def _page_json(page: Page) -> list[Any]:
    """A page as it travels."""
    return [
        *(page.number, page.text, page.state.value, page.reason, page.label),
        None if page.body is None else [page.body.start, page.body.end],
        None if page.scan is None else astuple(page.scan),
    ]


def page_of(values: Sequence[Any]) -> Page:
    """What `_page_json` made."""
    number, text, state, reason, label, body, scan = values
    return Page(
        *(number, text, PageState(state), reason, label),
        body=None if body is None else Span(*body),
        scan=None if scan is None else Scan(*scan),
    )


def encoded(text: str) -> bytes:
    """A text as it travels: UTF-8, with lone surrogates let through."""
    return text.encode("utf-8", "surrogatepass")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogatepass")
