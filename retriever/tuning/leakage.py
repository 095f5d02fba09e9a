"""What is trained on is never what is measured: splits, and removal of what an evaluation holds.

Two pairs belong together if they share a query or a positive, by id or by normalised text.
`hold_out` keeps the connected components of this relation on one side. Normalised is a text without
case, punctuation and layout, after Unicode's NFKC.

A side is decided by hashes of the queries, not by a random generator: the same data gives the same
split, and a component that more data does not touch stays on its side (of less than two hundred
components nearly all do).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from typing import TypeVar

from retriever.evaluation.datasets import RetrievalDataset
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import UsageError

_NO_WORD = re.compile(r"[\W_]+")
_MOST_OF_SHARE = 0.5  # a component of more queries than this part of those held out is too large
_FEW = 2
_FEW_GROUPS = 200  # of fewer, exactly the share is held out

Name = TypeVar("Name", str, int)

Key = bytes
"""A digest of something that two pairs may share: a text or an id."""


def normalised(text: str) -> str:
    """The text without case, punctuation and layout; punctuation alone stays as it is.

    >>> normalised("The  DOG -- runs!"), normalised("the dog runs"), normalised("?!")
    ('the dog runs', 'the dog runs', '?!')
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if plain.isascii():
        bare = _NO_WORD.sub(" ", plain).strip()
    else:  # not by \W, which would take the vowel signs of Indian scripts for punctuation
        bare = " ".join("".join(one if _is_letter(one) else " " for one in plain).split())
    return bare or " ".join(plain.split())


@cache
def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def hold_out(data: PairData, share: float = 0.1, seed: int = 0) -> tuple[PairData, PairData]:
    """The pairs to train on, and about a `share` of the queries with their pairs to measure with.

    Both sides have the whole corpus. Where a component is too large for one side, queries are
    separated, and pairs to train on that share a positive with the other side are dropped; a note
    of the first result says how many. Raises UsageError if one of the sides would be empty.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share that is held out must be between 0 and 1; it is {share}")
    keys = [list(_pair_keys(pair)) for pair in data.pairs]
    queries = [_text_key(normalised(pair.query)) for pair in data.pairs]
    groups = connected(keys)
    largest = max(Counter(dict(zip(queries, groups, strict=True)).values()).values(), default=0)
    limit = max(_FEW, _MOST_OF_SHARE * share * len(set(queries)))
    whole = largest <= limit
    held = _held_groups(
        groups if whole else connected([[query] for query in queries]), queries, share, seed
    )
    mine = [pair for pair, out in zip(data.pairs, held, strict=True) if out]
    rest = [at for at, out in enumerate(held) if not out]
    measured = {key for at, out in enumerate(held) if out for key in keys[at]}
    clean = [at for at in rest if measured.isdisjoint(keys[at])]
    if not mine or not clean:
        raise UsageError(
            f"no pairs of {data.name} can be held out: almost all share a query or a passage"
        )
    notes = data.notes
    if not whole:
        notes += (
            f"many queries of {data.name} share their passages, so the held-out part is chosen by "
            f"queries: {len(rest) - len(clean)} of {len(rest)} pairs to train on share a passage "
            "with it and are left out",
        )
    train = replace(data, pairs=[data.pairs[at] for at in clean], notes=notes)
    return train, replace(data, pairs=mine)


def without(
    train: PairData, evaluation: PairData | RetrievalDataset
) -> tuple[PairData, dict[str, int]]:
    """The pairs that share neither query nor positive with an evaluation, by id and by text.

    The second result is the number of removed pairs by the first reason that holds: "query id",
    "query text", "passage id", "passage text". A positive of an evaluation is a passage that is
    relevant to one of its queries; the rest of its corpus may be trained on.
    """
    known = _known(evaluation)
    kept: list[Pair] = []
    removed: Counter[str] = Counter()
    for pair in train.pairs:
        reason = known.reason(pair)
        if reason:
            removed[reason] += 1
        else:
            kept.append(pair)
    return replace(train, pairs=kept), dict(removed)


@dataclass(frozen=True, slots=True)
class _Known:
    """The ids of the queries and of the positives of an evaluation, and the keys of all texts."""

    query_ids: frozenset[str]
    passage_ids: frozenset[str]
    texts: frozenset[Key]

    def reason(self, pair: Pair) -> str:
        """Why the pair may not be trained on; empty if it may."""
        if pair.id and pair.id in self.query_ids:
            return "query id"
        if _text_key(normalised(pair.query)) in self.texts:
            return "query text"
        if pair.positive.id and pair.positive.id in self.passage_ids:
            return "passage id"
        return "" if self.texts.isdisjoint(_passage_keys(pair.positive)) else "passage text"


def _known(evaluation: PairData | RetrievalDataset) -> _Known:
    queries: Iterable[tuple[str, str]]
    if isinstance(evaluation, PairData):
        queries = ((pair.id, pair.query) for pair in evaluation.pairs)
        positives = [pair.positive for pair in evaluation.pairs]
    else:
        queries = evaluation.queries.items()
        positives = [
            Passage(text, title, name)
            for judged in evaluation.qrels.values()
            for name, grade in judged.items()
            if grade > 0 and name in evaluation.corpus
            for title, text in [evaluation.corpus[name]]
        ]
    ids, texts = set[str](), set[Key]()
    for name, text in queries:
        ids.add(name)
        texts.add(_text_key(normalised(text)))
    for positive in positives:
        texts.update(_passage_keys(positive))
    return _Known(
        frozenset(ids), frozenset(positive.id for positive in positives), frozenset(texts)
    )


def connected(keys: Sequence[Sequence[Key]]) -> list[int]:
    """The number of each item's connected component: items with a common key are in one.

    >>> connected([[b"a"], [b"b"], [b"b", b"c"], [b"c"], []])
    [0, 1, 1, 1, 4]
    """
    parent = list(range(len(keys)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[Key, int] = {}
    for at, own in enumerate(keys):
        for key in own:
            one, other = sorted((root(at), root(first.setdefault(key, at))))
            parent[other] = one
    return [root(at) for at in range(len(keys))]


def chosen(names: Mapping[Name, bytes], share: float, seed: int) -> set[Name]:
    """About a `share` of the names, by hashes of what each stands for.

    A name that is added does not change the side of the others. Of few names those with the
    smallest hashes are chosen, so that the share is exact and neither side is empty.
    """
    side = {name: int.from_bytes(_hash(f"side {seed}", key)) / 2**64 for name, key in names.items()}
    found = {name for name, value in side.items() if value < share}
    if len(side) > 1 and (len(side) < _FEW_GROUPS or not 0 < len(found) < len(side)):
        count = min(len(side) - 1, max(1, round(share * len(side))))
        found = set(sorted(side, key=lambda name: side[name])[:count])
    return found


def _held_groups(
    groups: Sequence[int], queries: Sequence[Key], share: float, seed: int
) -> list[bool]:
    """Whether each pair is held out, by the query that represents its group.

    A group is represented by its first query in the order of another hash, so that groups of all
    sizes are held out equally often.
    """
    members: Mapping[int, list[Key]] = defaultdict(list)
    for group, query in zip(groups, queries, strict=True):
        members[group].append(query)
    held = chosen(
        {
            group: min(own, key=lambda query: _hash(f"order {seed}", query))
            for group, own in members.items()
        },
        share,
        seed,
    )
    return [group in held for group in groups]


def _pair_keys(pair: Pair) -> Iterator[Key]:
    """What a pair may share with others: the texts and the ids of both sides."""
    yield _text_key(normalised(pair.query))
    if pair.id:
        yield _hash("query", pair.id.encode("utf-8", "surrogatepass"))
    yield from _passage_keys(pair.positive)
    if pair.positive.id:
        yield _hash("id", pair.positive.id.encode("utf-8", "surrogatepass"))


def _passage_keys(passage: Passage) -> Iterator[Key]:
    """The text, and title and text together: other data may have both as one."""
    text, title = normalised(passage.text), normalised(passage.title)
    if text:
        yield _text_key(text)
    if title:
        yield _text_key(f"{title} {text}".strip())


def _text_key(text: str) -> Key:
    return _hash("text", text.encode("utf-8", "surrogatepass"))


def _hash(kind: str, name: bytes) -> Key:
    return blake2b(name, digest_size=8, person=b"", salt=b"", key=kind.encode()).digest()


__all__ = ["chosen", "connected", "hold_out", "normalised", "without"]
