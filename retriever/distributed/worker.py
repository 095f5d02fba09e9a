"""The side of the workers: they read files, and embed texts with a model that stays loaded.

These are plain functions and classes, without Ray: they do the same anywhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.reading.options import ReadOptions
from retriever.reading.subprocess_reader import FileReader, Preparing
from retriever.storage.backends import Documents
from retriever.types import Document, ReadError
from retriever.version import __version__

BEAT_SECONDS = 5.0
"""Seconds between two signs of life of a worker that reads one file."""


# Reading


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file to read; `data` are its bytes where the worker does not have the file itself."""

    location: str
    name: str
    size: int
    mtime_ns: int
    options: ReadOptions
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What reading a file gave; with neither a document nor an error, the file is not there."""

    document: Document | None = None
    prepared: bytes = b""
    error: BaseException | None = None


def read_files(
    files: Sequence[FileRequest],
    digest: str,
    preparing: Callable[[], Preparing | None],
    beat: Callable[[str, int], None] = lambda name, part: None,
) -> list[FileResult]:
    """Read files in the process of this worker that reads, and do the further work on each.

    `digest` names what `preparing` gives. `beat` is called now and then while a file is read, with
    the number of its parts that were started.
    """
    reader = _reader(digest, preparing)
    return [_read(reader, file, beat) for file in files]


_readers: dict[str, FileReader] = {}


def _reader(digest: str, preparing: Callable[[], Preparing | None]) -> FileReader:
    """The reader for this further work: its process has been started, and told of it, before."""
    if digest not in _readers:
        for old in _readers.values():
            old.close()
        _readers.clear()
        _readers[digest] = FileReader(preparing=preparing())
    return _readers[digest]


def _read(reader: FileReader, file: FileRequest, beat: Callable[[str, int], None]) -> FileResult:
    with _at_hand(file) as path, _beating(reader, file.name, beat):
        if path is None:
            return FileResult()
        reader.options = file.options
        try:
            document = reader.read(path, file.name)
        except ReadError as error:
            return FileResult(error=error)
        return FileResult(document, reader.prepared)


@contextmanager
def _at_hand(file: FileRequest) -> Iterator[Path | None]:
    """Where the file lies on this machine; None if it, as it is meant, does not."""
    if file.data is None:
        yield Path(file.location) if _is_here(file) else None
        return
    folder = Path(tempfile.mkdtemp(prefix="wva-read-"))
    try:
        copy = folder / "file"
        copy.write_bytes(file.data)
        os.utime(copy, ns=(file.mtime_ns, file.mtime_ns))
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_here(file: FileRequest) -> bool:
    """Whether this machine has the file, and not another one of its name."""
    try:
        facts = Path(file.location).stat()
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (file.size, file.mtime_ns)


@contextmanager
def _beating(reader: FileReader, name: str, beat: Callable[[str, int], None]) -> Iterator[None]:
    """Signs of life, as long as the file is read: its limits on time end that for certain."""
    parts, ended = [0], threading.Event()

    def note(part: int) -> None:
        parts[0] = part

    def live() -> None:
        while not ended.wait(BEAT_SECONDS):
            beat(name, parts[0])

    reader.on_part = note
    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Pulse:
    """Signs of life of the workers that read: how many there were, and the parts of each file."""

    def __init__(self) -> None:
        self._count = 0
        self._parts: dict[str, int] = {}

    def beat(self, name: str, part: int) -> None:
        """A worker is reading this part of a file."""
        self._count += 1
        self._parts[name] = part

    def state(self) -> tuple[int, dict[str, int]]:
        """The number of signs, and the last part of each file since the last call."""
        parts, self._parts = self._parts, {}
        return self._count, parts


# Embedding


class Store(Protocol):
    """What a worker needs of an index to which it writes."""

    def attach_vectors(
        self, keys: Sequence[str], vectors: Vectors, chunks: Mapping[int, str]
    ) -> int:
        """See `Documents.attach_vectors`."""


@dataclass(frozen=True, slots=True)
class Sink:
    """An index in Milvus to which workers write: its address, and the token of the run.

    `environment` has what the driver signs in with; a worker's own comes first.
    """

    address: str
    token: str
    environment: tuple[tuple[str, str], ...] = ()

    def open(self) -> Store:
        """The index, opened for a worker."""
        from retriever.storage.backends.milvus.backend import MilvusBackend

        for name, value in self.environment:
            os.environ.setdefault(name, value)
        return MilvusBackend.open(self.address, worker=self.token)


def sink_of(backend: Documents) -> Sink | None:
    """Where workers write vectors of this index by themselves; None if only its one writer may."""
    from retriever.storage.backends.milvus.backend import MilvusBackend

    access = backend.for_workers() if isinstance(backend, MilvusBackend) else None
    if access is None:
        return None
    known = sorted((name, os.environ[name]) for name in os.environ if name.startswith("MILVUS_"))
    return Sink(*access, tuple(known))


@dataclass(frozen=True, slots=True)
class About:
    """Who a worker is: its version, what its vectors depend on, and its machine."""

    version: str
    fingerprint: str
    dtype: str
    node: str


class EmbeddingWorker:
    """Embeds texts with an embedder that `load` makes when it is needed first, and keeps.

    `threads` bounds its processors. It is the same class in an actor, in Ray Data's `map_batches`,
    and without Ray.
    """

    def __init__(self, load: Callable[[], Embedder], threads: int = 0) -> None:
        if threads:  # read when the numeric libraries are imported
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ[name] = str(threads)
        self._load = load
        self._loaded: Embedder | None = None
        self._sinks: dict[Sink, Store] = {}

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded on first use."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def about(self) -> About:
        """Who this is; the embedder is loaded."""
        import platform

        dtype = str(getattr(self.embedder, "dtype", ""))
        return About(__version__, self.embedder.settings.fingerprint, dtype, platform.node())

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the embedder gives."""
        return getattr(self.embedder, method)(*arguments)

    def embed(self, inputs: Sequence[str]) -> tuple[Vectors, int, float]:
        """Raw vectors (n, dim) of exact model inputs, the number of tokens, and seconds."""
        started = time.monotonic()
        if not inputs:
            return np.empty((0, self.embedder.settings.dimension), np.float32), 0, 0.0
        vectors = self.embedder.embed_inputs(inputs)
        return vectors, self.embedder.count_tokens(inputs), time.monotonic() - started

    def store(
        self, sink: Sink, inputs: Mapping[str, str], chunks: Mapping[int, str]
    ) -> tuple[int, int, float]:
        """Embed inputs by the keys of their vectors, and write them to the index.

        Returns how many passages of `chunks`, key → key of the vector, got one, tokens and seconds.
        """
        if sink not in self._sinks:
            self._sinks[sink] = sink.open()
        vectors, tokens, seconds = self.embed(list(inputs.values()))
        return self._sinks[sink].attach_vectors(list(inputs), vectors, chunks), tokens, seconds

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of Ray Data with exact model inputs as `input`: their vectors as `vector`."""
        inputs = [str(one) for one in np.asarray(batch["input"]).tolist()]
        return {**batch, "vector": self.embedder.embed_inputs(inputs)}


__all__ = [
    "About",
    "EmbeddingWorker",
    "FileRequest",
    "FileResult",
    "Pulse",
    "Sink",
    "read_files",
    "sink_of",
]
