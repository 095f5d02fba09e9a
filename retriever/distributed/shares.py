"""How many actors embed, and what each of them claims.

Claims leave a part of every machine free: a cluster all of whose processors belong to actors never
starts a task, and says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from retriever.distributed.place import Place


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Shares:
    """So many actors, each with `cpus` and `gpus`, which computes with `threads`."""

    actors: int
    cpus: float
    gpus: float
    threads: int

    def __str__(self) -> str:
        each = f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        return f"{self.actors} actor{'s' * (self.actors != 1)} with {each} each"


def shares(nodes: Sequence[Node], place: Place) -> Shares:
    """What actors claim: a GPU each where there are any, else the processors of a machine each.

    >>> shares([Node(2)], Place(actors=2))
    Shares(actors=2, cpus=0.5, gpus=0.0, threads=1)
    >>> shares([Node(8), Node(8)], Place())
    Shares(actors=2, cpus=7.0, gpus=0.0, threads=8)
    """
    able = [node for node in nodes if node.cpus > 0] or [Node(1.0)]
    cards = sum(math.floor(node.gpus) for node in able)
    gpus = place.gpus if place.gpus is not None else float(bool(cards))
    actors = place.actors or (max(1, int(cards // gpus)) if gpus else len(able))
    least = min(node.cpus for node in able if not gpus or node.gpus or not cards)
    together = math.ceil(actors / len(able))  # actors of one machine
    cpus = place.cpus if place.cpus is not None else _claim(least, together)
    if gpus and place.cpus is None:
        cpus = min(1.0, cpus)
    threads = max(1, int(place.cpus or least // together))
    return Shares(actors, cpus, gpus, threads)


def _claim(cpus: float, together: int) -> float:
    """What each of the actors on a machine claims: whole processors, or an even part of one."""
    rest = cpus - 1 if cpus > 1 else cpus / 2
    each = rest / together
    return float(math.floor(each)) if each >= 1 else math.floor(100 * each) / 100 or 0.01


__all__ = ["Node", "Shares", "shares"]
