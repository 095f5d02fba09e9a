"""Damages every file of an index at random places: `python -m benchmarks.flips`.

A small index of each kind (an exact vector file, and one of codes with the files beside it, each
with changes that are still in the log) is damaged at `--places` random places of every file: one
bit is flipped, or the file is cut off. A new process then searches in three modes, explains a
result, and reads all documents, pages and vectors. Whatever it shows must be what was written, or
must be missing with a sentence.

A flip is *live* if it changes anything that is read: a row of a table, an index, or what the
full-text index finds, compared by reading everything with SQLite alone; all of a file with a hash
is live. `wva verify` must find every live flip; `--repairs` of them are repaired, half with the
documents' files and half without. The exit code is 1 if a process crashed or ended with an error
of Python, if a text, vector, path or title was wrong, or if a live flip was not found.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import FakeEmbedder

QUERIES = ("the cat on the roof", "trains are late tonight", "boil the potatoes", "station 17")
MODES = ("hybrid", "dense", "keyword")
KINDS = {"exact": "Flat", "codes": "SQ8"}
WORDS = (
    *("cat", "roof", "house", "bird", "garden", "dog", "postman", "morning", "rain", "station"),
    *("train", "late", "kettle", "stove", "tea", "milk", "potato", "salt", "water", "minute"),
    *("password", "letter", "number", "owner", "system", "review", "report", "budget", "risk"),
)
PATIENCE = 120  # seconds until a process counts as hanging
TOGETHER = 12  # trials in one process, in which only the first one pays for what is new to it
CUTS = 8  # one of so many places is a cut
WHOLLY_LIVE = (".faiss", ".rows", ".words")
SMALL = 1e-4

FAULTS = ("crash", "traceback", "wrong", "unseen")

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("retriever.index", "retriever.indexing.verify", "retriever.indexing.sync"),
        *("tests.fakes", "benchmarks.flips_warm"),
    ]
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A change of one file: a bit of a byte, or a cut (`bit` is -1)."""

    file: str
    place: int
    bit: int

    def apply(self, folder: Path) -> None:
        """Change the file."""
        path = folder / self.file
        if self.bit < 0:
            os.truncate(path, self.place)
            return
        with path.open("r+b") as file:
            file.seek(self.place)
            byte = file.read(1)[0]
            file.seek(self.place)
            file.write(bytes([byte ^ 1 << self.bit]))


@dataclass(slots=True)
class Row:
    """The counts of one file, and the damage that showed a fault."""

    kind: str
    file: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, Damage, str]] = field(default_factory=list)


def write_documents(folder: Path, files: int, seed: int) -> None:
    """Write small documents of random sentences, some with several pages of headings."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        sentences = [
            f"The {' '.join(rng.choice(WORDS, 9))} {rng.integers(100)}." for _ in range(90)
        ]
        parts = [" ".join(sentences[at : at + 15]) for at in range(0, 90, 15)]
        text = "\n\n".join(f"## Part {at}\n\n{part}" for at, part in enumerate(parts))
        (folder / f"note-{number}.md").write_text(
            f"# Notes {number} for the {WORDS[number % len(WORDS)]}\n\n{text}\n"
        )


def lower_limits() -> None:
    """Let a small index have the files of a large one."""
    from retriever.storage.backends import vector_files
    from retriever.storage.catalog import posting_file
    from retriever.storage.vectors import verified

    vector_files.MIN_LARGE = 1
    posting_file.MIN_DOCUMENTS = posting_file.MIN_COUNTED = 2
    verified.MIN_BYTES = 0


def build(folder: Path, documents: Path, factory: str) -> None:
    """Make an index, and leave its last changes in the log."""
    from retriever import Document, Index
    from retriever.types import Page

    with Index.open_or_create(folder, FakeEmbedder(64), store=factory) as index:
        index.sync(documents)
    index = Index.open(folder, FakeEmbedder(64))
    # An open reader keeps the log from being deleted when the writer closes.
    with index.backend.reading():
        index.add([Document("told.md", "md", (Page(None, "Trains are late tonight."),), "Told")])
        index.backend.touch(index.documents()[0])
    shutil.copytree(folder, folder.with_name(folder.name + "-logged"))
    index.close()
    shutil.rmtree(folder)
    folder.with_name(folder.name + "-logged").rename(folder)
    (folder / "wanted").write_text("0123456789abcdef\n")
    (folder / "collection.json").write_text('{"description": "Notes"}')
    (folder / "catalog.sqlite-shm").unlink(missing_ok=True)


def answers(folder: Path, queries: Sequence[str] = QUERIES) -> dict[str, Any]:
    """Everything that an index shows, by what it is of."""
    from retriever import Index

    with Index.open(folder, FakeEmbedder(64)) as index:
        shown: dict[str, Any] = {"results": {}, "passages": {}, "vectors": {}, "notes": []}
        for mode in MODES:
            for query in queries:
                # Sentences are chosen alike in every mode, and take most of the time.
                hits = index.search(query, 5, mode=mode, sentences=mode == "hybrid")
                for hit in hits:
                    for chunk in (hit.chunk, *hit.parts, *hit.also):
                        shown["passages"][chunk.id] = _passage(chunk)
                found = [
                    [h.chunk.id, round(h.score, 4), [one.text for one in h.passage]] for h in hits
                ]
                shown["results"][f"{mode} {query}"] = found
                shown["notes"] += index.search_notes(query, hits, mode=mode)
                if hits and mode == "hybrid":
                    index.explain(query, hits[0])
                    index.why_not(query, hits[-1].chunk.path)
        rows = index.documents()
        shown["documents"] = {row.id: [row.path, row.title, row.format] for row in rows}
        shown["pages"] = {row.id: [_page(page) for page in index.pages(row.id)] for row in rows}
        for row in rows:
            for chunk in index.chunks(row.id):
                shown["passages"][chunk.id] = _passage(chunk)
        with index.snapshot() as now:
            ids = sorted(shown["passages"])
            for id_, vector in zip(ids, now.passages.vectors(ids), strict=True):
                shown["vectors"][id_] = [round(float(x), 5) for x in vector[:64]]
            shown["notes"] += now.catalog.damage()
        shown["info"] = index.info()["documents"]
    return shown


def _passage(chunk: Any) -> list[Any]:
    return [chunk.path, chunk.title, chunk.text, chunk.page, chunk.label, chunk.start]


def _page(page: Any) -> list[Any]:
    return [page.text, page.label, page.state.value, page.reason]


def compare(shown: dict[str, Any], wanted: dict[str, Any]) -> tuple[str, str]:
    """What the answers of a damaged index are: same, sentence, scores, less, or wrong."""
    wrong = next(_wrong(shown, wanted), "")
    if wrong:
        return "wrong", wrong
    if shown == wanted:
        return "same", ""
    if any("verify" in note for note in shown["notes"]):
        return "sentence", ""
    missing = any(shown[what].keys() != wanted[what].keys() for what in ("passages", "documents"))
    return ("less" if missing else "scores"), ""


def _wrong(shown: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """What was never written, but is shown."""
    for what in ("passages", "documents"):
        for id_, value in shown[what].items():
            if wanted[what].get(id_) != value:
                yield f"{what} {id_}: {value!r:.200}"
    for id_, pages in shown["pages"].items():
        for page in pages:
            if page not in wanted["pages"].get(id_, []) and "wva verify" not in page[3]:
                yield f"page of {id_}: {page!r:.200}"
    yield from _wrong_results(shown, wanted)


def _wrong_results(shown: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Vectors, and the texts of results, that were never written."""
    for id_, vector in shown["vectors"].items():
        ours = np.array(wanted["vectors"].get(id_, vector))
        if any(vector) and np.abs(np.array(vector) - ours).max() > SMALL:
            yield f"vector of {id_}"
    pages = [page[0] for pages in wanted["pages"].values() for page in pages]
    for results in shown["results"].values():
        for text in (text for _, _, texts in results for text in texts):
            if not any(text in page for page in pages):
                yield f"the text of a result: {text[:200]!r}"


def dump(folder: Path) -> str:
    """A hash of everything that is read of a catalog; the reason if something cannot be read."""
    digest = sha256()
    try:
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
            connection.text_factory = bytes
            for (message,) in connection.execute("PRAGMA integrity_check (1)"):
                if message != b"ok":
                    return "malformed"
            for pragma in ("user_version", "application_id", "encoding"):
                digest.update(repr(connection.execute(f"PRAGMA {pragma}").fetchall()).encode())
            schema = connection.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
            ).fetchall()
            digest.update(repr(schema).encode())
            connection.execute(
                "CREATE VIRTUAL TABLE temp.found USING fts5vocab (main, fulltext, instance)"
            )
            tables = [name.decode() for kind, name, _, _ in schema if kind == b"table"]
            raw = ("fulltext_data", "fulltext_idx")  # compared by what they find
            for table in [*tables, "temp.found"]:
                if table in raw:
                    continue
                rows = connection.execute(f"SELECT * FROM {table}")
                for row in rows:
                    digest.update(repr(row).encode())
            words = connection.execute("SELECT term FROM vocabulary").fetchall()
            for (word,) in words:
                rows = connection.execute("SELECT doc FROM temp.found WHERE term = ?", (word,))
                digest.update(repr(rows.fetchall()).encode())
    except (sqlite3.Error, OverflowError) as error:
        return f"unreadable: {error}"
    return digest.hexdigest()


def in_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """The value of a function in a process of its own; a text that begins with "!" if it fails.

    The process is forked from a clean server: a fork of this one would inherit the locks of its
    threads, and could wait for them for ever.
    """
    reading, writing = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_work, args=(writing, work, arguments))
    process.start()
    writing.close()
    try:
        if not reading.poll(PATIENCE):
            process.kill()
        told = json.loads(reading.recv())
    except EOFError:
        process.join()
        return f"!crash {process.exitcode}"
    process.join()
    return told


def _work(writing: Connection, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    lower_limits()
    writing.send(json.dumps(_guarded(work, *arguments)))


def _guarded(work: Callable[..., Any], *arguments: Any) -> Any:
    from retriever.types import RetrieverError

    logging.disable(logging.CRITICAL)
    try:
        return work(*arguments)
    except RetrieverError as error:
        return f"!sentence {error}"
    except Exception:  # noqa: BLE001 - an error of any kind is what is looked for
        return f"!traceback {traceback.format_exc()[-1500:]}"


class Trials:
    """The trials on one index, whose folder is copied for each."""

    def __init__(self, index: Path, documents: Path, scratch: Path) -> None:
        self.index, self.documents = index, documents
        self.copy = scratch / "copy"
        # Every second trial asks the same: half of the queries find as much, in half of the time.
        self.asked = (QUERIES[::2], QUERIES[1::2])
        self.wanted = [in_process(answers, self._copied(), queries) for queries in self.asked]
        for wanted in self.wanted:
            if isinstance(wanted, str):
                raise SystemExit(f"the index cannot be read at all: {wanted}")
        self.dumped = dump(self._copied())
        with closing(sqlite3.connect(self._copied() / "catalog.sqlite")) as connection:
            (self.current,) = connection.execute("SELECT file FROM snapshots").fetchone()

    def _copied(self, damage: Damage | None = None, number: int | None = None) -> Path:
        copy = self.copy if number is None else self.copy.with_name(f"copy-{number}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.index, copy)
        if damage is not None:
            damage.apply(copy)
        return copy

    def is_live(self, damage: Damage) -> bool:
        """Whether the damage changes anything that is read."""
        if damage.file.endswith(WHOLLY_LIVE):
            return damage.file.startswith(self.current)
        if damage.file.endswith("-wal") and damage.bit < 0:
            return False  # a shorter log is a log: its state is an older one, and consistent
        return damage.file.startswith("catalog") and dump(self._copied(damage)) != self.dumped

    def run(self, row: Row, damages: Sequence[Damage]) -> list[Damage]:
        """Damage, search and verify, several copies in one process; returns what is live.

        If that process crashes, each copy gets one of its own.
        """
        first = row.counts["places"]
        halves = [(first + at) % 2 for at in range(len(damages))]
        asked = [self.asked[half] for half in halves]
        copies = [self._copied(damage, at) for at, damage in enumerate(damages)]
        told = in_process(_tried_one_by_one, copies, asked)
        if isinstance(told, str):
            copies = [self._copied(damage, at) for at, damage in enumerate(damages)]
            told = [
                in_process(_answers_and_wholeness, copy, queries)
                for copy, queries in zip(copies, asked, strict=True)
            ]
        trials = zip(damages, told, halves, strict=True)
        return [damage for damage, one, half in trials if self._count(row, damage, one, half)]

    def _count(self, row: Row, damage: Damage, told: Any, half: int) -> bool:
        """Count what a trial showed; returns whether the damage is live."""
        counts, live = row.counts, self.is_live(damage)
        counts["places"] += 1
        counts["live"] += live
        shown, whole = (told, False) if isinstance(told, str) else told
        wanted = self.wanted[half]
        result, why = _failed(shown) if isinstance(shown, str) else compare(shown, wanted)
        counts[result] += 1
        if result in FAULTS:
            row.faults.append((result, damage, why))
        if isinstance(whole, str):
            result, why = _failed(whole)
            whole = False
            if result != "sentence":
                counts[result] += 1
                row.faults.append((result, damage, f"verify: {why}"))
        if live and whole:
            counts["unseen"] += 1
            row.faults.append(("unseen", damage, ""))
        counts["false alarms"] += not live and not whole
        return live

    def repair(self, row: Row, damage: Damage, *, with_files: bool) -> None:
        """Damage and repair, with the documents' files or without, and compare the answers."""
        self._copied(damage)
        away = self.documents.with_name("away")
        if not with_files:
            self.documents.rename(away)
        try:
            told = in_process(_repaired, self.copy)
        finally:
            if not with_files:
                away.rename(self.documents)
        name = "with files" if with_files else "without"
        row.counts[f"repairs {name}"] += 1
        if isinstance(told, str):
            result, why = _failed(told)
            row.counts[f"refused {name}"] += 1
            row.faults.append((f"repair {result}", damage, why))
            return
        shown = in_process(answers, self.copy, self.asked[0])
        same = not isinstance(shown, str) and _contents(shown) == _contents(self.wanted[0])
        row.counts[f"restored {name}"] += bool(same and told["whole"])
        row.counts[f"named {name}"] += bool(told["gone"] and told["whole"] and not same)
        if not told["whole"] or not (same or told["gone"]):
            row.faults.append((f"repair left damage ({name})", damage, repr(told)[:600]))


def _contents(shown: dict[str, Any]) -> tuple[Any, ...]:
    return shown["passages"], shown["documents"], shown["pages"]


def _failed(told: str) -> tuple[str, str]:
    result, _, why = told[1:].partition(" ")
    return result, why


def _tried_one_by_one(folders: Sequence[Path], asked: Sequence[Sequence[str]]) -> list[Any]:
    """`_answers_and_wholeness` of several copies."""
    return [
        _answers_and_wholeness(folder, queries)
        for folder, queries in zip(folders, asked, strict=True)
    ]


def _answers_and_wholeness(folder: Path, queries: Sequence[str]) -> tuple[Any, Any]:
    """What a damaged index shows, and whether `wva verify` finds it whole, each on a copy."""
    other = folder.with_name(f"{folder.name}-verified")
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other)
    return _guarded(answers, folder, queries), _guarded(_is_whole, other)


def _is_whole(folder: Path) -> bool:
    from retriever.indexing.verify import verify_index

    return verify_index(folder).whole


def _repaired(folder: Path) -> dict[str, Any]:
    from retriever import Index
    from retriever.indexing.verify import repair_index

    report = repair_index(folder, lambda: Index.open(folder, FakeEmbedder(64)))
    return {
        "whole": report.after.whole,
        "gone": report.gone,
        "mended": report.mended,
        "after": report.after.sentences[:5],
    }


def places(index: Path, count: int, rng: np.random.Generator) -> dict[str, list[Damage]]:
    """Random places of every file of an index that is not empty."""
    found = {}
    for path in sorted(index.iterdir()):
        size = path.stat().st_size if path.is_file() else 0
        if size:
            found[path.name] = [
                Damage(
                    *(path.name, int(rng.integers(size))),
                    -1 if not at % CUTS else int(rng.integers(8)),
                )
                for at in range(count)
            ]
    return found


COLUMNS = (
    "places",
    "live",
    "same",
    "sentence",
    "scores",
    "less",
    "wrong",
    "traceback",
    "crash",
    "unseen",
)
REPAIRS = tuple(
    f"{what} {how}"
    for how in ("with files", "without")
    for what in ("repairs", "restored", "named")
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=1_000, help="of every file (1,000)")
    parser.add_argument("--repairs", type=int, default=40, help="of every file's live flips (40)")
    parser.add_argument("--files", type=int, default=8, help="documents in the index (8)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only files whose name contains this")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS])
    parser.add_argument("--tiny", action="store_true", help="a few places, in seconds")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.places, options.repairs, options.files = 1, 1, 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="wva-flips-") as name:
        scratch = Path(name)
        for kind, factory in KINDS.items():
            if kind in options.kinds and (kind == "codes" or not options.tiny):
                rows += _tried(kind, factory, scratch / kind, options)
    _print(rows)
    if options.json:
        figures = [{"kind": row.kind, "file": row.file, **row.counts} for row in rows]
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(row.counts[fault] for row in rows for fault in FAULTS))


def _tried(kind: str, factory: str, scratch: Path, options: argparse.Namespace) -> list[Row]:
    rng = np.random.default_rng([options.seed, list(KINDS).index(kind)])
    documents, index = scratch / "documents", scratch / "index"
    write_documents(documents, options.files, options.seed)
    failed = in_process(build, index, documents, factory)
    if failed is not None:
        raise SystemExit(f"no index could be made: {failed}")
    trials, rows = Trials(index, documents, scratch), []
    for file, damages in places(index, options.places, rng).items():
        if options.only not in file:
            continue
        row = Row(kind, file)
        live = [
            damage
            for start in range(0, len(damages), TOGETHER)
            for damage in trials.run(row, damages[start : start + TOGETHER])
        ]
        for at, damage in enumerate(live[: options.repairs]):
            trials.repair(row, damage, with_files=not at % 2)
        rows.append(row)
        print(f"{kind} {file}: {dict(row.counts)}", file=sys.stderr, flush=True)
        for fault, damage, why in row.faults[:10]:
            print(f"  {fault}: {damage}: {why}", file=sys.stderr, flush=True)
    return rows


def _print(rows: Sequence[Row]) -> None:
    columns = (*COLUMNS, *REPAIRS)
    print(f"| index | file | {' | '.join(columns)} |\n|---|---{'|---' * len(columns)}|")
    for row in rows:
        counts = " | ".join(f"{row.counts[column]:,}" for column in columns)
        print(f"| {row.kind} | {row.file} | {counts} |")


if __name__ == "__main__":
    sys.exit(main())
