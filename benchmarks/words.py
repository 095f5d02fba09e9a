"""The account of every word of folders of documents: `python -m benchmarks.words DIR …`.

Each file is read as `wva index` reads it, in a process of its own and within its limits. The output
is a table by format: the words of the sources by an independent count, those on pages, those left
out by kind, and those that are neither; the files with such words follow. With `--time`, what the
count costs beside reading is measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.difficult_files import passwords_of
from benchmarks.tables import markdown
from retriever.reading import account
from retriever.reading.formats import ReadOptions, read_document
from retriever.reading.scan import scan, targets
from retriever.reading.subprocess_reader import file_reader
from retriever.types import Account, Document, ReadError

SHOWN = 12
"""Number of missing words shown of a file."""


@dataclass(slots=True)
class Row:
    """The counts of one format."""

    files: int = 0
    counted: int = 0
    source: int = 0
    pages: int = 0
    unexplained: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, one: Account) -> None:
        """Count a file."""
        self.files += 1
        self.left_out.update(one.left_out)
        if not one.uncounted:
            self.counted += 1
            self.source += one.source
            self.pages += one.pages
            self.unexplained += one.unexplained


def accounts(folders: Sequence[Path]) -> Iterator[tuple[Path, Document]]:
    """The documents of the folders; files that cannot be read are left out."""
    passwords = tuple(word for folder in folders for word in passwords_of(folder))
    with file_reader(ReadOptions(passwords)) as reader:
        for target in targets(folders, []):
            for file in scan(target, (), (), ()):
                if not file.reason:
                    try:
                        yield file.location, reader.read(file.location, file.path)
                    except ReadError as error:
                        print(f"{file.path}: {error}", file=sys.stderr)


def words_table(rows: dict[str, Row]) -> list[str]:
    """A row for each format."""
    cells = [
        [
            name,
            f"{row.files:,}",
            f"{row.source:,}" if row.counted else "not counted",
            f"{row.pages:,}" if row.counted else "",
            ", ".join(f"{kind} {count:,}" for kind, count in sorted(row.left_out.items())),
            f"{row.unexplained:,}" if row.counted else "",
        ]
        for name, row in sorted(rows.items())
    ]
    return markdown(
        ["format", "files", "words of the source", "on pages", "left out", "unexplained"], cells
    )


def measure(folders: Sequence[Path]) -> None:
    """Print for each format the seconds of reading and of counting, in this process."""
    real, spent = account.take_account, [0.0]
    times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def timed(data: bytes, document: Document, nested: Sequence[Document] = ()) -> Account:
        started = time.perf_counter()
        found = real(data, document, nested)
        spent[0] += time.perf_counter() - started
        return found

    account.take_account = timed  # `formats` calls it by this name
    for target in targets(folders, []):
        for file in (file for file in scan(target, (), (), ()) if not file.reason):
            spent[0], started = 0.0, time.perf_counter()
            try:
                document = read_document(file.location, file.path)
            except ReadError:
                continue
            both = time.perf_counter() - started
            times[document.format][0] += both - spent[0]
            times[document.format][1] += spent[0]
    for name, (reading, counting) in sorted(times.items()):
        print(f"{name}: {reading:.2f} s of reading, {100 * counting / reading:.0f} % for the count")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the folders, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--time", action="store_true", help="measure what the count costs")
    options = parser.parse_args(arguments)
    if options.time:
        measure(options.folders)
        return
    rows: dict[str, Row] = defaultdict(Row)
    lost: list[str] = []
    for path, document in accounts(options.folders):
        found = document.account or Account()
        rows[document.format].add(found)
        if found.unexplained:
            words = " ".join(found.missing[:SHOWN])
            lost.append(f"{path}: {found.unexplained:,} words, {words}")
    print("\n".join(words_table(rows)))
    print("\n".join(["", f"{len(lost)} files with unexplained words", *lost]))


if __name__ == "__main__":
    main()
