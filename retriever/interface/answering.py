"""A running page answers searches of the command line, which then loads neither index nor model.

The page listens on a Unix-domain socket in the index's folder, for its owner alone. A request and
its answer are one line of JSON each, and hold the program's version: another version, any error
and a timeout mean that the command searches itself. Systems without such sockets have none.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retriever import __version__

Request = Mapping[str, Any]
Handler = Callable[[Request], Request]

PROTOCOL = 1
"""Increase it with any change of what requests or answers hold."""

SOCKET = "ask.sock"
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 30.0
"""Longer than a page needs to load a small model, and to rerank by it."""

MAX_BYTES = 1 << 20  # of a request
_MAX_CALLERS = 4
_CHECK_SECONDS = 2.0
_MAX_PATH = 100  # bytes: the shortest limit of all systems is 104
_SCRATCH = len("/.ask-12345678/s")


def ask(index: str | Path, request: Request) -> Request | None:
    """The answer of the page that serves `index`; None if there is none, or it cannot answer."""
    try:
        path = socket_path(Path(index))
        if path is None or not _is_own(path):
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(str(path))
            if not _same_user(connection):
                return None
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(_line({**_versions(), **request}))
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError):
        return None
    known = isinstance(answer, dict) and _is_ours(answer) and "error" not in answer
    return answer if known else None


class Answering:
    """Answers requests for the index in a folder, in threads that end with the process.

    It waits for an index that does not exist yet, and listens again if its folder was replaced.
    """

    def __init__(self, index: Path, handler: Handler) -> None:
        self._index, self._handler = index, handler
        self._callers = threading.BoundedSemaphore(_MAX_CALLERS)
        self._stop = threading.Event()
        self._path: Path | None = None
        self._inode = 0
        self.listening = threading.Event()

    def start(self) -> None:
        """Listen in the background; silently not where sockets are impossible."""
        if not hasattr(socket, "AF_UNIX"):
            return
        atexit.register(self.close)
        threading.Thread(target=self._run, name="answer the command line", daemon=True).start()

    def close(self) -> None:
        """Answer no more, and remove the socket unless it is another process's by now."""
        self._stop.set()
        self.listening.clear()
        if self._path is not None and _inode(self._path) == self._inode:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _run(self) -> None:
        while not self._stop.is_set():
            path = socket_path(self._index)
            if path is not None and (self._index / "catalog.sqlite").exists():
                with contextlib.suppress(OSError):
                    self._listen(path)
            self._stop.wait(_CHECK_SECONDS)

    def _listen(self, path: Path) -> None:
        """Answer until the socket's file is gone, or another process answers."""
        if _is_answered(path):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            _bind(listener, path)
            self._path, self._inode = path, _inode(path)
            listener.settimeout(_CHECK_SECONDS)
            self.listening.set()
            while not self._stop.is_set() and _inode(path) == self._inode:
                with contextlib.suppress(TimeoutError):
                    self._accept(listener.accept()[0])

    def _accept(self, connection: socket.socket) -> None:
        """Answer a caller in a thread of its own; one too many searches itself."""
        if not _same_user(connection) or not self._callers.acquire(blocking=False):
            connection.close()
            return
        threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(CONNECT_SECONDS)
                with connection.makefile("rb") as requests:
                    line = requests.readline(MAX_BYTES)
                answer = self._answer(line)
                connection.settimeout(ANSWER_SECONDS)
                connection.sendall(_line({**_versions(), **answer}))
        finally:
            self._callers.release()

    def _answer(self, line: bytes) -> Request:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or not _is_ours(request):
                return {"error": "another version"}
            return self._handler(request)
        except Exception as error:  # noqa: BLE001 - the command fails with it, or does not
            return {"error": type(error).__name__}


def socket_path(index: Path) -> Path | None:
    """The socket of the index in a folder: in it, or in the user's cache if its path is too long.

    None where no path is short enough.
    """
    folder = index.resolve()
    if len(os.fsencode(folder)) + _SCRATCH <= _MAX_PATH:
        return folder / SOCKET
    from retriever.cache import cache_folder  # with NumPy, which is seldom needed here

    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = cache_folder().resolve() / "ask" / name / SOCKET
    return short if len(os.fsencode(short.parent)) + _SCRATCH <= _MAX_PATH else None


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind a socket at `path` that only its owner can open; a stale one is replaced.

    It is made in a folder that nobody else can enter, since it has its mode only afterwards.
    """
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".ask-", dir=path.parent))
    try:
        made = scratch / "s"
        listener.bind(str(made))
        made.chmod(0o600)
        listener.listen(_MAX_CALLERS)
        made.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_answered(path: Path) -> bool:
    """Whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def _is_own(path: Path) -> bool:
    """Whether `path` is a socket of this user."""
    status = path.lstat()
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()


def _same_user(connection: socket.socket) -> bool:
    """Whether the other end is a process of this user, where the system tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the file's mode has to do
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", told)[1] == os.geteuid())


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def _versions() -> dict[str, Any]:
    return {"protocol": PROTOCOL, "version": __version__}


def _is_ours(message: Request) -> bool:
    return _versions().items() <= message.items()


def _line(message: Request) -> bytes:
    """A message as a line. JSON in ASCII carries lone surrogates too."""
    return json.dumps(message).encode("ascii") + b"\n"


__all__ = ["Answering", "ask", "socket_path"]
