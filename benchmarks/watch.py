"""Follows a folder: `python -m benchmarks.watch`.

Files are saved, renamed and deleted in a folder that is followed as by `wva watch`, with an
embedder that needs no model. The table has how long it takes until a search finds them, or does not
any more, by words. Then a storm: all files are written again and again, in bursts. It tells how
many runs that makes, how much memory, and whether the index equals the folder afterwards. The exit
code is 1 if it does not after a quarter of an hour, or if something was not found within a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from retriever.index import Index
from retriever.indexing.ledger import SyncReport
from retriever.interface.watch import Follower, Watched
from retriever.reading.changes import QUIET_SECONDS, changes
from tests.fakes import FakeEmbedder

PATIENCE = 60.0
STORM_PATIENCE = 900.0
PAUSE = 0.005


class Followed:
    """A folder that a thread follows, and an index to search in."""

    def __init__(self, docs: Path, folder: Path) -> None:
        self.docs = docs
        self.index = Index.open_or_create(folder, FakeEmbedder())
        self.runs = 0
        self._stop = threading.Event()
        self._writer = Index.open(folder, FakeEmbedder())
        watched = Watched(
            (docs,),
            self._run,
            lambda folders, *, poll: changes(folders, poll=poll, stop=self._stop),
            lambda sentence: print(sentence, file=sys.stderr),
            lambda report: None,
        )
        self._thread = threading.Thread(target=Follower(watched).follow)

    def __enter__(self) -> Followed:
        self._run([self.docs])
        self._thread.start()
        self.seconds_until(lambda: self.runs > 1)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._writer.close()
        self.index.close()

    def _run(self, paths: Sequence[Path]) -> SyncReport:
        report = self._writer.sync(list(paths), quiet=QUIET_SECONDS, jobs=1)
        self.runs += 1
        return report

    def seconds_until(self, done: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Seconds until something is so; infinite if it never is."""
        start = time.monotonic()
        while not done():
            if time.monotonic() - start > patience:
                return float("inf")
            time.sleep(PAUSE)
        return time.monotonic() - start

    def finds(self, word: str) -> list[str]:
        """The paths of the files with a word."""
        return [hit.chunk.path for hit in self.index.search(f"+{word}", mode="keyword")]

    def equals_folder(self) -> bool:
        """Whether the documents are the files, byte for byte."""
        files = {
            path.relative_to(self.docs).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.docs.rglob("*.txt")
        }
        return {row.path: row.sha256 for row in self.index.documents()} == files


def measure(followed: Followed, rounds: int) -> dict[str, list[float]]:
    """The seconds of each kind of change."""
    found: dict[str, list[float]] = {"saved": [], "renamed": [], "deleted": []}
    for number in range(rounds):
        word = f"okapi{number}"
        path, moved = followed.docs / f"new/{word}.txt", followed.docs / f"moved{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"The {word} sleeps near the river.", "utf-8")
        found["saved"].append(followed.seconds_until(lambda: bool(followed.finds(word))))  # noqa: B023 - called at once
        path.rename(moved)
        found["renamed"].append(
            followed.seconds_until(lambda: followed.finds(word) == [moved.name])  # noqa: B023 - called at once
        )
        moved.unlink()
        found["deleted"].append(followed.seconds_until(lambda: not followed.finds(word)))  # noqa: B023 - called at once
    return found


def storm(followed: Followed, events: int, seed: int) -> float:
    """Write files at random so many times; the seconds from the end until the index has them."""
    files = sorted(followed.docs.rglob("*.txt"))
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(events):
        chance.choice(files).write_text(f"The gecko of write {number} sleeps.", "utf-8")
    return followed.seconds_until(followed.equals_folder, STORM_PATIENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if the index does not follow the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=5_000, help="files in the folder")
    parser.add_argument("--rounds", type=int, default=10, help="changes of each kind")
    parser.add_argument("--events", type=int, default=100_000, help="writes of the storm")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="a few files: does it run?")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.files, options.rounds, options.events = 20, 1, 200
    with tempfile.TemporaryDirectory() as scratch:
        docs = Path(scratch) / "docs"
        for number in range(options.files):
            path = docs / f"{number % 100}/{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"The gecko of file {number} sleeps near the river.", "utf-8")
        with Followed(docs, Path(scratch) / "index") as followed:
            return _report(followed, options)


def _report(followed: Followed, options: argparse.Namespace) -> int:
    found = measure(followed, options.rounds)
    print("| change | seconds until a search knows it (median) | longest |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")
    memory = psutil.Process().memory_info
    before, runs = memory().rss, followed.runs
    after = storm(followed, options.events, options.seed)
    grown = (memory().rss - before) / 1e6
    print("\n| writes | files | runs | seconds after the last | MB more |\n|---|---|---|---|---|")
    counts = f"{options.events:,} | {options.files:,} | {followed.runs - runs}"
    print(f"| {counts} | {after:.1f} | {grown:.0f} |")
    longest = max(max(values) for values in found.values())
    return int(max(longest, after) == float("inf"))


if __name__ == "__main__":
    sys.exit(main())
