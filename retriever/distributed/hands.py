"""The hands of a run on a cluster of Ray: tasks read, actors embed.

The plan, the ledger and every write but one stay where the run is: where the index takes vectors
from several writers, the actors write them themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from retriever.distributed.actors import Actors, Done, Job
from retriever.distributed.cluster import Cluster
from retriever.distributed.place import Place
from retriever.distributed.reading import RayReaders
from retriever.distributed.remote import RemoteEmbedder, loader, remote
from retriever.distributed.worker import Sink, sink_of
from retriever.embedding.protocols import Embedder
from retriever.indexing.hands import Batch, Embedded, Readers
from retriever.reading.subprocess_reader import Preparing
from retriever.storage.backends import Documents


class RayHands:
    """The workers of a cluster, for one run or several; `close` leaves it.

    `device` and `dtype` are those of the models that workers load.
    """

    def __init__(
        self,
        place: Place,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        self.cluster = Cluster(place)
        self._device, self._dtype = device, dtype
        self._actors: dict[str, Actors] = {}

    def readers(self, preparing: Preparing | None) -> AbstractContextManager[Readers]:
        """See `Hands.readers`."""
        return RayReaders(self.cluster, preparing)

    def embedder(self, own: Embedder) -> Embedder:
        """See `Hands.embedder`."""
        return own if isinstance(own, RemoteEmbedder) else remote(own, self._actors_of(own))

    def embed(
        self, embedder: Embedder, batches: Iterator[Batch], backend: Documents
    ) -> Iterator[Embedded]:
        """See `Hands.embed`: several batches at once."""
        sink = sink_of(backend)
        jobs = (_job(batch, sink) for batch in batches)
        for done in self._actors_of(embedder).run(jobs):
            yield _embedded(done, embedder.settings.dimension)

    def _actors_of(self, embedder: Embedder) -> Actors:
        name = embedder.settings.fingerprint
        if name not in self._actors:
            load = loader(embedder, self._device, self._dtype)
            self._actors[name] = Actors(self.cluster, load, name)
        return self._actors[name]

    def lose_an_actor(self) -> None:
        """Kill an actor in its work, to see that this changes nothing."""
        for actors in self._actors.values():
            actors.lose_one()

    def close(self) -> None:
        """End the actors, and leave the cluster, or end it if it is ours."""
        for actors in self._actors.values():
            actors.close()
        self._actors.clear()
        self.cluster.close()


def _job(batch: Batch, sink: Sink | None) -> Job:
    if sink is not None:
        return Job(batch, "store", (sink, batch.inputs, batch.chunks))
    return Job(batch, "embed", (list(batch.inputs.values()),))


def _embedded(done: Done, dimension: int) -> Embedded:
    first, tokens, seconds = done.result
    if done.job.method == "store":
        return Embedded(done.job.tag, None, tokens, seconds, done.waited, first)
    vectors = np.asarray(first, np.float32).reshape(-1, dimension)
    return Embedded(done.job.tag, vectors, tokens, seconds, done.waited)


@contextmanager
def ray_hands(
    workers: str | Place = "ray",
    *,
    device: str | None = None,
    dtype: str | None = None,
) -> Iterator[RayHands]:
    """The `hands` for `Index.sync`: "ray", "ray:auto" or "ray://HOST:PORT"; see `Place.parse`.

    Raises UsageError without Ray, and ClusterError, a RetrieverError, without the cluster.
    """
    place = Place.parse(workers) if isinstance(workers, str) else workers
    hands = RayHands(place, device=device, dtype=dtype)
    try:
        yield hands
    finally:
        hands.close()


__all__ = ["RayHands", "ray_hands"]
