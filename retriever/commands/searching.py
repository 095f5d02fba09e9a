"""`wva search` and `explain`: the results, and why they are those."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import chain
from typing import Any

from retriever.commands.answers import DONE, print_json
from retriever.commands.choices import chosen_embedder, chosen_filter
from retriever.types import UsageError


def run_search(options: argparse.Namespace) -> int:
    """Search an index."""
    from retriever.background import MATCH, NOTHING_MATCHES, nothing_matches, verdict
    from retriever.index import Index
    from retriever.query import Query, parse
    from retriever.terminal import hit_lines, percent, understood_lines

    where = chosen_filter(options)
    asked = Query(options.query) if options.literal else parse(options.query)
    embedder = chosen_embedder(options)
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
        print_json(
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


def run_explain(options: argparse.Namespace) -> int:
    """Explain a result, a difference, or a document's absence."""
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
    with (
        Index.open(options.index, device=options.device, dtype=options.dtype) as index,
        index.snapshot(),  # what is found and what is told of it are of one generation
    ):
        how = {
            "mode": options.mode,
            "syntax": not options.literal,
            "feedback": not options.no_feedback,
        }
        if options.file:
            told = index.why_not(
                options.query, options.file, options.k, where=chosen_filter(options), **how
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
            told = _explained(index, options, how)
            lines = explanation_lines(told, colour=colour)
        check = index.check(told) if options.check and not (options.file or options.above) else None
    if options.json:
        more = {} if check is None else {"check": check.to_json()}
        print_json({"index": options.index, **told.to_json(), **more})
    else:
        print("\n".join([*lines, *(check_lines(check) if check else [])]))
    return DONE


def _explained(index: Any, options: argparse.Namespace, how: dict[str, Any]) -> Any:
    """The explanation asked for by a chunk's id, or by a result's number."""
    if options.chunk:
        return index.explain(options.query, options.chunk, **how)
    hits = index.search(
        options.query,
        max(options.hit, options.rerank),
        where=chosen_filter(options),
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
