"""A query and its options → results: every step between the text somebody typed and the hits.

The steps in order: parse the query, steer it, rank passages, group them, compute each match,
rerank, diversify, add context, choose sentences. Each step has a module of its own in this folder.
This module asks a snapshot; it knows neither the index nor how a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from retriever.arrays import Vectors
from retriever.embedding.attributed import AttributionCache
from retriever.embedding.protocols import Judge
from retriever.searching.grouping import filter_ranking, group, with_context
from retriever.searching.hybrid import search
from retriever.searching.match import MatchScale, bm25_unit, matching_ids, with_match
from retriever.searching.mmr import CANDIDATES_PER_RESULT, diversify
from retriever.searching.options import Mode, SearchOptions, Steering, as_mode
from retriever.searching.query_syntax import Query, is_searchable, parse, plain
from retriever.searching.rerank import rerank
from retriever.searching.sentences import with_sentences
from retriever.searching.steering import counting_text, steer
from retriever.searching.strength import with_strength
from retriever.storage.backends import CatalogReader, Snapshot
from retriever.storage.filters import And, chunk_fields, document_part
from retriever.types import Chunk, Hit, IndexStateError, UsageError, check_text


@dataclass(frozen=True, slots=True)
class SearchTools:
    """What a search needs of an index beside a snapshot; each is called only when it is needed.

    - `embed`: a query → its raw vector, (dim,).
    - `attributions`: texts → their vectors as sums over words, for steering.
    - `match_scale`: the index's scale of the match, None where it has none yet.
    - `judge`: the language model that reranks.
    - `lend`: prepares the snapshot where passages have no vectors yet (see `late`).
    - `index`: the index's name for error messages, empty for none.
    """

    embed: Callable[[str], Vectors]
    attributions: AttributionCache
    match_scale: Callable[[Snapshot], MatchScale | None]
    judge: Callable[[], Judge]
    lend: Callable[[Snapshot, Query, SearchOptions], None] = lambda snapshot, query, options: None
    index: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """What passages are ranked by: a text for BM25, and a function that gives its raw vector.

    `words` is the text without what no weight is left of, empty for none.
    """

    text: str
    mode: Mode
    embed: Callable[[str], Vectors]
    words: str


class SearchPipeline:
    """One search over one snapshot: `run` gives its results."""

    def __init__(
        self, snapshot: Snapshot, query: str, options: SearchOptions, tools: SearchTools
    ) -> None:
        self.snapshot = snapshot
        self.options = options
        self.tools = tools
        self.query = parse_query(query, options)
        self.where = self.query.within(options.filter)

    def run(self) -> list[Hit]:
        """The results, best first: at most `options.k`."""
        options = self.options
        if not self.query.text and self.query.fields:
            return self._finished(self._listed())
        self.tools.lend(self.snapshot, self.query, options)
        count = max(options.k, options.rerank)
        if options.diversity:
            count = max(count, CANDIDATES_PER_RESULT * options.k)
        hits = self._top(count) if options.min_match is None else self._top_matching(count)
        hits = self._diversify(self._rerank(hits))[: options.k]
        hits = with_strength(self.snapshot, hits, self._text, tolerant=options.tolerant)
        return self._finished(hits)

    def _finished(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with the passages around them and their best sentences, if asked for."""
        hits = [self._with_context(hit) for hit in hits]
        if not self.options.sentences:
            return hits
        words = self._target.words if hits and self.query.text else ""
        return with_sentences(self.snapshot, words, hits, tolerant=self.options.tolerant)

    def _listed(self) -> list[Hit]:
        """The first passages that the filter lets through, in order, without a score."""
        hits: list[Hit] = []
        catalog, where = self.snapshot.catalog, self.where or And(())
        for row in catalog.documents(document_part(where)):
            chunks = [c for c in catalog.chunks(row.id) if where.matches(chunk_fields(row, c))]
            for chunk in chunks[:1] if self.options.by_file else chunks:
                hits.append(Hit(rank=len(hits) + 1, score=0.0, chunk=chunk))
                if len(hits) == self.options.k:
                    return hits
        return hits

    # Steps

    def _top(self, count: int) -> list[Hit]:
        """The first `count` results, grouped if asked for, with their match."""
        if self.options.fold:
            hits = group(self._rank, count, self.snapshot.catalog)
        else:
            hits = self._rank(count)
        if not hits:
            return hits
        return with_match(hits, self._match_scale, self._bm25_unit)

    def _rank(self, count: int) -> list[Hit]:
        """The `count` best passages."""
        return search(
            *(self.snapshot, self._target.text, self._target.embed),
            k=count,
            mode=self._target.mode,
            where=self.where,
            by_file=self.options.by_file,
            tolerant=self.options.tolerant,
            feedback=self.options.feedback and self._steering is None,
        )

    def _top_matching(self, count: int) -> list[Hit]:
        """The first `count` results whose match is at least `min_match`."""
        min_match = self.options.min_match or 0.0
        return filter_ranking(
            self._top, count, lambda hit: self._match_of(hit) >= min_match, self._more_remain
        )

    def _rerank(self, hits: list[Hit]) -> list[Hit]:
        """The hits in the judge's order, if reranking is asked for."""
        count, seconds = self.options.rerank, self.options.rerank_seconds
        if not count or not hits:
            return hits
        return rerank(self.query.text, hits, self.tools.judge(), count, seconds=seconds)

    def _diversify(self, hits: list[Hit]) -> list[Hit]:
        """The hits chosen by MMR, if diversity is asked for."""
        if not self.options.diversity or not hits:
            return hits
        ids, passages = [hit.chunk.id for hit in hits], self.snapshot.passages
        missing = passages.without_vector(ids) if self.snapshot.some_pending else set()
        known = [id_ not in missing for id_ in ids]
        vectors = passages.vectors(ids)
        return diversify(hits, vectors, self.options.k, self.options.diversity, known)

    def _with_context(self, hit: Hit) -> Hit:
        """The hit with the passages around it, if context is asked for."""
        count = self.options.context
        return with_context(hit, count, self.snapshot.catalog) if count else hit

    # The query

    @cached_property
    def _steering(self) -> Steering | None:
        """The steering; None where it changes nothing."""
        steering = self.options.steering
        return None if steering is None or steering.changes_nothing else steering

    @cached_property
    def _text(self) -> str:
        """The query's text without words that count nothing."""
        return searched_text(self.query, self.options, self.tools.attributions)

    @cached_property
    def _target(self) -> _Target:
        """What is searched for: the query's text and vector, or the steered ones."""
        text, mode = self.query.text, as_mode(self.options.mode)
        if self._steering is None or mode is Mode.KEYWORD:
            # The ranking may be read further than at first: the query is embedded once.
            return _Target(text, mode, cache(self.tools.embed), text)
        steered = steer(
            *(self.tools.attributions, text, self._steering, self.snapshot.calibration),
            lambda chunk_id: find_chunk(self.snapshot.catalog, chunk_id),
        )
        if is_searchable(steered.text):
            return _Target(steered.text, mode, lambda _: steered.vector, steered.text)
        # No word is left to look for: the vector alone is the query.
        return _Target("vector", Mode.DENSE, lambda _: steered.vector, "")

    # The match

    @cached_property
    def _match_scale(self) -> MatchScale | None:
        return self.tools.match_scale(self.snapshot)

    @cached_property
    def _bm25_unit(self) -> float:
        return bm25_unit(self.snapshot, self.query.text)

    def _match_of(self, hit: Hit) -> float:
        """The hit's match. Raises IndexStateError where the index has no scale for it yet."""
        if hit.match is None:
            where = f" in {self.tools.index}" if self.tools.index else ""
            raise IndexStateError(
                f"the index{where} does not know yet how good a match is: sync it once with wva "
                "index, or search without a least match"
            )
        return hit.match

    def _more_remain(self, hits: Sequence[Hit]) -> bool:
        """Whether a passage that matches well enough is in none of these results."""
        read = [one for hit in hits for one in (hit.chunk, *hit.parts, *hit.also)]
        by_file = self.options.by_file
        return bool(self._matching - {one.document_id if by_file else one.id for one in read})

    @cached_property
    def _matching(self) -> set[str]:
        """The ids of all passages that match well enough; with `by_file`, of their documents."""
        if self._match_scale is None:
            return set()
        target = self._target
        ids = matching_ids(
            *(self.snapshot, self._match_scale, self.options.min_match or 0.0),
            None if target.mode is Mode.KEYWORD else target.embed(target.text),
            None if target.mode is Mode.DENSE else target.text,
            unit=self._bm25_unit,
            where=self.where,
            tolerant=self.options.tolerant,
        )
        if not self.options.by_file:
            return ids
        return {chunk.document_id for chunk in self.snapshot.catalog.get(list(ids))}


def parse_query(query: str, options: SearchOptions) -> Query:
    """The query with its operators read, or as plain text where `options.syntax` is off."""
    check_text(query, "the query")
    return parse(query) if options.syntax else plain(query)


def searched_text(query: Query, options: SearchOptions, attributions: AttributionCache) -> str:
    """The query's text without the words that the steering gives a weight of 0 or less.

    Raises UsageError for a wrong number of weights.
    """
    weights = () if options.steering is None else options.steering.weights
    if as_mode(options.mode) is Mode.KEYWORD or all(weight > 0 for weight in weights):
        return query.text
    return counting_text(query.text, attributions.query(query.text).words, weights)


def find_chunk(catalog: CatalogReader, what: Chunk | str) -> Chunk:
    """A chunk by its id; a chunk is returned as it is. Raises UsageError for an unknown id."""
    if isinstance(what, Chunk):
        return what
    check_text(what, "the passage's id")
    found = catalog.get([what])
    if not found:
        raise UsageError(f"there is no passage {what!r} in this index; it may have changed")
    return found[0]


__all__ = ["SearchPipeline", "SearchTools", "find_chunk", "parse_query", "searched_text"]
