"""The second wave of indexing: passages that were written without vectors get them.

The passages that searches asked for come first, then those of the newest documents. A passage's
vector has the hash of its exact model input as its key, so that nothing is embedded twice. The
vectors of a batch become searchable in one transaction: whatever stops a run, the next one goes on
after the last batch. The means are fitted again as the number of vectors grows.

Memory is bounded: the batches that are being embedded, and eight bytes for each passage that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from retriever.arrays import Keys
from retriever.embedding.protocols import Embedder
from retriever.indexing.fitting import Fitter
from retriever.indexing.hands import Batch, Embedded, Hands, OwnHands
from retriever.storage.backends import Documents
from retriever.types import Phase

CHARACTERS_PER_TOKEN = 4
"""Approximate number of characters in a token."""

BATCH_TOKENS = 262_144
"""Largest number of tokens, approximately, embedded between two commits."""

FIRST_BATCH_TOKENS = 2_048
"""Tokens of the first batch, which is small so that something can be found soon."""

BATCH_SECONDS = 3.0
"""Wanted time of a batch: progress is reported, and wishes are read, between two of them."""

MAX_BLOCK = 64
"""Largest number of passages that are read together; fewer where there is room for fewer."""

PASSAGE_TOKENS = 1_024
"""Tokens of room for each of them; passages are shorter, so that a batch has several blocks."""

GROWTH = 4
"""Factor of growth (in vectors) after which the means are fitted again during a run."""


@dataclass(slots=True)
class VectorWave:
    """Makes the missing vectors of an index: call `run`.

    `hands` embed the batches, perhaps several at once. `on_phase` is called before a batch is
    embedded, `on_batch` after it. `chunks` and `tokens` count what was embedded in `seconds`,
    `waiting` the passages that are being embedded, `total` and `done` the passages that had no
    vector and those that got theirs.
    """

    backend: Documents
    embedder: Embedder
    fitter: Fitter
    on_batch: Callable[[], None] = lambda: None
    on_phase: Callable[[Phase, float], None] = lambda phase, part: None
    hands: Hands = field(default_factory=OwnHands)
    chunks: int = 0
    waiting: int = 0
    tokens: int = 0
    seconds: float = 0.0
    total: int = 0
    done: int = 0
    _room: int = 0  # tokens of the next batch
    _vectors: int = 0  # passages with a vector
    _at_fit: int = 0  # their number at the last fit
    _taken: set[int] = field(default_factory=set)  # the passages that are being embedded

    @property
    def seconds_left(self) -> float | None:
        """The time for the passages that wait, by the tokens per second; None before the first."""
        if self.done == self.total:
            return 0.0
        return self.seconds / self.chunks * (self.total - self.done) if self.chunks else None

    def run(self) -> None:
        """Give every passage its vector."""
        with self.backend.reading() as catalog:
            queue = catalog.pending_keys()
            self._vectors = catalog.count_vectors()
            facts = catalog.calibration_facts() or {}
        self._at_fit = self._vectors if facts.get("passages") else 0
        self.total += len(queue)
        if len(queue):
            self.fitter.begin()
        self._room = min(FIRST_BATCH_TOKENS, BATCH_TOKENS)
        batches = self._batches(_Queue(queue))
        for embedded in self.hands.embed(self.embedder, batches, self.backend):
            self._write(embedded)
            self._fit_to_growth()

    def _batches(self, queue: _Queue) -> Iterator[Batch]:
        """Batches of the passages that wait, in the order of need."""
        while True:
            queue.put_first(self._asked())
            batch = self._next(queue)
            if not batch.chunks:
                return
            self._taken.update(batch.chunks)
            if batch.inputs:
                self.waiting += len(batch.chunks)
                self.on_phase(Phase.EMBEDDING, 0.0)
            yield batch

    def _asked(self) -> Keys:
        """The keys of the passages that searches asked for since the last batch."""
        ids = self.backend.take_wanted()
        if not ids:
            return np.empty(0, np.int64)
        with self.backend.reading() as catalog:
            found = catalog.keys_of(ids)
        return np.array([found[id_] for id_ in ids if id_ in found], dtype=np.int64)

    def _next(self, queue: _Queue) -> Batch:
        """The next passages: as many as there is room for, at least one."""
        batch, count = Batch(), min(MAX_BLOCK, max(1, self._room // PASSAGE_TOKENS))
        with self.backend.reading() as catalog:
            while batch.characters < CHARACTERS_PER_TOKEN * self._room and len(queue):
                block = {}
                for key, text, title in catalog.pending_texts(queue.take(count)):
                    if key in self._taken:
                        continue
                    model_input = self.embedder.passage_input(text, title)
                    batch.chunks[key] = self.embedder.key(model_input)
                    block[batch.chunks[key]] = model_input
                known = catalog.known_vectors(list(block))
                batch.inputs.update((key, one) for key, one in block.items() if key not in known)
        return batch

    def _write(self, embedded: Embedded) -> None:
        """Make the vectors of a batch searchable."""
        batch, vectors = embedded.batch, embedded.vectors
        if batch.inputs:
            self.waiting -= len(batch.chunks)
            self._measure(embedded)
        if vectors is None:
            self._vectors += embedded.attached
        else:
            self._vectors += self.backend.attach_vectors(list(batch.inputs), vectors, batch.chunks)
        self._taken.difference_update(batch.chunks)
        self.chunks += len(batch.inputs)
        self.done += len(batch.chunks)
        self.on_batch()

    def _measure(self, embedded: Embedded) -> None:
        """Count embedded tokens; the next batch takes about `BATCH_SECONDS`."""
        tokens, seconds = embedded.tokens, embedded.seconds
        self.tokens += tokens
        self.seconds += embedded.waited
        wanted = tokens / seconds * BATCH_SECONDS if seconds > 0 else BATCH_TOKENS
        self._room = int(min(max(wanted, FIRST_BATCH_TOKENS), 4 * self._room, BATCH_TOKENS))

    def _fit_to_growth(self) -> None:
        if self._vectors and self._vectors >= GROWTH * self._at_fit:
            self.fitter.fit(early=True)
            self._at_fit = self._vectors


class _Queue:
    """The keys of passages that wait; some may be put first."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._next = 0
        self._first: list[int] = []

    def __len__(self) -> int:
        return len(self._keys) - self._next + len(self._first)

    def put_first(self, keys: Keys) -> None:
        """Take these keys next, before what was put first earlier."""
        new = dict.fromkeys(keys.tolist())
        self._first = [*new, *(key for key in self._first if key not in new)]

    def take(self, count: int) -> Keys:
        """The next keys; one that was put first comes again at its own place."""
        first, self._first = self._first[:count], self._first[count:]
        end = self._next + count - len(first)
        rest = self._keys[self._next : end]
        self._next = min(end, len(self._keys))
        return np.array(list(dict.fromkeys([*first, *rest.tolist()])), np.int64)


__all__ = ["VectorWave"]
