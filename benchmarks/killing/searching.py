"""A process that searches all the time: what it finds is as before or as afterwards, never mixed.

Each document has a word of its own. A search for it finds the passages of that word as they were
before, or as they are afterwards; once afterwards was seen, before never comes back. A search for
other words finds passages of these two states only. Errors are allowed where there is no index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.killing.scenarios import Scenario, World, is_missing, key_word
from benchmarks.killing.upkeep import ALL
from retriever.types import RetrieverError

Found = frozenset[tuple[str, str, str]]
Texts = Mapping[str, Mapping[str, str]]
PAUSE = 0.02
MISSING_PAUSE = 0.05
_MOST = 5  # violations that are told


@dataclass(slots=True)
class Searched:
    """How many searches were answered, and what was wrong."""

    count: int = 0
    mixed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def search_until_told(
    name: str, world: World, before: Texts, after: Texts, connection: Connection
) -> None:
    """Search until the other end says something, then send what was found."""
    scenario = ALL[name]
    watched = _Watch(scenario, before, after)
    search: Callable[[str], set[tuple[str, str, str]]] | None = None
    opened = False
    while not connection.poll(MISSING_PAUSE if search is None else PAUSE):
        try:
            search = search or scenario.found(world)
            opened = True
            watched.step(search)
        except RetrieverError as error:
            search = None
            if not is_missing(error) or not (scenario.vanishes or (not before and not opened)):
                watched.found.failed.append(str(error))
        except Exception as error:  # noqa: BLE001 - it is told
            search = None
            watched.found.failed.append(repr(error))
    for said in (watched.found.mixed, watched.found.lost, watched.found.failed):
        del said[_MOST:]
    connection.send(watched.found)


class _Watch:
    def __init__(self, scenario: Scenario, before: Texts, after: Texts) -> None:
        self.found = Searched()
        words = [key_word(number) for number in range(2 * scenario.keys)]
        self._before = {word: _with(word, before) for word in words}
        self._after = {word: _with(word, after) for word in words}
        self._words = [word for word in words if self._before[word] or self._after[word]]
        self._seen: set[str] = set()  # words found as they are afterwards
        self._at = 0

    def step(self, search: Callable[[str], set[tuple[str, str, str]]]) -> None:
        """Search for the next word, and compare."""
        if not self._words:
            return
        word = self._words[self._at % len(self._words)]
        self._at += 1
        found = frozenset(search(word))
        self.found.count += 1
        old, new = self._before[word], self._after[word]
        if found == new:
            if old != new:
                self._seen.add(word)
        elif found != old:
            where = self.found.lost if found < (old | new) and not found else self.found.mixed
            where.append(f"{word}: {_told(found)}; before {_told(old)}, afterwards {_told(new)}")
        elif word in self._seen:
            self.found.mixed.append(f"{word} came back as it was before: {_told(found)}")


def _with(word: str, texts: Texts) -> Found:
    return frozenset(
        (path, id_, text)
        for path, passages in texts.items()
        for id_, text in passages.items()
        if word in text.lower()
    )


def _told(found: Found) -> str:
    return ", ".join(sorted(f"{path} {text[:40]!r}" for path, _, text in found)) or "nothing"


__all__ = ["Searched", "search_until_told"]
