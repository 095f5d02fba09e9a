"""Who does the work of a run: reading files, and embedding batches of passages.

Here: processes that read, and the embedder of this process. `retriever.distributed` hands both to
other machines. Plan, ledger and every write stay in the run, so that it is the same in both cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.indexing.jobs import default_jobs
from retriever.reading.reader_pool import ReaderPool, ReadTask
from retriever.reading.subprocess_reader import Preparing
from retriever.storage.backends import Documents


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages by key → the keys of their vectors, and the model inputs of those not stored yet."""

    chunks: dict[int, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """The length of the inputs."""
        return sum(map(len, self.inputs.values()))


@dataclass(frozen=True, slots=True)
class Embedded:
    """A batch whose inputs were embedded.

    `vectors` are those of the inputs, (n, dim), or None where the one who made them stored them,
    too: `attached` then counts the passages that got theirs. It took `seconds` for `tokens`, and
    the run `waited` so long for it: less, where others worked at the same time.
    """

    batch: Batch
    vectors: Vectors | None
    tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    attached: int = 0


class Readers(Protocol):
    """Reads files; the documents come in the order of the tasks."""

    def read(
        self, tasks: Iterable[ReadTask], on_wait: Callable[[ReadTask], None]
    ) -> Iterator[ReadTask]:
        """Each task when it is done; `on_wait` is called while the next one is being read."""


class Hands(Protocol):
    """Whoever does the work of a run."""

    def readers(self, preparing: Preparing | None) -> AbstractContextManager[Readers]:
        """Those who read files; `preparing` is what they do with each document."""

    def embedder(self, own: Embedder) -> Embedder:
        """The embedder of the run: `own`, or one that lets others compute what `own` would."""

    def embed(
        self, embedder: Embedder, batches: Iterator[Batch], backend: Documents
    ) -> Iterator[Embedded]:
        """Each batch when it is embedded; the next one is taken when there is room for it.

        `backend` is the index that the vectors are for.
        """


@dataclass(frozen=True, slots=True)
class OwnHands:
    """The work is done here, by `jobs` processes that read: 0 for one for each processor."""

    jobs: int = 0

    def readers(self, preparing: Preparing | None) -> AbstractContextManager[Readers]:
        """See `Hands.readers`."""
        return ReaderPool(self.jobs or default_jobs(), preparing=preparing)

    def embedder(self, own: Embedder) -> Embedder:
        """See `Hands.embedder`."""
        return own

    def embed(
        self, embedder: Embedder, batches: Iterator[Batch], backend: Documents
    ) -> Iterator[Embedded]:
        """See `Hands.embed`: one batch after the other."""
        for batch in batches:
            inputs = list(batch.inputs.values())
            if not inputs:
                yield Embedded(batch, np.empty((0, embedder.settings.dimension), np.float32))
                continue
            started = time.monotonic()
            vectors = embedder.embed_inputs(inputs)
            tokens, seconds = embedder.count_tokens(inputs), time.monotonic() - started
            yield Embedded(batch, vectors, tokens, seconds, waited=seconds)


__all__ = ["Batch", "Embedded", "Hands", "OwnHands", "Readers"]
