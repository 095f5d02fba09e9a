"""From the FAISS store of langchain-community to ours, without running what its pickle says.

That store is a folder with `index.faiss` (the vectors) and `index.pkl` (the documents, pickled).
Loading a pickle runs whatever code is in it. Here a reader takes the plain data out of it: it knows
the two classes of LangChain as empty shells, and the standard types that metadata may have. A
pickle that names anything else is refused before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from retriever.arrays import Vectors
from retriever.langchain.store import AlignedWVAVectorStore
from retriever.searching.options import Mode
from retriever.types import ReadError, UsageError

MAX_BYTES = 4_000_000_000
"""The largest pickle that is read: it is held in memory."""


class _Shell:
    """A class of LangChain without its code: it only holds the state that was pickled."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.fields: dict[str, Any] = named

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple):  # (the dictionary, the slots)
            state = {**(state[0] or {}), **(state[1] or {})}
        inner = state.get("__dict__") if isinstance(state, Mapping) else None
        self.fields = dict(inner if isinstance(inner, Mapping) else state)


class _Document(_Shell):
    """In place of LangChain's `Document`."""


class _Docstore(_Shell):
    """In place of `InMemoryDocstore`."""


_DOCUMENT, _DOCSTORE = ("Document", _Document), ("InMemoryDocstore", _Docstore)
_SHELLS: Mapping[str, tuple[str, type[_Shell]]] = {
    "langchain_core.documents.base": _DOCUMENT,
    "langchain_core.documents": _DOCUMENT,
    "langchain.schema.document": _DOCUMENT,
    "langchain.schema": _DOCUMENT,
    "langchain.docstore.document": _DOCUMENT,
    "langchain_community.docstore.document": _DOCUMENT,
    "langchain_community.docstore.in_memory": _DOCSTORE,
    "langchain_classic.docstore.in_memory": _DOCSTORE,
    "langchain.docstore.in_memory": _DOCSTORE,
}
"""The classes of LangChain by the modules that they were in over the years."""

_STANDARD = {
    "builtins": ("set", "frozenset", "object"),
    "collections": ("OrderedDict",),
    "datetime": ("datetime", "date", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "uuid": ("UUID",),
}
"""Types whose construction runs nothing but their own code."""


_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2, by which protocols before 3 name today's."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain data, shells and standard types; everything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The class that a pickle names. Raises ReadError for all but the known ones."""
        module = _RENAMED.get(module, module)
        shell = _SHELLS.get(module)
        if shell is not None and shell[0] == name:
            return shell[1]
        if name in _STANDARD.get(module, ()):
            return getattr(__import__(module), name)
        if (module, name) in _REPLACED:
            return _REPLACED[module, name]
        raise ReadError(
            f"it names {module}.{name}, which no store of documents needs: loading it could run "
            "any code, so it is refused"
        )

    def persistent_load(self, pid: Any) -> Any:
        """Nothing: a store has no such references."""
        raise ReadError("it refers to objects outside of itself, so it is refused")


def _reconstructed(kind: Any, base: Any, state: Any) -> _Shell:
    if not (isinstance(kind, type) and issubclass(kind, _Shell)):
        raise ReadError("it makes an object of an unknown type, so it is refused")
    made: _Shell = kind()
    return made


class _NumberType(_Shell):
    """In place of a NumPy dtype: its name alone."""

    def __init__(self, name: str, *given: Any) -> None:
        super().__init__(name=name)

    def __setstate__(self, state: Any) -> None:
        """Nothing: the byte order is that of the machine, or there is none."""


def _number(kind: Any, data: Any) -> Any:
    """A NumPy number as a plain one."""
    name = kind.fields["name"] if isinstance(kind, _NumberType) else ""
    if not isinstance(name, str) or not isinstance(data, bytes) or name not in _NUMBER_TYPES:
        raise ReadError("it holds a NumPy object that is no number, so it is refused")
    return np.frombuffer(data, name)[0].item()


def _path(*parts: Any) -> Path:
    """A path; a function, since a pickle could write into a class."""
    return Path(*parts)


_NUMBER_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_REPLACED: Mapping[tuple[str, str], Any] = {
    ("copyreg", "_reconstructor"): _reconstructed,  # protocols before 2
    ("numpy", "dtype"): _NumberType,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    **{
        (module, f"{pure}{system}Path"): _path
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for system in ("Posix", "Windows")
    },
}
"""What a pickle may call, and what is called instead."""


def from_community_faiss(
    folder: str | Path,
    embedding: Embeddings,
    path: str | Path | None = None,
    *,
    index_name: str = "index",
    mode: str = Mode.DENSE,
) -> AlignedWVAVectorStore:
    """Our store with the documents, ids and vectors of a saved FAISS store, in the folder `path`.

    `embedding` are the embeddings that the store was made with: nothing is embedded again, except
    documents that the store has without a vector. The old folder stays as it is.

    Raises ReadError for files that are damaged or refused, UsageError if the folder is no such
    store, or if `path` holds texts already.
    """
    if not isinstance(folder, str | Path):
        raise UsageError(f"folder is the one that save_local wrote; it is {folder!r:.80}")
    source = Path(folder)
    texts, numbers = _read_documents(source / f"{index_name}.pkl")
    vectors = _read_vectors(source / f"{index_name}.faiss")
    if sorted(numbers) != list(range(len(vectors))):
        raise ReadError(
            f"{source} does not fit together: {len(vectors)} vectors, {len(numbers)} numbers of "
            "documents; save it again, or add its documents anew"
        )
    store = AlignedWVAVectorStore(embedding, path, mode=mode)
    try:
        if len(store):
            raise UsageError(f"the store in {store.path} holds texts already; name a new folder")
        _copy(store, texts, numbers, vectors)
    except BaseException:
        store.close()
        raise
    return store


def _copy(
    store: AlignedWVAVectorStore,
    texts: Mapping[str, Document],
    numbers: Mapping[int, str],
    vectors: Vectors,
) -> None:
    missing = [id_ for id_ in numbers.values() if id_ not in texts]
    if missing:
        raise ReadError(f"the store lists a document {missing[0]!r} that it does not hold")
    order = sorted(numbers)
    ids = [numbers[at] for at in order]
    if ids:
        found = [texts[id_] for id_ in ids]
        store.add_embeddings(
            [(one.page_content, vectors[at]) for at, one in zip(order, found, strict=True)],
            [one.metadata for one in found],
            ids=ids,
        )
    listed = set(ids)
    rest = [id_ for id_ in texts if id_ not in listed]
    if rest:
        store.add_documents([texts[id_] for id_ in rest], ids=rest)


def _read_documents(path: Path) -> tuple[dict[str, Document], dict[int, str]]:
    """The documents by id, and the id of each vector's number."""
    data = _bytes(path)
    try:
        value = _PlainUnpickler(io.BytesIO(data)).load()
    except ReadError as error:
        raise ReadError(f"{path} is refused: {error}") from None
    except Exception as error:  # noqa: BLE001  (a damaged pickle may raise anything)
        raise ReadError(f"{path} is damaged, or no store of documents: {error}") from None
    try:
        docstore, numbers = value
        held = docstore.fields["_dict"]
        texts = {str(id_): _as_document(one.fields) for id_, one in held.items()}
        return texts, {int(at): str(id_) for at, id_ in numbers.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ReadError(
            f"{path} is no store of documents as langchain-community saves it ({error})"
        ) from None


def _as_document(fields: Mapping[str, Any]) -> Document:
    text, metadata = fields["page_content"], fields.get("metadata") or {}
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise TypeError("a document without text")
    return Document(page_content=text, metadata=metadata)


def _read_vectors(path: Path) -> Vectors:
    """The vectors of a FAISS file, as it holds them: (n, dim)."""
    data = _bytes(path)
    import faiss  # not before it is needed

    try:
        index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        if hasattr(index, "make_direct_map"):
            index.make_direct_map()
        vectors: Vectors = index.reconstruct_n(0, index.ntotal).reshape(index.ntotal, index.d)
    except (RuntimeError, AttributeError, AssertionError, MemoryError) as error:
        reason = str(error).splitlines()[-1:] or [""]
        raise ReadError(
            f"{path} gives no vectors ({reason[0]:.120}); add the documents anew instead"
        ) from None
    return vectors


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReadError(f"{path} is too large: the limit is {MAX_BYTES:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path.name} in {path.parent}; name the folder that save_local wrote"
        ) from None
    except OSError as error:
        raise ReadError(
            f"{path} cannot be opened: {(error.strerror or str(error)).lower()}"
        ) from None


__all__ = ["from_community_faiss"]
