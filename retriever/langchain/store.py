"""`AlignedWVAVectorStore`: a LangChain vector store in a folder, for texts that are not files.

Each text is a document of one page with one passage, so that it comes back exactly, whatever its
length. The document's id is the text's. Vectors are those that the embeddings give, compared by
cosine; a text that is stored already is not embedded again. The folder is an index: SQLite holds
everything, one transaction is one call, and FAISS files can be rebuilt (see `retriever.storage`).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore

from retriever.arrays import Vectors
from retriever.langchain.filters import as_filter
from retriever.langchain.metadata import restored, stored
from retriever.langchain.vectors import as_vector, as_vectors, identity, relevance
from retriever.searching.mmr import mmr
from retriever.searching.options import Mode, as_mode, check_count, check_diversity
from retriever.settings import FOREIGN_POOLING, ChunkSettings, EmbedderSettings, Prompts
from retriever.storage.opening import Place, open_backend, place_of
from retriever.types import (
    Chunk,
    DocumentRow,
    IndexStateError,
    Page,
    Span,
    UsageError,
    check_text,
    check_texts,
)

if TYPE_CHECKING:
    from retriever.langchain.records import AlignedWVARecordManager
    from retriever.storage.backends import Documents, Snapshot
    from retriever.storage.records import NewDocument

WRITE_TIMEOUT = 30.0
"""Seconds to wait for another thread or process that writes to the same folder."""

TIDY_AFTER = 10_000
"""Texts that are written or deleted, at least, before unused vectors are removed."""

TIDY_FACTOR = 4
"""The same in a large store, times its texts. LangChain's indexing may delete all of them and add
them again, which needs their vectors."""

END_TIMEOUT = 0.5
"""Seconds to wait for another process that writes when a store is closed."""

FORMAT = "text"
"""The format of the documents of a store."""

_UNPROMPTED = Prompts(passage="{}", query="{}", sentence="{}")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text to be written: what the caller gave, checked; `key` is that of its vector."""

    id: str
    text: str
    metadata: Mapping[str, Any]
    key: str


class AlignedWVAVectorStore(VectorStore):
    """Texts with metadata and vectors, in a folder; safe with threads and several processes.

    - `embedding` may be any LangChain embeddings. With `AlignedWVAEmbeddings` vectors are
      calibrated, with others they are taken as they are.
    - `path` is the folder, which is created, or an address of Milvus; without it the store is
      temporary, and gone when it is closed or the program ends.
    - `mode` is the default of the searches: "dense" (cosine), "hybrid" (with BM25) or "keyword".

    Scores are larger for better matches. An add is one transaction: it is written as a whole or not
    at all. Texts with an id that is stored replace it. Raises IndexStateError if the folder holds
    vectors of other embeddings, or the files of an `Index`.
    """

    def __init__(
        self,
        embedding: Embeddings,
        path: str | Path | Place | None = None,
        *,
        mode: str = Mode.DENSE,
    ) -> None:
        if not isinstance(embedding, Embeddings):
            raise UsageError(f"embedding must be LangChain Embeddings; it is {embedding!r:.80}")
        if not isinstance(path, str | Place | None):
            raise UsageError(f"path is the folder of the store; it is {path!r:.80}")
        self.mode = as_mode(mode)
        self._embedding = embedding
        temporary = Path(tempfile.mkdtemp(prefix="wva-store-")) if path is None else None
        self.path = temporary or place_of(path)
        self._temporary = path is None
        self._backend = open_backend(self.path, create=True, durable=path is not None)
        self._writing = threading.RLock()
        self._changes = 0  # texts written or deleted since unused vectors were removed
        self._most = 0  # the largest number of texts since then
        self._managers: weakref.WeakSet[AlignedWVARecordManager] = weakref.WeakSet()
        self._end = weakref.finalize(self, _end, self._backend, temporary)
        self._label, self._identity = identity(embedding)
        try:
            self._check_identity()
        except BaseException:
            self.close()
            raise

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of the store."""
        return self._embedding

    @property
    def backend(self) -> Documents:
        """The storage below: see `retriever.storage.backends`."""
        return self._backend

    def __len__(self) -> int:
        """The number of texts."""
        with self._backend.snapshot(dense=False) as now:
            return now.passages.count()

    def __bool__(self) -> bool:
        """A store is true, also an empty one."""
        return True

    def close(self) -> None:
        """Close the files. A temporary store is removed, another one tidied."""
        if self._changes and self._end.alive and not self._temporary:
            with suppress(IndexStateError), self._writing:  # the next one will do it
                self._backend.acquire(END_TIMEOUT)
                self._tidy()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Making one

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        mode: str = Mode.DENSE,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts, in the folder `path` if one is given."""
        _refuse(kwargs, "from_texts", "metadatas, ids, path and mode")
        store = cls(embedding, path, mode=mode)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        mode: str = Mode.DENSE,
        **kwargs: Any,
    ) -> Self:
        """As `from_texts`."""
        _refuse(kwargs, "afrom_texts", "metadatas, ids, path and mode")
        store = await run_in_executor(None, partial(cls, embedding, path, mode=mode))
        try:
            await store.aadd_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    # Writing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts with metadata, as `add_documents` does."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`; the embeddings are awaited."""
        return await self.aadd_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    def add_documents(
        self, documents: list[Document], *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add texts, or replace those with the same ids; returns the ids in order.

        `ids` come before those of the documents; a text without either gets a new one. Of several
        with one id in a call the last one counts. `batch_size`, as indexing gives it, is ignored.
        """
        _refuse_added(kwargs)
        texts = self._texts(documents, ids)
        known = self._known(texts)
        new = _missing(texts, known)
        return self._write(texts, known, new, self._embedding.embed_documents(new) if new else [])

    async def aadd_documents(
        self, documents: list[Document], *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """As `add_documents`; the embeddings are awaited."""
        _refuse_added(kwargs)
        texts = self._texts(documents, ids)
        known = await run_in_executor(None, self._known, texts)
        new = _missing(texts, known)
        vectors = await self._embedding.aembed_documents(new) if new else []
        return await run_in_executor(None, self._write, texts, known, new, vectors)

    def add_embeddings(
        self,
        text_embeddings: Iterable[tuple[str, Sequence[float]]],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
    ) -> list[str]:
        """Add texts whose vectors are known, as `add_documents` does; nothing is embedded."""
        pairs = list(text_embeddings)
        documents = _documents([text for text, _ in pairs], metadatas)
        vectors = as_vectors([vector for _, vector in pairs], len(pairs))
        given = [
            _Text(one.id, one.text, one.metadata, hashlib.sha256(vector.tobytes()).hexdigest())
            for one, vector in zip(self._texts(documents, ids), vectors, strict=True)
        ]
        known = {one.key: vector for one, vector in zip(given, vectors, strict=True)}
        return self._write(given, known, [], [])

    def delete(
        self, ids: list[str] | None = None, *, delete_all: bool = False, **kwargs: Any
    ) -> bool:
        """Delete texts by id; an unknown id is no error. `delete_all` deletes every text.

        Raises UsageError without ids, since most who leave them out do not mean all.
        """
        _refuse(kwargs, "delete", "ids and delete_all")
        if ids is None and not delete_all:
            raise UsageError("delete needs ids, or delete_all=True for every text of the store")
        if ids is not None:
            check_texts(ids, "ids")
        with self.changing():
            if delete_all:
                with self._backend.reading() as catalog:
                    ids = [row.id for row in catalog.documents()]
            wanted = ids or []
            if wanted:
                self._backend.delete(wanted)
            self._changes += len(wanted)
        return True

    async def adelete(
        self, ids: list[str] | None = None, *, delete_all: bool = False, **kwargs: Any
    ) -> bool:
        """As `delete`."""
        return await run_in_executor(
            None, partial(self.delete, ids, delete_all=delete_all, **kwargs)
        )

    # Reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The texts with these ids, in this order; unknown ids are left out."""
        check_texts(ids, "ids")
        with self._backend.reading() as catalog:
            found = [chunk for id_ in ids for chunk in catalog.chunks(id_)]
        return [as_stored(chunk) for chunk in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` best texts, best first.

        Keyword arguments: `filter`, which holds before the search (see
        `retriever.langchain.filters`), and `mode`.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`; the embeddings are awaited."""
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with scores: larger is better.

        They are cosines in [-1, 1]; sums of z-scores in the mode "hybrid", BM25 in "keyword".
        """
        search = self._search(query, k, kwargs)
        return search(self._embedded(query, kwargs))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`; the embeddings are awaited."""
        search = self._search(query, k, kwargs)
        return await run_in_executor(None, search, await self._aembedded(query, kwargs))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The `k` texts nearest to a vector, by cosine."""
        found = self.similarity_search_with_score_by_vector(embedding, k, **kwargs)
        return [document for document, _ in found]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        search = partial(self.similarity_search_by_vector, embedding, k, **kwargs)
        return await run_in_executor(None, search)

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` texts nearest to a vector, with their cosines."""
        if self._mode(kwargs) is not Mode.DENSE and "mode" in kwargs:
            raise UsageError("a search by vector is dense; a hybrid one needs the query's text")
        return self._search("", k, {**kwargs, "mode": Mode.DENSE})(as_vector(embedding))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """`k` of the `fetch_k` nearest texts, chosen by MMR: see `retriever.searching.mmr`.

        `lambda_mult` is 1 for the nearest texts, 0 for the most diverse ones.
        """
        search = self._diverse(query, k, fetch_k, lambda_mult, kwargs)
        return search(self._embedded(query, {}))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`; the embeddings are awaited."""
        search = self._diverse(query, k, fetch_k, lambda_mult, kwargs)
        return await run_in_executor(None, search, await self._aembedded(query, {}))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        search = self._diverse("", k, fetch_k, lambda_mult, kwargs)
        return search(as_vector(embedding))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`."""
        search = self._diverse("", k, fetch_k, lambda_mult, kwargs)
        return await run_in_executor(None, search, as_vector(embedding))

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """The relevance of a score: the cosine, at least 0."""
        return relevance

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        self._check_scale(kwargs)
        return super()._similarity_search_with_relevance_scores(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        self._check_scale(kwargs)
        return await super()._asimilarity_search_with_relevance_scores(query, k, **kwargs)

    def _check_scale(self, given: Mapping[str, Any]) -> None:
        mode = self._mode(given)
        if mode is not Mode.DENSE:
            raise UsageError(
                f'scores of the mode {mode} have no scale from 0 to 1: use mode="dense" for '
                "relevance scores and thresholds"
            )

    # How it searches

    def _mode(self, given: Mapping[str, Any]) -> Mode:
        mode = given.get("mode")
        return self.mode if mode is None else as_mode(mode)

    def _embedded(self, query: str, given: Mapping[str, Any]) -> Vectors | None:
        """The query's vector; None for a search that needs none."""
        if self._mode(given) is Mode.KEYWORD:
            return None
        return as_vector(self._embedding.embed_query(query))

    async def _aembedded(self, query: str, given: Mapping[str, Any]) -> Vectors | None:
        if self._mode(given) is Mode.KEYWORD:
            return None
        return as_vector(await self._embedding.aembed_query(query))

    def _search(
        self, query: str, k: int, given: dict[str, Any]
    ) -> Callable[[Vectors | None], list[tuple[Document, float]]]:
        """A search, its arguments checked, which is run with the query's vector."""
        check_text(query, "the query")
        check_count(k)
        # A store that filters after its search needs `fetch_k`; calls written for one go on.
        others = {name: one for name, one in given.items() if name not in (*_OPTIONS, "fetch_k")}
        _refuse(others, "a similarity search", "k, filter and mode")
        where, mode = as_filter(given.get("filter")), self._mode(given)

        def search(vector: Vectors | None) -> list[tuple[Document, float]]:
            with self._backend.snapshot(dense=vector is not None) as now:
                self._check_dimension(now, vector)
                if vector is None or (mode is not Mode.DENSE and query.strip()):
                    from retriever.searching import hybrid

                    known = vector if vector is not None else np.empty(0, np.float32)
                    hits = hybrid.search(now, query, lambda _: known, k=k, mode=mode, where=where)
                    return [(as_stored(hit.chunk), hit.score) for hit in hits]
                found = now.dense(vector, k, where)
                chunks = now.catalog.get(found.ids)
            scores = found.scores.tolist()
            return [(as_stored(one), score) for one, score in zip(chunks, scores, strict=True)]

        return search

    def _diverse(
        self, query: str, k: int, fetch_k: int, weight: float, given: dict[str, Any]
    ) -> Callable[[Vectors | None], list[Document]]:
        """A search by MMR, its arguments checked, which is run with the query's vector."""
        check_text(query, "the query")
        check_count(k)
        check_count(fetch_k)
        check_diversity(weight)
        others = {name: one for name, one in given.items() if name != "filter"}
        _refuse(others, "an MMR search", "k, fetch_k, lambda_mult and filter")
        where = as_filter(given.get("filter"))

        def search(vector: Vectors | None) -> list[Document]:
            with self._backend.snapshot() as now:
                self._check_dimension(now, vector)
                if vector is None:
                    return []
                found = now.dense(vector, max(k, fetch_k), where)
                vectors = now.passages.vectors(found.ids)
                chosen = mmr(found.scores, vectors, k, weight)
                chunks = now.catalog.get([found.ids[at] for at in chosen])
            return [as_stored(chunk) for chunk in chunks]

        return search

    def _check_dimension(self, now: Snapshot, vector: Vectors | None) -> None:
        dimension = now.catalog.dimension()
        if vector is not None and dimension and len(vector) != dimension:
            raise UsageError(
                f"the query's vector has {len(vector)} dimensions; the store holds vectors of "
                f"{dimension}"
            )

    # How it writes

    def _texts(self, documents: object, ids: object) -> list[_Text]:
        """The texts to be written, checked; what the caller gave stays as it is."""
        if not isinstance(documents, Iterable) or isinstance(documents, str | Mapping | Document):
            raise UsageError(f"documents are a list of Document; this is none: {documents!r:.80}")
        given = list(documents)
        for one in given:
            if not isinstance(one, Document):
                raise UsageError(f"documents are a list of Document; in it is {one!r:.80}")
        wanted = [one.id for one in given] if ids is None else list(_checked_ids(ids))
        _check_length("ids", wanted, len(given))
        return [
            _Text(
                *(id_ or uuid.uuid4().hex, one.page_content, stored(one.metadata)),
                self._key(one.page_content),
            )
            for one, id_ in zip(given, wanted, strict=True)
        ]

    def _key(self, text: str) -> str:
        """The key of a text's vector."""
        named = f"{self._identity}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(named).hexdigest()

    def _known(self, texts: Sequence[_Text]) -> dict[str, Vectors]:
        """The vectors of these texts that are stored, by key."""
        keys = list(dict.fromkeys(one.key for one in texts))
        with self._backend.reading() as catalog:
            found = sorted(catalog.known_vectors(keys))
            vectors = catalog.load_vectors(found) if found else ()
        return dict(zip(found, vectors, strict=True))

    def _write(
        self,
        texts: Sequence[_Text],
        known: Mapping[str, Vectors],
        new: Sequence[str],
        vectors: Sequence[Sequence[float]],
    ) -> list[str]:
        """Write the texts in one transaction, with the vectors known and new; returns the ids."""
        if not texts:
            return []
        from retriever.storage.catalog.analysis import analyse_chunks
        from retriever.storage.records import NewChunk, NewDocument

        added = dict(zip(map(self._key, new), as_vectors(vectors, len(new)), strict=True))
        by_key = {**known, **added}
        documents: list[NewDocument] = []
        for one in {each.id: each for each in texts}.values():
            pages = (Page(None, one.text),)
            chunks = (NewChunk(0, Span(0, len(one.text)), one.key),)
            row = DocumentRow(one.id, "", "", one.id, FORMAT, metadata=one.metadata)
            terms = analyse_chunks("", pages, chunks)
            documents.append(NewDocument(row, pages, chunks, terms=terms))
        keys = list(dict.fromkeys(one.key for one in texts))
        with self.changing():
            self._bind(len(by_key[keys[0]]))
            noted = [
                key
                for manager in self._managers
                for key in manager.noted({one.id: (one.text, one.metadata) for one in texts})
            ]
            wanted = {key: by_key[key] for key in keys}
            self._backend.upsert_many(documents, vectors=wanted, keys=noted)
            self._changes += len(documents)
        return [one.id for one in texts]

    def register(self, manager: AlignedWVARecordManager) -> None:
        """Note what this manager indexes together with the texts."""
        self._managers.add(manager)

    @contextmanager
    def changing(self) -> Iterator[Documents]:
        """Exclusive writing, between threads and processes."""
        if not self._writing.acquire(timeout=WRITE_TIMEOUT):
            raise IndexStateError(f"another thread writes to the store in {self.path}; try again")
        try:
            self._backend.acquire(WRITE_TIMEOUT)
            yield self._backend
            if self._changes > TIDY_AFTER:
                self._most = max(self._most, len(self))
                if self._changes > TIDY_FACTOR * self._most:
                    self._tidy()
        finally:
            self._backend.release(checkpoint=False)
            self._writing.release()

    def _tidy(self) -> None:
        """Remove vectors that no text has, and write a vector file if one is due."""
        self._backend.finish({"changed": self._changes})
        self._changes = self._most = 0

    def _bind(self, dimension: int) -> None:
        """Bind an empty store to its embeddings; else their vectors must have the same length."""
        with self._backend.reading() as catalog:
            bound = catalog.embedder_settings()
        if bound is not None and bound.dimension != dimension and len(self):
            raise UsageError(
                f"the store in {self.path} holds vectors of {bound.dimension} dimensions; these "
                f"have {dimension}: use the embeddings it was made with, or another folder"
            )
        if bound is None or bound.dimension != dimension or not self._is_own(bound):
            settings = EmbedderSettings(
                self._label, self._identity, dimension, (0,), _UNPROMPTED, FOREIGN_POOLING
            )
            self._backend.bind_embedder(settings, ChunkSettings())

    def _is_own(self, bound: EmbedderSettings) -> bool:
        return (bound.pooling, bound.weights) == (FOREIGN_POOLING, self._identity)

    def _check_identity(self) -> None:
        """Raise IndexStateError if the folder holds something else than vectors of these."""
        with self._backend.reading() as catalog:
            bound = catalog.embedder_settings()
            some = bool(catalog.sample_chunks(1))
        if not some or (bound is not None and self._is_own(bound)):
            return
        if bound is None or bound.pooling != FOREIGN_POOLING:
            raise IndexStateError(
                f"{self.path} is an index of documents, not a vector store: search it with "
                "AlignedWVARetriever, or choose another folder"
            )
        raise IndexStateError(
            f"the store in {self.path} holds vectors of {bound.model}; the embeddings given are "
            f"{self._label}: use the first, or choose another folder"
        )


_OPTIONS = ("filter", "mode")


def as_stored(chunk: Chunk) -> Document:
    """The LangChain document of a text, as it was given."""
    return Document(
        id=chunk.document_id, page_content=chunk.text, metadata=restored(chunk.metadata)
    )


def _missing(texts: Sequence[_Text], known: Mapping[str, Vectors]) -> list[str]:
    """The distinct texts without a vector, in order."""
    return list({one.key: one.text for one in texts if one.key not in known}.values())


def _refuse(given: Mapping[str, Any], what: str, there_are: str) -> None:
    """Raise UsageError for keyword arguments that would have no effect."""
    if given:
        raise UsageError(f"{next(iter(given))!r} is no option of {what}; there are {there_are}")


def _refuse_added(given: Mapping[str, Any]) -> None:
    """Refuse what would be lost: a misspelt `metadatas`, for example."""
    others = {name: one for name, one in given.items() if name != "batch_size"}
    _refuse(others, "adding texts", "metadatas and ids")


def _documents(texts: object, metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    """Texts with their metadata as documents."""
    if not isinstance(texts, Iterable) or isinstance(texts, str | bytes | Mapping):
        raise UsageError(f"texts must be a list of texts; they are {texts!r:.80}")
    listed = list(texts)
    check_texts(listed, "the texts")
    details = list(metadatas or ()) or [{}] * len(listed)
    _check_length("metadatas", details, len(listed))
    return [
        Document(page_content=text, metadata=one) for text, one in zip(listed, details, strict=True)
    ]


def _checked_ids(ids: object) -> Iterable[str | None]:
    if not isinstance(ids, Iterable) or isinstance(ids, str | bytes | Mapping):
        raise UsageError(f"ids must be a list of texts; they are {ids!r:.80}")
    for id_ in ids:
        if id_ is not None:
            check_text(id_, "an id")
        yield id_


def _check_length(what: str, values: Sequence[Any], count: int) -> None:
    if len(values) != count:
        raise UsageError(f"{count} texts need as many {what}; there are {len(values)}")


def _end(backend: Documents, temporary: Path | None) -> None:
    backend.close()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


__all__ = ["AlignedWVAVectorStore", "as_stored"]
