"""The writer lock: between objects, threads, processes, and with version 0.1.0."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retriever.storage.catalog.lock import WriterLock
from retriever.types import IndexStateError

FIRST_VERSION = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held", flush=True)
except BlockingIOError:
    print("refused", flush=True)
sys.stdin.readline()
"""
"""How version 0.1.0 acquires the lock."""


@contextmanager
def first_version(path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """What a process of 0.1.0 says when it tries, and the process, which keeps what it has."""
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_VERSION, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="0.1.0 took it by flock on POSIX alone")
def test_it_excludes_the_first_version_and_is_excluded_by_it(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    lock = WriterLock(path)
    with first_version(path) as (said, process):
        assert said == "held"
        with pytest.raises(IndexStateError, match="another process is writing"):
            lock.acquire(0.0)
        assert lock.held_by_anyone()
        process.kill()
        process.wait()
        assert not lock.held_by_anyone()
    lock.acquire(0.0)
    with first_version(path) as (said, _):
        assert said == "refused"
    lock.release()
    with first_version(path) as (said, _):
        assert said == "held"


def test_two_objects_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    one, other = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    assert not one.held_by_anyone()
    assert not (tmp_path / "LOCK").exists()
    one.acquire()
    one.acquire()  # it has it
    assert (one.held, other.held) == (True, False)
    assert one.held_by_anyone()
    assert other.held_by_anyone()
    with pytest.raises(IndexStateError, match="wait until it has finished"):
        other.acquire(0.0)
    one.release()
    one.release()
    other.acquire(0.0)
    assert one.held_by_anyone()
    other.release()
    assert not one.held_by_anyone()


def test_another_thread_may_release_it(tmp_path: Path) -> None:
    lock, other = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    assert lock.held
    lock.release()
    other.acquire(0.0)
    other.release()


def test_checking_the_lock_does_not_disturb_a_writer(tmp_path: Path) -> None:
    lock, watcher = WriterLock(tmp_path / "LOCK"), WriterLock(tmp_path / "LOCK")
    lock.acquire()
    lock.release()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            watcher.held_by_anyone()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(50):
            lock.acquire()
            assert lock.held
            lock.release()
    finally:
        done.set()
        thread.join()


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "none" / "LOCK")
    assert not lock.held_by_anyone()
    with pytest.raises(IndexStateError, match="cannot be written to"):
        lock.acquire()
