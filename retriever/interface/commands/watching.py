"""`wva watch` and `wva index --watch`: keep an index in step with folders until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.interface.commands.arguments import reading_arguments, requested_embedder
from retriever.interface.commands.indexing import ProgressPrinter, sync_arguments
from retriever.interface.commands.output import DONE, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.storage.opening import files_of, place_of
from retriever.types import RetrieverError, UsageError

if TYPE_CHECKING:
    from retriever.embedding.protocols import Embedder
    from retriever.index import Index
    from retriever.indexing.sync import FileReport, SyncReport


def run_watch(options: argparse.Namespace) -> int:
    """Follow folders: one run at the start, and one after every change."""
    from retriever.interface.watch import Follower, Watched, WatchLock
    from retriever.reading.changes import changes

    _check(options)
    terminated = _Terminated()
    lock = WatchLock(place_of(options.index))
    try:
        with _Runs(options) as runs:
            paths = runs.paths()
            lock.acquire()
            _say(f"following {_named(paths)}; end it with Ctrl-C")
            Follower(
                Watched(
                    paths,
                    runs.run,
                    changes,
                    _say,
                    _Printer(options).print,
                    hide=tuple(map(str, files_of(place_of(options.index)))),
                    poll=options.poll or 0.0,
                )
            ).follow()
    except KeyboardInterrupt:
        if not terminated.told:
            raise
    finally:
        lock.release()
    return DONE


def _check(options: argparse.Namespace) -> None:
    for name in ("dry_run", "vectors_only", "keywords_only"):
        if getattr(options, name):
            raise UsageError(
                f"--watch does not go with --{name.replace('_', '-')}; leave out one of them"
            )
    if options.poll is not None and not 0.1 <= options.poll <= 86_400:
        raise UsageError(f"--poll takes seconds, 0.1 to 86400, not {options.poll:g}")


class _Terminated:
    """Ends the program at SIGTERM as an interrupt does, and remembers that it was told to."""

    def __init__(self) -> None:
        self.told = False
        with suppress(ValueError):  # not in the main thread, where no signal arrives
            signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: Any) -> None:
        self.told = True
        raise KeyboardInterrupt


class _Runs:
    """The runs of one command. The index stays open, with its model, until a run fails."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.reading = reading_arguments(options)
        self.embedder: Embedder | None = None
        self.index: Index | None = None
        self.first = True

    def __enter__(self) -> _Runs:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def paths(self) -> tuple[Path, ...]:
        """The folders to follow: those given, or those of the index. A new index is made.

        Raises UsageError for a path that is not there, and that the index does not know.
        """
        from retriever.index import Index
        from retriever.reading.scan import divide_reachable, place, targets

        where = place_of(self.options.index)
        new = isinstance(where, Path) and not (where / "catalog.sqlite").exists()
        if self.options.paths and new:
            targets(self.options.paths, [])  # a wrong path must not leave an empty index behind
        self.embedder = requested_embedder(self.options)
        self.index = self._open() if self.options.paths else Index.open(where)
        rows = [row for row in self.index.documents() if row.root]
        known = [place(row.root, row.path) for row in rows]
        hide = files_of(where)
        if not self.options.paths:
            roots = sorted({row.root for row in rows})
            if not roots:
                raise UsageError("no path was given, and the index has no folders: name one")
            return tuple(map(Path, roots))
        reached, away = divide_reachable(self.options.paths, known, hide)
        if not away:
            away = [path for path in map(_absolute, reached) if _is_known(path, known)]
            reached = [path for path in reached if _absolute(path) not in away]
        found = targets(reached, [], hide) if reached else []
        return tuple(dict.fromkeys([*(one.path for one in found), *map(Path, away)]))

    def run(self, paths: Sequence[Path]) -> SyncReport:
        """Bring the index in step with some paths. Raises what `Index.sync` raises."""
        from retriever.reading.changes import QUIET_SECONDS

        if self.index is None:
            self.index = self._open()
        options = self.options
        printer: dict[str, Any] = {"progress": ProgressPrinter()} if self.first else {}
        try:
            report = self.index.sync(
                list(paths),
                **sync_arguments(options, self.reading, self.index),
                force=self.first and options.force,
                retry=self.first and options.retry,
                reread=self.first and options.reread,
                quiet=QUIET_SECONDS,
                **printer,
            )
        except RetrieverError:
            # The index may have been made anew meanwhile; the model is kept.
            self.embedder = self.index.embedder if self.index.ready else self.embedder
            self.close()
            raise
        self.first = False
        return report

    def close(self) -> None:
        """Close the index; the next run opens it again."""
        if self.index is not None:
            self.index.close()
            self.index = None

    def _open(self) -> Index:
        from retriever.index import Index

        options = self.options
        return Index.open_or_create(
            place_of(options.index),
            self.embedder,
            store=options.store,
            device=options.device,
            dtype=options.dtype,
        )


class _Printer:
    """Prints what each run changed, and nothing of a run that changed nothing."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._said: dict[tuple[str, str], str] = {}  # what was said of files with problems
        self._notice = ""

    def print(self, report: SyncReport) -> None:
        """Print a report as lines, or as one JSON document on one line."""
        if report.notice and report.notice != self._notice:
            _say(report.notice)
        self._notice = report.notice
        news = [file for file in report.files if self._is_news(file)]
        if self.options.json:
            print_json({**report.facts(), "index": self.options.index, "files": _plain(news)}, None)
        elif news:
            from dataclasses import replace

            from retriever.interface.terminal.reports import report_lines

            # A run over a few files says nothing about patterns.
            told = report_lines(replace(report, files=tuple(news), idle_patterns=()))
            out("\n".join([*told[:-1], f"{_time()} {told[-1]}"]))
        sys.stdout.flush()

    def _is_news(self, file: FileReport) -> bool:
        """Whether a file changed, or is said for the first time to have a problem."""
        from retriever.types import FileStatus

        if file.status in (FileStatus.UNCHANGED, FileStatus.SKIPPED):
            return False
        told = (file.path, file.status.value)
        if file.status is FileStatus.FAILED and self._said.get(told) == file.reason:
            return False
        if file.status is FileStatus.FAILED:
            self._said[told] = file.reason
        return True


def _plain(files: Sequence[FileReport]) -> list[dict[str, Any]]:
    return [
        {
            "path": file.path,
            "status": file.status.value,
            "reason": file.reason,
            "pages": file.pages,
            "chunks": file.chunks,
        }
        for file in files
    ]


def _say(sentence: str) -> None:
    tell(f"wva: {one_line(sentence)}")


def _time() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _named(paths: Sequence[Path]) -> str:
    shown = ", ".join(map(str, paths[:3]))
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())


def _is_known(path: str, known: Sequence[str]) -> bool:
    """Whether a path is away, and documents below it are in the index."""
    from retriever.reading.scan import is_below

    return not Path(path).exists() and any(is_below(one, path) for one in known)


__all__ = ["run_watch"]
