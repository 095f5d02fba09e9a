"""What a worker does, without Ray: it reads files that it sees or is sent, and embeds."""

from __future__ import annotations

import builtins
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from retriever.distributed import cluster as cluster_module
from retriever.distributed import ray_hands
from retriever.distributed.worker import EmbeddingWorker, FileRequest, Sink, read_files
from retriever.reading.options import ReadOptions
from retriever.types import ReadError, UsageError
from tests.distributed.sharing import Sharing


def request(path: Path, *, changed: int | None = None, data: bytes | None = None) -> FileRequest:
    facts = path.stat() if path.exists() else None
    size, at = (facts.st_size, facts.st_mtime_ns) if facts else (len(data or b""), 0)
    return FileRequest(str(path), "a/b.txt", size, at if changed is None else changed, READ, data)


READ = ReadOptions()


def test_a_file_is_read_here_if_it_is_the_same_one_and_from_its_bytes_if_it_was_sent(
    tmp_path: Path,
) -> None:
    seen, bad = tmp_path / "seen.txt", tmp_path / "bad.pdf"
    seen.write_text("A heron stands by the river.")
    bad.write_bytes(b"")
    files = [
        request(seen),
        request(seen, changed=7),  # another machine's file of this name
        request(tmp_path / "away.txt"),
        request(tmp_path / "away.txt", data=b"Sent from afar."),
        request(bad),
    ]
    here, other, away, sent, failed = read_files(files, "nothing", lambda: None)
    assert here.document.pages[0].text == "A heron stands by the river."
    assert (here.document.path, sent.document.path) == ("a/b.txt", "a/b.txt")
    assert sent.document.pages[0].text == "Sent from afar."
    assert other.document is other.error is away.document is away.error is None
    assert isinstance(failed.error, ReadError)
    assert str(failed.error) == "zero bytes"
    assert sorted(tmp_path.iterdir()) == [bad, seen]


def test_a_worker_loads_once_and_embeds_as_the_embedder_does() -> None:
    loaded: list[Sharing] = []

    def load() -> Sharing:
        loaded.append(Sharing())
        return loaded[-1]

    worker, texts = EmbeddingWorker(load), ["passage: a heron", "passage: an otter"]
    vectors, tokens, seconds = worker.embed(texts)
    assert np.array_equal(vectors, Sharing().embed_inputs(texts))
    assert tokens == Sharing().count_tokens(texts)
    assert seconds >= 0
    assert worker.embed([])[0].shape == (0, 64)
    batch = worker({"input": np.array(texts), "id": np.array([3, 4])})  # as Ray Data calls it
    assert np.array_equal(batch["vector"], vectors)
    assert batch["id"].tolist() == [3, 4]
    assert len(loaded) == 1


def test_a_worker_writes_to_an_index_that_takes_several_writers(monkeypatch) -> None:
    class Store:
        def attach_vectors(self, keys, vectors, chunks) -> int:
            self.got = (list(keys), vectors, dict(chunks))
            return len(chunks)

    store, opened = Store(), []
    monkeypatch.setattr(Sink, "open", lambda self: opened.append(self) or store)
    worker, sink = EmbeddingWorker(Sharing), Sink("milvus://host/notes", "token")
    attached, tokens, _ = worker.store(sink, {"k": "passage: a heron"}, {7: "k", 8: "known"})
    worker.store(Sink("milvus://host/notes", "token"), {}, {})
    assert opened == [sink], "it is opened once"
    worker.store(sink, {"k": "passage: a heron"}, {7: "k", 8: "known"})
    assert (attached, tokens) == (2, 4)
    assert store.got[0] == ["k"]
    assert np.array_equal(store.got[1], Sharing().embed_inputs(["passage: a heron"]))
    assert store.got[2] == {7: "k", 8: "known"}


def test_without_the_extra_a_sentence_names_the_command(monkeypatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *rest: object, **more: object) -> object:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(UsageError, match=r"pip install 'wva-retriever\[ray\]'"), ray_hands("ray"):
        raise AssertionError


def test_what_a_killed_run_left_is_removed(monkeypatch) -> None:
    base = Path(tempfile.mkdtemp(prefix="wva-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    monkeypatch.setattr(cluster_module, "_is_running", lambda number: number != 7)
    for name in ("wva-ray-7-abcd", "wva-ray-8-abcd", "wva-ray-other"):
        (base / name).mkdir()
    made = cluster_module._scratch()
    assert {one.name for one in base.iterdir()} == {"wva-ray-8-abcd", "wva-ray-other", made.name}
    assert made.stat().st_mode & 0o077 == 0, "documents pass through it"
    shutil.rmtree(base)
