"""`wva eval`: quality on labelled data sets, on the user's questions, and of several models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.interface.commands.arguments import load_embedder
from retriever.interface.commands.output import DONE, INCOMPLETE, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.settings import POOLINGS, check_pooling

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.evaluation.runs import Run


def run_eval_sts(options: argparse.Namespace) -> int:
    """Correlate similarities with human judgements."""
    from dataclasses import asdict

    from retriever.evaluation.datasets import read_sentence_pairs
    from retriever.evaluation.sts import compare_poolings
    from retriever.interface.terminal.table import table

    for path in options.files:
        read_sentence_pairs(Path(path))  # complain before the model is loaded
    asked = [name.strip() for name in options.pooling.split(",")] if options.pooling else []
    poolings = POOLINGS if asked == ["all"] else tuple(asked)
    for pooling in poolings:
        check_pooling(pooling)
    paths = [Path(path) for path in options.files]
    options.pooling = poolings[0] if poolings else None  # the model's own
    embedder = load_embedder(options)
    results = [asdict(found) for found in compare_poolings(embedder, paths, poolings)]
    if options.json:
        print_json({"files": results})
    else:
        out("\n".join(table(results)))
    return DONE


def run_eval_retrieval(options: argparse.Namespace) -> int:
    """Measure search on a labelled set."""
    from retriever.evaluation.datasets import read_beir
    from retriever.evaluation.retrieval import evaluate_retrieval

    read_beir(Path(options.folder))  # complain before the model is loaded
    baseline = _baseline(options)
    run = evaluate_retrieval(
        load_embedder(options),
        Path(options.folder),
        baseline=baseline,
        rerank=options.rerank,
        first=options.queries,
        progress=tell,
    )
    _show_run(options, run, baseline)
    return DONE


def run_eval_queries(options: argparse.Namespace) -> int:
    """Measure search with one's own questions."""
    from retriever.evaluation.datasets import read_questions
    from retriever.evaluation.questions import evaluate_questions, missing_places
    from retriever.index import Index

    questions = read_questions(Path(options.file))
    baseline = _baseline(options)
    with Index.open(options.index, device=options.device, dtype=options.dtype) as index:
        missing = missing_places(index, questions)
        name = f"{options.file} in {options.index}"
        run = evaluate_questions(index, questions, name=name, baseline=baseline)
    for sentence in missing:
        tell(f"wva: {sentence}")
    _show_run(options, run, baseline, {"missing": missing})
    return INCOMPLETE if missing else DONE


def run_eval_models(options: argparse.Namespace) -> int:
    """Compare models on one's own documents, without labels."""
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.evaluation.compare_models import Variant, compare_models, parse_variant, winner
    from retriever.evaluation.known_items import known_item_dataset

    def progress(text: str) -> None:
        tell(text)

    def load(each: Variant) -> AlignedWVA:
        return AlignedWVA(
            each.model,
            layers=each.layers,
            prompts=each.prompts,
            pooling=each.pooling,
            device=options.device,
            dtype=options.dtype,
        )

    variants = [parse_variant(name) for name in options.models]
    baseline = _baseline(options)
    data = known_item_dataset(Path(options.path), options.passages, progress=progress)
    name = f"{options.path}, by passage"
    run = compare_models(variants, data, load, name=name, baseline=baseline, progress=progress)
    best, sentence = winner(run.values, variants)
    _show_run(options, run, baseline, {"winner": best or None, "verdict": sentence})
    if not options.json:
        out(f"\n{sentence}")
    return DONE


def _baseline(options: argparse.Namespace) -> Run | None:
    from retriever.evaluation.runs import load_run

    return load_run(Path(options.against)) if options.against else None


def _show_run(
    options: argparse.Namespace, run: Run, baseline: Run | None, more: dict[str, Any] | None = None
) -> None:
    """Print a run, compare it with the baseline, then save it: both may be one file."""
    from retriever.evaluation.runs import comparisons_json, save_run
    from retriever.interface.terminal.reports import comparison_lines, run_lines

    compared = run.against(baseline) if baseline else {}
    if options.json:
        told = {**run.to_json(per_query=options.per_query), **(more or {})}
        if baseline:
            told["against_baseline"] = comparisons_json(compared)
        print_json(told)
    else:
        out("\n".join(run_lines(run)))
        if baseline:
            out(
                "\n".join(
                    ["", f"against {one_line(options.against)}:", *comparison_lines(compared)]
                )
            )
    if options.save:
        save_run(run, Path(options.save))
        tell(f"saved as {one_line(options.save)}")
