"""LangChain components: embeddings, a vector store, a retriever, and what goes with them.

All need `pip install 'wva-retriever[langchain]'`. Names are resolved on first use: importing this
package, or a name from it, loads neither a model library nor FAISS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import langchain_core  # noqa: F401  (only whether it is there)
    import pydantic  # noqa: F401  (only whether it is there)
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] not in ("langchain_core", "pydantic"):
        raise
    from retriever.version import install_command

    raise ModuleNotFoundError(
        f"the LangChain components need langchain-core: {install_command('langchain')}",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from retriever.langchain.compressing import AlignedWVACompressor
    from retriever.langchain.embeddings import AlignedWVAEmbeddings
    from retriever.langchain.filters import FilterTranslator, as_filter
    from retriever.langchain.loading import AlignedWVABlobParser, AlignedWVALoader
    from retriever.langchain.migration import from_community_faiss
    from retriever.langchain.records import AlignedWVARecordManager
    from retriever.langchain.retriever import DEFAULT_OPTIONS, AlignedWVARetriever, as_document
    from retriever.langchain.splitting import AlignedWVATextSplitter
    from retriever.langchain.store import AlignedWVAVectorStore

_HOMES = {
    "AlignedWVABlobParser": "loading",
    "AlignedWVACompressor": "compressing",
    "AlignedWVAEmbeddings": "embeddings",
    "AlignedWVALoader": "loading",
    "AlignedWVARecordManager": "records",
    "AlignedWVARetriever": "retriever",
    "AlignedWVATextSplitter": "splitting",
    "AlignedWVAVectorStore": "store",
    "DEFAULT_OPTIONS": "retriever",
    "FilterTranslator": "filters",
    "as_document": "retriever",
    "as_filter": "filters",
    "from_community_faiss": "migration",
}

__all__ = [
    "DEFAULT_OPTIONS",
    "AlignedWVABlobParser",
    "AlignedWVACompressor",
    "AlignedWVAEmbeddings",
    "AlignedWVALoader",
    "AlignedWVARecordManager",
    "AlignedWVARetriever",
    "AlignedWVATextSplitter",
    "AlignedWVAVectorStore",
    "FilterTranslator",
    "as_document",
    "as_filter",
    "from_community_faiss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retriever.langchain' has no attribute {name!r}")
    return getattr(import_module(f"retriever.langchain.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
