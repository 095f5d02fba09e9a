"""What `benchmarks.fuzz` feeds, and what counts as a fault there.

A target makes cases and says what is wrong with one: a few words, empty if nothing is. A case is
the bytes of a file and its name, so that it can be kept and fed again.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Protocol

import numpy as np

from benchmarks.fuzz_mutations import TOKENS, changed
from benchmarks.fuzz_seeds import PROSE, SEEDS, packed, seed
from retriever.evaluation.datasets import read_questions
from retriever.index import Index
from retriever.indexing.cutting import preparing_for
from retriever.interface.collections import store_archive, store_upload, uploads_folder
from retriever.reading.options import ReadOptions
from retriever.reading.subprocess_reader import FileReader, Limits
from retriever.searching.options import Mode
from retriever.settings import ChunkSettings, Prompts
from retriever.storage.filters import Filter
from retriever.text.chunking import chunk_page
from retriever.types import Document, Page, ReadError, RetrieverError
from tests.fakes import FakeEmbedder

SECONDS = 10.0
"""Limit on processor time for a case; files of up to 300 KB take a fraction of a second."""

FILE_SECONDS = 60.0
"""Time limit for a file, as in a run."""

MEMORY = 1_500_000_000

_KILLED = ("the reader crashed", "it was given up", "it needs more than", "it needs more memory")
_UNEXPECTED = re.compile(
    r"object has no attribute|index out of range|not subscriptable|object is not|unpack|recursion"
    r"|unsupported operand|referenced before|codec can't|must be str|expected str|NoneType"
    r"|invalid literal|could not convert|positional argument"
)
"""What our own mistakes sound like in the reason for a broken file."""


@dataclass(frozen=True, slots=True)
class Case:
    """The bytes that a target is fed, and their name."""

    name: str
    data: bytes


class Target(Protocol):
    """Something that is fed."""

    def make(self, random: Random) -> Case:
        """A new case; the same for the same state of `random`."""

    def fault(self, case: Case) -> str:
        """What is wrong with a case, in a few words; empty if nothing is."""

    def close(self) -> None:
        """Give back what it holds."""


class _TooSlow(BaseException):
    """The time for a case is over."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    # Processor time: other processes must not make a case too slow.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _told(work: Callable[[], object], allowed: type[Exception] = RetrieverError) -> str:
    """The fault of `work`: too slow, or any error but a sentence to the user."""
    try:
        with _time_limit(SECONDS):
            work()
    except allowed as error:
        return _sentence_fault(str(error))
    except _TooSlow:
        return "too slow"
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(last.filename).name}:{last.name}: {error}"[:200]
    return ""


def _sentence_fault(sentence: str) -> str:
    return "" if sentence.strip() and len(sentence) < 5_000 else "an error without a sentence"


# Files


class Readers:
    """The readers, in the process that they have in a run, and the cutting of what they read."""

    def __init__(self, endings: Sequence[str] = tuple(SEEDS)) -> None:
        self._endings = endings
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))
        limits = Limits(seconds=FILE_SECONDS, memory=MEMORY)
        preparing = preparing_for(FakeEmbedder(), ChunkSettings())
        self._reader = FileReader(ReadOptions(), limits, preparing)
        self._fake = FakeEmbedder()

    def make(self, random: Random) -> Case:
        """A changed file of one format, seldom under the name of another."""
        ending = random.choice(self._endings)
        data = changed(random, seed(ending), ending)
        if random.random() < 0.05:
            ending = random.choice(list(SEEDS))
        return Case(f"case.{ending}", data)

    def fault(self, case: Case) -> str:
        """A crash, a limit, an error of our own, or pages that break a promise."""
        path = self._folder / case.name
        path.write_bytes(case.data)
        try:
            document = self._reader.read(path, case.name)
        except ReadError as error:
            return _read_fault(str(error))
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            return f"{type(error).__name__}: {error}"[:200]
        return _document_fault(document) or _told(lambda: self._cut(document), AssertionError)

    def _cut(self, document: Document) -> None:
        for page in document.pages:
            if page.state.readable and len(page.text) < 200_000:
                fault = cutting_fault(page.text, 64, 0, self._fake.token_spans)
                assert not fault, fault  # noqa: S101 - read by `_told`

    def close(self) -> None:
        """End the process."""
        self._reader.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _read_fault(reason: str) -> str:
    if reason.startswith(_KILLED):
        return reason
    if reason.startswith("broken") and _UNEXPECTED.search(reason):
        return reason
    return _sentence_fault(reason)


def _document_fault(document: Document) -> str:
    if not document.pages:
        return "no page"
    for page in document.pages:
        if page.state.readable != bool(page.text.strip()):
            return f"a page in state {page.state.value} with {len(page.text)} characters"
        if re.search("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\r]", page.text):
            return "a control character in a page"
        if not page.state.readable and not page.reason:
            return "a page without text has no reason"
    facts = "".join((document.title, document.author, document.date))
    return "a control character in a fact" if re.search("[\x00-\x1f\ud800-\udfff]", facts) else ""


# Texts

_PIECES = (
    *("# Title\n", "\n\n", "\n", "```\n", "| a | b |\n", "- item ", "===\n", "One ends here. "),
    *("检索。", "สวัสดี ", "3.2 Access\n", "is it, or not; ", "한국어 ", "Word ", "e\u0301", "Dr. "),
    *(
        "👩\u200d👧",
        " ",
        "\t",
        "x",
        "\ufeff",
        "\u200b",
        "\u2028",
        "ab1+",
        "-",
        "中",
        "\xa0",
        "\u202e",
    ),
)


def random_text(random: Random) -> str:
    """A text of structures, words and runs of one piece."""
    parts = []
    for _ in range(random.randrange(1, 40)):
        times = random.choice((1,) * 40 + (2, 50, 200, 2_000))
        parts.append(random.choice(_PIECES) * times)
    return "".join(parts)


def _by_character(text: str) -> list[tuple[int, int]]:
    return [(at, at + 1) for at in range(len(text))]


def _by_byte(text: str) -> list[tuple[int, int]]:
    encoded = ((at, letter.encode("utf-8", "replace")) for at, letter in enumerate(text))
    return [(at, at + 1) for at, code in encoded for _ in code]


def _by_piece(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


TOKENIZERS = (FakeEmbedder().token_spans, _by_character, _by_byte, _by_piece)


def cutting_fault(
    text: str, size: int, overlap: int, tokenize: Callable[[str], Sequence[tuple[int, int]]]
) -> str:
    """What is wrong with the passages of a text: a gap, a wrong place, too many tokens."""
    spans = chunk_page(text, ChunkSettings(size, overlap), tokenize)
    end = 0
    for span in spans:
        passage = text[span.start : span.end]
        if passage != passage.strip() or not passage:
            return "a passage that is empty or has white space at its ends"
        if text[end : span.start].strip():
            return "text between two passages"
        if len(tokenize(passage)) > size and len(passage) > 1:
            return "a passage of too many tokens"
        if span.end <= end:
            return "a passage inside the one before"
        end = span.end
    return "text behind the last passage" if text[end:].strip() else ""


class Chunker:
    """The cutting of texts into passages."""

    def make(self, random: Random) -> Case:
        """The sizes and the tokenizer on the first line, then the text."""
        size = random.randrange(8, 64)
        values = [size, random.randrange(size // 2), random.randrange(len(TOKENIZERS))]
        head = " ".join(map(str, values))
        return Case("text.txt", f"{head}\n{random_text(random)}".encode("utf-8", "surrogatepass"))

    def fault(self, case: Case) -> str:
        """A broken promise of passages, or too much time."""
        head, _, rest = case.data.partition(b"\n")
        if not re.fullmatch(rb"[1-9]\d{0,2} \d{1,2} [0-3]", head):
            return ""  # a case that was made smaller
        size, overlap, number = map(int, head.split())
        text = rest.decode("utf-8", "replace")
        if size < 8 or overlap > size // 2:
            return ""

        def check() -> None:
            found = cutting_fault(text, size, overlap, TOKENIZERS[number])
            assert not found, found  # noqa: S101 - told as an error

        return _told(check, UsageErrorOnly)

    def close(self) -> None:
        """Nothing is held."""


class UsageErrorOnly(Exception):  # noqa: N818 - a stand-in for "no error is allowed"
    """Never raised: a target whose cases may not fail at all names it as the allowed error."""


# Indexes


def small_index(folder: Path) -> Index:
    """An index of a few documents."""
    index = Index.open_or_create(folder, FakeEmbedder())
    texts = [*PROSE.split("\n"), "Tea is drunk with milk.", "Zero trust: 访问控制 access-control."]
    index.add(
        Document(f"notes/{n}.txt", "txt", (Page(None, text),), f"Note {n}", metadata={"n": n})
        for n, text in enumerate(texts)
    )
    return index


_WORDS = (
    *("cat", "house", '"the roof"', "+dog", "-rain", "file:notes", "file:*[", "type:txt", "type:"),
    *(
        "page:1-3",
        "page:9-1",
        "date:2023",
        "after:1..2",
        "before:",
        "AND",
        "OR",
        "NOT",
        "NEAR(a b)",
    ),
    *(
        '"',
        "'",
        "''",
        "*",
        "^cat",
        "cat*",
        "{a b}",
        "(",
        ")",
        "a:b",
        "rowid:1",
        "-",
        "+",
        "--",
        ";",
    ),
    *(
        "'; DROP TABLE chunks; --",
        "%",
        "_",
        "\\",
        "\0",
        "\x1b[2J",
        "\u202e",
        "访问",
        "👩\u200d",
        "é",
    ),
    *(
        "“a b”",
        "「中」",
        "C++",
        "e-mail",
        "https://x.y/z?a=b",
        "\n",
        "\t",
        "<b>",
        "&amp;",
        "a" * 300,
    ),
    *('file:"', 'file:""', "file:../../etc", "-file:notes", "date:2023-02-30", "\ud800", "1e9"),
)


class Queries:
    """Queries in every mode, with what is shown beside the results."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))
        self._index = small_index(self._folder / "index")

    def make(self, random: Random) -> Case:
        """Words, operators and fragments of other languages, joined at random."""
        count = random.choice((1, 2, 3, 5, 10, 60, 1_000))
        joint = random.choice((" ", " ", "", "\n"))
        text = joint.join(random.choice(_WORDS) for _ in range(count))
        return Case("query.txt", text[:200_000].encode("utf-8", "surrogatepass"))

    def fault(self, case: Case) -> str:
        """Any error at all but for an empty query; too much time."""
        query = case.data.decode("utf-8", "surrogatepass" if _is_text(case.data) else "replace")

        def ask() -> None:
            for mode in Mode:
                hits = self._index.search(query, 3, mode=mode)
                self._index.verdict(query, hits)
                self._index.search_notes(query, hits)
            self._index.query_words(query)
            self._index.corrections(query)
            self._index.suggest(query)

        return _told(ask)

    def close(self) -> None:
        """Close the index and remove it."""
        self._index.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _is_text(data: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        data.decode("utf-8", "surrogatepass")
        return True
    return False


_SCALARS: tuple[Any, ...] = (
    *(None, True, 0, -1, 3.5, 1e308, 10**30, "", "a", "x" * 1_000, "2023", "*[", "\0", "\ud800"),
    *("访问", [], {}, "'; DROP", float("nan"), float("inf")),
)
_FIELDS = (
    *("path", "format", "title", "author", "date", "page", "source", "text", "metadata.n", "words"),
    *(
        "and",
        "or",
        "not",
        "eq",
        "ne",
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "glob",
        "",
        "n",
        "x.y",
        "$or",
    ),
    *("query", "k", "where", "mode", "input", "model", "documents", "top_n", "queries", "count"),
    *(
        "retrieval_setting",
        "metadata_condition",
        "knowledge_id",
        "rerank",
        "explain",
        "id",
        "index",
    ),
)


def random_json(random: Random, depth: int = 0) -> Any:
    """A JSON value with the names that filters and requests have."""
    kind = random.random()
    if depth > 4 or kind < 0.4:
        return random.choice((*_SCALARS, *_FIELDS))
    if kind < 0.6:
        return [random_json(random, depth + 1) for _ in range(random.randrange(4))]
    names = random.sample(_FIELDS, random.randrange(1, 5))
    return {name: random_json(random, depth + 1) for name in names}


def _json_bytes(random: Random, value: Any) -> bytes:
    """The value as JSON, seldom with changed bytes or nested without end."""
    data = json.dumps(value).encode()
    if random.random() < 0.1:
        return b"[" * 10_000 if random.random() < 0.2 else changed(random, data, "json")
    return data


class Filters:
    """Filters as JSON, as `--where` and servers take them."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))
        self._index = small_index(self._folder / "index")

    def make(self, random: Random) -> Case:
        """A value that may be a filter."""
        return Case("filter.json", _json_bytes(random, random_json(random)))

    def fault(self, case: Case) -> str:
        """Any error but the sentence of a filter that is refused."""
        try:
            value = json.loads(case.data)
        except (ValueError, RecursionError):
            return ""

        def ask() -> None:
            self._index.search("cat", 3, where=value)
            found = {row.path for row in self._index.documents(value)}
            if isinstance(value, dict):
                Filter.parse(value).to_json()
            assert isinstance(found, set)  # noqa: S101 - the documents were read

        return _told(ask)

    def close(self) -> None:
        """Close the index and remove it."""
        self._index.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Indexes:
    """The files of an index, changed: it opens and answers, or says what is wrong."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))
        small_index(self._folder / "index").close()
        whole = self._folder / "index"
        self._files = {
            str(path.relative_to(whole)): path.read_bytes()
            for path in sorted(whole.rglob("*"))
            if path.is_file()
        }

    def make(self, random: Random) -> Case:
        """One changed file; its name is that of the case."""
        name = random.choice(list(self._files))
        data = self._files[name]
        for _ in range(random.choice((1, 3, 30))):
            data = _damaged(random, data)
        return Case(name, data)

    def fault(self, case: Case) -> str:
        """A crash, or any error but a sentence. Wrong answers are not looked for here."""
        folder = self._folder / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in self._files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(case.data if name == case.name else data)

        def ask() -> None:
            with Index.open(folder, FakeEmbedder()) as index:
                for mode in Mode:
                    for hit in index.search("the cat on the roof", 3, mode=mode):
                        index.pages(hit.chunk.document_id)
                index.documents()
                index.info()

        return _told(ask)

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _damaged(random: Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    if random.random() < 0.1:
        return data[:at]
    if random.random() < 0.3:
        return data[:at] + random.randbytes(64) + data[at + 64 :]
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


# Lines, uploads, requests, settings


class Questions:
    """Files of questions, a JSON object a line."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))

    def make(self, random: Random) -> Case:
        """Lines that may be questions."""
        good = {"query": "a", "path": "a.pdf", "page": 3}
        rows = [
            {
                **good,
                random.choice(("query", "path", "page", "id", "relevant")): random_json(random),
            }
            for _ in range(random.randrange(1, 4))
        ]
        lines = b"\n".join(_json_bytes(random, row) for row in rows)
        return Case("questions.jsonl", changed(random, lines, "jsonl") if len(rows) > 2 else lines)

    def fault(self, case: Case) -> str:
        """Any error but a sentence."""
        path = self._folder / case.name
        path.write_bytes(case.data)
        return _told(lambda: read_questions(path))

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


_NAMES = (
    *(
        "a.txt",
        "../../x.txt",
        "/etc/passwd.txt",
        "C:\\x\\con.txt",
        "con.txt",
        "a\0.txt",
        "\ud800.txt",
    ),
    *(
        "a" * 300 + ".txt",
        "访" * 200 + ".md",
        "a\n.txt",
        "\x1b[2J.txt",
        ".txt",
        "..",
        "",
        "a.txt/b.txt",
    ),
    *(
        "\u202etxt.exe.md",
        "a.zip",
        "b/a.zip",
        "a/" * 300 + "a.txt",
        "nul",
        "a. .txt",
        "a:b.txt",
        "~",
    ),
)


class Uploads:
    """Uploaded files and archives: names, members, damage."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))

    def make(self, random: Random) -> Case:
        """An archive of odd names, changed as often as not."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for _ in range(random.randrange(1, 8)):
                info = zipfile.ZipInfo("a")
                name = random.choice(_NAMES) if random.random() < 0.7 else _random_name(random)
                info.filename = name.encode("utf-8", "replace").decode()
                info.external_attr = random.choice((0, 0o120777 << 16, 0o40755 << 16, 0xFFFFFFFF))
                archive.writestr(info, random.choice((PROSE, "", packed({"a.txt": "x"}))))
        data = buffer.getvalue()
        return Case("up.zip", changed(random, data, "docx") if random.random() < 0.6 else data)

    def fault(self, case: Case) -> str:
        """Any error but a sentence, or a file outside its folder."""
        folder = self._folder / "inside" / "index"
        shutil.rmtree(self._folder / "inside", ignore_errors=True)
        folder.mkdir(parents=True)
        names = re.findall(rb"[^\0]{1,300}", case.data)[:20]

        def keep() -> None:
            with suppress(RetrieverError):
                store_archive(folder, case.name, case.data)
            for name in (*_NAMES, *(name.decode("utf-8", "replace") for name in names)):
                with suppress(RetrieverError):
                    store_upload(folder, name, b"hello")

        return _told(keep) or self._outside(folder)

    def _outside(self, folder: Path) -> str:
        own = uploads_folder(folder)
        for path in self._folder.rglob("*"):
            if path.is_symlink() or (path.is_file() and own not in path.parents):
                return f"a file outside its folder: {path.relative_to(self._folder)}"
        return ""

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _random_name(random: Random) -> str:
    parts = [
        random.choice(TOKENS).decode("utf-8", "replace") for _ in range(random.randrange(1, 9))
    ]
    return "".join(parts) + random.choice((".txt", ".md", ".zip", ""))


class Server:
    """Requests to the server of other programs."""

    def __init__(self) -> None:
        from fastapi.testclient import TestClient

        from retriever.interface.server.app import application
        from retriever.interface.server.served import Loading, Served

        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))
        small_index(self._folder / "notes").close()
        fake = Judging()
        self._served = Served({"notes": self._folder / "notes"}, Loading(embedder=lambda: fake))
        self._served.__enter__()
        # The application is ASGI; Starlette's own type for it is narrower.
        app: Any = application(self._served, None)
        self._client = TestClient(
            app, base_url="http://127.0.0.1", raise_server_exceptions=False
        ).__enter__()

    PATHS = (
        *(
            "/search",
            "/explain",
            "/answer",
            "/v1/embeddings",
            "/v1/rerank",
            "/v2/rerank",
            "/rerank",
        ),
        *("/retrieval", "/open-webui/search"),
    )
    GOOD: tuple[dict[str, Any], ...] = (
        {"query": "cat", "k": 2},
        {"query": "cat", "documents": ["a cat", "a dog"]},
        {"query": "cat", "texts": ["a cat", "a dog"]},
        {"input": ["a cat"], "model": "x"},
        {"query": "cat", "knowledge_id": "notes", "retrieval_setting": {"top_k": 2}},
        {"queries": ["cat"], "count": 2},
    )

    def make(self, random: Random) -> Case:
        """A request that is good but for one field, or any JSON; the path is on the first line."""
        body = dict(random.choice(self.GOOD))
        if random.random() < 0.7:
            body[random.choice((*body, *_FIELDS))] = random_json(random)
        value = body if random.random() < 0.9 else random_json(random)
        path = random.choice(self.PATHS).encode()
        return Case("request.txt", path + b"\n" + _json_bytes(random, value))

    def fault(self, case: Case) -> str:
        """A status of 500, an answer that is not JSON, or too much time."""
        path, _, body = case.data.partition(b"\n")
        name = path.decode("ascii", "replace")
        if name not in self.PATHS:
            return ""

        def ask() -> None:
            answer = self._client.post(
                name, content=body, headers={"Content-Type": "application/json"}
            )
            json.loads(answer.content)
            assert answer.status_code != 500, f"{name}: status 500"  # noqa: S101 - told as an error

        return _told(ask)

    def close(self) -> None:
        """End the server and remove its index."""
        self._client.__exit__(None, None, None)
        self._served.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)


class Judging(FakeEmbedder):
    """A fake that also judges."""

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> Any:
        """Zero for each passage."""
        return np.zeros(len(passages))


class Settings:
    """Files of settings: prompts, and what a process sends of a document's passages."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wva-fuzz-"))

    def make(self, random: Random) -> Case:
        """Prompts with one odd value."""
        good: dict[str, Any] = {"passage": "a {}", "query": ["b {}"], "sentence": "c {}"}
        good[random.choice((*good, "x"))] = random_json(random)
        value = good if random.random() < 0.9 else random_json(random)
        return Case("prompts.json", _json_bytes(random, value))

    def fault(self, case: Case) -> str:
        """Any error but a sentence."""
        path = self._folder / case.name
        path.write_bytes(case.data)
        return _told(lambda: Prompts.read(path))

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


TARGETS: dict[str, Callable[[], Target]] = {
    "readers": Readers,
    "chunker": Chunker,
    "queries": Queries,
    "filters": Filters,
    "index": Indexes,
    "jsonl": Questions,
    "uploads": Uploads,
    "server": Server,
    "settings": Settings,
}
"""By the name of `--target`; the ending of a format is one, too: its reader alone."""


def target(name: str) -> Target:
    """The target of this name."""
    return TARGETS[name]() if name in TARGETS else Readers((name,))


__all__ = ["TARGETS", "Case", "Target", "cutting_fault", "target"]
