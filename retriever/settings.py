"""The settings an index is built with: frozen values, their JSON, and their fingerprint.

An index must never hold vectors of two models, prompts or layer choices. The fingerprint hashes
exactly what changes a vector's direction. It leaves out device and precision: a GPU may build in
bfloat16 what a laptop queries in float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from retriever.types import UsageError, shown

PASSAGE_PROMPT = 'This passage : "{}" means in one word:"'
QUERY_PROMPT = 'This question : "{}" means in one word:"'
ANSWER_PROMPT = 'The answer to this question : "{}" in one word:"'
SENTENCE_PROMPT = 'This sentence : "{}" means in one word:"'

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_LAYERS = "upper-half"
POOLINGS = ("aligned-wva", "va", "last-hidden", "mean-hidden")
"""Ways to make a text's vector: the default and the baselines (see `embedding.pooling`)."""

FOREIGN_POOLING = "langchain"
"""The pooling of vectors that come from elsewhere: from any LangChain embeddings."""

RERANK_COUNT = 20
"""How many results are reranked when no number is given."""

RERANK_SECONDS = 5.0
"""The default time limit for reranking the results of a query."""

ANSWER_SENTENCES = 3
"""Sentences of an answer."""

ANSWER_PASSAGES = 6
"""Passages that a model sees which writes an answer; small models lose the thread in more."""

EMBED_MS = 300.0
"""Default time, in milliseconds, for embedding passages during a search (see `SearchOptions`)."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates; `{}` is replaced by the text.

    A query may have several templates, and has two by default: one asks for its meaning, one for
    its answer, since the relevant passages contain the answer. The query's vector is the sum of
    the unit vectors of all templates. A passage has one template.
    """

    passage: str = PASSAGE_PROMPT
    query: str | tuple[str, ...] = (QUERY_PROMPT, ANSWER_PROMPT)
    sentence: str = SENTENCE_PROMPT

    def __post_init__(self) -> None:
        queries = self.queries
        # A single template stays a string, so that older fingerprints keep their value.
        object.__setattr__(self, "query", queries[0] if len(queries) == 1 else queries)
        for template in queries:
            check_template(template, "the query prompt")
        check_template(self.passage, "the passage prompt")
        check_template(self.sentence, "the sentence prompt")

    @property
    def queries(self) -> tuple[str, ...]:
        """All templates for a query."""
        return as_templates(self.query)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `Prompts(**values)` is the inverse."""
        query = self.query if isinstance(self.query, str) else list(self.query)
        return {"passage": self.passage, "query": query, "sentence": self.sentence}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Prompts from a JSON file; those it does not name keep their defaults.

        Example: `{"query": ["Question: {}", "Answer to: {}"]}`. Raises UsageError, naming the file.
        """
        try:
            values = json.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{str(path)!r} is not a JSON file: {error}") from None
        names = [each.name for each in fields(cls)]
        if not isinstance(values, dict) or set(values) - set(names):
            raise UsageError(
                f"{str(path)!r} must be a JSON object with any of the names {', '.join(names)}"
            )
        for name, value in values.items():
            many = isinstance(value, list) and name == "query"
            if not all(isinstance(each, str) for each in (value if many else [value])):
                what = "a text or a list of texts" if name == "query" else "a text"
                raise UsageError(f"{str(path)!r}: {name} must be {what}")
        try:
            return cls(**values)
        except UsageError as error:
            raise UsageError(f"{str(path)!r}: {error}") from None


def as_templates(template: str | Sequence[str]) -> tuple[str, ...]:
    """One or more templates as a tuple. Raises UsageError if there is none."""
    templates = (template,) if isinstance(template, str) else tuple(template)
    if not templates:
        raise UsageError("at least one prompt is needed")
    return templates


def check_template(template: str, what: str = "the prompt") -> None:
    """Raise UsageError unless `template` has exactly one `{}`.

    >>> check_template('This word : "{}" means:"')
    """
    if template.count("{}") != 1:
        raise UsageError(
            f"{what} needs the placeholder {{}} exactly once; it is: {shown(template)}"
        )


def check_pooling(pooling: str) -> None:
    """Raise UsageError if the pooling is unknown."""
    if pooling not in POOLINGS:
        raise UsageError(f"unknown pooling {shown(pooling)}: use {', '.join(POOLINGS)}")


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """How a text becomes a vector.

    `model` is the name given by the user (preset, folder, GGUF file, hub id); `weights` is the
    SHA-256 of its weights and tokenizer; `layers` are the indices of the pooled layers; `revision`
    is the commit of a model of the hub.
    """

    model: str
    weights: str
    dimension: int
    layers: tuple[int, ...]
    prompts: Prompts = field(default_factory=Prompts)
    pooling: str = POOLINGS[0]
    revision: str = ""

    @property
    def pinned_model(self) -> str:
        """The model's name with its revision, if it has one."""
        return f"{self.model}@{self.revision}" if self.revision else self.model

    @property
    def fingerprint(self) -> str:
        """16 hex digits; equal if and only if the vectors are comparable.

        The model's *name* and revision are not part of it: the same weights count as equal.
        """
        return _fingerprint(self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is its inverse."""
        values = {**asdict(self), "layers": list(self.layers), "prompts": self.prompts.to_json()}
        if not self.revision:
            del values["revision"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote."""
        return cls(
            model=values["model"],
            weights=values["weights"],
            dimension=values["dimension"],
            layers=tuple(values["layers"]),
            prompts=Prompts(**values["prompts"]),
            pooling=values["pooling"],
            revision=values.get("revision", ""),
        )


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How a page becomes chunks: sizes in the model's own tokens, without the prompt.

    The defaults were chosen by measurement: see `benchmarks/README.md`.
    """

    size: int = 224
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.size < 8:
            raise UsageError(f"a chunk needs at least 8 tokens; {self.size} were asked for")
        if not 0 <= self.overlap <= self.size // 2:
            raise UsageError(
                f"the overlap must lie between 0 and half the chunk size ({self.size // 2}); "
                f"it is {self.overlap}"
            )


def resolve_layers(spec: str | tuple[int, ...] | list[int], count: int) -> tuple[int, ...]:
    """The pooled layers as sorted indices into `count` layers.

    `spec` is "upper-half", "all", a range "10-19" (both ends included), or a list "3,5,-1";
    negative numbers count from the end.

    >>> resolve_layers("upper-half", 5)
    (2, 3, 4)
    >>> resolve_layers("0-2", 5), resolve_layers("1,-1", 5)
    ((0, 1, 2), (1, 4))
    """
    if isinstance(spec, str):
        chosen = _parse_layers(spec.strip().lower(), count)
    else:
        chosen = list(spec)
    indices = sorted({index + count if index < 0 else index for index in chosen})
    if not indices or indices[0] < 0 or indices[-1] >= count:
        raise UsageError(
            f"layers {shown(spec)} are not in this model: it has layers 0 to {count - 1}"
        )
    return tuple(indices)


def _parse_layers(spec: str, count: int) -> list[int]:
    if spec == "upper-half":
        return list(range(count // 2, count))
    if spec == "all":
        return list(range(count))
    try:
        if "-" in spec[1:] and "," not in spec:
            first, last = spec[0] + spec[1:].split("-", 1)[0], spec[1:].split("-", 1)[1]
            return list(range(int(first), int(last) + 1))
        return [int(part) for part in spec.split(",")]
    except ValueError:
        raise UsageError(
            f"layers {shown(spec)} are not understood; use upper-half, all, a range such as 10-19, "
            "or a list such as 3,5,-1"
        ) from None


@lru_cache
def _fingerprint(settings: EmbedderSettings) -> str:
    """Cached, since it is a part of every vector's key."""
    parts = settings.to_json()
    del parts["model"]
    parts.pop("revision", None)
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


__all__ = [
    "ANSWER_PROMPT",
    "DEFAULT_LAYERS",
    "DEFAULT_MODEL",
    "FOREIGN_POOLING",
    "PASSAGE_PROMPT",
    "POOLINGS",
    "QUERY_PROMPT",
    "SENTENCE_PROMPT",
    "ChunkSettings",
    "EmbedderSettings",
    "Prompts",
    "as_templates",
    "check_pooling",
    "check_template",
    "resolve_layers",
]
