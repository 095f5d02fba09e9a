"""What the tools do, with open indexes: plain functions that know nothing of the protocol.

An id is `INDEX/ID`, where ID is that of a passage or document; without the index it is looked for
in all of them. Nothing but what is in the indexes can be asked for: no path is ever opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from retriever.index import Index
from retriever.interface.commands.searching import search_document
from retriever.interface.document_texts import document_json, passage_json
from retriever.interface.mcp.shapes import (
    Explained,
    Fetched,
    IndexStatus,
    Result,
    Results,
    Status,
    Word,
)
from retriever.searching.options import SearchOptions
from retriever.types import Chunk, IndexStateError, ModelError, RetrieverError, UsageError

FETCHED = 20_000
"""Characters of a document that are fetched at once: what a model reads without losing much."""

PAIRS = 8
"""Pairs of words of an explanation."""

_AROUND = 1  # passages before and after one
_SHOWN = 400  # characters of a passage without a sentence

Found = TypeVar("Found")
Indexes = Mapping[str, Index]


def search(indexes: Indexes, query: str, options: SearchOptions) -> Results:
    """The results of a search."""
    if not query.strip():
        raise UsageError("the query is empty; give some words to search for")
    told = search_document(indexes, query, options)
    only = next(iter(indexes))
    return Results(
        results=[_result(hit.get("index", only), hit) for hit in told["hits"]],
        nothing_matches=told["nothing_matches"],
        said=told["verdict"],
        notes=[
            *(f"{name} is left out: {why}" for name, why in told.get("failed", {}).items()),
            *told["notes"],
        ],
    )


def similar(indexes: Indexes, id_: str, count: int) -> Results:
    """The passages nearest to a passage of the same index."""
    name, chunk = _passage(indexes, id_)
    hits = indexes[name].similar(chunk, count)
    results = [_result(name, hit.to_json()) for hit in hits]
    return Results(results=results, nothing_matches=False, said="")


def fetch(indexes: Indexes, id_: str, offset: int, length: int) -> Fetched:
    """A passage with those around it, or a document's text from `offset` on."""

    def ask(index: Index, own: str) -> dict[str, Any] | None:
        found = passage_json(index, own, context=_AROUND)
        return found or document_json(
            index, own, offset=offset, length=max(1, min(length, FETCHED))
        )

    name, own, found = _first(indexes, id_, ask)
    text = str(found.pop("text"))
    if "pages" in found:  # a document: its pages' places are many
        found["pages"] = len(found["pages"])
    for side in ("before", "after"):
        if side in found:
            found[side] = [
                {"id": f"{name}/{one['chunk_id']}", "text": one["text"]} for one in found[side]
            ]
    return Fetched(
        id=f"{name}/{own}",
        title=found.get("title") or found.get("path") or "",
        text=text,
        url=_url(name, own),
        metadata={"index": name, **found},
    )


def explain(indexes: Indexes, query: str, id_: str, options: SearchOptions) -> Explained:
    """Why a passage has its score for a query."""
    from retriever.explaining.summary import summarise

    name, chunk = _passage(indexes, id_)
    told = indexes[name].explain(query, chunk, options=options)
    pairs = [] if told.dense is None else told.dense.pairs(PAIRS)
    words = () if told.keyword is None else told.keyword.words
    return Explained(
        id=f"{name}/{chunk}",
        summary=summarise(told),
        score=told.score,
        terms={term.name: term.value for term in told.terms},
        by_meaning=[
            Word(word=pair.passage.word, query_word=pair.query.word, value=pair.value)
            for pair in pairs
        ],
        by_word={one.word: one.score for one in words},
    )


def status(indexes: Indexes) -> Status:
    """What is in the indexes."""
    return Status(indexes=[*map(_status, indexes.values(), indexes)])


def _status(index: Index, name: str) -> IndexStatus:
    try:
        told = index.info()
    except RetrieverError as error:
        return IndexStatus(index=name, problem=str(error))
    return IndexStatus(
        index=name,
        documents=told["documents"],
        passages=told["chunks"],
        vectors=index.vector_share,
        formats=told["formats"],
        model=(told["model"] or {}).get("model", ""),
    )


def _result(name: str, hit: Mapping[str, Any]) -> Result:
    """A result from the JSON of a hit."""
    sentence = (hit["sentence"] or {}).get("text") or hit["text"][:_SHOWN]
    return Result(
        id=f"{name}/{hit['chunk_id']}",
        title=hit["title"] or hit["path"],
        url=_url(name, hit["chunk_id"]),
        path=hit["path"],
        page=_place(hit),
        sentence=sentence,
        score=hit["score"],
        match=hit["match"],
    )


def _place(hit: Mapping[str, Any]) -> str:
    chunk = Chunk("", "", "", "", "", hit["page"], 0, 0, "", hit["label"], printed=hit["printed"])
    return chunk.place


def _url(name: str, own: str) -> str:
    return f"wva://{quote(name)}/{quote(own)}"


def _passage(indexes: Indexes, id_: str) -> tuple[str, str]:
    """The index of a passage, and its id there."""
    name, own, _ = _first(indexes, id_, passage_json)
    return name, own


def _first(
    indexes: Indexes, id_: str, ask: Callable[[Index, str], Found | None]
) -> tuple[str, str, Found]:
    """The first index that knows an id, the id there, and what it says of it.

    An index that cannot be read hides no other one: its error is raised where none knows the id.
    """
    failed: RetrieverError | None = None
    for name, own in _candidates(indexes, id_):
        try:
            found = ask(indexes[name], own)
        except (IndexStateError, ModelError) as error:
            failed = failed or error
            continue
        if found is not None:
            return name, own, found
    raise failed or UsageError(
        f"there is nothing with the id {id_!r} here; take an id from the results of search, which "
        "may have changed"
    )


def _candidates(indexes: Indexes, id_: str) -> Iterator[tuple[str, str]]:
    name, slash, own = id_.removeprefix("wva://").partition("/")
    if id_.startswith("wva://"):
        name, own = unquote(name), unquote(own)
    if slash and name in indexes:
        yield name, own
    elif not slash:
        yield from ((each, id_) for each in indexes)


__all__ = ["FETCHED", "explain", "fetch", "search", "similar", "status"]
