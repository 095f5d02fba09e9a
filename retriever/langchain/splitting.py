"""`AlignedWVATextSplitter`: cuts documents into passages as an index does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

from langchain_core.documents import Document
from langchain_core.documents.transformers import BaseDocumentTransformer

from retriever.langchain.embeddings import AlignedWVAEmbeddings
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.types import Span, UsageError, check_text, check_texts

Tokenize = Callable[[str], Sequence[tuple[int, int]]]


class AlignedWVATextSplitter(BaseDocumentTransformer):
    """Cuts texts at headings, paragraphs, list items and sentences into passages of like size.

    Passages are exact slices of the text: `text[start_index:start_index + len(passage)]`. Together
    they cover it, but for white space between them. `size` and `overlap` are in tokens of `model`
    (its tokenizer alone is loaded) or of `embeddings`. `tokenize` replaces both: it gives the spans
    of a text's tokens.

    It has the methods of LangChain's text splitters.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        size: int = ChunkSettings().size,
        overlap: int = ChunkSettings().overlap,
        embeddings: AlignedWVAEmbeddings | None = None,
        tokenize: Tokenize | None = None,
    ) -> None:
        if model is not None:
            check_text(model, "the model")
        for name, value in (("size", size), ("overlap", overlap)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"{name} must be a whole number of tokens; it is {value!r}")
        if not isinstance(embeddings, AlignedWVAEmbeddings | None):
            raise UsageError(f"embeddings must be AlignedWVAEmbeddings; it is {embeddings!r:.80}")
        if tokenize is not None and not callable(tokenize):
            raise UsageError(f"tokenize must be a function of a text; it is {tokenize!r:.80}")
        if sum(one is not None for one in (model, embeddings, tokenize)) > 1:
            raise UsageError("one of model, embeddings and tokenize is enough; give only one")
        self._settings = ChunkSettings(size=size, overlap=overlap)
        self._model = model or DEFAULT_MODEL
        self._embeddings = embeddings
        self._given = tokenize

    def split_text(self, text: str) -> list[str]:
        """The passages of a text; a text of white space has none."""
        return [text[span.start : span.end] for span in self._spans(text)]

    def create_documents(
        self, texts: list[str], metadatas: list[dict[str, Any]] | None = None
    ) -> list[Document]:
        """The passages of the texts, with the metadata of their texts and `start_index`."""
        check_texts(texts, "the texts")
        details: Sequence[Mapping[str, Any]] = metadatas or [{}] * len(texts)
        if len(details) != len(texts):
            raise UsageError(f"{len(texts)} texts need as many metadatas, not {len(details)}")
        return [
            Document(
                page_content=text[span.start : span.end],
                metadata={**deepcopy(metadata), "start_index": span.start},
            )
            for text, metadata in zip(texts, details, strict=True)
            for span in self._spans(text)
        ]

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """The passages of documents, with their metadata; the documents stay as they are."""
        given = list(documents)
        return self.create_documents(
            [one.page_content for one in given], [one.metadata for one in given]
        )

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """As `split_documents`."""
        return self.split_documents(documents)

    def _spans(self, text: str) -> list[Span]:
        check_text(text, "the text")
        from retriever.text.chunking import chunk_page

        return chunk_page(text, self._settings, self._tokenize)

    @cached_property
    def _tokenize(self) -> Tokenize:
        if self._given is not None:
            return self._given
        if self._embeddings is not None:
            return self._embeddings.embedder.token_spans
        from retriever.embedding.models.locate import locate_model
        from retriever.embedding.shared_tokenizer import span_finder

        path = locate_model(self._model) / "tokenizer.json"
        if not path.is_file():
            raise UsageError(
                f"the model {self._model!r} has no tokenizer.json; give `embeddings` instead"
            )
        return span_finder(path.read_text("utf-8"))

    def __getstate__(self) -> dict[str, Any]:
        """What is copied: without the tokenizer, which is loaded again."""
        return {name: value for name, value in self.__dict__.items() if name != "_tokenize"}


__all__ = ["AlignedWVATextSplitter"]
