"""What is killed. Each scenario prepares a folder, acts in a process of its own, and is resumed.

A scenario is a class in `SCENARIOS`: its `prepare` and `change` make what is there before, `act` is
killed, `resume` is what a user does next, and `fresh` makes what must be there in the end, from
nothing. Where what is killed may also count as not done, as an upload, `either` is True: the end is
then as before or as afterwards, and afterwards if it was acknowledged.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.killing.states import MODES, State, state_of
from retriever.embedding.protocols import Embedder
from retriever.index import Index
from retriever.indexing.dense_weight import fit_is_due
from retriever.indexing.fitting import calibration_is_current
from retriever.interface import collections, removal
from retriever.interface.remains import clear_collections, clear_remains
from retriever.reading import formats
from retriever.storage.backends import vector_files
from retriever.types import RetrieverError
from tests.fakes import FakeEmbedder

OLD_INDEX = Path(__file__).parents[2] / "tests" / "data" / "index-0.1.0.tar.xz"
QUERIES = ("river stone garden", "the winter market", "engine", "letters of a sailor")
_WORDS = [
    "river",
    "stone",
    "garden",
    "winter",
    "market",
    "engine",
    "letter",
    "sailor",
    "harbour",
    "window",
    "candle",
    "forest",
    "bridge",
    "copper",
    "meadow",
    "island",
    "kettle",
    "lantern",
    "mirror",
    "needle",
    "orchard",
    "pepper",
    "quarry",
    "ribbon",
    "saddle",
    "tower",
    "valley",
    "wagon",
    "anchor",
    "basket",
    "cellar",
    "dagger",
    "falcon",
    "glacier",
    "hammer",
    "ink",
    "jacket",
    "ladder",
    "monk",
    "nest",
]

_INDEX_FILES = (
    "indexes",
    "indexes/.wva-searches.json",
    "indexes/*/catalog.sqlite*",
    "indexes/*/LOCK",
    "indexes/*/wanted",
    "indexes/*/collection.json",
    "indexes/*/vectors-[0-9]*[0-9].faiss",
    "indexes/*/vectors-[0-9]*[0-9].faiss.rows",
    "indexes/*/vectors-[0-9]*[0-9].faiss.words",
    "indexes/*/vectors-[0-9]*[0-9].faiss.checked",
)


@dataclass(frozen=True, slots=True)
class World:
    """The folders of one scenario: what is killed works in `work` alone."""

    folder: Path
    small: bool = False

    @property
    def work(self) -> Path:
        """The folder that is made anew for each kill."""
        return self.folder / "work"

    @property
    def docs(self) -> Path:
        """The user's own files."""
        return self.work / "docs"

    @property
    def index(self) -> Path:
        """The index, one of a folder of indexes."""
        return self.work / "indexes" / "main"

    def acknowledge(self, what: str) -> None:
        """Note that something is done, as a command tells its user."""
        handle = os.open(self.folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{what}\n".encode())
        os.close(handle)

    def acknowledged(self) -> list[str]:
        """What was acknowledged."""
        path = self.folder / "acknowledged"
        return path.read_text().split("\n")[:-1] if path.exists() else []


def key_word(number: int) -> str:
    """A word that is in one document only, whatever its version."""
    letters = "bcdfghjklmnpqrstvwxz"
    return f"zq{letters[number // 20]}{letters[number % 20]}ob"


def write_document(folder: Path, number: int, version: str = "first", name: str = "") -> Path:
    """Write a text that depends on the number and the version alone."""
    chance = random.Random(f"{number} {version}")  # noqa: S311 - repeatable
    kind = (".txt", ".md", ".html", ".csv")[number % 4]
    path = folder / f"{name or f'note-{number:02}'}{kind}"
    told = f"{key_word(number).capitalize()} is the {version} one."
    parts = [" ".join(chance.choices(_WORDS, k=60)) + "." for _ in range(2 + 5 * (number % 3 == 0))]
    text = {
        ".txt": "\n\n".join([told, *parts]),
        ".md": "\n\n".join([f"# Note {number}", told, *parts]),
        ".html": "<h1>Note</h1>" + "".join(f"<p>{one}</p>" for one in [told, *parts]),
        ".csv": "number,text\n" + "\n".join(f'{n},"{one}"' for n, one in enumerate([told, *parts])),
    }[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class Scenario:
    """What is killed; see the module. The default is a sync of a folder with nothing before."""

    name = "creation"
    files = 16
    either = False
    """Whether the end may be as before, if it was not acknowledged."""
    vanishes = False
    """Whether afterwards there is no index."""
    reader = True
    damaged = False
    """Whether the index is damaged before."""
    modes: Sequence[str] = MODES
    allowed: Sequence[str] = ("docs", "docs/*", "indexes/main", *_INDEX_FILES)
    keys = 40
    preload: Sequence[str] = ()
    """Modules that are imported before the processes are forked."""

    def embedder(self) -> Embedder | None:
        """The model, the same in all processes."""
        return FakeEmbedder(64)

    def prepare(self, at: World) -> None:
        """What is there before."""
        for number in range(self.count(at)):
            write_document(at.docs, number)

    def change(self, at: World) -> None:
        """What the user changes, before the process that is killed starts."""

    def act(self, at: World) -> None:
        """What is killed."""
        self.sync(at)
        at.acknowledge("synced")

    def resume(self, at: World) -> None:
        """What the user does next."""
        clear_remains(at.index)
        self.sync(at)

    def fresh(self, at: World) -> None:
        """Make what must be there in the end, from nothing."""
        shutil.rmtree(at.index, ignore_errors=True)
        self.sync(at)

    def state(self, at: World) -> State:
        """What is there now."""
        if not collections.is_index(at.index):
            return State()
        return state_of(at.index, self.embedder(), QUERIES, self.modes)

    def refitted(self, at: World) -> bool:
        """Fit the weight of the dense side again; whether it was of another number of passages.

        It is fitted when the index has grown or shrunk by a quarter, so it may be of other texts.
        All else that is fitted must be of the present ones already.
        """
        if not collections.is_index(at.index):
            return False
        with Index.open(at.index, self.embedder()) as index:
            with index.backend.reading() as catalog:
                facts, means = catalog.calibration_facts() or {}, catalog.means()
                current = calibration_is_current(catalog)
                count = sum(row.chunks for row in catalog.documents())
            if not current or fit_is_due(facts, count) or facts["weighed_at"] == count:
                return False
            kept = {k: v for k, v in facts.items() if k not in ("weighed_at", "corpus")}
            index.backend.calibrate(means.passage_mean, means.query_mean, kept)
            index.backend.release()
            index.sync(vectors_only=True)
        return True

    def check(self, at: World) -> list[str]:
        """What else is wrong in the end."""
        return []

    def found(self, at: World) -> Callable[[str], set[tuple[str, str, str]]]:
        """A search for a word: the path, id and text of each passage with it."""
        index = Index.open(at.index, self.embedder())

        def search(word: str) -> set[tuple[str, str, str]]:
            hits = index.search(
                word, 30, mode="keyword", typos=False, fold=False, sentences=False, syntax=False
            )
            return {
                (one.path, one.id, one.text) for hit in hits for one in (hit.parts or (hit.chunk,))
            }

        return search

    def count(self, at: World) -> int:
        """The number of files."""
        return self.files // 3 if at.small else self.files

    def sync(self, at: World, **more: Any) -> None:
        """What a user runs."""
        with Index.open_or_create(at.index, self.embedder()) as index:
            index.sync(at.docs, jobs=1, **more)


class WordsWave(Scenario):
    """New files, found by their words only."""

    name = "wave one"

    def prepare(self, at: World) -> None:
        for number in range(self.count(at) // 2):
            write_document(at.docs, number)
        self.sync(at)

    def change(self, at: World) -> None:
        super().prepare(at)

    def act(self, at: World) -> None:
        self.sync(at, keywords_only=True)


class VectorsWave(Scenario):
    """The vectors of files that are found by their words."""

    name = "wave two"

    def prepare(self, at: World) -> None:
        super().prepare(at)
        self.sync(at, keywords_only=True)

    def act(self, at: World) -> None:
        with Index.open(at.index, self.embedder()) as index:
            index.sync(vectors_only=True)


class Changes(Scenario):
    """Edits, renames, swaps, deletes and new files."""

    name = "changes"

    def prepare(self, at: World) -> None:
        super().prepare(at)
        self.sync(at)

    def change(self, at: World) -> None:
        count = self.count(at)
        names = {number: write_document(at.docs, number) for number in range(count)}
        write_document(at.docs, 1, "second")
        write_document(at.docs, 3, "second")
        names[0].rename(at.docs / "renamed.txt")
        if count > 6:
            names[4].unlink()
            (at.docs / "below").mkdir()
            names[5].rename(at.docs / "below" / names[5].name)
        if count > 13:
            one, other = names[9], names[13]  # both are Markdown
            third = one.with_name("third")
            one.rename(third)
            other.rename(one)
            third.rename(other)
        write_document(at.docs, count)

    allowed: Sequence[str] = (*Scenario.allowed, "docs/below/*")


class ReaderVersions(Changes):
    """All files are read again, since readers give other pages now."""

    name = "reader versions"

    def change(self, at: World) -> None:
        """No file changes."""

    def sync(self, at: World, **more: Any) -> None:
        if (at.folder / "prepared").exists():
            for name in ("txt", "markdown", "html", "csv"):
                known = formats.FORMATS[name]
                formats.FORMATS[name] = replace(known, version=known.version + 1)
        super().sync(at, **more)


class Settings(Changes):
    """Another kind of vector file, and all files read again."""

    name = "settings"

    def change(self, at: World) -> None:
        """No file changes."""

    def sync(self, at: World, **more: Any) -> None:
        if not (at.folder / "prepared").exists():
            super().sync(at, **more)
            return
        with Index.open_or_create(at.index, self.embedder(), store="SQ8") as index:
            index.sync(at.docs, jobs=1, reread=True, **more)


class Snapshot(Changes):
    """The files beside the catalog, all three of them."""

    name = "vector files"

    def change(self, at: World) -> None:
        for path in at.index.glob("vectors-*"):
            path.unlink()

    def act(self, at: World) -> None:
        self.sync(at)

    def sync(self, at: World, **more: Any) -> None:
        if (at.folder / "prepared").exists():
            vector_files.MIN_LARGE = 10
        super().sync(at, **more)


class Upload(Scenario):
    """An uploaded file; what was acknowledged is there, anything else as a whole or not at all."""

    name = "upload"
    either = True
    allowed: Sequence[str] = (
        "indexes/main",
        "indexes/main/uploads",
        "indexes/main/uploads/*",
        *_INDEX_FILES,
    )
    size = 40_000_000

    def uploads(self, at: World) -> Path:
        return collections.uploads_folder(at.index)

    def prepare(self, at: World) -> None:
        collections.create_collection(at.index.parent, at.index.name)
        for number in range(4):
            path = write_document(at.docs, number)
            collections.store_upload(at.index, path.name, path.read_bytes())
        shutil.rmtree(at.docs)
        self.sync(at)

    def act(self, at: World) -> None:
        clear_remains(at.index)
        name, data = self.file(at)
        collections.store_upload(at.index, name, data)
        at.acknowledge("stored")
        self.sync(at)

    def file(self, at: World) -> tuple[str, bytes]:
        """A mail with a large attachment of no format that is read."""
        size = 2_000_000 if at.small else self.size
        head = (
            "Subject: note\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
            f"--x\nContent-Type: text/plain\n\n{key_word(20)} is the first one.\n"
            "--x\nContent-Type: application/octet-stream\nContent-Disposition: attachment; "
            "filename=a.bin\n\n"
        ).encode()
        line = b"0123456789abcdef" * 5 + b"\n"
        return "large.eml", head + line * (size // len(line)) + b"--x--\n"

    def resume(self, at: World) -> None:
        clear_remains(at.index)
        self.sync(at)

    def fresh(self, at: World) -> None:
        name, data = self.file(at)
        collections.store_upload(at.index, name, data)
        self.afresh(at)

    def afresh(self, at: World) -> None:
        """Index the uploads from nothing."""
        aside = at.work / "aside"
        self.uploads(at).rename(aside)
        shutil.rmtree(at.index)
        collections.create_collection(at.index.parent, at.index.name)
        aside.rename(self.uploads(at))
        self.sync(at)

    def sync(self, at: World, **more: Any) -> None:
        with Index.open_or_create(at.index, self.embedder()) as index:
            index.sync(self.uploads(at), jobs=1, **more)

    def check(self, at: World) -> list[str]:
        name, data = self.file(at)
        path = self.uploads(at) / name
        if path.exists() and path.read_bytes() != data:
            return [f"half of {name} is kept"]
        return []


class Archive(Upload):
    """An uploaded archive: all of its files, or none."""

    name = "archive"
    allowed: Sequence[str] = (
        *Upload.allowed,
        "indexes/main/uploads/letters/*",
        "indexes/main/uploads/letters/below/*",
    )

    def act(self, at: World) -> None:
        clear_remains(at.index)
        name, data = self.file(at)
        collections.store_archive(at.index, name, data)
        at.acknowledge("stored")
        self.sync(at)

    def file(self, at: World) -> tuple[str, bytes]:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(20, 26 if at.small else 44):
                below = "below/" if number % 5 == 0 else ""
                archive.writestr(
                    f"{below}{number}.txt", f"{key_word(number)} is the first one. Text {number}."
                )
        return "letters.zip", buffer.getvalue()

    def fresh(self, at: World) -> None:
        collections.store_archive(at.index, *self.file(at))
        self.afresh(at)

    def check(self, at: World) -> list[str]:
        _, data = self.file(at)
        kept = [path for path in self.uploads(at).rglob("letters/**/*") if path.is_file()]
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wanted = {
                Path("letters", one).as_posix(): archive.read(one) for one in archive.namelist()
            }
        got = {path.relative_to(self.uploads(at)).as_posix(): path.read_bytes() for path in kept}
        return ["half of the archive is kept"] if got not in ({}, wanted) else []


class Removal(Upload):
    """An upload that is removed, and kept for a day."""

    name = "removal"
    allowed: Sequence[str] = (
        *Upload.allowed,
        "indexes/main/removed",
        "indexes/main/removed/*",
        "indexes/main/removed/*/*",
    )

    def act(self, at: World) -> None:
        own = self.uploads(at)
        names = sorted(path.name for path in own.iterdir())[:1]
        with Index.open(at.index, self.embedder()) as index:
            removal.remove_files(index, at.index, [(str(own), name) for name in names])
        at.acknowledge("removed")

    def resume(self, at: World) -> None:
        clear_remains(at.index)
        self.sync(at, force=True)
        removal.empty_bin(at.index)

    def fresh(self, at: World) -> None:
        own = self.uploads(at)
        min(own.iterdir()).unlink()
        self.afresh(at)

    def check(self, at: World) -> list[str]:
        kept = [path for path in at.index.rglob("note-*") if path.is_file()]
        return [] if len(kept) == 4 else [f"{len(kept)} of 4 uploads are left"]


class Deletion(Upload):
    """A collection that is deleted, with everything that was uploaded to it."""

    name = "deletion"
    vanishes = True

    def act(self, at: World) -> None:
        collections.delete_collection(at.index)
        at.acknowledge("deleted")

    def resume(self, at: World) -> None:
        clear_collections(at.index.parent)

    def fresh(self, at: World) -> None:
        shutil.rmtree(at.index)

    def check(self, at: World) -> list[str]:
        if collections.is_index(at.index):
            return []
        return [f"{path} is left" for path in self.left(at)]

    def left(self, at: World) -> list[Path]:
        """What is left of a deleted collection."""
        return list(at.index.parent.iterdir())


class DeletionWithForeignFile(Deletion):
    """As `Deletion`; a file of the user's own lies in the collection's folder."""

    name = "deletion beside a file"
    allowed: Sequence[str] = (*Upload.allowed, "indexes/main/thesis.txt")

    def prepare(self, at: World) -> None:
        super().prepare(at)
        (at.index / "thesis.txt").write_text("mine")

    def left(self, at: World) -> list[Path]:
        return [
            path for path in at.index.parent.rglob("*") if path.name not in ("main", "thesis.txt")
        ]

    def check(self, at: World) -> list[str]:
        kept = at.index / "thesis.txt"
        lost = [] if kept.exists() and kept.read_text() == "mine" else ["the user's file is lost"]
        return [*lost, *super().check(at)]


class Renaming(Upload):
    """A collection that gets another name and a description."""

    name = "renaming"
    vanishes = True
    allowed: Sequence[str] = (
        *Upload.allowed,
        "indexes/other",
        "indexes/other/uploads",
        "indexes/other/uploads/*",
    )

    def act(self, at: World) -> None:
        collections.describe_collection(at.index, "new")
        collections.rename_collection(at.index, "other")
        at.acknowledge("renamed")

    def resume(self, at: World) -> None:
        other = at.index.with_name("other")
        clear_collections(at.index.parent)
        if other.exists():
            with Index.open(other, self.embedder()) as index:
                index.sync(collections.uploads_folder(other), jobs=1)
        else:
            self.sync(at)

    def fresh(self, at: World) -> None:
        at.index.rename(at.index.with_name("other"))

    def state(self, at: World) -> State:
        other = at.index.with_name("other")
        return super().state(replace_index(at, other) if other.exists() else at)

    def check(self, at: World) -> list[str]:
        both = [one for one in (at.index, at.index.with_name("other")) if one.exists()]
        said = [collections.description(one) for one in both]
        return [] if said in (["new"], [""]) else [f"descriptions: {said}"]


def replace_index(at: World, folder: Path) -> World:
    """The same world with its index in another folder."""

    class Elsewhere(World):
        @property
        def index(self) -> Path:
            return folder

    return Elsewhere(at.folder, at.small)


class Migration(Scenario):
    """An index of version 0.1.0 is opened and written for the first time."""

    name = "migration"
    reader = False  # opening the index to read it would migrate it, too
    modes = ("keyword",)
    allowed: Sequence[str] = ("indexes/main", *_INDEX_FILES)

    def embedder(self) -> None:
        return None

    def prepare(self, at: World) -> None:
        at.index.parent.mkdir(parents=True)
        with tarfile.open(OLD_INDEX) as archive:
            archive.extractall(at.index.parent, filter="data")
        (at.index.parent / "index").rename(at.index)

    def act(self, at: World) -> None:
        with Index.open(at.index) as index:
            index.backend.set_ocr_languages("deu")

    resume = fresh = act


class Store(Scenario):
    """Texts of a LangChain store are replaced, added and deleted."""

    name = "langchain store"
    preload = ("retriever.langchain", "tests.langchain.embeddings")
    allowed: Sequence[str] = ("indexes/main", *_INDEX_FILES)

    def texts(self, version: str, numbers: Sequence[int]) -> tuple[list[str], list[dict[str, Any]]]:
        return (
            [f"{key_word(number)} is the {version} one, {_WORDS[number]}." for number in numbers],
            [{"number": number, "version": version} for number in numbers],
        )

    def store(self, at: World) -> Any:
        from retriever.langchain import AlignedWVAVectorStore
        from tests.langchain.embeddings import WordEmbeddings

        return AlignedWVAVectorStore(WordEmbeddings(), at.index)

    def put(self, store: Any, version: str, numbers: Sequence[int]) -> None:
        texts, metadata = self.texts(version, numbers)
        store.add_texts(texts, metadata, ids=[f"id-{number}" for number in numbers])

    def prepare(self, at: World) -> None:
        with self.store(at) as store:
            self.put(store, "first", range(20))

    def act(self, at: World) -> None:
        with self.store(at) as store:
            self.put(store, "second", range(5))
            at.acknowledge("replaced")
            self.put(store, "first", range(20, 30))
            at.acknowledge("added")
            store.delete([f"id-{number}" for number in range(10, 15)])
            at.acknowledge("deleted")

    resume = act

    def fresh(self, at: World) -> None:
        shutil.rmtree(at.index)
        with self.store(at) as store:
            self.put(store, "second", range(5))
            self.put(store, "first", [*range(5, 10), *range(15, 30)])

    def state(self, at: World) -> State:
        if not collections.is_index(at.index):
            return State()
        with self.store(at) as store, store.backend.reading() as catalog:
            rows = catalog.documents()
            chunks = {c.id: c for row in rows for c in catalog.chunks(row.id)}
            return State(
                documents={row.path: (row.id, row.chunks, str(row.metadata)) for row in rows},
                passages={id_: (c.path, c.text, c.start, c.end) for id_, c in chunks.items()},
                results={
                    f"{mode}: {query}": [
                        (str(found.id), score)
                        for found, score in store.similarity_search_with_score(query, 8, mode=mode)
                    ]
                    for query in QUERIES
                    for mode in MODES
                },
            )

    def found(self, at: World) -> Callable[[str], set[tuple[str, str, str]]]:
        store = self.store(at)

        def search(word: str) -> set[tuple[str, str, str]]:
            with store.backend.snapshot(dense=False) as now:
                chunks = {
                    chunk.id: chunk
                    for row in now.catalog.documents()
                    for chunk in now.catalog.chunks(row.id)
                    if word in chunk.text
                }
            return {(one.path, one.id, one.text) for one in chunks.values()}

        return search


class Model(Scenario):
    """A model in a GGUF file is converted."""

    name = "model conversion"
    preload = (
        "retriever.embedding.models.locate",
        "tests.ggufs",
        "transformers.models.auto.modeling_auto",
    )
    reader = False
    allowed: Sequence[str] = (
        "model.gguf",
        "cache",
        "cache/models",
        "cache/models/gguf-*.lock",
        "cache/*.json",
        "cache/models/*.json",
        "cache/models/gguf-????????????????",
        "cache/models/gguf-????????????????/*",
    )

    def prepare(self, at: World) -> None:
        from tests.ggufs import write_gguf

        at.work.mkdir(parents=True, exist_ok=True)
        write_gguf(at.work / "model.gguf")

    def act(self, at: World) -> None:
        from retriever.embedding.models import locate

        os.environ["WVA_CACHE"] = str(at.work / "cache")
        locate.convert_gguf(at.work / "model.gguf")

    resume = fresh = act

    def state(self, at: World) -> State:
        found = sorted((at.work / "cache").glob("models/gguf-????????????????/*"))
        return State(
            documents={
                path.name: (hashlib.sha256(path.read_bytes()).hexdigest(),) for path in found
            }
        )


SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        Scenario(),
        WordsWave(),
        VectorsWave(),
        Changes(),
        ReaderVersions(),
        Settings(),
        Snapshot(),
        Upload(),
        Archive(),
        Removal(),
        Deletion(),
        DeletionWithForeignFile(),
        Renaming(),
        Migration(),
        Store(),
        Model(),
    )
}


def is_missing(error: RetrieverError) -> bool:
    """Whether an error says that an index is not there, or not yet."""
    said = str(error)
    return any(one in said for one in ("no index", "not an index", "is gone", "is empty, and not"))


__all__ = ["QUERIES", "SCENARIOS", "Scenario", "World", "is_missing", "key_word"]
