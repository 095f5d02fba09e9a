"""What `--workers` names, and what actors claim of a cluster."""

from __future__ import annotations

import itertools
import math

import pytest

from retriever.distributed.place import Place
from retriever.distributed.shares import Node, shares
from retriever.types import UsageError


def test_the_forms_of_workers() -> None:
    assert Place.parse("ray").is_own
    assert Place.parse("ray:auto") == Place("auto")
    assert Place.parse("ray://head:10001") == Place("ray://head:10001")
    wished = Place.parse("ray?actors=2&cpus=0.5&gpus=0&patience=60")
    assert wished == Place("local", actors=2, cpus=0.5, gpus=0.0, patience=60.0)


@pytest.mark.parametrize(
    "text",
    ["", "dask", "ray:", "ray://", "ray?actors=0", "ray?actors=two", "ray?cpus=-1", "ray?memory=3"],
)
def test_what_is_no_place_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="ray"):
        Place.parse(text)


@pytest.mark.parametrize(
    ("cpus", "nodes", "actors"), [*itertools.product((1, 2, 3, 8), (1, 2, 3), (0, 1, 2, 5))]
)
def test_actors_leave_a_part_of_each_machine_to_tasks(cpus: int, nodes: int, actors: int) -> None:
    """Otherwise a cluster with two processors and two actors would wait for ever."""
    found = shares([Node(cpus)] * nodes, Place(actors=actors))
    assert found.actors == (actors or nodes)
    on_one = math.ceil(found.actors / nodes)
    assert 0 < on_one * found.cpus <= (cpus - 1 if cpus > 1 else 0.5)
    assert found.threads * on_one <= max(cpus, on_one)


def test_each_card_has_an_actor() -> None:
    nodes = [Node(8, 2), Node(8, 2), Node(4)]
    found = shares(nodes, Place())
    assert (found.actors, found.gpus, found.cpus) == (4, 1.0, 1.0)
    assert shares(nodes, Place(gpus=0)).gpus == 0
    assert shares(nodes, Place(gpus=0.5)).actors == 8
