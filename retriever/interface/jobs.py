"""Indexing jobs of the page: one process of the command line for each index, and one that follows.

The progress of a run is stored in the index, where every process can read it. This module knows
only whether a process is running, and what it printed when it ended. The page stays responsive
meanwhile, and a run that is stopped or crashes leaves a valid index.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from retriever.storage.opening import Place
from retriever.types import IndexStateError, Phase

COMMAND = (sys.executable, "-P", "-m", "retriever.interface.cli")
"""The command line of this installation; -P ignores modules in the current folder."""

_DONE, _INCOMPLETE = 0, 3
_LAST_SHARE = 0.95  # of the work is done at least when the last files are written
_STOP_SECONDS = 10.0
_MAX_ERROR_BYTES = 4_000  # bytes of the end of its standard error


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and wait for it; kill it if it does not end in time."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:  # pragma: no cover - a process that hangs
        process.kill()
        process.wait()


class Job:
    """One run of `wva index` on the index in `folder`."""

    def __init__(
        self,
        folder: Place,
        paths: Sequence[str | Path],
        command: Sequence[str],
        passwords: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.paths = tuple(paths)
        self.started = time.time()
        self._stopped = False
        self._last: Mapping[str, Any] | None = None
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._problem: str | None = None
        # Passwords go through a pipe: command lines and files can be read by others.
        told = ["--password-file=-"] if passwords else []
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            [*command, *told, "--", *map(str, paths)],
            stdin=subprocess.PIPE if passwords else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
        )
        if self._process.stdin is not None:
            with suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write("\n".join(passwords).encode())

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def progress(self, stored: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The progress to show where `stored` is that of the index; None before the first one.

        The index has none any more while the process writes its last files.
        """
        self._last = stored or self._last
        if stored or not self._last:
            return stored
        share = max(_LAST_SHARE, float(self._last.get("share", 0.0)))
        end = {"phase": Phase.FITTING, "share": share, "seconds_left": None, "current": ""}
        return {**self._last, **end}

    @property
    def problem(self) -> str:
        """Why the run failed, or what it held back; empty while it runs and when it succeeded."""
        if self.running:
            return ""
        if self._problem is None:
            self._problem = self._reason()
            self._complaints.close()
        return self._problem

    def stop(self) -> None:
        """Stop the run and wait for it; files that are done stay in the index."""
        if self.running:
            self._stopped = True
            stop_process(self._process)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the run. Raises TimeoutExpired."""
        self._process.wait(seconds)

    def _reason(self) -> str:
        code = self._process.returncode
        if code == _DONE:
            return ""
        if self._stopped and code != _INCOMPLETE:
            return "it was stopped; what was done is kept, and the next run goes on from there"
        end = self._complaints.seek(0, 2)
        self._complaints.seek(max(0, end - _MAX_ERROR_BYTES))
        lines = self._complaints.read().decode("utf-8", "replace").splitlines()
        said = [line.removeprefix("wva: ") for line in lines if line.startswith("wva: ")]
        if said or code == _INCOMPLETE:
            return said[-1] if said else ""
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"indexing ended by itself with code {code} ({last.strip()}); try again"


class Jobs:
    """The jobs of one server, the latest one of each index. Thread-safe."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = tuple(command)
        self._jobs: dict[Place, Job] = {}
        self._followers: dict[Place, Job] = {}
        self._passwords: dict[Place, list[str]] = {}
        self._lock = threading.Lock()
        atexit.register(self.stop_all)

    def start(self, folder: Place, paths: Sequence[str | Path], options: Sequence[str] = ()) -> Job:
        """Index `paths` into the index in `folder`; `options` are those of `wva index`.

        Raises IndexStateError while a run on this index is active.
        """
        with self._lock:
            before = self._jobs.get(folder)
            if before is not None and before.running:
                raise IndexStateError(
                    f"{folder.name} is being indexed already; wait until that is done, or stop it"
                )
            command = [*self._command, "index", f"--index={folder}", *options]
            known = self._passwords.get(folder, ())
            job = self._jobs[folder] = Job(folder, paths, command, known)
            return job

    def follow(self, folder: Place, paths: Sequence[str | Path]) -> Job:
        """Keep the index in `folder` in step with `paths` until it is told to stop.

        A process that follows other paths of this index is replaced.
        """
        with self._lock:
            before = self._followers.get(folder)
            if before is not None and before.running and before.paths == tuple(paths):
                return before
            self._end_follower(folder)
            known = self._passwords.get(folder, ())
            command = [*self._command, "watch", f"--index={folder}"]
            job = self._followers[folder] = Job(folder, paths, command, known)
            return job

    def stop_following(self, folder: Place) -> Job | None:
        """Follow the index no more; returns the process that did."""
        with self._lock:
            return self._end_follower(folder)

    def _end_follower(self, folder: Place) -> Job | None:
        job = self._followers.pop(folder, None)
        if job is None:
            return None
        running = job.running
        job.stop()
        _ = job.problem  # reading it closes the file of its output
        return job if running else None

    def follower(self, folder: Place) -> Job | None:
        """The process that follows, or followed, the index in `folder`; None without one."""
        return self._followers.get(folder)

    def learn(self, folder: Place, password: str) -> None:
        """Try this password too in later runs on the index; it is kept in memory only."""
        with self._lock:
            known = self._passwords.setdefault(folder, [])
            if password and password not in known:
                known.append(password)

    def count_passwords(self, folder: Place) -> int:
        """The number of passwords known for the index."""
        return len(self._passwords.get(folder, ()))

    def of(self, folder: Place) -> Job | None:
        """The latest run on the index in `folder`, running or ended; None without one."""
        return self._jobs.get(folder)

    def rename(self, before: Place, now: Place) -> None:
        """Keep the passwords of an index that has another folder now, and drop its ended run."""
        with self._lock:
            ended = self._jobs.pop(before, None)
            if ended is not None:
                _ = ended.problem  # reading it closes the file of its output
            if before in self._passwords:
                self._passwords[now] = self._passwords.pop(before)

    def forget(self, folder: Place) -> None:
        """Drop an ended run with its output, and the index's passwords; follow it no more."""
        self.stop_following(folder)
        with self._lock, suppress(KeyError):
            if not self._jobs[folder].running:
                del self._jobs[folder]
                self._passwords.pop(folder, None)

    def stop_all(self) -> None:
        """Stop all runs."""
        for job in [*self._jobs.values(), *self._followers.values()]:
            job.stop()


__all__ = ["COMMAND", "Job", "Jobs"]
