"""Semantic search over your own documents, embedded by any causal language model.

Importing this package loads nothing heavy: names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.index import Index
    from retriever.searching.options import Marked, SearchOptions, Steering
    from retriever.types import Chunk, Document, Hit, Page, PageState, RetrieverError

__version__ = "0.1.0"

_HOMES = {
    "AlignedWVA": "retriever.embedding.aligned_wva",
    "Chunk": "retriever.types",
    "Document": "retriever.types",
    "Hit": "retriever.types",
    "Index": "retriever.index",
    "Marked": "retriever.searching.options",
    "Page": "retriever.types",
    "PageState": "retriever.types",
    "RetrieverError": "retriever.types",
    "SearchOptions": "retriever.searching.options",
    "Steering": "retriever.searching.options",
}

__all__ = [
    "AlignedWVA",
    "Chunk",
    "Document",
    "Hit",
    "Index",
    "Marked",
    "Page",
    "PageState",
    "RetrieverError",
    "SearchOptions",
    "Steering",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retriever' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
