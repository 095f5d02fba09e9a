"""Mixed operations of one process on an index that others use, too: a part of `soak`."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.soak_measures import Sample, sample
from retriever.arrays import Vectors
from retriever.index import Index
from retriever.interface.collections import store_archive, store_upload, uploads_folder
from retriever.interface.removal import empty_bin, remove_files, restore_files
from retriever.langchain import AlignedWVARetriever
from retriever.types import Chunk, Document, Hit, Page, RetrieverError
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, str(ROOT / "tests" / "apps" / "indexer.py"))
"""`wva` with the embedder that needs no model."""

WHO = ("heron", "otter", "beaver", "marten", "badger", "plover", "curlew", "lapwing", "dunlin")
DID = ("reviewed", "approved", "rejected", "inspected", "delivered", "repaired", "counted")
WHAT = ("budget", "bridge", "password", "harbour", "lantern", "contract", "turnip", "engine")
WHERE = ("in the north hall", "near the old mill", "at the station", "before winter", "on Tuesday")
QUESTIONS = (
    "who approved the budget",
    "password",
    "repaired near the old mill",
    "+harbour -engine",
    '"the old mill" lantern',
    "what was delivered before winter",
    "budjet",
    "type:markdown turnip",
    "nothing of this kind",
)
FILTERS: tuple[Mapping[str, Any], ...] = (
    {"format": "markdown"},
    {"path": {"glob": "0/*"}},
    {"format": {"in": ["text", "pdf"]}},
    {"path": "no such file"},
)
MODES = ("hybrid", "dense", "keyword")
ENDINGS = (".md", ".txt", ".html", ".csv", ".pdf", ".broken.pdf")
MAX_FILES, MAX_UPLOADS, MAX_NOTES = 30, 12, 20

DOCUMENTED = {
    "second writer": "another process is writing to the index in",
    "passage is gone": "there is no passage",
    "no vector yet": "has no vector yet",
    "receipt is old": "the removed files are not kept any more",
    "several of that name": "documents are called",
}
"""The sentences that an operation may end with, by the beginning of what they say."""

SAMPLES = 120


class Forgetful(FakeEmbedder):
    """It does not keep what it has embedded: that would be a leak of the test's own."""

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """As the fake embedder."""
        vectors = super().embed_inputs(inputs)
        self.embedded.clear()
        return vectors


class ViolationError(Exception):
    """Something that must hold does not."""


class Soaker:
    """One process: its own part of the documents, its own documents by `add`, a shared index."""

    def __init__(self, index: Path, docs: Path, number: int, seed: int) -> None:
        self.choose = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable
        self.folder, self.docs, self.number = index, docs, number
        self.own = docs / str(number)
        self.own.mkdir(parents=True, exist_ok=True)
        self.notes: dict[str, Document] = {}
        self.receipts: list[str] = []
        self.hits: list[Hit] = []
        self.embedder = Forgetful()
        self.index = Index.open_or_create(index, self.embedder)
        self.done: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.violations: list[str] = []
        self.samples: list[Sample] = []

    def run(self, operations: int, minutes: float = inf) -> dict[str, Any]:
        """Run so many operations, or so long; returns what happened as plain JSON."""
        names = list(OPERATIONS)
        weights = [weight for weight, _ in OPERATIONS.values()]
        every = max(1, operations // SAMPLES)
        end = time.monotonic() + 60 * minutes
        for at in range(operations):
            if at % every == 0:
                self.samples.append(sample(at))
            if time.monotonic() > end:
                break
            self.do(self.choose.choices(names, weights)[0])
        self.index.close()
        self.samples.append(sample(sum(self.done.values())))
        return {
            "number": self.number,
            "done": dict(self.done),
            "said": dict(self.said),
            "violations": self.violations,
            "notes": {path: note.pages[0].text for path, note in self.notes.items()},
            "samples": [[getattr(one, name) for name in Sample.__slots__] for one in self.samples],
        }

    def do(self, name: str) -> None:
        """One operation; only documented sentences may come out of it."""
        self.done[name] += 1
        try:
            OPERATIONS[name][1](self)
        except RetrieverError as error:
            known = [kind for kind, part in DOCUMENTED.items() if part in str(error)]
            self.said[known[0] if known else "other"] += 1
            if not known:
                self.violations.append(f"{name}: {traceback.format_exc()[-3000:]}")
        except Exception:  # noqa: BLE001 - whatever it is: it is counted and shown
            self.violations.append(f"{name}: {traceback.format_exc()[-1500:]}")

    def check(self, holds: bool, what: str) -> None:
        """Raise unless something holds."""
        if not holds:
            raise ViolationError(what)

    # Text

    def sentence(self) -> str:
        """A sentence of few words."""
        one = self.choose.choice
        return f"The {one(WHO)} {one(DID)} the {one(WHAT)} {one(WHERE)}."

    def text(self) -> str:
        """A few paragraphs; all come from a pool, so the index stays as large as it is."""
        lines = random.Random(self.choose.randrange(400))  # noqa: S311 - repeatable
        before, self.choose = self.choose, lines
        try:
            parts = [
                " ".join(self.sentence() for _ in range(lines.randint(2, 12)))
                for _ in range(lines.randint(1, 6))
            ]
        finally:
            self.choose = before
        return "\n\n".join(parts)

    def file(self, ending: str) -> bytes:
        """The content of a file with this ending."""
        text = self.text()
        if ending == ".broken.pdf":
            return b"%PDF-1.4 nothing of a document"
        if ending == ".pdf":
            pages = [text_page(*part.split(". ")) for part in text.split("\n\n")]
            return pdf_file(pages)
        if ending == ".html":
            return "".join(f"<p>{part}</p>\n" for part in text.split("\n\n")).encode()
        if ending == ".csv":
            rows = [f'{at},"{part}"' for at, part in enumerate(text.split("\n\n"))]
            return "\n".join(["number,remark", *rows]).encode()
        return f"# {self.sentence()}\n\n{text}".encode()

    # Searching

    def search(self) -> None:
        """A search; results are in order."""
        mode = self.choose.choice(MODES)
        query = self.choose.choice(QUESTIONS)
        hits = self.index.search(query, self.choose.choice((1, 5, 20)), mode=mode)
        self.check_order(hits)
        self.hits = hits or self.hits

    def filtered(self) -> None:
        """A search with a filter; nothing else comes through."""
        where = self.choose.choice(FILTERS)
        mode = self.choose.choice(MODES)
        diverse = self.choose.choice((0.0, 0.5))
        hits = self.index.search(
            self.choose.choice(QUESTIONS), where=where, mode=mode, diversity=diverse, context=1
        )
        wanted = where.get("format", "")
        formats = [wanted] if isinstance(wanted, str) else wanted["in"]
        wrong = [
            hit.chunk.path for hit in hits if formats != [""] and hit.chunk.format not in formats
        ]
        self.check(not wrong, f"{where} lets through {wrong}")
        inside = where.get("path") == {"glob": "0/*"}
        wrong = [h.chunk.path for h in hits if inside and not h.chunk.path.startswith("0/")]
        self.check(not wrong, f"{where} lets through {wrong}")

    def check_order(self, hits: Sequence[Hit]) -> None:
        """Results are sorted by their scores."""
        scores = [hit.score for hit in hits]
        self.check(scores == sorted(scores, reverse=True), f"results out of order: {scores}")

    def one_state(self) -> None:
        """Within a snapshot two searches are equal, and passages are slices of their pages."""
        query, mode = self.choose.choice(QUESTIONS), self.choose.choice(MODES)
        with self.index.snapshot():
            first = self.index.search(query, mode=mode)
            for hit in first:
                for chunk in (hit.chunk, *hit.parts, *hit.also):
                    self.check_slice(chunk)
            second = self.index.search(query, mode=mode)
        same = [(h.chunk.id, h.score) for h in first] == [(h.chunk.id, h.score) for h in second]
        self.check(same, f"two searches for {query!r} differ within a snapshot")

    def check_slice(self, chunk: Chunk) -> None:
        """A passage is a slice of its page."""
        texts = [p.text for p in self.index.pages(chunk.document_id) if p.number == chunk.page]
        good = any(text[chunk.start : chunk.end] == chunk.text for text in texts)
        self.check(good, f"passage {chunk.id} of {chunk.path} is no slice of its page")

    def explain(self) -> None:
        """Explanations: of results, and of a passage found earlier."""
        query, mode = self.choose.choice(QUESTIONS[:3]), self.choose.choice(MODES)
        with self.index.snapshot():
            for hit in self.index.search(query, 2, mode=mode):
                self.index.explain(query, hit, mode=mode)
        if self.hits:  # of another moment: its passage may be gone
            self.index.explain(query, self.hits[0].chunk.id)

    def compare(self) -> None:
        """The first result compared with the last."""
        query = self.choose.choice(QUESTIONS[:3])
        with self.index.snapshot():
            hits = self.index.search(query, 3, fold=False)
            if len(hits) > 1:
                self.index.compare(query, hits[0], hits[-1])

    def why_not(self) -> None:
        """Why a document is not among the results."""
        rows = self.index.documents()
        path = self.choose.choice(rows).path if rows else "nothing.txt"
        self.index.why_not(self.choose.choice(QUESTIONS), path, 3)

    def similar(self) -> None:
        """The passages nearest to one that was found earlier."""
        if self.hits:
            self.index.similar(self.choose.choice(self.hits).chunk.id)

    def documents(self) -> None:
        """Documents, their pages and passages."""
        rows = self.index.documents(self.choose.choice((None, FILTERS[0])))
        for row in rows[:2]:
            self.index.pages(row.id)
            self.index.page_statuses(row.id)
            self.index.chunks(row.id)
        self.index.info()

    def suggest(self) -> None:
        """What goes on with a text that is typed."""
        self.index.suggest(self.choose.choice(("bud", "the he", "pass", "file:0/")))
        self.index.examples()

    def said_of_it(self) -> None:
        """What is said about results."""
        query = self.choose.choice(QUESTIONS)
        hits = self.index.search(query, mode="keyword")
        self.index.search_notes(query, hits, mode="keyword")
        self.index.verdict(query, hits, mode="keyword")
        self.index.corrections(query)
        self.index.count_matches(query, hits, mode="keyword")
        if hits:
            self.index.neighbours(hits[0].chunk)

    def retriever(self) -> None:
        """A search through LangChain."""
        finder = AlignedWVARetriever(index=self.index, k=4, mode=self.choose.choice(MODES))
        finder.invoke(self.choose.choice(QUESTIONS))

    def reopen(self) -> None:
        """Close and open, or open beside."""
        if self.choose.random() < 0.3:
            self.index.close()
            self.index = Index.open(self.folder, self.embedder)
            return
        with Index.open(self.folder, Forgetful()) as index:
            index.search(self.choose.choice(QUESTIONS))

    # Files

    def files(self) -> list[Path]:
        """The files of this process."""
        return sorted(self.own.iterdir())

    def write(self) -> None:
        """A new file, or another text of an old one."""
        files = self.files()
        if len(files) < MAX_FILES and self.choose.random() < 0.5:
            ending = self.choose.choice(ENDINGS)
            path = self.own / f"file-{self.choose.randrange(900):03d}{ending}"
        elif files:
            path = self.choose.choice(files)
        else:
            return
        ending = next(one for one in reversed(ENDINGS) if path.name.endswith(one))
        part = self.docs / f".{self.number}.part"  # in one step: nobody reads half a file
        part.write_bytes(self.file(ending))
        part.replace(path)

    def rename(self) -> None:
        """A file gets another name."""
        files = self.files()
        if files:
            path = self.choose.choice(files)
            ending = next(one for one in reversed(ENDINGS) if path.name.endswith(one))
            path.rename(self.own / f"moved-{self.choose.randrange(900):03d}{ending}")

    def unlink(self) -> None:
        """A file is deleted."""
        files = self.files()
        if len(files) > MAX_FILES // 2:
            self.choose.choice(files).unlink()

    # Writing

    def sync(self) -> None:
        """Both waves."""
        self.index.sync(self.docs, delete=self.choose.random() < 0.9)

    def sync_in_waves(self) -> None:
        """One wave after the other."""
        self.index.sync(self.docs, keywords_only=True)
        self.index.sync(vectors_only=True)

    def reread(self) -> None:
        """Every file is read again."""
        self.index.sync(self.docs, reread=True, retry=True)

    def add(self) -> None:
        """Documents of the caller's own."""
        names = [f"notes/{self.number}/{self.choose.randrange(MAX_NOTES)}" for _ in range(2)]
        notes = [Document(name, "text", (Page(None, self.text()),)) for name in names]
        self.index.add(notes)
        self.notes |= {note.path: note for note in notes}

    def remove(self) -> None:
        """A note, or a file: the next sync of its folder brings it back."""
        rows = [
            row.path for row in self.index.documents() if row.path.startswith(f"{self.number}/")
        ]
        path = self.choose.choice([*self.notes, *rows[:3]] or [""])
        self.index.remove([path])
        self.notes.pop(path, None)

    def upload(self) -> None:
        """A file or an archive is uploaded, and perhaps indexed."""
        name = f"upload-{self.choose.randrange(6)}{self.choose.choice(ENDINGS[:4])}"
        if len(self.uploads()) >= MAX_UPLOADS:
            self.remove_upload()
            return
        ending = name[name.index(".") :]
        if self.choose.random() < 0.2:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(f"in/{name}", self.file(ending))
                archive.writestr("in/film.mp4", b"x")
            store_archive(self.folder, f"pack-{self.choose.randrange(4)}.zip", packed.getvalue())
        else:
            store_upload(self.folder, name, self.file(ending))
        if self.choose.random() < 0.5:
            self.index.sync(uploads_folder(self.folder))

    def uploads(self) -> list[str]:
        """The uploaded files, below their folder."""
        own = uploads_folder(self.folder)
        return [str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()]

    def remove_upload(self) -> None:
        """An upload goes to the bin."""
        found = self.uploads()
        if found:
            chosen = self.choose.choice(found)
            files = [(str(uploads_folder(self.folder)), chosen)]
            removed = remove_files(self.index, self.folder, files)
            self.receipts = [*self.receipts[-3:], removed.receipt]

    def restore(self) -> None:
        """An upload comes back; the bin is emptied."""
        if self.receipts:
            receipt = self.receipts.pop()
            if receipt:
                restore_files(self.folder, receipt)
        if self.choose.random() < 0.3:
            empty_bin(self.folder, time.time() + 200_000)

    def command(self) -> None:
        """A command, as it is typed."""
        words = self.choose.choice(
            (
                ["search", "who approved the budget", "--json"],
                ["info"],
                ["report"],
                ["index", str(self.docs)],
                ["explain", "who approved the budget"],
            )
        )
        index = [f"--index={self.folder}"]
        run = subprocess.run(  # noqa: S603 - our own command line
            [*COMMAND, *words, *index],
            env={**os.environ, "PYTHONPATH": str(ROOT)},  # its embedder is one of the tests
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said = [part for part in DOCUMENTED.values() if part in run.stderr]
        # 3: some file could not be read; there is a broken one
        fine = run.returncode in (0, 1, 3) and "Traceback" not in run.stderr
        self.check(bool(fine or said), f"{words}: {run.returncode} {run.stderr[-600:]}")


Operation = Callable[[Soaker], None]
OPERATIONS: Mapping[str, tuple[float, Operation]] = {
    "search": (34, Soaker.search),
    "search with a filter": (14, Soaker.filtered),
    "searches in a snapshot": (4, Soaker.one_state),
    "explain": (4, Soaker.explain),
    "compare": (2, Soaker.compare),
    "why_not": (3, Soaker.why_not),
    "similar": (3, Soaker.similar),
    "documents, pages, info": (4, Soaker.documents),
    "suggestions": (3, Soaker.suggest),
    "notes, verdict, count": (4, Soaker.said_of_it),
    "LangChain retriever": (4, Soaker.retriever),
    "open, close": (2, Soaker.reopen),
    "file written": (7, Soaker.write),
    "file renamed": (2, Soaker.rename),
    "file deleted": (1.5, Soaker.unlink),
    "sync": (2, Soaker.sync),
    "sync in two waves": (0.4, Soaker.sync_in_waves),
    "everything read again": (0.1, Soaker.reread),
    "add": (2, Soaker.add),
    "remove": (1, Soaker.remove),
    "upload": (1.5, Soaker.upload),
    "upload removed": (1, Soaker.remove_upload),
    "upload taken back": (0.5, Soaker.restore),
    "wva": (0.2, Soaker.command),
}
