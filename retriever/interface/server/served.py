"""What a server serves: open indexes and resident models, each with a queue before it.

A model is loaded once, also for several indexes. What a request asks of it goes through its queue,
where the texts of concurrent requests are computed together. The rest of a request runs in a few
threads, and how many may wait for one is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from retriever.answers.chat import Chat
from retriever.arrays import Vectors
from retriever.embedding.batching import QUERY, Batch, BatchQueue, embedding_queue
from retriever.embedding.protocols import Embedder
from retriever.index import Index
from retriever.interface.collections import list_indexes
from retriever.interface.server.errors import NotFoundError
from retriever.searching.options import Mode, SearchOptions, as_mode
from retriever.searching.pipeline import parse_query
from retriever.settings import DEFAULT_MODEL, EmbedderSettings
from retriever.storage.catalog import CATALOG_FILE
from retriever.storage.opening import Place, lasting, place_of
from retriever.types import BusyError, IndexStateError, RetrieverError, UsageError

Result = TypeVar("Result")

THREADS = 8
"""Requests that are answered at the same time; what they ask of a model waits in its queue."""

SLOW_THREADS = 2
"""Answers that another server's model writes at the same time."""

MAX_WAITING = 256
"""Requests that may wait for a thread, and for a model."""

Observe = Callable[[str, Batch], None]
"""Is told each batch: the model's name, and the batch."""

_known_vectors: ContextVar[Mapping[str, Vectors]] = ContextVar("_known_vectors")


class ServedIndex(Index):
    """An index whose queries are embedded by a queue, together with those of other requests."""

    queue: BatchQueue | None = None

    def embed_query(self, query: str) -> Vectors:
        """The query's raw vector: (dim,)."""
        known = _known_vectors.get({})
        if query in known:
            return known[query]
        if self.queue is None:
            return super().embed_query(query)
        vector: Vectors = self.queue.rows([query], QUERY)[0]
        return vector


class _Unopened:
    """Stands for an index that cannot be opened: whatever is asked of it raises why."""

    queue = None

    def __init__(self, error: RetrieverError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


@contextmanager
def knowing(vectors: Mapping[str, Vectors]) -> Iterator[None]:
    """Within the block, this thread's queries have these vectors: they are not embedded again."""
    token = _known_vectors.set(vectors)
    try:
        yield
    finally:
        _known_vectors.reset(token)


@dataclass(frozen=True, slots=True)
class Model:
    """A resident model, its queue, and the name that requests give."""

    name: str
    embedder: Embedder
    queue: BatchQueue


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open index, and the identity of its catalog."""

    index: ServedIndex
    catalog: tuple[int, int] | None

    def is_current(self, place: Place) -> bool:
        """Whether the index at the place is still this one, with no model that it did not have."""
        if _catalog(place) not in (self.catalog, None):
            return False
        return self.index.queue is not None or self.index.embedder_settings is None


@dataclass(frozen=True, slots=True)
class Loading:
    """How models are loaded: the device and the precision.

    `embedder` gives one that all indexes have to be made with; None: each index has its own.
    """

    device: str | None = None
    dtype: str | None = None
    embedder: Callable[[], Embedder | None] = lambda: None


@dataclass
class Served:
    """Indexes by name, models by name, and the threads that answer.

    `chat` is the model that writes answers, None for none.
    """

    places: Mapping[str, Place]
    loading: Loading = field(default_factory=Loading)
    threads: int = THREADS
    max_waiting: int = MAX_WAITING
    observe: Observe = lambda model, batch: None
    chat: Chat | None = None

    def __post_init__(self) -> None:
        self._given: Embedder | None = None
        self._models: dict[str, Model] = {}  # by fingerprint
        self._indexes: dict[str, _Opened] = {}
        self._opening = threading.RLock()
        self._threads = ThreadPoolExecutor(self.threads, thread_name_prefix="answer")
        self._slow = asyncio.Semaphore(SLOW_THREADS)
        self._running = 0

    def open(self) -> Self:
        """Open all indexes, and load their models. Raises what opening an index raises."""
        try:
            self._given = self.loading.embedder()
            if self._given is not None:
                self._resident(self._given)
            for name in self.places:
                self.index(name)
            if not self._models:  # no index has one yet
                self._resident(_default_embedder(self.loading))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Accept nothing more, finish what runs, and close the indexes."""
        self.stop()
        self._threads.shutdown(cancel_futures=True)
        for opened in self._indexes.values():
            opened.index.close()

    def stop(self) -> None:
        """Cancel what waits for a model, so that its requests end at once."""
        for model in self.models:
            model.queue.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What is served

    @property
    def models(self) -> list[Model]:
        """The resident models; the first one is the default."""
        return list(self._models.values())

    def model(self, name: str) -> Model:
        """The model of this name, without what follows a colon; the default for an empty one."""
        for model in self.models:
            if name in ("", model.name):
                return model
        raise NotFoundError(
            f"there is no model {name!r} here; there are {', '.join(m.name for m in self.models)}",
            param="model",
            code="model_not_found",
        )

    def index(self, name: str) -> ServedIndex:
        """An open index; one whose folder was replaced is opened again."""
        if name not in self.places:
            there = ", ".join(map(repr, self.places)) or "none: only the model is served"
            raise NotFoundError(f"there is no index {name!r} here; there are {there}", "index")
        place = self.places[name]
        with self._opening:
            known = self._indexes.get(name)
            if known is None or not known.is_current(place):
                opened = _Opened(self._opened(place), _catalog(place))
                if known is not None:  # requests may still read it: its files are closed after
                    weakref.finalize(known.index, known.index.backend.close)
                self._indexes[name] = known = opened
            return known.index

    def chosen(self, names: Sequence[str] = ()) -> dict[str, ServedIndex]:
        """The indexes of these names, all for none."""
        if not self.places:
            raise NotFoundError("no index is served here, only a model", "index")
        if names or len(self.places) == 1:
            return {name: self.index(name) for name in dict.fromkeys(names or self.places)}
        return {name: self._index_or_why(name) for name in self.places}

    def _index_or_why(self, name: str) -> ServedIndex:
        """An open index, or what raises why it cannot be opened: the others answer without it."""
        try:
            return self.index(name)
        except RetrieverError as error:
            return cast(ServedIndex, _Unopened(error))

    def _opened(self, place: Place) -> ServedIndex:
        """The index at a place; its queue is None while it has no model yet."""
        loading = self.loading
        index = ServedIndex.open(place, self._given, device=loading.device, dtype=loading.dtype)
        try:
            settings = index.embedder_settings
            known = self._models.get(settings.fingerprint) if settings else None
            if known is not None and not index.ready:  # another index has loaded its model
                index.close()
                index = ServedIndex.open(place, known.embedder)
            if settings is not None or index.ready:
                index.queue = self._resident(index.embedder).queue
        except BaseException:
            index.close()
            raise
        return index

    def _resident(self, embedder: Embedder) -> Model:
        """The model of an embedder, which from now on is resident."""
        key = embedder.settings.fingerprint
        if key not in self._models:
            name = model_name(embedder.settings)
            taken = {model.name for model in self.models}
            name = next(
                one
                for one in (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
                if one not in taken
            )
            queue = embedding_queue(
                embedder,
                max_requests=self.max_waiting,
                observe=lambda batch: self.observe(name, batch),
            )
            self._models[key] = Model(name, embedder, queue)
        return self._models[key]

    # Answering

    async def run(self, work: Callable[[], Result], *, slow: bool = False) -> Result:
        """What `work` gives, in a thread; it does not begin if the request is cancelled before.

        `slow`: it may wait for another server. Raises BusyError where too many requests wait for a
        thread.
        """
        if self._running >= self.threads + self.max_waiting:
            raise BusyError(f"{self._running} requests wait already; try again later")
        self._running += 1
        try:
            if slow:
                return await self._run_slowly(work)
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._running -= 1

    async def _run_slowly(self, work: Callable[[], Result]) -> Result:
        """`run` for what takes minutes: searches do not wait for it, nor does the program's end."""
        loop = asyncio.get_running_loop()
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        def compute() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(self._slow.release)

        await self._slow.acquire()
        threading.Thread(target=compute, name="answer slowly", daemon=True).start()
        return await asyncio.wrap_future(future)

    @property
    def running(self) -> int:
        """The number of requests that are in a thread, or wait for one."""
        return self._running

    async def rows(self, model: Model, texts: Sequence[str], kind: Any) -> Any:
        """What a model's queue computes; cancelling the request drops it."""
        try:
            return await asyncio.wrap_future(model.queue.submit(texts, kind))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise IndexStateError("the server is stopping; try again later") from None

    async def with_query(
        self,
        names: Sequence[str],
        query: str,
        options: SearchOptions,
        work: Callable[[dict[str, ServedIndex]], Result],
        *,
        slow: bool = False,
    ) -> Result:
        """What `work` does with the chosen indexes, in a thread that knows the query's vector.

        `slow` is that of `run`.
        """
        indexes = await self.run(lambda: self.chosen(names))
        text = parse_query(query, options).text
        vectors: Mapping[str, Vectors] = {}
        models = [m for m in self.models if m.queue in [one.queue for one in indexes.values()]]
        if text and as_mode(options.mode) is not Mode.KEYWORD and len(models) == 1:
            vectors = {text: (await self.rows(models[0], [text], QUERY))[0]}

        def known() -> Result:
            with knowing(vectors):
                return work(indexes)

        return await self.run(known, slow=slow)


def served_places(given: Sequence[str | Path]) -> dict[str, Place]:
    """The indexes at these places by name: an address, or a folder that is one or holds several.

    Raises IndexStateError for a folder without an index, UsageError for two of one name.
    """
    found: dict[str, Place] = {}
    for place in map(place_of, given):
        indexes = list_indexes(place) if isinstance(place, Path) else [place]
        if not indexes:
            raise IndexStateError(
                f"there is no index in {place}: make one with wva index PATH --index {place}"
            )
        for index in indexes:
            name = lasting(index).name
            if name in found and lasting(found[name]) != lasting(index):
                raise UsageError(
                    f"two indexes are named {name!r}: {found[name]} and {index}; rename one"
                )
            found[name] = index
    return found


def _default_embedder(loading: Loading) -> Embedder:
    from retriever.embedding.aligned_wva import AlignedWVA  # with torch

    return AlignedWVA(DEFAULT_MODEL, device=loading.device, dtype=loading.dtype)


def model_name(settings: EmbedderSettings) -> str:
    """The name of a model in requests: that of a folder or file without the folders around it."""
    path = Path(settings.model)
    return path.name if path.is_absolute() or path.exists() else settings.model


def _catalog(place: Place) -> tuple[int, int] | None:
    """Device and inode of an index's catalog: whether its folder was replaced."""
    if not isinstance(place, Path):
        return None
    try:
        status = (place / CATALOG_FILE).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


__all__ = [
    "Loading",
    "Model",
    "Served",
    "ServedIndex",
    "knowing",
    "model_name",
    "served_places",
]
