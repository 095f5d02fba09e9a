"""Named points: every place where the product writes, found without a line of code in it.

An audit hook sees files being opened for writing, renamed, linked and removed, and processes being
started; a trace callback of SQLite sees each statement that changes something; `os.fsync` and
FAISS's writer are wrapped. The name of a point is what happens, and the function of the product
that does it. A process can kill itself just before the n-th passage of a point.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import faiss

_PACKAGE = f"{os.sep}retriever{os.sep}"
_OWN = Path(__file__).parents[2] / "retriever"
_FILES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "os.symlink"}
_PROCESSES = {"subprocess.Popen"}
_STATEMENT = re.compile(
    r"\s*(COMMIT|BEGIN IMMEDIATE|ROLLBACK|(?:INSERT|REPLACE)(?: OR \w+)? INTO \w+|UPDATE \w+|"
    r"DELETE FROM \w+|(?:CREATE|DROP|ALTER)(?: \w+){1,2}|PRAGMA (?:wal_checkpoint|journal_mode|"
    r"page_size|user_version|application_id))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Point:
    """The passage of a named point: the first one has the number 1."""

    name: str
    number: int = 1


class Points:
    """Watches this process's writes below a folder, and kills its group at a point."""

    def __init__(self, folder: Path, kill_at: Point | None = None) -> None:
        self.passed: list[tuple[str, float]] = []
        self._folder = str(folder)
        self._kill_at = kill_at
        self._counts: Counter[str] = Counter()
        self._started = time.monotonic()
        self._busy = False

    def watch(self) -> None:
        """Begin; it cannot be undone in this process."""
        sys.addaudithook(self._audit)
        os.fsync = self._before("fsync", os.fsync)
        faiss.write_index = self._before("faiss.write_index", faiss.write_index)

        connect = sqlite3.connect

        def connected(*arguments: Any, **more: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **more)
            connection.set_trace_callback(self._statement)
            return connection

        sqlite3.connect = connected  # type: ignore[assignment]  # it is overloaded

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else 0
            if (writes or (isinstance(mode, str) and set(mode) & set("wax+"))) and self._ours(path):
                self._pass("open to write")
        elif event in _FILES:
            if any(self._ours(one) for one in arguments):
                self._pass(event.removeprefix("os."))
        elif event in _PROCESSES:
            self._pass("start a process")

    def _ours(self, path: Any) -> bool:
        if isinstance(path, int):
            return False
        text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else ""
        return text.startswith(self._folder)

    def _statement(self, sql: str) -> None:
        found = _STATEMENT.match(sql)
        if found:
            self._pass(" ".join(found[1].split()))

    def _before(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            self._pass(what)
            return function(*arguments, **more)

        return wrapped

    def _pass(self, what: str) -> None:
        self._busy = True  # looking at frames opens no files, but a hook must never call itself
        try:
            name = f"{what} in {_caller(sys._getframe(1))}"
            self._counts[name] += 1
            self.passed.append((name, time.monotonic() - self._started))
            point = self._kill_at
            if point is not None and (name, self._counts[name]) == (point.name, point.number):
                os.killpg(0, signal.SIGKILL)
                signal.pause()
        finally:
            self._busy = False


def _caller(frame: FrameType | None) -> str:
    """The function of the product, or of this harness, that leads here."""
    while frame is not None:
        path = frame.f_code.co_filename
        if _PACKAGE in path and path.startswith(str(_OWN)):
            module = path[len(str(_OWN)) + 1 : -3].replace(os.sep, ".")
            if module != "durable":
                return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "another library"


__all__ = ["Point", "Points"]
