"""The command line: parse, call one function, print.

With `--json` one JSON document goes to standard output and nothing else; progress and messages go
to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some files could not be
read completely. Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.options import make_parser
from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    POOLINGS,
    Prompts,
    check_pooling,
)
from retriever.types import Progress, RetrieverError, UsageError

if TYPE_CHECKING:
    from retriever.embedder import AlignedWVA
    from retriever.runs import Run

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = make_parser(COMMANDS)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        code: int = options.run(options)
    except UsageError as error:
        return _refuse(error, USAGE)
    except RetrieverError as error:
        return _refuse(error, FAILED)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _refuse(error, FAILED)
    except KeyboardInterrupt:
        print("\nstopped; what is done is kept, run again to continue", file=sys.stderr)
        return INTERRUPTED
    return code


def _refuse(error: Exception, code: int) -> int:
    print(f"wva: {error}", file=sys.stderr)
    return code


# Commands


def _index(options: argparse.Namespace) -> int:
    from retriever.terminal import report_lines

    if options.dry_run and not Path(options.index, "catalog.sqlite").exists():
        # A dry run leaves no trace, not even an empty index.
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            return _run_sync(options, Path(scratch) / "index", report_lines)
    return _run_sync(options, Path(options.index), report_lines)


def _run_sync(options: argparse.Namespace, folder: Path, lines: Callable[[Any], list[str]]) -> int:
    from retriever.index import Index
    from retriever.scan import targets

    reading = _reading(options)
    targets(options.paths, [])  # a wrong path must not leave an empty index behind
    embedder = _chosen_embedder(options)
    with Index.open_or_create(
        folder, embedder, store=options.store, device=options.device, dtype=options.dtype
    ) as index:
        report = index.sync(
            options.paths,
            include=options.include,
            exclude=options.exclude,
            delete=not options.no_delete,
            force=options.force,
            dry_run=options.dry_run,
            **reading,
            retry=options.retry,
            reread=options.reread,
            progress=_Teller(),
        )
    if options.json:
        _print_json({**report.to_json(), "index": options.index})
    else:
        print("\n".join(lines(report)))
    return DONE if report.complete else INCOMPLETE


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """How files are to be read: passwords, those in a file one a line, and an OCR's languages."""
    passwords = list(options.password)
    if options.password_file:
        path = Path(options.password_file)
        try:
            known = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
            passwords += filter(None, known.decode("utf-8-sig").splitlines())
        except (OSError, ValueError):
            raise UsageError(f"the password file {str(path)!r} cannot be read as text") from None
    languages = options.ocr_languages if options.ocr else ""
    if languages:
        from retriever.readers.pictures.ocr import available

        reason = available(languages)
        if reason:
            raise UsageError(f"--ocr: {reason}")
    return {"passwords": passwords, "ocr": languages}


class _Teller:
    """Shows progress on standard error: a line that renews itself, or now and then a new one."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.last = -60.0

    def __call__(self, progress: Progress) -> None:
        from retriever.terminal import progress_line

        if not progress.files_total:
            return
        now = time.monotonic()
        finished = progress.files_done == progress.files_total
        if self.live:
            end = "\n" if finished else ""
            print(f"\r\033[K{progress_line(progress)[:160]}", end=end, file=sys.stderr, flush=True)
        elif finished or now - self.last >= 5:
            print(progress_line(progress), file=sys.stderr, flush=True)
            self.last = now


def _search(options: argparse.Namespace) -> int:
    from retriever.background import MATCH, NOTHING_MATCHES, nothing_matches, verdict
    from retriever.index import Index
    from retriever.query import Query, parse
    from retriever.terminal import hit_lines, percent, understood_lines

    where = _filter(options)
    asked = Query(options.query) if options.literal else parse(options.query)
    embedder = _chosen_embedder(options)
    with Index.open(options.index, embedder, device=options.device, dtype=options.dtype) as index:
        empty = not index.documents()
        if (options.mode != "keyword" or options.rerank) and not empty:
            _ = index.embedder  # loading the model is not part of the search's time
        started = time.perf_counter()
        hits = index.search(
            options.query,
            options.k,
            mode=options.mode,
            where=where,
            by_file=options.by_file,
            syntax=not options.literal,
            rerank=options.rerank,
            rerank_seconds=options.rerank_seconds,
            fold=not options.all,
            diversity=options.diversity,
            context=options.context,
            min_match=options.min_match,
            feedback=not options.no_feedback,
        )
        took = (time.perf_counter() - started) * 1000
        guesses = options.mode != "dense" and not options.literal
        instead = index.corrections(options.query) if guesses else {}
    nothing = not hits or nothing_matches(hits)
    if options.json:
        _print_json(
            {
                "query": options.query,
                "index": options.index,
                "mode": options.mode,
                "took_ms": round(took, 1),
                "text": asked.text,
                "conditions": asked.conditions(),
                "instead": instead,
                "nothing_matches": nothing,
                "hits": [_hit_json(hit) for hit in hits],
            }
        )
        return DONE
    if not hits:
        found = "nothing found" if options.min_match is None else NOTHING_MATCHES
        print("the index is empty" if empty else found, file=sys.stderr)
    elif nothing:
        print(f"{verdict(hits)}: no match reaches {percent(MATCH)}", file=sys.stderr)
    for line in understood_lines(asked.conditions(), instead):
        print(line, file=sys.stderr)
    shown = " ".join([asked.text, *chain.from_iterable(instead.values())])
    for hit in hits:
        whole = options.context > 0
        print("\n".join(hit_lines(hit, shown, colour=sys.stdout.isatty(), whole=whole)))
    return DONE


def _explain(options: argparse.Namespace) -> int:
    from retriever.index import Index
    from retriever.terminal_explain import (
        check_lines,
        difference_lines,
        explanation_lines,
        why_not_lines,
    )
    from retriever.why import difference

    if options.hit < 1:
        raise UsageError(f"--hit counts from 1; it is {options.hit}")
    colour = sys.stdout.isatty()
    told: Any
    with Index.open(options.index, device=options.device, dtype=options.dtype) as index:
        how = {
            "mode": options.mode,
            "syntax": not options.literal,
            "feedback": not options.no_feedback,
        }
        if options.file:
            told = index.why_not(
                options.query, options.file, options.k, where=_filter(options), **how
            )
            lines = why_not_lines(told)
            if told.best is not None and not options.json:
                best = index.explain(options.query, told.best.chunk, **how)
                lines += explanation_lines(best, colour=colour)
        elif options.above:
            one, two = (index.explain(options.query, name, **how) for name in options.above)
            told = difference(one, two)
            lines = difference_lines(told)
        else:
            told = _explained(index, options)
            lines = explanation_lines(told, colour=colour)
        check = index.check(told) if options.check and not (options.file or options.above) else None
    if options.json:
        more = {} if check is None else {"check": check.to_json()}
        _print_json({"index": options.index, **told.to_json(), **more})
    else:
        print("\n".join([*lines, *(check_lines(check) if check else [])]))
    return DONE


def _explained(index: Any, options: argparse.Namespace) -> Any:
    """The explanation asked for by a chunk's id, or by a result's number."""
    how = {"syntax": not options.literal, "feedback": not options.no_feedback}
    if options.chunk:
        return index.explain(options.query, options.chunk, mode=options.mode, **how)
    hits = index.search(
        options.query,
        max(options.hit, options.rerank),
        mode=options.mode,
        where=_filter(options),
        rerank=options.rerank,
        **how,
    )
    if len(hits) < options.hit:
        raise UsageError(f"there is no result {options.hit}: {len(hits)} were found")
    hit, first = hits[options.hit - 1], hits[: options.rerank]
    return index.explain(options.query, hit, first=first, **how)


def _hit_json(hit: Any) -> dict[str, Any]:
    from dataclasses import asdict

    chunk = hit.chunk
    return {
        "rank": hit.rank,
        "score": hit.score,
        "match": hit.match,
        "scores": {"dense": hit.dense, "keyword": hit.keyword, "rerank": hit.rerank},
        "chunk_id": chunk.id,
        "path": chunk.path,
        "format": chunk.format,
        "title": chunk.title,
        "page": chunk.page,
        "label": chunk.label,
        "state": chunk.state.value,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "parts": [part.id for part in hit.parts],
        "passage": [asdict(excerpt) for excerpt in hit.passage],
        "also": [
            {"chunk_id": one.id, "path": one.path, "page": one.page, "label": one.label}
            for one in hit.also
        ],
    }


def _filter(options: argparse.Namespace) -> dict[str, Any] | None:
    """The filter options as one filter; all of them must hold."""
    parts: list[dict[str, Any]] = []
    if options.path:
        parts.append({"$or": [{"path": {"glob": pattern}} for pattern in options.path]})
    if options.format:
        parts.append({"format": {"in": options.format}})
    if options.page:
        first, _, last = options.page.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise UsageError(f"--page takes a page or a range such as 3-7, not {options.page!r}")
        parts.append({"page": {"gte": int(first), "lte": int(last or first)}})
    if options.since:
        parts.append({"date": {"gte": options.since}})
    if options.until:
        parts.append({"date": {"lte": options.until}})
    if options.where:
        try:
            parts.append(dict(json.loads(options.where)))
        except ValueError as error:
            raise UsageError(f"--where needs a JSON object: {error}") from None
    return {"$and": parts} if parts else None


def _info(options: argparse.Namespace) -> int:
    from retriever.index import Index

    with Index.open(options.index) as index:
        info = index.info()
    if options.json:
        _print_json(info)
    else:
        _print_facts(info)
    return DONE


def _report(options: argparse.Namespace) -> int:
    from retriever.index import Index
    from retriever.report import account
    from retriever.terminal import account_lines

    with Index.open(options.index) as index:
        told = account(index.backend, options.index)
    if options.json:
        _print_json(told.to_json())
    else:
        print("\n".join(account_lines(told, everything=options.all)))
    return DONE if told.complete else INCOMPLETE


def _models(options: argparse.Namespace) -> int:
    from retriever.library import overview
    from retriever.terminal import model_lines

    found = overview()
    if options.json:
        _print_json(found)
    else:
        print("\n".join(model_lines(found)))
    return DONE


def _models_fetch(options: argparse.Namespace) -> int:
    from retriever.library import fetch

    folder = str(fetch(options.name))
    if options.json:
        _print_json({"name": options.name, "folder": folder})
    else:
        print(f"{options.name} is ready in {folder}")
    return DONE


def _models_remove(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from retriever.library import remove

    model = remove(options.name)
    if options.json:
        _print_json(asdict(model))
    else:
        print(f"removed {model.name}: {model.size / 1e6:,.0f} MB are free again")
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from retriever.doctor import examine

    facts = examine(measure=not options.quick)
    if options.json:
        _print_json(facts)
    else:
        _print_facts(facts)
    return DONE if not facts["problems"] else FAILED


def _ui(options: argparse.Namespace) -> int:
    from retriever.serve import serve

    paths = [Path(path) for path in options.sync]
    return serve(Path(options.index), options.port, paths, _Teller(), **_reading(options))


def _embed(options: argparse.Namespace) -> int:
    import numpy as np

    from retriever import calibration
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
    embedder = _embedder(options)
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
            vectors = calibration.sentence_map(vectors, prior).apply(vectors)
        else:
            vectors = calibration.apply(vectors, prior)
    target = Path(options.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        np.save(file, vectors.astype(np.float32), allow_pickle=False)
    print(f"{len(texts)} vectors of {embedder.dimension} → {options.output}", file=sys.stderr)
    if options.json:
        shape = {"vectors": len(texts), "dimension": embedder.dimension}
        _print_json({"input": options.input, "output": options.output, **shape})
    return DONE


def _eval_sts(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from retriever.evaluate import compare_poolings
    from retriever.labels import read_pairs
    from retriever.terminal import table

    for path in options.files:
        read_pairs(Path(path))  # complain before the model is loaded
    asked = (options.pooling or POOLINGS[0]).split(",")
    poolings = POOLINGS if asked == ["all"] else tuple(name.strip() for name in asked)
    for pooling in poolings:
        check_pooling(pooling)
    paths = [Path(path) for path in options.files]
    embedder = _embedder(options, poolings[0])
    results = [asdict(found) for found in compare_poolings(embedder, paths, poolings)]
    if options.json:
        _print_json({"files": results})
    else:
        print("\n".join(table(results)))
    return DONE


def _eval_retrieval(options: argparse.Namespace) -> int:
    from retriever.evaluate import evaluate_retrieval
    from retriever.labels import read_retrieval

    read_retrieval(Path(options.folder))  # complain before the model is loaded
    baseline = _baseline(options)
    run = evaluate_retrieval(
        _embedder(options),
        Path(options.folder),
        baseline=baseline,
        rerank=options.rerank,
        first=options.queries,
        tell=lambda text: print(text, file=sys.stderr),
    )
    _show_run(options, run, baseline)
    return DONE


def _eval_queries(options: argparse.Namespace) -> int:
    from retriever.evaluate import evaluate_questions, missing_places
    from retriever.index import Index
    from retriever.labels import read_questions

    questions = read_questions(Path(options.file))
    baseline = _baseline(options)
    with Index.open(options.index, device=options.device, dtype=options.dtype) as index:
        missing = missing_places(index, questions)
        name = f"{options.file} in {options.index}"
        run = evaluate_questions(index, questions, name=name, baseline=baseline)
    for sentence in missing:
        print(f"wva: {sentence}", file=sys.stderr)
    _show_run(options, run, baseline, {"missing": missing})
    return INCOMPLETE if missing else DONE


def _eval_models(options: argparse.Namespace) -> int:
    from retriever.embedder import AlignedWVA
    from retriever.known_items import known_items
    from retriever.model_runs import Variant, compare_models, variant, winner

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    def load(each: Variant) -> AlignedWVA:
        return AlignedWVA(
            each.model,
            layers=each.layers,
            prompts=each.prompts,
            pooling=each.pooling,
            device=options.device,
            dtype=options.dtype,
        )

    variants = [variant(name) for name in options.models]
    baseline = _baseline(options)
    data = known_items(Path(options.path), options.passages, tell=tell)
    name = f"{options.path}, by passage"
    run = compare_models(variants, data, load, name=name, baseline=baseline, tell=tell)
    best, sentence = winner(run.values, variants)
    _show_run(options, run, baseline, {"winner": best or None, "verdict": sentence})
    if not options.json:
        print(f"\n{sentence}")
    return DONE


def _baseline(options: argparse.Namespace) -> Run | None:
    from retriever.runs import load

    return load(Path(options.against)) if options.against else None


def _show_run(
    options: argparse.Namespace, run: Run, baseline: Run | None, more: dict[str, Any] | None = None
) -> None:
    """Print a run, compare it with the baseline, save it: in this order, the file may be one."""
    from retriever.runs import comparisons_json, save
    from retriever.terminal import comparison_lines, run_lines

    compared = run.against(baseline) if baseline else {}
    if options.json:
        told = {**run.to_json(per_query=options.per_query), **(more or {})}
        if baseline:
            told["against_baseline"] = comparisons_json(compared)
        _print_json(told)
    else:
        print("\n".join(run_lines(run)))
        if baseline:
            print("\n".join(["", f"against {options.against}:", *comparison_lines(compared)]))
    if options.save:
        save(run, Path(options.save))
        print(f"saved as {options.save}", file=sys.stderr)


def _chosen_embedder(options: argparse.Namespace) -> AlignedWVA | None:
    """The embedder asked for, or None: then the index's own is meant."""
    asked = options.model or options.layers or options.pooling or options.prompts
    return _embedder(options) if asked else None


def _embedder(options: argparse.Namespace, pooling: str = "") -> AlignedWVA:
    from retriever.embedder import AlignedWVA

    chosen = pooling or options.pooling or POOLINGS[0]
    check_pooling(chosen)
    return AlignedWVA(
        options.model or DEFAULT_MODEL,
        layers=options.layers or DEFAULT_LAYERS,
        prompts=Prompts.read(Path(options.prompts)) if options.prompts else None,
        pooling=chosen,
        device=options.device,
        dtype=options.dtype,
    )


# Printing


def _print_json(value: Any) -> None:
    print(json.dumps(_finite(value), ensure_ascii=False, indent=2))


def _finite(value: Any) -> Any:
    """`value` with null where a number is not one: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{name}:")
            _print_facts(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{name}:")
            for entry in value:
                print(f"{indent}  - " + ", ".join(f"{k} {v}" for k, v in entry.items()))
        elif isinstance(value, list):
            print(f"{indent}{name}: {', '.join(map(str, value)) or 'none'}")
        else:
            print(f"{indent}{name}: {'none' if value is None or value == {} else value}")


COMMANDS = {
    "index": _index,
    "search": _search,
    "explain": _explain,
    "ui": _ui,
    "eval sts": _eval_sts,
    "eval retrieval": _eval_retrieval,
    "eval queries": _eval_queries,
    "eval models": _eval_models,
    "embed": _embed,
    "info": _info,
    "models": _models,
    "models fetch": _models_fetch,
    "models remove": _models_remove,
    "report": _report,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
