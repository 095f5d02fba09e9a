"""`wva search` and `explain`: results, and why they were found."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from retriever.interface.commands.arguments import requested_embedder, search_options
from retriever.interface.commands.output import DONE, print_json, use_colour
from retriever.types import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retriever.explaining.score import Explanation
    from retriever.index import Index
    from retriever.searching.options import SearchOptions


def run_search(options: argparse.Namespace) -> int:
    """Search an index."""
    from retriever.index import Index
    from retriever.interface.terminal.reports import hit_lines, query_lines, verdict_lines
    from retriever.searching.match import NOTHING_MATCHES, nothing_matches
    from retriever.searching.query_syntax import Query, parse

    how = search_options(options)
    if not options.query.strip():
        raise UsageError("the query is empty; give some words to search for")
    asked = parse(options.query) if how.syntax else Query(options.query)
    embedder = requested_embedder(options)
    with Index.open(options.index, embedder, device=options.device, dtype=options.dtype) as index:
        empty = not index.documents()
        if (how.mode != "keyword" or how.rerank) and not empty:
            _ = index.embedder  # loading the model is not part of the search's time
        started = time.perf_counter()
        hits = index.search(options.query, options=how)
        took = (time.perf_counter() - started) * 1000
        instead = _corrections(index, options.query, how)
        notes = index.search_notes(options.query, hits, options=how)
        said = index.verdict(options.query, hits, options=how)
    nothing = not hits or nothing_matches(hits)
    if options.json:
        print_json(
            {
                "query": options.query,
                "index": options.index,
                "mode": str(how.mode),
                "took_ms": round(took, 1),
                "text": asked.text,
                "conditions": asked.conditions(),
                "instead": instead,
                "notes": notes,
                "nothing_matches": nothing,
                "verdict": said,
                "hits": [hit.to_json() for hit in hits],
            }
        )
        return DONE
    if not hits:
        found = "nothing found" if how.min_match is None else NOTHING_MATCHES
        print("the index is empty" if empty else found, file=sys.stderr)
    for line in [*verdict_lines(said), *query_lines(asked.conditions(), instead, notes)]:
        print(line, file=sys.stderr)
    shown = " ".join([asked.text, *chain.from_iterable(instead.values())])
    for hit in hits:
        whole = how.context > 0
        print("\n".join(hit_lines(hit, shown, colour=use_colour(), whole=whole)))
    return DONE


def run_explain(options: argparse.Namespace) -> int:
    """Explain a result, a difference, or a document's absence."""
    from retriever.explaining.summary import difference_summary, summarise
    from retriever.index import Index
    from retriever.interface.terminal.explanations import (
        check_lines,
        difference_lines,
        explanation_lines,
        why_not_lines,
    )
    from retriever.interface.terminal.reports import query_lines

    if options.hit < 1:
        raise UsageError(f"--hit counts from 1; it is {options.hit}")
    how, colour = search_options(options), use_colour()
    told: Any
    more: dict[str, Any] = {}
    with (
        Index.open(options.index, device=options.device, dtype=options.dtype) as index,
        index.snapshot(),  # search and explanation read the same generation
    ):
        if options.file:
            told = index.why_not(options.query, options.file, options=how)
            lines = why_not_lines(told)
            if told.best is not None and not options.json:
                best = index.explain(options.query, told.best.chunk, options=how)
                lines += explanation_lines(best, colour=colour)
        elif options.above:
            told = index.compare(options.query, *options.above, options=how)
            lines = difference_lines(told)
            more["summary"] = str(difference_summary(told, "the first", "the second"))
        else:
            told = _explained(index, options, how)
            lines = explanation_lines(told, colour=colour)
            more["summary"] = summarise(told)
        instead = _corrections(index, options.query, how)
        check = (
            index.check_explanation(told)
            if options.check and not (options.file or options.above)
            else None
        )
    if options.json:
        more |= {} if check is None else {"check": check.to_json()}
        print_json({"index": options.index, **more, **told.to_json()})
        return DONE
    for line in query_lines((), instead):
        print(line, file=sys.stderr)
    print("\n".join([*lines, *(check_lines(check) if check else [])]))
    return DONE


def _corrections(index: Index, query: str, how: SearchOptions) -> Mapping[str, Sequence[str]]:
    """The words of the query that occur nowhere → those searched for instead."""
    if how.mode == "dense" or not how.tolerant:
        return {}
    return index.corrections(query, syntax=how.syntax)


def _explained(index: Index, options: argparse.Namespace, how: SearchOptions) -> Explanation:
    """The explanation asked for by a chunk's id, or by a result's number."""
    if options.chunk:
        return index.explain(options.query, options.chunk, options=how)
    hits = index.search(options.query, max(options.hit, how.rerank), options=how)
    if len(hits) < options.hit:
        raise UsageError(f"there is no result {options.hit}: {len(hits)} were found")
    hit, first = hits[options.hit - 1], hits[: how.rerank]
    return index.explain(options.query, hit, options=how, first=first)
