"""Kills the program anywhere, and looks at what is left: `python -m benchmarks.kills`.

Scenarios (see `benchmarks.killing`) act in a process of their own, which is killed with
SIGKILL: at named points, which are all places where the product writes, each at least once if
`--kills` suffices; and at random moments. Beside it a process searches all the time. After each
kill the next start completes the work, and the end is compared with an index built afresh: ids,
texts, terms, vectors, means, weight, scale of the match, and the results of several queries in
three modes. The exit code is 1 if anything was lost, mixed, unequal, damaged or left behind.

With `--model` it is `wva index` with that model that is killed, at amounts of work.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.killing import by_model
from benchmarks.killing.points import Point
from benchmarks.killing.trial import Outcome, Prepared, kill, preload, prepare
from benchmarks.killing.upkeep import ALL

TINY = ("creation", "deletion beside a file")
SLOW = ("model conversion", "watch")
"""Scenarios with a quarter of the kills of another one."""

POINTS = 0.6
"""The share of the kills at named points."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], metavar="SCENARIO", choices=ALL)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--tiny", action="store_true", help="a few kills")
    parser.add_argument("--model", help="kill `wva index` with this model instead")
    parser.add_argument("--times", type=int, default=10, help="number of kills with --model")
    parser.add_argument("--files", type=int, default=60, help="number of files with --model")
    parser.add_argument("--folder", type=Path, default=by_model.SAMPLE, help="texts of these files")
    parser.add_argument("--dtype", default="float32", help="with --model")
    options = parser.parse_args(arguments)
    if options.model:
        return by_model.run(options)
    names = options.only or (TINY if options.tiny else list(ALL))
    count = len(names) if options.tiny else options.kills
    started = time.monotonic()
    preload(names)
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as scratch,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        folders = {name: Path(scratch, name.replace(" ", "-")) for name in names}
        made = pool.map(lambda name: prepare(name, folders[name], small=options.tiny), names)
        prepared = list(made)
        chance = random.Random(options.seed)  # noqa: S311 - repeatable
        plans = plan(prepared, count, chance)
        turns = deque((one, iter(plans[one.name])) for one in prepared)
        until = started + 60 * options.minutes
        workers = [pool.submit(_kill_in_turn, turns, until) for _ in range(options.jobs)]
        outcomes = [outcome for worker in workers for outcome in worker.result()]
    _print(prepared, plans, outcomes, options.seed, time.monotonic() - started)
    return 1 if any(outcome.said for outcome in outcomes) else 0


def _kill_in_turn(
    turns: deque[tuple[Prepared, Iterator[Point | float]]], until: float
) -> list[Outcome]:
    """Kill in one scenario after the other, each of which one thread has at a time."""
    outcomes = []
    while turns and time.monotonic() < until:
        try:
            one, places = turns.popleft()
        except IndexError:  # another thread was faster
            break
        where = next(places, None)
        if where is not None:
            outcomes.append(_told(kill(one, where)))
            turns.append((one, places))
    return outcomes


def plan(
    prepared: Sequence[Prepared], count: int, chance: random.Random
) -> dict[str, list[Point | float]]:
    """Where to kill: each named point once, as far as `count` allows, and random moments."""
    shares = {one.name: 0.25 if one.name in SLOW else 1.0 for one in prepared}
    whole = sum(shares.values())
    room = {name: max(1, round(count * share / whole)) for name, share in shares.items()}
    found: dict[str, list[Point | float]] = {one.name: [] for one in prepared}
    offered: dict[str, list[Prepared]] = {}
    for one in prepared:
        for name in one.points:
            offered.setdefault(name, []).append(one)
    names = sorted(offered)
    chance.shuffle(names)
    for name in sorted(names, key=lambda name: len(offered[name])):  # the rare ones first
        # The scenario with the most room takes it.
        free = [
            (room[one.name] - len(found[one.name]), chance.random(), one) for one in offered[name]
        ]
        left, _, one = max(free, key=lambda entry: entry[:2])
        if left > 0:
            found[one.name].append(Point(name, 1 + chance.randrange(one.points[name])))
    for one in prepared:
        more = list(_more(one, room[one.name] - len(found[one.name]), chance))
        found[one.name] += more
    return found


def _more(one: Prepared, count: int, chance: random.Random) -> Iterator[Point | float]:
    """Points in the order of how often they are passed, and moments."""
    for _ in range(count):
        if one.passed and chance.random() < POINTS:
            at = chance.randrange(len(one.passed))
            name = one.passed[at][0]
            yield Point(name, sum(name == passed for passed, _ in one.passed[: at + 1]))
        else:
            yield one.moment(chance)


def _told(outcome: Outcome) -> Outcome:
    """The outcome; what was wrong is printed at once."""
    for said in outcome.said:
        print(f"{outcome.scenario}, {outcome.where}: {said}", file=sys.stderr, flush=True)
    return outcome


def _print(
    prepared: Sequence[Prepared],
    plans: dict[str, list[Point | float]],
    outcomes: Sequence[Outcome],
    seed: int,
    seconds: float,
) -> None:
    print(
        "| scenario | killed | at named points | done before | searches | lost | mixed | unequal | "
        "remains | failed |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in [*(one.name for one in prepared), "all"]:
        own = [one for one in outcomes if name in (one.scenario, "all")]
        landed = [one for one in own if one.landed]
        at_points = sum(not one.where.startswith("after ") for one in landed)
        numbers = [len(landed), at_points, len(own) - len(landed), sum(o.searches for o in own)]
        kinds = ("lost", "mixed", "unequal", "remains", "failed")
        numbers += [sum(bool(getattr(one, kind)) for one in own) for kind in kinds]
        print(f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |")
    known = {name for one in prepared for name in one.points}
    hit = {one.where.rpartition(" (")[0] for one in outcomes if one.landed} & known
    print(f"\n{len(hit)} of {len(known)} named points, seed {seed}, {seconds / 60:.1f} minutes")
    for name in sorted(known - hit) if len(outcomes) > len(known) else ():
        print(f"not hit: {name}")


if __name__ == "__main__":
    sys.exit(main())
