"""Several models compared on one data set, to find the best one for these documents.

A model's name may have options: "smollm2-135m:layers=all", "gemma3-270m:pooling=last-hidden",
"smollm2-135m:prompts=mine.json"; with "smollm2-135m:adapter=INDEX" the map is tried that `wva tune
--adapter` has given to that index. There is a winner only if the paired comparison with every other
model is significant.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.embedding.aligned_wva import AlignedWVA
from retriever.evaluation.datasets import RetrievalDataset
from retriever.evaluation.retrieval import evaluate_dataset
from retriever.evaluation.runs import KEYWORD, Run, Values
from retriever.index import Index
from retriever.settings import DEFAULT_LAYERS, POOLINGS, ChunkSettings, Prompts, check_pooling
from retriever.significance import PairedComparison, Verdict, compare
from retriever.storage.adapter import Adapter
from retriever.types import UsageError

MEASURES = ("ndcg@10", "mrr@10", "recall@10")
MAIN_MEASURE, MAIN_MODE = "ndcg@10", "hybrid"

UNSPLIT = ChunkSettings(size=1024)
"""Passages are not split again, so keyword search is the same for every model."""

_OPTION = re.compile(r"^(.+):(\w+)=([^:=]+)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variant:
    """A model with its options; `name` is the user's spelling, `adapter` an index that has one."""

    name: str
    model: str
    layers: str = DEFAULT_LAYERS
    pooling: str = POOLINGS[0]
    prompts: Prompts | None = None
    adapter: str = ""


def parse_variant(name: str) -> Variant:
    """Parse "model:layers=…:pooling=…:prompts=FILE:adapter=INDEX".

    Raises UsageError for an unknown option, or a file that is not one of prompts.

    >>> parse_variant("org/model:layers=0-9").layers
    '0-9'
    """
    model, options = name, dict[str, str]()
    while match := _OPTION.match(model):
        model, option, value = match.groups()
        if option not in ("layers", "pooling", "prompts", "adapter") or option in options:
            raise UsageError(
                f"{name!r} is not understood: the options are :layers=, :pooling=, :prompts= and "
                ":adapter=, each once"
            )
        options[option] = value
    if "pooling" in options:
        check_pooling(options["pooling"])
    path = options.pop("prompts", "")
    return Variant(name, model, prompts=Prompts.read(Path(path)) if path else None, **options)


def compare_models(
    variants: Sequence[Variant],
    data: RetrievalDataset,
    load: Callable[[Variant], AlignedWVA],
    *,
    name: str,
    baseline: Run | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Run:
    """One run with the modes "keyword", "A dense", "A hybrid" … ; one model is loaded at a time.

    Raises UsageError if a variant is named twice, if the run is not comparable with `baseline`, or
    if an index has no adapter or one for another model.
    """
    started = time.monotonic()
    if len({each.name for each in variants}) < len(variants):
        raise UsageError("a model is named twice; compare different ones")
    values: dict[str, Mapping[str, Mapping[str, float]]] = {}
    made_with: dict[str, object] = {}
    adapters = {each.adapter: _adapter_of(each.adapter) for each in variants if each.adapter}
    for each in variants:
        progress(f"{each.name} …")
        run = evaluate_dataset(
            _fitting(load(each), each, adapters),
            *(data, name),
            chunking=UNSPLIT,
            baseline=baseline,
            adapter=adapters[each.adapter][1] if each.adapter else None,
            progress=progress,
        )
        made_with[each.name] = dict(run.made_with)
        for mode in (KEYWORD, "dense", "hybrid"):
            row = mode if mode == KEYWORD else f"{each.name} {mode}"
            values.setdefault(row, {m: run.values[mode][m] for m in MEASURES})
    return Run(run.data, values, made_with, time.monotonic() - started)


def _adapter_of(name: str) -> tuple[str, Adapter]:
    """The fingerprint of the model that made an index, and the map that the index has."""
    with Index.open(name) as index, index.backend.reading() as catalog:
        found, settings = catalog.adapter(), catalog.embedder_settings()
    if found is None or settings is None:
        raise UsageError(f"{name} has no adapter; this makes one: wva tune {name} --adapter")
    return settings.fingerprint, found


def _fitting(
    embedder: AlignedWVA, variant: Variant, adapters: Mapping[str, tuple[str, Adapter]]
) -> AlignedWVA:
    """The embedder, which has to be that of the index whose adapter it takes."""
    if variant.adapter and adapters[variant.adapter][0] != embedder.fingerprint:
        raise UsageError(
            f"{variant.adapter} was made by another model, or with other settings, than "
            f"{variant.model}, so its adapter is of no use here"
        )
    return embedder


def winner(values: Values, variants: Sequence[Variant]) -> tuple[str, str]:
    """The model that is better than every other one, or ""; and a sentence about it."""
    rows = {each.name: values[f"{each.name} {MAIN_MODE}"][MAIN_MEASURE] for each in variants}
    if len(rows) < 2:
        return "", "one model alone has nothing to be compared with but keyword search"
    by_mean = sorted(rows, key=lambda name: -sum(rows[name].values()))
    best = by_mean[0]
    against = {other: _compare_variants(rows[best], rows[other]) for other in by_mean[1:]}
    equal = [other for other, one in against.items() if one.verdict is not Verdict.BETTER]
    if equal:
        return "", (
            f"within noise: {len(rows[best])} sentences do not tell which of "
            f"{', '.join([best, *equal])} is better in {MAIN_MODE} search"
        )
    closest = min(against, key=lambda other: against[other].difference.mean)
    gap = against[closest].difference
    return best, (
        f"{best} is better in {MAIN_MODE} search: {gap.mean:+.4f} {MAIN_MEASURE} against "
        f"{closest}, 95 % {gap.low:+.4f} to {gap.high:+.4f}"
    )


def _compare_variants(ours: Mapping[str, float], theirs: Mapping[str, float]) -> PairedComparison:
    return compare(list(ours.values()), [theirs[query] for query in ours])


__all__ = ["Variant", "compare_models", "parse_variant", "winner"]
