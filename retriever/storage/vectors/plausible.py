"""Whether a FAISS file is built as its kind is: FAISS itself does not compare all its sizes.

A file that is damaged has another hash. One that somebody has prepared may have the hash that its
catalog tells: with a wrong size of its codes a search would read memory that is not its own. So
what was read is compared with an empty index of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import faiss as _faiss

faiss: Any = _faiss  # its type stubs lack what its Python layer adds to the classes

_SIZES = ("d", "metric_type", "code_size", "qb")
_QUANTISER = ("d", "metric_type", "code_size", "nb_bits")


def is_plausible(index: Any, empty: Any) -> bool:
    """Whether an index of an id map has the sizes of `empty`, one of its kind without vectors."""
    mapped = faiss.downcast_index(index)
    if not isinstance(mapped, faiss.IndexIDMap):
        return False
    # Both stay owned by the arguments: FAISS frees what a name no longer holds.
    inner, model = faiss.downcast_index(mapped.index), faiss.downcast_index(empty)
    if not isinstance(inner, type(model)) or mapped.d != inner.d:
        return False
    if not mapped.ntotal == mapped.id_map.size() == inner.ntotal:
        return False
    if hasattr(model, "codes") and inner.codes.size() != inner.ntotal * model.code_size:
        return False
    if not inner.is_trained or not _alike(inner, model, _SIZES):
        return False
    if not hasattr(model, "rabitq"):
        return True
    return inner.center.size() in (0, inner.d) and _alike(inner.rabitq, model.rabitq, _QUANTISER)


def _alike(one: Any, other: Any, names: Iterable[str]) -> bool:
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


__all__ = ["is_plausible"]
