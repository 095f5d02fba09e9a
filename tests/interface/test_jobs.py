"""Runs beside the page: real processes, with a command of a few lines in the place of `wva`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever.interface.jobs import COMMAND, Jobs
from retriever.interface.page_server import server_command
from retriever.types import IndexStateError

SCRIPT = """
import sys, pathlib, time
folder = pathlib.Path(next(a for a in sys.argv if a.startswith("--index="))[8:])
what = sys.argv[-1]
(folder / "asked").write_text("\\n".join(sys.argv[1:]))
print("some progress", file=sys.stderr)
if what == "wait": time.sleep(60)
if what == "fail": print("wva: the disk is full", file=sys.stderr); sys.exit(1)
if what == "crash": print("Boom: no", file=sys.stderr); sys.exit(9)
if what == "incomplete": sys.exit(3)
if what == "held": print("wva: 6 of the 10 files have vanished", file=sys.stderr); sys.exit(3)
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    script = tmp_path / "wva.py"
    script.write_text(SCRIPT)
    runs = Jobs([sys.executable, str(script)])
    yield runs
    runs.stop_all()


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("good", ""),
        ("incomplete", ""),
        ("held", "6 of the 10 files have vanished"),
        ("fail", "the disk is full"),
        ("crash", "indexing ended by itself with code 9 (Boom: no); try again"),
    ],
)
def test_how_a_run_ends_is_told(jobs: Jobs, tmp_path: Path, what: str, problem: str) -> None:
    job = jobs.start(tmp_path, [what], ["--reread"])
    job.wait(30)
    assert (job.running, job.problem, job.problem) == (False, problem, problem)
    assert (tmp_path / "asked").read_text().split("\n") == [
        "index", f"--index={tmp_path}", "--reread", "--", what,
    ]  # fmt: skip
    assert jobs.of(tmp_path) is job
    jobs.forget(tmp_path)
    assert jobs.of(tmp_path) is None


def test_passwords_go_to_a_run_where_nobody_reads_them(jobs: Jobs, tmp_path: Path) -> None:
    script = tmp_path / "wva.py"
    script.write_text(SCRIPT + "(folder / 'told').write_bytes(sys.stdin.buffer.read())\n")
    jobs.learn(tmp_path, "Käse 1")
    for password in ("b", "b", ""):
        jobs.learn(tmp_path, password)
    assert jobs.count_passwords(tmp_path) == 2
    job = jobs.start(tmp_path, ["good"])
    job.wait(30)
    assert job.problem == ""
    assert (tmp_path / "told").read_text("utf-8").splitlines() == ["Käse 1", "b"]
    assert "Käse" not in (tmp_path / "asked").read_text()
    assert "--password-file=-" in (tmp_path / "asked").read_text().splitlines()
    jobs.forget(tmp_path)
    assert jobs.count_passwords(tmp_path) == 0


def test_one_run_at_a_time_for_an_index_and_it_can_be_stopped(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    job = jobs.start(tmp_path, ["wait"])
    assert job.running
    assert job.problem == ""
    with pytest.raises(IndexStateError, match="being indexed already"):
        jobs.start(tmp_path, ["good"])
    jobs.forget(tmp_path)
    assert jobs.of(tmp_path) is job, "a run at work is not forgotten"
    jobs.start(tmp_path / "other", ["good"]).wait(30)
    job.stop()
    assert "stopped" in job.problem
    jobs.start(tmp_path, ["good"]).wait(30)


def test_what_lies_in_the_current_folder_is_not_run(tmp_path: Path) -> None:
    for name in ("json.py", "retriever.py", "streamlit.py", "typing.py"):
        (tmp_path / name).write_text("raise SystemExit('not ours')", "utf-8")
    for command in (COMMAND, server_command(tmp_path, 8501)[:4]):
        done = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_progress_never_falls_back_to_the_beginning(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(tmp_path, ["wait"])
    assert job.progress(None) is None
    told = {"files_done": 2, "files_total": 2, "share": 0.2, "phase": "reading", "current": "x"}
    assert job.progress(told) == told
    after = job.progress(None)
    assert after is not None
    assert (after["share"], after["phase"], after["current"]) == (0.95, "fitting", "")


def test_a_renamed_index_keeps_its_passwords(jobs: Jobs, tmp_path: Path) -> None:
    jobs.learn(tmp_path, "sesame")
    jobs.start(tmp_path, ["good"]).wait(30)
    jobs.rename(tmp_path, tmp_path / "new")
    assert jobs.of(tmp_path) is None
    assert [jobs.count_passwords(path) for path in (tmp_path, tmp_path / "new")] == [0, 1]


def test_one_process_follows_an_index_until_it_is_told_to_stop(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.follow(tmp_path, ["wait"])
    assert jobs.follow(tmp_path, ["wait"]) is job is jobs.follower(tmp_path)
    run = jobs.start(tmp_path, ["good"])  # runs go on beside it
    run.wait(30)
    other = jobs.follow(tmp_path, ["also", "wait"])  # a folder more
    assert (job.running, other.running) == (False, True)
    assert jobs.stop_following(tmp_path) is other
    assert (other.running, jobs.follower(tmp_path)) == (False, None)
    assert jobs.stop_following(tmp_path) is None
    last = jobs.follow(tmp_path, ["wait"])
    jobs.stop_all()
    assert not last.running
    assert jobs.stop_following(tmp_path) is None  # it had ended


def test_why_an_index_is_not_followed_any_more(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.follow(tmp_path, ["fail"])
    job.wait(30)
    assert jobs.follower(tmp_path) is job
    assert job.problem == "the disk is full"
    assert (tmp_path / "asked").read_text().split("\n") == [
        "watch", f"--index={tmp_path}", "--", "fail",
    ]  # fmt: skip
    jobs.forget(tmp_path)
    assert jobs.follower(tmp_path) is None
