"""A running page answers searches of the command line, which then loads neither index nor model.

The page listens on a Unix-domain socket for its owner alone: in a folder of the user's cache, since
an index's folder is copied, and few programs copy sockets. The socket is named after the index's
catalog, its path and file number, so one that took its place is not mistaken for it. A request
and its answer are one line of JSON each, and hold the program's version: another version, any
error and a timeout mean that the command searches itself. Systems without such sockets have none.
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
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from retriever import __version__
from retriever.cache import cache_folder
from retriever.files.layout import CATALOG_FILE
from retriever.storage.opening import Place, lasting, place_of
from retriever.types import UsageError

Request = Mapping[str, Any]
Handler = Callable[[Request], Request]

PROTOCOL = 2
"""Increase it with any change of what requests or answers hold."""

FOLDER = "ask"
CONNECT_SECONDS = 1.0
_MAKING_SECONDS = 60.0  # to bind a socket takes less than a millisecond
ANSWER_SECONDS = 30.0
"""Longer than a page needs to load a small model, and to rerank by it."""

MAX_BYTES = 1 << 20  # of a request
_MAX_CALLERS = 4
_CHECK_SECONDS = 2.0
_MAX_PATH = 100  # bytes: the shortest limit of all systems is 104
_SCRATCH = len("/0123456789abcdef.sock")


def ask(index: str | Path | Place, request: Request) -> Request | None:
    """The answer of the page that serves `index`; None if there is none, or it cannot answer."""
    try:
        path = socket_path(place_of(index))
        if path is None or not (_is_private(path.parent) and _is_own(path)):
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
    except (OSError, ValueError, UsageError):  # opening the index says what is wrong with its name
        return None
    known = isinstance(answer, dict) and _is_ours(answer) and "error" not in answer
    return answer if known else None


class Answering:
    """Answers requests for the index in a folder, in threads that end with the process.

    It waits for an index that does not exist yet, and listens again if its folder was replaced.
    """

    def __init__(self, index: Place, handler: Handler) -> None:
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
            if path is not None:
                with contextlib.suppress(OSError):
                    self._listen(path)
                self.listening.clear()
            self._stop.wait(_CHECK_SECONDS)

    def _listen(self, path: Path) -> None:
        """Answer until the socket's file is gone, or the index another one."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(path.parent) or _state(path) == "answered":
            return
        _remove_stale(path.parent)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            _bind(listener, path)
            self._path, self._inode = path, _inode(path)
            listener.settimeout(_CHECK_SECONDS)
            self.listening.set()
            while self._is_current(path):
                with contextlib.suppress(TimeoutError):
                    self._accept(listener.accept()[0])

    def _is_current(self, path: Path) -> bool:
        if self._stop.is_set() or _inode(path) != self._inode:
            return False
        if socket_path(self._index) == path:
            return True
        path.unlink(missing_ok=True)
        return False

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


def socket_path(index: Place) -> Path | None:
    """The socket of an index: in the user's cache, or in that of temporary files.

    None without an index, and where no path is short enough.
    """
    identity = _identity(index)
    if identity is None:
        return None
    name = hashlib.sha256(identity).hexdigest()[:16]
    temporary = Path(tempfile.gettempdir()) / f"wva-{os.geteuid()}"
    for parent in (cache_folder(), temporary):
        short = parent.resolve() / FOLDER
        if len(os.fsencode(short)) + _SCRATCH <= _MAX_PATH:
            return short / f"{name}.sock"
    return None


def _identity(index: Place) -> bytes | None:
    """What the socket is named after: the catalog of a folder, None without one; an address."""
    if not isinstance(index, Path):
        return str(lasting(index)).encode()
    folder = index.resolve()
    try:
        catalog = (folder / CATALOG_FILE).stat()
    except OSError:
        return None
    return f"{catalog.st_dev} {catalog.st_ino} ".encode() + os.fsencode(folder)


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind a socket at `path` that only its owner can open; a stale one is replaced.

    It appears when it listens.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".ask-", dir=path.parent))
    try:
        made = scratch / "s"
        listener.bind(str(made))
        made.chmod(0o600)
        listener.listen(_MAX_CALLERS)
        made.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _state(path: Path) -> Literal["answered", "stale", "unknown"]:
    """Whether a process listens at `path`, or has left the socket there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(str(path))
        except ConnectionRefusedError:
            return "stale"
        except OSError:
            return "unknown"
        return "answered"


def _remove_stale(folder: Path) -> None:
    """Remove the sockets of pages that were killed, also while they made one."""
    for path in folder.glob("*.sock"):
        with contextlib.suppress(OSError):
            if _state(path) == "stale":
                path.unlink()
    for scratch in folder.glob(".ask-*"):
        with contextlib.suppress(OSError):
            if time.time() - scratch.lstat().st_mtime > _MAKING_SECONDS:
                shutil.rmtree(scratch)


def _is_private(folder: Path) -> bool:
    """Whether `folder` is this user's, and nobody else can enter it."""
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == os.geteuid()


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
