"""`wva models`, `doctor` and `embed`: language models, and the machine they run on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from retriever.interface.commands.arguments import load_embedder
from retriever.interface.commands.output import DONE, FAILED, print_facts, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import UsageError


def run_models(options: argparse.Namespace) -> int:
    """List the language models."""
    from retriever.embedding.models.cached import models_overview
    from retriever.interface.terminal.reports import model_lines

    found = models_overview()
    if options.json:
        print_json(found)
    else:
        out("\n".join(model_lines(found)))
    return DONE


def run_models_fetch(options: argparse.Namespace) -> int:
    """Download a language model."""
    from retriever.embedding.models.cached import fetch_model

    folder = str(fetch_model(options.name))
    if options.json:
        print_json({"name": options.name, "folder": folder})
    else:
        out(f"{one_line(options.name)} is ready in {folder}")
    return DONE


def run_models_remove(options: argparse.Namespace) -> int:
    """Remove a downloaded language model."""
    from dataclasses import asdict

    from retriever.embedding.models.cached import remove_model

    model = remove_model(options.name)
    if options.json:
        print_json(asdict(model))
    else:
        out(f"removed {one_line(model.name)}: {model.size / 1e6:,.0f} MB are free again")
    return DONE


def run_doctor(options: argparse.Namespace) -> int:
    """Check this machine."""
    from retriever.interface.doctor import examine

    facts = examine(measure=not options.quick)
    if options.json:
        print_json(facts)
    else:
        print_facts(facts)
    return DONE if not facts["problems"] else FAILED


def run_embed(options: argparse.Namespace) -> int:
    """Write the vectors of a file's lines."""
    import numpy as np

    from retriever.arrays import centred
    from retriever.embedding.sentence_map import sentence_map
    from retriever.settings import check_template

    source = Path(options.input)
    if not source.is_file():
        raise UsageError(f"there is no file {options.input!r}")
    if options.prompt:
        check_template(options.prompt, "--prompt")
    try:
        with source.open(encoding="utf-8-sig", newline=None) as lines:
            texts = [line.removesuffix("\n") for line in lines]
    except UnicodeDecodeError as error:
        raise UsageError(f"{options.input!r} is not UTF-8 text: {error.reason}") from None
    embedder = load_embedder(options)
    prompts = embedder.settings.prompts
    template: str | Sequence[str] = options.prompt
    if options.prompt:
        vectors = embedder.embed_prompted(texts, options.prompt)
    elif options.kind == "sentence":
        template, vectors = prompts.sentence, embedder.embed_sentences(texts)
    elif options.kind == "query":
        template, vectors = prompts.queries, embedder.embed_queries(texts)
    else:
        template, vectors = prompts.passage, embedder.embed_passages(texts)
    if not options.raw:
        whole = options.kind == "passage" and not options.prompt
        prior = embedder.general_mean(template, whole=whole)
        if options.kind == "sentence":
            vectors = sentence_map(vectors, prior).apply(vectors)
        else:
            vectors = centred(vectors, prior)
    target = Path(options.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        np.save(file, vectors.astype(np.float32), allow_pickle=False)
    tell(f"{len(texts)} vectors of {embedder.dimension} → {one_line(options.output)}")
    if options.json:
        shape = {"vectors": len(texts), "dimension": embedder.dimension}
        print_json({"input": options.input, "output": options.output, **shape})
    return DONE
