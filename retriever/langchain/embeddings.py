"""`AlignedWVAEmbeddings`: any causal language model behind LangChain's interface."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from retriever.arrays import Vectors, centred
from retriever.settings import DEFAULT_LAYERS, DEFAULT_MODEL, POOLINGS, Prompts
from retriever.types import UsageError, check_text, check_texts

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.embedding.batching import BatchQueue

FEW = 8
"""Up to this many passages are computed together with those of other callers."""

_UNBOUNDED = 2**62
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class AlignedWVAEmbeddings(Embeddings):
    """Any causal language model as LangChain embeddings.

    Vectors have length one, so inner product and cosine agree: similarity, larger is closer.
    `calibrated` subtracts the mean of the model's texts. The means do not depend on the texts
    given, so documents and queries may be embedded at different times and places.

    What several threads or tasks ask for at the same time is computed together. What is not given
    comes from the environment: `WVA_MODEL`, `WVA_LAYERS`, `WVA_POOLING`, `WVA_DEVICE`, `WVA_DTYPE`
    and `WVA_CALIBRATED`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        layers: str | Sequence[int] | None = None,
        prompts: Prompts | None = None,
        pooling: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        calibrated: bool | None = None,
        embedder: AlignedWVA | None = None,
    ) -> None:
        """Load a model (see `AlignedWVA`), or use an `embedder` that is already loaded.

        Raises UsageError for a value of a wrong type, ModelError if the model cannot be used.
        """
        calibrated = _truth("calibrated", calibrated, "WVA_CALIBRATED")
        given = {"model": model, "pooling": pooling, "device": device, "dtype": dtype}
        for name, value in given.items():
            if value is not None:
                check_text(value, name)
        if not isinstance(prompts, Prompts | None):
            raise UsageError(f"prompts must be Prompts; this is not: {prompts!r:.80}")
        # Not before it is needed: it loads torch.
        from retriever.embedding.aligned_wva import AlignedWVA

        if embedder is not None and not isinstance(embedder, AlignedWVA):
            raise UsageError(f"embedder must be an AlignedWVA; this is not: {embedder!r:.80}")
        self.embedder = embedder or AlignedWVA(
            model or _setting("WVA_MODEL") or DEFAULT_MODEL,
            layers=_setting("WVA_LAYERS") or DEFAULT_LAYERS if layers is None else layers,
            prompts=prompts,
            pooling=pooling or _setting("WVA_POOLING") or POOLINGS[0],
            device=device or _setting("WVA_DEVICE"),
            dtype=dtype or _setting("WVA_DTYPE"),
        )
        self.calibrated = calibrated

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.embedder.settings.model

    @property
    def pooling(self) -> str:
        """How a text's vector is made: see `retriever.settings.POOLINGS`."""
        return self.embedder.settings.pooling

    @property
    def device(self) -> str:
        """The device that the model runs on."""
        return self.embedder.device

    @property
    def dtype(self) -> str:
        """The precision that the model computes in."""
        return self.embedder.dtype

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of passages: n lists of `dimension` floats.

        Raises UsageError for one text in place of a list, and for anything that is no text.
        """
        check_texts(texts, "the passages")
        if len(texts) > FEW or not texts:
            return self._finished(self.embedder.embed_passages(texts), query=False)
        return self._finished(self._queue.rows(texts, "passage"), query=False)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query: `dimension` floats. Raises UsageError for what is no text."""
        check_text(text, "the query")
        return self._finished(self._queue.rows([text], "query"), query=True)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`."""
        check_texts(texts, "the passages")
        if len(texts) > FEW or not texts:
            return await run_in_executor(None, self.embed_documents, texts)
        return self._finished(await self._rows(texts, "passage"), query=False)

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`; a task that is cancelled while it waits is not computed."""
        check_text(text, "the query")
        return self._finished(await self._rows([text], "query"), query=True)[0]

    async def _rows(self, texts: Sequence[str], kind: str) -> Vectors:
        if self.calibrated and "_means" not in self.__dict__:
            await run_in_executor(None, lambda: self._means)  # may embed general texts
        future = self._queue.submit(list(texts), kind)
        try:
            rows: Vectors = await asyncio.wrap_future(future)
        except CancelledError:
            future.cancel()
            raise
        return rows

    def _finished(self, vectors: Vectors, *, query: bool) -> list[list[float]]:
        if self.calibrated:
            passage_mean, query_mean = self._means
            vectors = centred(vectors, query_mean if query else passage_mean)
        rows: list[list[float]] = vectors.tolist()
        return rows

    @cached_property
    def _means(self) -> tuple[Vectors, Vectors]:
        return self.embedder.general_means()

    @cached_property
    def _queue(self) -> BatchQueue:
        """What waits while the model runs. A LangChain caller is never refused: it has no bound."""
        from retriever.embedding.batching import embedding_queue

        return embedding_queue(self.embedder, max_requests=_UNBOUNDED, max_characters=_UNBOUNDED)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied: without the queue, which belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_queue"}


def _setting(name: str) -> str | None:
    """The environment's value; None where there is none."""
    return os.environ.get(name) or None


def _truth(what: str, given: object, variable: str) -> bool:
    """What was given, or else the environment says; true by default."""
    if given is None:
        said = _setting(variable)
        if said is None:
            return True
        given = _TRUTHS.get(said.lower(), said)
        what = variable
    if not isinstance(given, bool):
        raise UsageError(f"{what} must be true or false; it is {given!r}")
    return given


__all__ = ["FEW", "AlignedWVAEmbeddings"]
