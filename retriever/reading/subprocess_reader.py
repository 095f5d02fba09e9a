"""Reads files in a separate process: a crash, a hang or a decompression bomb costs one file only.

The libraries that parse documents get input from anybody. A `FileReader` owns a process that reads
one file after another. The process is killed when a file exceeds a limit on time, memory or text,
and a new one reads the next file. The process answers in JSON, never in pickle. Its code is
`retriever.reading.worker`. Another module with the same `main` may do further work on a document.
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
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from retriever.reading import ulimits
from retriever.reading.options import ReadOptions
from retriever.types import (
    Account,
    Document,
    LeftOut,
    Page,
    PageState,
    ReadError,
    RetrieverError,
    Scan,
    Span,
)

MB = 1_000_000

COMMAND = ("-P", "-m", "retriever.reading.worker")
"""The interpreter's arguments. -P: it finds modules as we do, not in the current folder."""

PREPARE_SECONDS, PREPARE_SECONDS_PER_MB = 60.0, 60.0
"""Time limit for the further work on a document, by its size as JSON.

A megabyte without white space, each character a token, takes 12 seconds of a processor.
"""

MAX_STARTS = 3
"""Attempts to start a process that is killed before it is ready."""

START_SECONDS = 60.0
"""Time limit for a new process to say that it is ready."""

END_SECONDS = 5.0
"""Time limit for a process to end after it has closed its output."""

POLL_SECONDS = 0.2
"""Seconds between two checks of the process's memory."""

RECYCLE_BYTES = 600 * MB
"""A process that holds more memory than this is replaced before the next file."""

HEADER = struct.Struct(">cQ")
"""The header of a message: its kind, and the length of its body in bytes."""

READY, EXTEND, DOCUMENT, PREPARED, ERROR, TOO_LARGE = b"y", b"e", b"d", b"p", b"r", b"t"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    The first deadline is `seconds` plus `seconds_per_mb` for each megabyte. Each part of a file
    (a page, for example) extends it by the time the reader asks for; all parts together may take
    `max_seconds`. `memory` is the resident memory of the process and its children, in bytes.
    `output` is the size of the document as JSON, in bytes.
    """

    seconds: float = 60.0
    seconds_per_mb: float = 10.0
    max_seconds: float = 6 * 3600.0
    memory: int = 2_500 * MB
    output: int = 100 * MB


@dataclass(frozen=True, slots=True)
class _Message:
    kind: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Preparing:
    """Further work that the process does: the module that is its code, and its configuration."""

    module: str
    configuration: dict[str, Any]


class StartError(ReadError):
    """No process could be started for the file: that may pass, and says nothing of the file."""


class _CrashError(ReadError):
    """The process ended by itself."""


class _CPUTimeError(_CrashError):
    """The process has used the CPU time that the system allows it for all its files."""


class FileReader:
    """Reads files in a process, which is started for the first file and again after a failure.

    `on_part` is called with the number of parts of the current file that have been started.
    `prepared` is the result of `preparing` for the last document, empty if there is none. Not
    thread-safe, but for `stop`.
    """

    def __init__(
        self,
        options: ReadOptions | None = None,
        limits: Limits | None = None,
        preparing: Preparing | None = None,
    ) -> None:
        self.options = options or ReadOptions()
        self.limits = limits or Limits()
        self.preparing = preparing
        self.prepared = b""
        self._stopped = False
        self.on_part: Callable[[int], None] = lambda part: None
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: queue.Queue[_Message | None] = queue.Queue()
        self._stderr: IO[bytes] | None = None

    def read(self, path: Path, name: str) -> Document:
        """Read the document as `read_document` does, within the limits."""
        self.prepared = b""
        try:
            return self._read(path, name, allow_native=True)
        except _CPUTimeError:
            raise
        except _CrashError:
            with suppress(_CrashError):  # most readers work without compiled code too
                return self._read(path, name, allow_native=False)
            raise

    def look_at_page(self, path: Path, request: dict[str, Any]) -> bytes:
        """The response of `render.handle_request` about a page of the file, within the limits.

        Raises ReadError; its message is the end of a sentence.
        """
        return self._request(path, {**request, "path": str(path.absolute())})

    def _read(self, path: Path, name: str, *, allow_native: bool) -> Document:
        request = {
            "path": str(path.absolute()),
            "name": name,
            "passwords": self.options.passwords,
            "ocr": self.options.ocr,
            "allow_native": allow_native,
            "insist": self.options.insist,
            "known": [_page_to_json(page) for page in self.options.known.pages],
            "prepare": self.preparing is not None,
        }
        body = self._request(path, request)
        if self.preparing is not None:
            self._receive_prepared(len(body))
        return document_from_json(body)

    def _receive_prepared(self, size: int) -> None:
        """Take the result of the further work; it is empty if that failed.

        Raises ReadError if it exceeded a limit or ended the process: without a process of its own,
        it would do so to the whole run.
        """
        started = time.monotonic()
        deadline = started + PREPARE_SECONDS + PREPARE_SECONDS_PER_MB * size / MB
        try:
            message = self._next(deadline, started)
        except ReadError as error:
            if self._stopped:
                raise
            raise ReadError(f"it was read, but not divided into passages: {error}") from None
        if message.kind == ERROR:
            raise ReadError(_decode(message.body))
        self.prepared = message.body

    def stop(self) -> None:
        """End the process, and fail what another thread is reading with it."""
        self._stopped = True
        process = self._process
        if process is not None:
            _kill_group(process)

    def _request(self, path: Path, request: dict[str, Any]) -> bytes:
        try:
            return self._request_once(path, request)
        except _CPUTimeError:  # earlier files may have used it up; a new process has all of it
            return self._request_once(path, request)

    def _request_once(self, path: Path, request: dict[str, Any]) -> bytes:
        self.start()
        try:
            return self._exchange(path, request)
        except ReadError:
            raise
        except BaseException:  # Ctrl-C: the result is not needed any more
            self.close()
            raise

    def close(self) -> None:
        """Kill the process, whatever it is doing, and its children."""
        process, self._process = self._process, None
        stderr, self._stderr = self._stderr, None
        streams = [stderr]
        if process is not None:
            _kill(process)
            streams += [process.stdin, process.stdout]
        for stream in streams:
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    # Requests

    def _exchange(self, path: Path, request: dict[str, Any]) -> bytes:
        try:
            self._send(request)
        except OSError:
            raise self._crash() from None
        size = path.stat().st_size if path.exists() else 0
        started = time.monotonic()
        last = started + self.limits.max_seconds
        deadline = started + self.limits.seconds + self.limits.seconds_per_mb * size / MB
        parts = 0
        while True:
            message = self._next(deadline, started)
            if message.kind == EXTEND:
                deadline = min(last, max(deadline, time.monotonic() + float(message.body)))
                parts += 1
                self.on_part(parts)
            elif message.kind == ERROR:
                raise ReadError(_decode(message.body))
            else:
                return message.body

    def _next(self, deadline: float, started: float) -> _Message:
        """The next message. Raises ReadError if a limit is exceeded or the process has ended."""
        while True:
            if self._stopped:
                raise ReadError("the run was stopped")
            left = deadline - time.monotonic()
            try:
                message = self._messages.get(timeout=max(0.0, min(left, POLL_SECONDS)))
            except queue.Empty:
                if left <= 0:
                    spent = time.monotonic() - started
                    raise self._kill_for_limit(
                        f"it was given up after {spent:,.0f} seconds"
                    ) from None
                if self._memory() > self.limits.memory:
                    limit = f"{self.limits.memory / MB:,.0f} MB"
                    raise self._kill_for_limit(f"it needs more than {limit} of memory") from None
                continue
            if message is None:
                raise self._crash()
            if message.kind == TOO_LARGE:
                limit = f"{self.limits.output / MB:,.0f} MB"
                raise self._kill_for_limit(f"it holds more than {limit} of text")
            return message

    def _own_memory(self) -> int:
        """Resident memory of the process alone; to find its children takes long for each file."""
        if self._process is None:
            return 0
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _kill_for_limit(self, what: str) -> ReadError:
        self.close()
        return ReadError(f"{what}; split the file")

    def _memory(self) -> int:
        """Resident memory of the process and its children in bytes; 0 if it has ended."""
        if self._process is None:
            return 0
        try:
            root = psutil.Process(self._process.pid)
            return sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])
        except psutil.Error:
            return 0

    def _crash(self) -> _CrashError:
        """The error for a process that has ended by itself."""
        code = None if self._process is None else _exit_code(self._process, END_SECONDS)
        self.close()
        if code is None or code >= 0:
            return _CrashError("the reader crashed on it")
        ended = signal.Signals(-code)
        if ended.name == "SIGXCPU":
            hint = ulimits.hint_for_signal(ended)
            return _CPUTimeError(f"it needs more processor time than there is{hint}")
        return _CrashError(
            f"the reader crashed on it ({ended.name}){ulimits.hint_for_signal(ended)}"
        )

    # Starting

    def start(self) -> None:
        """Start the process, unless it is running; done early, it saves the first file the wait."""
        if self._stopped:
            raise ReadError("the run was stopped")
        if self._process is not None and self._own_memory() > RECYCLE_BYTES:
            self.close()
        if self._process is not None and _exit_code(self._process) is None:
            return
        self.close()
        ulimits.check()
        for _ in range(MAX_STARTS):
            if self._start_once():
                self._configure()
                return
            code, message = self._close_failed()
            if code is None or code >= 0:
                why = message or "it says nothing"
                raise _start_error(why, "; wva doctor tells what is missing")
            killed = signal.Signals(-code)
        # It costs this file only: what kills processes, such as a lack of memory, may pass.
        raise StartError(
            f"the process that reads files was killed {MAX_STARTS} times while it started, "
            f"{killed.name}{ulimits.hint_for_signal(killed)}"
        )

    def _configure(self) -> None:
        """Tell a new process what its further work needs; if it has ended, a request finds out."""
        if self.preparing is not None:
            with suppress(OSError):
                self._send({"configure": self.preparing.configuration})

    def _start_once(self) -> bool:
        """Start a process; whether it is ready within START_SECONDS."""
        with suppress(OSError):  # no folder is writable
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, *self._command(), str(self.limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr or subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_module_folders())},
                start_new_session=True,  # Ctrl-C reaches this process only
            )
        except OSError as error:
            self.close()
            raise _start_error(error.strerror or "", ulimits.hint_for_error(error)) from None
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

    def _command(self) -> tuple[str, ...]:
        return COMMAND if self.preparing is None else (*COMMAND[:-1], self.preparing.module)

    def _close_failed(self) -> tuple[int | None, str]:
        """Close a process that did not become ready: (exit code, what it said last).

        Python's complaints while it ends ("Exception ignored in ...") follow the reason.
        """
        code = None if self._process is None else _exit_code(self._process, END_SECONDS)
        lines: list[str] = []
        if self._stderr is not None:
            self._stderr.seek(0)
            said = self._stderr.read().decode("utf-8", "replace")
            lines = (said.split("Exception ignored in")[0].strip() or said.strip()).splitlines()
        self.close()
        return code, lines[-1] if lines else ""

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()


def _listen(stream: IO[bytes], messages: queue.Queue[_Message | None], limit: int) -> None:
    """Put the messages of the process into the queue; None when its output ends."""
    with suppress(OSError, ValueError):  # closed by close()
        while len(head := stream.read(HEADER.size)) == HEADER.size:
            kind, length = HEADER.unpack(head)
            if length > limit:
                messages.put(_Message(TOO_LARGE, b""))
                return
            body = stream.read(length)
            if len(body) < length:
                break
            messages.put(_Message(kind, body))
    messages.put(None)


def _start_error(why: str, end: str) -> RetrieverError:
    return RetrieverError(f"the process that reads files could not be started ({why}){end}")


def _module_folders() -> list[str]:
    """The module search path of this process, then the folder of this package.

    That folder comes last: in front, modules installed beside the package would hide those of the
    standard library.
    """
    return [*(folder for folder in sys.path if folder), str(Path(__file__).absolute().parents[2])]


def _exit_code(process: subprocess.Popen[bytes], seconds: float = 0.0) -> int | None:
    """The exit code as of `Popen.poll`, after at most `seconds`; the process id is not released.

    After a wait the system may give the id of an ended process to another one, which `_kill` would
    then kill.
    """
    if process.returncode is not None or not hasattr(os, "waitid"):  # pragma: no cover - not Linux
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode
    end = time.monotonic() + seconds
    with suppress(ChildProcessError):  # another thread has waited for it
        while True:
            found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            if time.monotonic() >= end:
                return None
            time.sleep(0.01)
    return process.poll()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, and wait for its end."""
    _kill_group(process)
    process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children: they are one process group, where groups exist."""
    if process.returncode is None:  # else another process may have its id
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:  # pragma: no cover - Windows
                process.kill()


@contextmanager
def file_reader(options: ReadOptions, limits: Limits | None = None) -> Iterator[FileReader]:
    """A reader that is closed at the end of the `with` block."""
    with closing(FileReader(options, limits)) as reader:
        yield reader


# Documents as JSON


def document_to_json(document: Document) -> bytes:
    """The document as JSON in UTF-8."""
    values = {
        "path": document.path,
        "format": document.format,
        "title": document.title,
        "author": document.author,
        "date": document.date,
        "metadata": dict(document.metadata),
        "read_as": document.read_as,
        "left_out": [astuple(part) for part in document.left_out],
        "account": None if document.account is None else asdict(document.account),
        "pages": [_page_to_json(page) for page in document.pages],
    }
    return encode(json.dumps(values, ensure_ascii=False))


def document_from_json(body: bytes) -> Document:
    """The document from the output of `document_to_json`."""
    values = json.loads(_decode(body))
    pages = tuple(map(page_from_json, values.pop("pages")))
    left_out = tuple(LeftOut(*part) for part in values.pop("left_out"))
    read_as = tuple(values.pop("read_as"))
    account = account_from_json(values.pop("account"))
    return Document(**values, pages=pages, read_as=read_as, left_out=left_out, account=account)


def account_from_json(values: dict[str, Any] | None) -> Account | None:
    """The account from the JSON object of its fields."""
    if values is None:
        return None
    return Account(**{**values, "missing": tuple(values["missing"])})


def _page_to_json(page: Page) -> list[Any]:
    """The page as a JSON array."""
    return [
        *(page.number, page.text, page.state.value, page.reason, page.label),
        None if page.body is None else [page.body.start, page.body.end],
        None if page.scan is None else astuple(page.scan),
        page.printed,
    ]


def page_from_json(values: Sequence[Any]) -> Page:
    """The page from the output of `_page_to_json`."""
    number, text, state, reason, label, body, scan, printed = values
    return Page(
        *(number, text, PageState(state), reason, label),
        body=None if body is None else Span(*body),
        scan=None if scan is None else Scan(*scan),
        printed=printed,
    )


def encode(text: str) -> bytes:
    """The text in UTF-8, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def _decode(body: bytes) -> str:
    return body.decode("utf-8", "surrogatepass")
