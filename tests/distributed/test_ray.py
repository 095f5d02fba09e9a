"""A simulated cluster, of three machines at most: the index equals the local one, whatever is lost.

There is one start of Ray for all tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import benchmarks.ray
from retriever.distributed import ray_hands
from retriever.distributed import reading as reading_module
from retriever.distributed.cluster import Cluster, ClusterError
from retriever.distributed.place import Place
from retriever.distributed.reading import RayReaders
from retriever.distributed.worker import FileRequest
from retriever.index import Index
from retriever.indexing import vectors as vectors_module
from retriever.reading.options import ReadOptions
from retriever.reading.reader_pool import ReadTask
from retriever.types import ModelError, Progress, ReadError
from tests.benchmarks.test_commands import COMMANDS, rows
from tests.distributed.sharing import Broken, Sharing
from tests.distributed.simulated import add_machine, simulated
from tests.indexing.test_processes import dump, facts, write_files

# It is imported where it runs: that takes seconds, in each process that collects tests.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        find_spec("ray") is None, reason="RAY IS NOT INSTALLED: nothing of --workers was tested"
    ),
]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    """Machines of one processor and of two, and a connection to them."""
    with simulated(1, 2) as started:
        yield started


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("ray") / "docs")


@pytest.fixture(scope="module")
def alone(docs: Path, tmp_path_factory: pytest.TempPathFactory):
    """What one machine makes of the documents."""
    folder = tmp_path_factory.mktemp("alone") / "index"
    with Index.open_or_create(folder, Sharing()) as index:
        report = index.sync(docs)
    return facts(report), contents(folder)


@pytest.fixture
def small_batches(monkeypatch) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(vectors_module, name, 100)


def contents(folder: Path) -> dict[str, object]:
    """Everything of an index but times, and where in a table a vector lies."""
    found = dump(folder)
    with Index.open(folder, Sharing()) as index, index.backend.reading() as catalog:
        ids = sorted(id_ for row in catalog.documents() for id_ in catalog.chunk_ids(row.id))
        sample = [chunk.id for chunk in catalog.sample_chunks(10**6, embedded=True)]
        vectors = dict(zip(sample, catalog.sample_vectors(10**6).tolist(), strict=True))
        means = catalog.means()
    return {
        **{name: found[name] for name in ("pages", "accounts", "lengths", "long_words", "terms")},
        "ids": ids,
        "vectors": vectors,
        "means": [means.passage_mean.tolist(), means.query_mean.tolist()],
    }


def same(folder: Path, alone) -> None:
    expected = alone[1]
    found = contents(folder)
    for name in expected:
        assert found[name] == expected[name], name


def test_the_index_equals_the_local_one_whatever_is_lost(
    cluster, alone, docs, tmp_path, small_batches
) -> None:
    """A machine is lost while files are read, an actor while passages are embedded."""
    import ray

    machine = add_machine(cluster, 1)
    lost: list[str] = []
    seen: list[Progress] = []

    with ray_hands("ray:auto?actors=2&patience=100") as workers:

        def lose(progress: Progress) -> None:
            seen.append(progress)
            if progress.files_read >= 2 and "machine" not in lost:
                cluster.remove_node(machine, allow_graceful=False)
                lost.append("machine")
            elif progress.vectors_done and "actor" not in lost:
                workers.lose_an_actor()
                lost.append("actor")

        with Index.open_or_create(tmp_path / "index", Sharing()) as index:
            report = index.sync(docs, hands=workers, progress=lose)
            assert index.embedder.embedded == [], "nothing was embedded here"
    assert lost == ["machine", "actor"]
    assert facts(report) == alone[0]
    assert report.tokens > 0
    assert seen[-1].vectors_done == seen[-1].vectors_total == len(alone[1]["ids"])
    assert ray.is_initialized(), "a connection that was there stays"
    same(tmp_path / "index", alone)


def test_a_killed_run_goes_on_where_it_was(cluster, alone, docs, tmp_path, small_batches) -> None:
    code = f"""
        import os, signal
        from retriever.distributed import ray_hands
        from retriever.index import Index
        from retriever.indexing import vectors
        from tests.distributed.sharing import Broken, Sharing
        vectors.FIRST_BATCH_TOKENS = vectors.BATCH_TOKENS = 100

        def kill(progress):
            if progress.vectors_done > 3:
                os.kill(os.getpid(), signal.SIGKILL)

        with ray_hands("ray:auto?actors=2") as workers:
            with Index.open_or_create({str(tmp_path / "index")!r}, Sharing()) as index:
                index.sync({str(docs)!r}, hands=workers, progress=kill)
    """
    paths = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT)])
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": paths}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    with Index.open(tmp_path / "index", Sharing()) as index:
        info = index.info()
        stored, pending = info["chunks"] - info["pending"], info["pending"]
        assert stored, "what was done is kept"
        assert pending, "not all was done"
        seen: list[Progress] = []
        with ray_hands("ray:auto?actors=2&patience=100") as workers:
            report = index.sync(docs, hands=workers, progress=seen.append)
    assert seen[-1].vectors_total == pending, "what is stored is not done again"
    assert {file.status.value for file in report.files} <= {"unchanged", "failed"}
    same(tmp_path / "index", alone)


def test_workers_without_the_files_are_sent_them(cluster, docs, monkeypatch) -> None:
    real = reading_module._request

    def elsewhere(task: ReadTask, *, send: bool) -> FileRequest:
        asked = real(task, send=send)
        return asked if send else replace(asked, mtime_ns=1)

    monkeypatch.setattr(reading_module, "_request", elsewhere)
    files = [docs / name for name in ("3.md", "page.html", "bad.pdf")]
    tasks = [ReadTask(one, one.name, one.stat().st_size, ReadOptions()) for one in files]
    with RayReaders(Cluster(Place("auto")), None) as readers:
        first, second, third = readers.read(tasks)
    assert "heron 3" in first.result().pages[0].text
    assert second.result().pages[0].text == "An otter."
    with pytest.raises(ReadError):
        third.result()


def test_a_claim_that_no_machine_can_meet_is_a_sentence_and_no_hang(cluster) -> None:
    with ray_hands("ray:auto?actors=1&cpus=99&patience=2") as workers:
        embedder = workers.embedder(Sharing())
        with pytest.raises(ClusterError, match=r"machines with .* 1 actor with 99 CPU each"):
            embedder.embed_inputs(["passage: a heron"])


def test_an_error_of_the_model_is_the_runs_error(cluster) -> None:
    with ray_hands("ray:auto?actors=1") as workers:
        embedder = workers.embedder(Broken())
        with pytest.raises(ModelError, match="the weights are gone"):
            embedder.embed_inputs(["passage: a heron"])


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.split()[0] == "ray"], ids=str)
def test_a_documented_command_runs(
    cluster,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the others in `tests/benchmarks/test_commands.py`, which has no cluster."""
    sample = tmp_path / "sample"  # three runs of the real model over a sample would take minutes
    sample.mkdir()
    (sample / "heron.md").write_text("# Birds\n\nThe heron waits at the weir.\n")
    monkeypatch.setattr(benchmarks.ray, "simulated", lambda *cpus: nullcontext(cluster))
    benchmarks.ray.main([*command.split()[1:], "--count", "40", "--sample", str(sample)])
    told = capsys.readouterr().out
    assert "|---|" in told
    assert len(rows(told)) > 1
