"""Our pooling as a module of sentence-transformers, so that its trainer and losses tune it.

A text goes into its side's prompts, and one vector comes out, as a search computes it: the unit
vectors of the prompts are added, the mean of general texts is subtracted, the result has length 1.
So training begins where the untrained model is, and the means that an index fits later only follow.
Attention is packed and ends after the last pooled layer; layers above it get no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import InputModule
from torch import Tensor, nn
from torch.nn.functional import normalize

from retriever.arrays import Vectors
from retriever.embedding.inputs import fill_template
from retriever.embedding.pooling import AttentionPooler

PACK_TOKENS = 2048
"""Tokens of a batch on the CPU: fewer stay in the processor's cache, more only take memory."""

ADAPTER_FILE = "adapter.safetensors"
SIDES = ("passage", "query", "sentence")


@dataclass(frozen=True, slots=True)
class Side:
    """How texts of one side become vectors: the prompts, and the mean (dim,) to subtract."""

    templates: tuple[str, ...]
    mean: Vectors


class PooledModel(InputModule):  # type: ignore[misc]  # it has no types
    """Texts of a side → unit vectors (B, dim) that can be differentiated.

    `tokenize` gives the token ids of exact model inputs; an input is cut off inside the text, so
    that the prompt's end stays, at `max_tokens`. The trained parameters are those of `model` that
    require a gradient: the adapters.
    """

    def __init__(
        self,
        pooler: AttentionPooler,
        tokenize: Any,
        sides: Mapping[str, Side],
        *,
        max_tokens: int,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.model = pooler.model
        self.pooler, self.sides = pooler, dict(sides)
        self._tokenize, self.max_seq_length = tokenize, max_tokens
        self._autocast = autocast
        for name, side in self.sides.items():
            self.register_buffer(f"mean_{name}", torch.from_numpy(side.mean.copy()))

    # What sentence-transformers asks of a module

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """Texts → the token ids of all prompts of a side, one after the other, padded.

        `prompt` is the name of the side. `input_ids` and `attention_mask` are (B, T), `lengths` (B,
        prompts), `side` (B,) its number.
        """
        # The trainer looks at some texts without saying whose they are.
        side = prompt or next(iter(self.sides))
        templates = self.sides[side].templates
        parts = [self._ids(template, inputs) for template in templates]
        rows = [[id_ for ids in row for id_ in ids] for row in zip(*parts, strict=True)]
        lengths = torch.tensor([[len(ids) for ids in row] for row in zip(*parts, strict=True)])
        ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            mask[at, : len(row)] = 1
        number = torch.full((len(rows),), SIDES.index(side))
        return {"input_ids": ids, "attention_mask": mask, "lengths": lengths, "side": number}

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, (B, dim)."""
        lengths: list[list[int]] = features["lengths"].tolist()
        texts = [
            part
            for row, split in zip(features["input_ids"].tolist(), lengths, strict=True)
            for part in _split(row, split)
        ]
        device = self.pooler.device
        with torch.autocast(device.type, dtype=self._autocast, enabled=self._autocast is not None):
            rows = self._pool(texts)
        units = normalize(rows, dim=-1).view(len(lengths), -1, rows.shape[-1])
        raw = normalize(units.sum(dim=1), dim=-1)
        name = SIDES[int(features["side"][0])]
        mean = getattr(self, f"mean_{name}").to(raw)
        features["sentence_embedding"] = normalize(raw - mean, dim=-1)
        return features

    def _pool(self, texts: Sequence[list[int]]) -> Tensor:
        """The pooled rows, in the order of the texts: neighbours of equal length are one batch."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        packed = self.pooler.can_pack
        on_cpu = self.pooler.device.type == "cpu"
        parts = _within([texts[at] for at in order], PACK_TOKENS if on_cpu else math.inf)
        rows = torch.cat([self.pooler.run(part, packed=packed) for part in parts])
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return rows[back.to(rows.device)]

    def _ids(self, template: str, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of texts in a prompt, none longer than `max_seq_length`."""
        inputs = [fill_template(template, text) for text in texts]
        rows: list[list[int]] = self._tokenize(inputs)
        before, after = self._around(template)
        kept = self.max_seq_length - after
        return [
            ids
            if len(ids) <= self.max_seq_length
            else [*ids[: max(before + 1, kept)], *ids[-after:]]
            for ids in rows
        ]

    def _around(self, template: str) -> tuple[int, int]:
        """How many tokens of an input are those of the prompt, before and after the text."""
        before, _, after = template.partition("{}")
        first, whole = self._tokenize([before, before + after])
        return len(first), max(1, len(whole) - len(first))

    def get_embedding_dimension(self) -> int:
        """The length of a vector."""
        return self.pooler.dimension()

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: one for name, one in self.model.named_parameters() if one.requires_grad}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the trained parameters, to go on from: (see `restore`)."""
        there = {name: one.detach().cpu().contiguous() for name, one in self.trained.items()}
        # A file that is there is whole: a process may be killed while it writes.
        path = Path(output_path) / ADAPTER_FILE
        part = path.with_suffix(".part")
        save_file(there, str(part))
        part.replace(path)

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote into the parameters."""
        stored = load_file(str(folder / ADAPTER_FILE))
        with torch.no_grad():
            for name, one in self.trained.items():
                one.copy_(stored[name])


def _within(texts: Sequence[list[int]], most: float) -> Iterator[list[list[int]]]:
    """Neighbouring texts of together at most so many tokens; a longer one is alone.

    >>> [len(part) for part in _within([[1], [1, 2], [1, 2, 3], [1] * 9], 4)]
    [2, 1, 1]
    """
    part: list[list[int]] = []
    for text in texts:
        if part and sum(map(len, part)) + len(text) > most:
            yield part
            part = []
        part.append(text)
    yield part


def _split(row: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """The parts of a row.

    >>> _split([1, 2, 3, 4, 0], [1, 3])
    [[1], [2, 3, 4]]
    """
    parts, start = [], 0
    for length in lengths:
        parts.append(list(row[start : start + length]))
        start += length
    return parts


__all__ = ["ADAPTER_FILE", "SIDES", "PooledModel", "Side"]
