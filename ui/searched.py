"""The collections that are searched together, and what a search of them finds.

One of them is the visitor's collection: filters, weights and marked passages are those of its
search. The others answer beside it.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import streamlit as st

from retriever.index import Index
from retriever.searching.options import Mode, SearchOptions
from retriever.searching.several import corrections_in_all, search_all, verdict_in_all
from retriever.types import DocumentRow, Hit, RetrieverError
from ui.highlighting import HighlightTerms
from ui.page_query import PageQuery
from ui.resources import CatalogId, SharedIndex


@dataclass(frozen=True, slots=True)
class Searched:
    """The visitor's collection `main`, and the `others` by name."""

    main: SharedIndex
    others: Mapping[str, SharedIndex] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, SharedIndex]:
        """All of them by name, the visitor's first."""
        return {self.main.path.name: self.main, **self.others}

    @property
    def loading(self) -> bool:
        """Whether a model that the search needs is being loaded now."""
        return any(one.loading for one in self.every.values())

    def documents(self) -> dict[str, DocumentRow]:
        """The documents of all by id; of the same one in several collections the first."""
        found: dict[str, DocumentRow] = {}
        for one in reversed(self.every.values()):
            found |= one.documents()
        return found

    def with_sentences(
        self, text: str, found: Found, wanted: Container[str], options: SearchOptions
    ) -> Found:
        """What was found, with the best sentences of the hits whose ids are `wanted`."""
        known: dict[str, Hit] = {}
        for name, one in self.every.items():
            own = [
                hit
                for hit in found.hits
                if hit.sentence is None
                and hit.chunk.id in wanted
                and found.names.get(hit.chunk.id, name) == name
            ]
            for hit in one.index.choose_sentences(text, own, options=options) if own else ():
                known[hit.chunk.id] = hit
        return replace(found, hits=[known.get(hit.chunk.id, hit) for hit in found.hits])

    def corrections(self, text: str, options: SearchOptions) -> dict[str, list[str]]:
        """The words that occur nowhere, and what was searched for instead."""
        return corrections_in_all((one.index for one in self.every.values()), text, options)

    def highlight_terms(self, page_query: PageQuery, options: SearchOptions) -> HighlightTerms:
        """The words to mark: the query's that count, and the collections' terms for them."""
        text = self.main.index.searched_text(page_query.text, options=options)
        if page_query.mode == Mode.DENSE:
            return HighlightTerms(text)
        terms: frozenset[str] = frozenset()
        for one in self.every.values():
            with one.index.snapshot(dense=False) as now:
                terms |= now.matched_terms(text)
        return HighlightTerms(text, terms)


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, best first; `names` has the collection of a passage's id if several were searched.

    `matching` is the number of passages that match at least likely, None if it is not known.
    `failed` are sentences about collections that could not be searched.
    """

    hits: list[Hit]
    names: Mapping[str, str] = field(default_factory=dict)
    matching: int | None = None
    failed: tuple[str, ...] = ()


def verdict(searched: Searched, text: str, found: Found, options: SearchOptions) -> str:
    """The verdict on the hits; "" if that on the hits of one of the collections is."""
    own = {
        name: [hit for hit in found.hits if found.names.get(hit.chunk.id, name) == name]
        for name in searched.every
    }
    indexes = {name: one.index for name, one in searched.every.items()}
    return verdict_in_all(indexes, text, own, options)


def find(
    searched: Searched, page_query: PageQuery, options: SearchOptions, documents: int = 0
) -> Found:
    """The hits; those of the same search are remembered for one generation of the indexes.

    Where they are of less than half as many `documents`, the best passages of other ones follow.
    """
    if page_query.mode != Mode.KEYWORD:
        searched.main.load_model()
    places = tuple((one.place, one.index.generation) for one in searched.every.values())
    key = json.dumps(options.to_json(), sort_keys=True)
    indexes = {name: one.index for name, one in searched.every.items()}
    return _cached(places, page_query.text, key, documents, (indexes, options))


@st.cache_resource(show_spinner=False, max_entries=64)
def _cached(
    places: tuple[tuple[CatalogId, int], ...],
    text: str,
    key: str,
    documents: int,
    _asked: tuple[Mapping[str, Index], SearchOptions],
) -> Found:
    indexes, options = _asked
    others = options.changed(max(1, documents), by_file=True)
    if len(indexes) == 1:
        (index,) = indexes.values()
        embed = cache(index.embed_query)  # once for both
        hits = index.search(text, options=options, embed=embed)
        if _documents(hits) < documents / 2:
            hits = _followed(hits, index.search(text, options=others, embed=embed))
        count = index.count_matches(text, hits, options=options, embed=embed)
        return Found(hits, matching=None if count is None else count.passages)
    failed: list[str] = []

    def note(name: str, error: RetrieverError) -> None:
        failed.append(f"{name} is left out: {error}")

    found = search_all(indexes, text, options, failed=note)
    if _documents([one.hit for one in found]) < documents / 2:
        known = {one.hit.chunk.document_id for one in found}
        more = search_all(indexes, text, others)
        found += [one for one in more if one.hit.chunk.document_id not in known]
    hits = []
    names: dict[str, str] = {}
    for one in found:
        if one.hit.chunk.id not in names:  # the same file may be in several collections
            hits.append(one.hit)
            for chunk in (one.hit.chunk, *one.hit.parts):
                names.setdefault(chunk.id, one.name)
    ranked = [replace(hit, rank=at) for at, hit in enumerate(hits, 1)]
    return Found(ranked, names, failed=tuple(failed))


def _documents(hits: Sequence[Hit]) -> int:
    return len({hit.chunk.document_id for hit in hits})


def _followed(hits: list[Hit], more: Sequence[Hit]) -> list[Hit]:
    """The hits, and then those of other documents, ranked on."""
    known = {hit.chunk.document_id for hit in hits}
    others = [hit for hit in more if hit.chunk.document_id not in known]
    return [*hits, *(replace(hit, rank=len(hits) + at) for at, hit in enumerate(others, 1))]


__all__ = ["Found", "Searched", "find", "verdict"]
