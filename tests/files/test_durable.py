"""Temporary files: what is being written stays, what was left behind goes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import uuid
from pathlib import Path

import pytest

from retriever.files import durable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), durable.replacing(path) as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    with durable.replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o077 == 0
    assert names(tmp_path) == ["facts"]


def test_what_is_being_written_is_not_swept(tmp_path: Path) -> None:
    with durable.temporary_file(tmp_path) as (file, path), durable.temporary_folder(tmp_path) as at:
        file.write(b"half")
        os.utime(path, (0, 0))  # whatever the clock says
        os.utime(at, (0, 0))
        assert durable.sweep(tmp_path) == 0
        assert names(tmp_path) == sorted([path.name, at.name])
    assert names(tmp_path) == []


def test_what_is_made_again_after_it_was_swept_is_not_swept(tmp_path: Path, monkeypatch) -> None:
    """A second sweep has opened the file before the first one removed it."""
    lock, again = durable._lock, []

    def late(file, *, wait: bool) -> bool:
        Path(file.name).unlink()
        monkeypatch.setattr(durable, "_lock", lock)
        again.append(durable.temporary_file(tmp_path))  # its maker makes it again
        monkeypatch.setattr(durable.uuid, "uuid4", lambda: uuid.UUID(path.name[1:33]))
        again[0].__enter__()
        return lock(file, wait=wait)

    path = tmp_path / f".{uuid.uuid4().hex}.part"
    path.touch()
    monkeypatch.setattr(durable, "_lock", late)
    assert durable.sweep(tmp_path) == 0
    assert names(tmp_path) == [path.name]
    again[0].__exit__(None, None, None)


def _write_and_wait(folder: Path, started: multiprocessing.synchronize.Event) -> None:
    with durable.temporary_file(folder) as (file, _), durable.temporary_folder(folder) as at:
        file.write(b"half")
        file.flush()
        (at / "half").mkdir()
        started.set()
        signal.pause()


def test_what_a_killed_process_wrote_is_swept(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_write_and_wait, args=(tmp_path, started))
    process.start()
    assert started.wait(30)
    assert durable.sweep(tmp_path) == 0
    process.kill()
    process.join()
    assert len(names(tmp_path)) == 2
    for name in (".profile", "notes.part", f".{'0' * 31}.part", "x"):
        (tmp_path / name).touch()
    future = 4_000_000_000
    for path in tmp_path.iterdir():
        os.utime(path, (future, future))
    assert durable.sweep(tmp_path) == 2
    assert names(tmp_path) == [f".{'0' * 31}.part", ".profile", "notes.part", "x"]


def test_a_folder_that_is_just_being_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process sweeps between the making of a folder, or a file, and its lock."""
    swept, real = [], os.open

    def sweep_first(path: object, *rest: int) -> int:
        if len(swept) < 3 and ".part" in str(path):
            swept.append(durable.sweep(tmp_path))
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", sweep_first)
    with durable.temporary_folder(tmp_path) as folder:
        assert names(tmp_path) == [folder.name]
        assert durable.sweep(tmp_path) == 0
    assert len(swept) == 3


def test_a_file_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = durable._lock, []

    def sweep_first(file: object, *, wait: bool) -> bool:
        if wait and not done:
            done.append(True)
            assert durable.sweep(tmp_path) == 1
        return real(file, wait=wait)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "_lock", sweep_first)
    with durable.temporary_file(tmp_path) as (_, path):
        assert names(tmp_path) == [path.name]


def test_a_name_that_is_taken_gets_the_folders_around_it(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "x").write_text("x")
    durable.rename(tmp_path / "a" / "x", tmp_path / "a" / "b" / "y")
    durable.sync_tree(tmp_path)
    assert (tmp_path / "a" / "b" / "y").read_text() == "x"
