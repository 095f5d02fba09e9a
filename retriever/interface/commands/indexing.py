"""`wva index`, `ui`, `info` and `report`: make an index, serve it, show what is in it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.files.layout import CATALOG_FILE, kind_of
from retriever.interface.commands.arguments import (
    reading_arguments,
    requested_embedder,
    requested_text_side,
)
from retriever.interface.commands.output import (
    DONE,
    INCOMPLETE,
    is_dumb,
    print_facts,
    print_json,
    vectors_command,
)
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, rewrite_line, tell
from retriever.storage.opening import Place, place_of
from retriever.types import Progress, UsageError

if TYPE_CHECKING:
    from retriever.index import Index
    from retriever.indexing.coverage import FileCoverage
    from retriever.indexing.hands import Hands
    from retriever.storage.backends import CatalogReader


def run_index(options: argparse.Namespace) -> int:
    """Create an index, or update it to the current files; with --watch, follow them."""
    if options.watch:
        if options.workers:
            raise UsageError("--watch follows changes with this machine alone; leave --workers out")
        from retriever.interface.commands.watching import run_watch

        return run_watch(options)
    if options.poll is not None:
        raise UsageError("--poll says how folders are watched: give --watch too")
    place = place_of(options.index)
    if options.dry_run and isinstance(place, Path) and not kind_of(place / CATALOG_FILE):
        # A dry run leaves no trace, not even an empty index.
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            return _run_sync(options, Path(scratch) / "index")
    return _run_sync(options, place)


def _run_sync(options: argparse.Namespace, place: Place) -> int:
    from retriever.index import Index
    from retriever.indexing.sync import SyncOptions
    from retriever.interface.remains import clear_remains
    from retriever.interface.terminal.reports import report_lines, waiting_line
    from retriever.reading.object_storage import is_address
    from retriever.reading.scan import targets

    reading = reading_arguments(options)
    # A wrong option or path must not leave an empty index behind.
    SyncOptions(
        keywords_only=options.keywords_only,
        vectors_only=options.vectors_only,
        jobs=options.jobs,
    )
    if options.vectors_only:
        Index.open(place).close()
    elif not options.paths or not all(map(is_address, options.paths)):
        targets([path for path in options.paths if not is_address(path)], [])
    clear_remains(place)
    apart = options.keywords_only or options.workers
    requested = requested_text_side if apart else requested_embedder
    embedder = requested(options)
    with (
        _hands(options) as hands,
        Index.open_or_create(
            place, embedder, store=options.store, device=options.device, dtype=options.dtype
        ) as index,
    ):
        report = index.sync(
            options.paths,
            **sync_arguments(options, reading, index),
            force=options.force,
            dry_run=options.dry_run,
            retry=options.retry,
            reread=options.reread,
            keywords_only=options.keywords_only,
            vectors_only=options.vectors_only,
            hands=hands,
            progress=ProgressPrinter(),
        )
        info = index.info()
    if options.json:
        waiting = {"pending": info["pending"]}
        print_json({**report.to_json(), **waiting, "index": options.index})
    else:
        command = vectors_command(options.index)
        waits = waiting_line(info["pending"], info["chunks"], command)
        out("\n".join(filter(None, [*report_lines(report), waits])))
    if report.notice:
        tell(f"wva: {one_line(report.notice)}")
    return DONE if report.complete else INCOMPLETE


def _hands(options: argparse.Namespace) -> AbstractContextManager[Hands | None]:
    """The workers that the options name; None for this machine alone."""
    if not options.workers:
        return nullcontext()
    if options.jobs:
        raise UsageError("--jobs is for this machine alone; --workers uses those of the cluster")
    from retriever.distributed import ray_hands

    return ray_hands(options.workers, device=options.device, dtype=options.dtype)


def sync_arguments(
    options: argparse.Namespace, reading: Mapping[str, Any], index: Index
) -> dict[str, Any]:
    """The keywords of `Index.sync` that say which files are read, and how."""
    found = dict(reading)
    if options.ocr and not options.ocr_languages:
        found["ocr"] = index.backend.ocr_languages or reading["ocr"]
    return {
        **found,
        "include": options.include,
        "exclude": options.exclude,
        "delete": not options.no_delete,
        "jobs": options.jobs,
    }


def run_ui(options: argparse.Namespace) -> int:
    """Serve the search page."""
    from retriever.interface.page_process import serve_page
    from retriever.interface.page_server import TOKEN_VARIABLE

    # Removed from the environment: child processes, which read documents, do not need it.
    from_environment = os.environ.pop(TOKEN_VARIABLE, "")
    return serve_page(
        place_of(options.index),
        options.port,
        [Path(path) for path in options.sync],
        ProgressPrinter(),
        token=options.token or from_environment,
        no_token=options.no_token,
        **reading_arguments(options),
    )


def run_info(options: argparse.Namespace) -> int:
    """Show what is in an index."""
    from retriever.index import Index

    with Index.open(options.index) as index:
        info = index.info()
    if options.json:
        print_json(info)
    else:
        print_facts(info)
    return DONE


def run_report(options: argparse.Namespace) -> int:
    """Show what became of every file, or of one; or the text that one leaves out."""
    from retriever.index import Index
    from retriever.indexing.coverage import coverage_report
    from retriever.interface.terminal.reports import account_lines

    if options.left_out and not options.file:
        raise UsageError("--left-out takes the name of a file: wva report FILE --left-out")
    with Index.open(options.index) as index, index.backend.reading() as catalog:
        told = coverage_report(catalog, options.index)
        if options.file:
            told = replace(told, files=_files_named(told.files, options.file))
        if options.left_out:
            return _show_left_out(catalog, told.files, as_json=options.json)
    if options.json:
        print_json(told.to_json())
    else:
        everything = options.all or bool(options.file)
        out("\n".join(account_lines(told, everything=everything)))
    return DONE if told.complete else INCOMPLETE


def _files_named(files: Sequence[FileCoverage], name: str) -> tuple[FileCoverage, ...]:
    """The files with this path in the index or on the disk."""
    place = str(Path(name).absolute())
    found = tuple(
        file for file in files if name == file.path or place == str(Path(file.root, file.path))
    )
    if not found:
        raise UsageError(f"no file {name!r} is in this index; wva report --all lists their names")
    return found


def _show_left_out(catalog: CatalogReader, files: Sequence[FileCoverage], *, as_json: bool) -> int:
    from retriever.interface.terminal.left_out import left_out_lines

    texts = [(file, catalog.left_out(file.document)) for file in files]
    if as_json:
        found = [{"root": file.root, "path": file.path, **asdict(one)} for file, one in texts]
        print_json({"files": found})
    else:
        out("\n".join(line for each in texts for line in left_out_lines(*each)))
    return DONE


class ProgressPrinter:
    """Prints progress on standard error: a line that is overwritten, or new ones at intervals."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty() and not is_dumb()
        self.last = -60.0

    def __call__(self, progress: Progress) -> None:
        """Print the progress; at most every five seconds where lines cannot be overwritten."""
        from retriever.interface.terminal.reports import progress_line

        if not progress.files_total and not progress.vectors_total:
            return
        now = time.monotonic()
        # All files may be done while the search is still fitted to them.
        finished = progress.files_done == progress.files_total and not progress.phase
        if self.live:
            end = "\n" if finished else ""
            rewrite_line(progress_line(progress)[:160], end=end)
        elif finished or now - self.last >= 5:
            tell(progress_line(progress))
            self.last = now
