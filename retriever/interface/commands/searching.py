"""`wva search` and `explain`: results, and why they were found."""

from __future__ import annotations

import argparse
import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from retriever.interface.commands.arguments import requested_embedder, search_options
from retriever.interface.commands.output import (
    DONE,
    INCOMPLETE,
    print_json,
    use_colour,
    vectors_command,
)
from retriever.interface.options import DEFAULT_INDEX
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import IndexStateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retriever.explaining.score import Explanation
    from retriever.index import Index
    from retriever.searching.options import SearchOptions
    from retriever.searching.query_syntax import Query
    from retriever.searching.several import NamedHit
    from retriever.types import Hit


@dataclass(frozen=True)
class _Found:
    """What a search found. `failed` are the indexes left out with the reasons."""

    hits: Sequence[NamedHit]
    milliseconds: float
    instead: Mapping[str, Sequence[str]]
    notes: Sequence[str]
    verdict: str = ""
    empty: bool = False
    vector_share: float = 1.0  # the smallest of several indexes
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Output:
    """What a search prints: one JSON document, or lines of standard output and standard error."""

    document: Mapping[str, Any] | None = None
    out: Sequence[str] = ()
    err: Sequence[str] = ()
    code: int = DONE


def run_search(options: argparse.Namespace) -> int:
    """Search an index, or several together."""
    how = search_options(options)
    if not options.query.strip():
        raise UsageError("the query is empty; give some words to search for")
    folders = list(dict.fromkeys(options.index or [DEFAULT_INDEX]))
    output = _asked_page(options, folders, how)
    if output is None:
        several = len(folders) > 1
        found = (
            _search_several(options, folders, how) if several else _search(options, folders[0], how)
        )
        output = _output(
            *(found, options.query, how, folders), as_json=options.json, colour=use_colour()
        )
    return _print(output)


def _print(output: _Output) -> int:
    """Print, and return the exit code."""
    for line in output.err:
        tell(line)
    if output.document is not None:
        print_json(output.document)
    for line in output.out:
        out(line)
    return output.code


def _asked_page(
    options: argparse.Namespace, folders: Sequence[str], how: SearchOptions
) -> _Output | None:
    """What a running page says of the search of its index; None if there is none to ask."""
    chosen = (options.model, options.layers, options.pooling, options.prompts)
    if len(folders) > 1 or any(chosen):
        return None
    return _asked(options, folders[0], how, {"command": "search"})


def _asked(
    options: argparse.Namespace, folder: str, how: SearchOptions, more: Mapping[str, Any]
) -> _Output | None:
    """What a running page says to a request; None if there is none to ask."""
    from retriever.interface.answering import ask

    if options.device or options.dtype:
        return None
    request = {
        "query": options.query,
        "options": how.to_json(),
        "index": folder,
        "json": options.json,
        "colour": use_colour(),
        "columns": shutil.get_terminal_size().columns,
        **more,
    }
    answer = ask(folder, request)
    try:
        return None if answer is None else _Output(**answer["output"])
    except (KeyError, TypeError):
        return None


def answer_request(index: Index, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a page, with its `index`, to the request of a `wva search` or `explain`."""
    from retriever.interface.terminal.results import COLUMNS
    from retriever.searching.options import SearchOptions

    how = SearchOptions.from_json(request["options"])
    folder, query = str(request["index"]), str(request["query"])
    shown = {"as_json": bool(request["json"]), "colour": bool(request["colour"])}
    # Each request has a thread of its own, and so has what is set here.
    COLUMNS.set(int(request["columns"]))
    if request["command"] == "explain":
        which = Which(**request["which"])
        return {"output": asdict(_explanation(index, folder, query, which, how, **shown))}
    found = _found(index, folder, query, how)
    return {"output": asdict(_output(found, query, how, [folder], **shown))}


def search_document(
    indexes: Mapping[str, Index], query: str, how: SearchOptions
) -> Mapping[str, Any]:
    """What `wva search --json` prints of a search in open indexes, which have these names."""
    if len(indexes) == 1:
        ((name, index),) = indexes.items()
        with index.snapshot(dense=how.mode != "keyword"):  # all of it is of one generation
            found = _found(index, name, query, how)
    else:
        found = _found_in_all(indexes, query, how, {})
    return _output(found, query, how, list(indexes), as_json=True, colour=False).document or {}


def _output(
    found: _Found,
    query: str,
    how: SearchOptions,
    folders: Sequence[str],
    *,
    as_json: bool,
    colour: bool,
) -> _Output:
    """What is printed of a search."""
    from retriever.searching.match import nothing_matches
    from retriever.searching.query_syntax import parse, plain

    asked = parse(query) if how.syntax else plain(query)
    several = len(folders) > 1
    hits = [one.hit for one in found.hits]
    nothing = not hits or nothing_matches(hits)
    code = INCOMPLETE if found.failed else DONE
    if not as_json:
        out, err = _lines(found, asked, how, several=several, colour=colour)
        return _Output(None, out, err, code)
    named = {"indexes": folders, "failed": found.failed} if several else {"index": folders[0]}
    document = {
        "query": query,
        **named,
        "mode": str(how.mode),
        "took_ms": round(found.milliseconds, 1),
        "text": asked.text,
        "conditions": asked.conditions(),
        "instead": found.instead,
        "notes": found.notes,
        "vector_share": round(found.vector_share, 4),
        "nothing_matches": nothing,
        "verdict": found.verdict,
        "hits": [one.to_json() if several else one.hit.to_json() for one in found.hits],
    }
    return _Output(document, code=code)


def _lines(
    found: _Found, asked: Query, how: SearchOptions, *, several: bool, colour: bool
) -> tuple[list[str], list[str]]:
    """The results for people, and for standard error what they do not show."""
    from retriever.interface.terminal.results import hit_lines, query_lines, verdict_lines
    from retriever.searching.match import NOTHING_MATCHES

    err = [
        f"{one_line(name)} is left out: {one_line(reason)}" for name, reason in found.failed.items()
    ]
    if not found.hits:
        said = "nothing found" if how.min_match is None else NOTHING_MATCHES
        err.append("the index is empty" if found.empty else said)
    notes = query_lines(asked.conditions(), found.instead, found.notes)
    err += [*verdict_lines(found.verdict), *notes]
    shown = " ".join([asked.text, *chain.from_iterable(found.instead.values())])
    out: list[str] = []
    for one in found.hits:
        hit, index = replace(one.hit, score=one.score), one.name if several else ""
        out += hit_lines(hit, shown, colour=colour, whole=how.context > 0, index=index)
    return out, err


def _search(options: argparse.Namespace, folder: str, how: SearchOptions) -> _Found:
    """The results of one index."""
    from retriever.index import Index

    embedder = requested_embedder(options)
    with Index.open(folder, embedder, device=options.device, dtype=options.dtype) as index:
        return _found(index, folder, options.query, how)


def _found(index: Index, folder: str, query: str, how: SearchOptions) -> _Found:
    """The results of an open index."""
    from retriever.searching.several import NamedHit

    empty = not index.documents()
    if (how.mode != "keyword" or how.rerank) and not empty:
        _ = index.embedder  # loading the model is not part of the search's time
    started = time.perf_counter()
    hits = index.search(query, options=how)
    took = (time.perf_counter() - started) * 1000
    instead = _corrections(index, query, how)
    notes = index.search_notes(query, hits, options=how)
    said = index.verdict(query, hits, options=how)
    share = index.vector_share
    if share < 1 and how.mode != "keyword":
        notes = [*notes, _going_on(index, index.name or folder)]
    named = [NamedHit(folder, hit, hit.score) for hit in hits]
    return _Found(named, took, instead, notes, said, empty, share)


def _going_on(index: Index, folder: str) -> str:
    """That a run makes the vectors that are missing, or the command that does."""
    if index.info()["progress"]:
        return "The others follow: a run makes their vectors now"
    return f"To go on: {vectors_command(folder)}"


def _search_several(
    options: argparse.Namespace, folders: Sequence[str], how: SearchOptions
) -> _Found:
    """The results of several indexes; those that fail are left out."""
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        return _found_in_all(_opened(options, folders, failed, stack), options.query, how, failed)


def _found_in_all(
    indexes: Mapping[str, Index], query: str, how: SearchOptions, failed: dict[str, str]
) -> _Found:
    """The results of several open indexes; why some fail is added to `failed`."""
    from retriever.searching.several import corrections_in_all, search_all, verdict_in_all

    started = time.perf_counter()
    found = search_all(
        *(indexes, query, how),
        failed=lambda name, error: failed.update({name: str(error)}),
    )
    took = (time.perf_counter() - started) * 1000
    answering = {name: index for name, index in indexes.items() if name not in failed}
    instead = corrections_in_all(answering.values(), query, how)
    notes = _notes_of_all(list(answering.values()), query, [one.hit for one in found], how)
    own = {name: [one.hit for one in found if one.name == name] for name in answering}
    said = verdict_in_all(answering, query, own, how)
    share = min((index.vector_share for index in answering.values()), default=1.0)
    return _Found(found, took, instead, notes, said, vector_share=share, failed=failed)


def _opened(
    options: argparse.Namespace, folders: Sequence[str], failed: dict[str, str], stack: ExitStack
) -> dict[str, Index]:
    """The indexes that open, by folder; why the others do not is added to `failed`."""
    from retriever.index import Index

    embedder = requested_embedder(options)
    found: dict[str, Index] = {}
    for folder in folders:
        try:
            opened = Index.open(folder, embedder, device=options.device, dtype=options.dtype)
            found[folder] = stack.enter_context(opened)
        except IndexStateError as error:
            failed[folder] = str(error)
            if len(failed) == len(folders):
                raise
    return found


def _notes_of_all(
    indexes: Sequence[Index], query: str, hits: Sequence[Hit], how: SearchOptions
) -> list[str]:
    """The notes of all indexes, each once."""
    several = (index.search_notes(query, hits, options=how) for index in indexes)
    return list(dict.fromkeys(chain.from_iterable(several)))


@dataclass(frozen=True)
class Which:
    """What of a search is to be explained, as the options of `wva explain` say it."""

    hit: int = 1
    chunk: str | None = None
    file: str | None = None
    above: Sequence[str] | None = None
    check: bool = False


def run_explain(options: argparse.Namespace) -> int:
    """Explain a result, a difference, or a document's absence."""
    from retriever.index import Index

    if options.hit < 1:
        raise UsageError(f"--hit counts from 1; it is {options.hit}")
    how, folder = search_options(options), options.index
    which = Which(options.hit, options.chunk, options.file, options.above, options.check)
    output = _asked(options, folder, how, {"command": "explain", "which": asdict(which)})
    if output is None:
        with Index.open(folder, device=options.device, dtype=options.dtype) as index:
            output = _explanation(
                *(index, folder, options.query, which, how),
                as_json=options.json,
                colour=use_colour(),
            )
    return _print(output)


def _explanation(
    index: Index,
    folder: str,
    query: str,
    which: Which,
    how: SearchOptions,
    *,
    as_json: bool,
    colour: bool,
) -> _Output:
    """What is printed of an explanation."""
    from retriever.explaining.summary import difference_summary, summarise
    from retriever.interface.terminal.explanations import (
        check_lines,
        difference_lines,
        explanation_lines,
        why_not_lines,
    )
    from retriever.interface.terminal.results import query_lines

    told: Any
    check = None
    more: dict[str, Any] = {}
    with index.snapshot():  # search and explanation read the same generation
        if which.file:
            told = index.why_not(query, which.file, options=how)
            lines = why_not_lines(told)
            if told.best is not None and not as_json:
                best = index.explain(query, told.best.chunk, options=how)
                lines += explanation_lines(best, colour=colour)
        elif which.above:
            first, second = which.above
            told = index.compare(query, first, second, options=how)
            lines = difference_lines(told)
            more["summary"] = str(difference_summary(told, "the first", "the second"))
        else:
            told = _explained(index, query, which, how)
            lines = explanation_lines(told, colour=colour)
            more["summary"] = summarise(told)
            check = index.check_explanation(told) if which.check else None
        instead = _corrections(index, query, how)
    if as_json:
        more |= {} if check is None else {"check": check.to_json()}
        return _Output({"index": folder, **more, **told.to_json()})
    lines += check_lines(check) if check else []
    return _Output(out=["\n".join(lines)], err=list(query_lines((), instead)))


def explanation_document(
    index: Index, name: str, query: str, which: Which, how: SearchOptions
) -> Mapping[str, Any]:
    """What `wva explain --json` prints of a search in an open index, which has this name."""
    return _explanation(index, name, query, which, how, as_json=True, colour=False).document or {}


def _corrections(index: Index, query: str, how: SearchOptions) -> Mapping[str, Sequence[str]]:
    """The words of the query that occur nowhere → those searched for instead."""
    if how.mode == "dense" or not how.tolerant:
        return {}
    return index.corrections(query, syntax=how.syntax)


def _explained(index: Index, query: str, which: Which, how: SearchOptions) -> Explanation:
    """The explanation asked for by a chunk's id, or by a result's number."""
    if which.chunk:
        return index.explain(query, which.chunk, options=how)
    hits = index.search(query, max(which.hit, how.rerank), options=how)
    if len(hits) < which.hit:
        raise UsageError(f"there is no result {which.hit}: {len(hits)} were found")
    hit, first = hits[which.hit - 1], hits[: how.rerank]
    return index.explain(query, hit, options=how, first=first)
