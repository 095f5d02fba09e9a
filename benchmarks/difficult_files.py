"""Indexes a folder of files that break readers: `python -m benchmarks.difficult_files DIR`.

Limits of time and memory are those of `wva index`. A manifest.tsv beside the files (columns path
and password) has passwords, which are tried on all files. The output is the statuses, the slowest
files, the memory of the indexing process, and whether every readable document is found by a
sentence of its own. No model is needed: vectors are random.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retriever.index import Index
from retriever.indexing.coverage import coverage_report
from retriever.interface.terminal.reports import account_lines
from retriever.reading.subprocess_reader import FileReader
from retriever.text.structure import sentences
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder

WORDS = range(4, 40)  # of a sentence that serves as a query


def passwords_of(folder: Path) -> list[str]:
    """The passwords in the manifest, without repetitions."""
    manifest = folder / "manifest.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return list(dict.fromkeys(row["password"] for row in rows if row["password"]))


@contextmanager
def time_reading() -> Iterator[dict[str, float]]:
    """Measure reading within the block; yields file name → seconds."""
    real, times = FileReader.read, dict[str, float]()

    def read(self: FileReader, path: Path, name: str) -> Document:
        started = time.perf_counter()
        try:
            return real(self, path, name)
        finally:
            times[name] = time.perf_counter() - started

    FileReader.read = read  # type: ignore[method-assign]  # timed on its way
    try:
        yield times
    finally:
        FileReader.read = real  # type: ignore[method-assign]  # the method itself again


def peak_memory() -> float:
    """Peak memory of this process in MB, without the reading processes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def typical_sentence(pages: list[Page]) -> str:
    """The middle sentence of a document, or its first words."""
    texts = [page.text for page in pages if page.state.readable]
    found = [" ".join(t[s.start : s.end].split()) for t in texts for s in sentences(t)]
    usable = [text for text in found if len(text.split()) in WORDS]
    return usable[len(usable) // 2] if usable else " ".join(" ".join(texts).split()[:12])


def not_found(index: Index) -> list[str]:
    """The documents not found by a sentence of their own; finding an identical copy counts."""
    texts = {row.path: index.pages(row.id) for row in index.documents() if row.chunks}
    same: dict[str, set[str]] = {}
    for path, pages in texts.items():
        same.setdefault(" ".join(page.text for page in pages), set()).add(path)
    lost = []
    for path, pages in texts.items():
        hits = index.search(
            *(typical_sentence(pages), 20), mode="keyword", by_file=True, syntax=False, fold=False
        )
        twins = same[" ".join(page.text for page in pages)]
        if not twins & {hit.chunk.path for hit in hits}:
            lost.append(path)
    return lost


def main(arguments: Sequence[str] | None = None) -> None:
    """Index the folder, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ocr", default="", metavar="LANGUAGES")
    parser.add_argument("--all", action="store_true", help="list every file")
    options = parser.parse_args(arguments)
    before, started = peak_memory(), time.perf_counter()
    with (
        time_reading() as times,
        tempfile.TemporaryDirectory() as scratch,
        Index.open_or_create(Path(scratch) / "index", FakeEmbedder()) as index,
    ):
        report = index.sync(options.folder, passwords=passwords_of(options.folder), ocr=options.ocr)
        seconds = time.perf_counter() - started
        after = peak_memory()
        with index.backend.reading() as catalog:
            ledger = coverage_report(catalog, str(options.folder))
        lost = not_found(index)
        documents = sum(row.chunks > 0 for row in index.documents())
    print("\n".join(account_lines(ledger, everything=options.all)))
    print(f"\n{dict(Counter(file.status.value for file in report.files))} in {seconds:.0f} s")
    print(f"peak memory of the indexing process: {before:.0f} MB before, {after:.0f} MB after")
    slowest = sorted(times.items(), key=lambda entry: -entry[1])[:5]
    print("slowest:", ", ".join(f"{name} {took:.1f} s" for name, took in slowest))
    print(f"found by a sentence of their own: {documents - len(lost)} of {documents}; not: {lost}")


if __name__ == "__main__":
    main()
