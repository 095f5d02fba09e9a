"""Indexing beside the page: processes of the command line, one for each index.

How far a run is stands in the index itself, where everybody can read it; here is only whether a
process of ours is running, and what it said when it ended. The page stays quick meanwhile, and a
run that is stopped, or crashes, leaves a good index.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from retriever.types import IndexStateError

COMMAND = (sys.executable, "-P", "-m", "retriever.interface.cli")
"""What indexes: the command line of this installation, whatever lies in the current folder (-P)."""

_DONE, _INCOMPLETE = 0, 3
_STOP_SECONDS = 10.0
_MAX_ERROR_BYTES = 4_000  # bytes of the end of what a process has said


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process and wait for it: it is asked first, and killed if it does not listen."""
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
        folder: Path,
        paths: Sequence[str | Path],
        command: Sequence[str],
        passwords: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.paths = tuple(paths)
        self.started = time.time()
        self._stopped = False
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
        """Whether the process is at work."""
        return self._process.poll() is None

    @property
    def problem(self) -> str:
        """Why the run failed, in a sentence; empty while it runs and when it succeeded."""
        if self.running:
            return ""
        if self._problem is None:
            self._problem = self._reason()
            self._complaints.close()
        return self._problem

    def stop(self) -> None:
        """End the run and wait for it; what it has done stays."""
        if self.running:
            self._stopped = True
            stop_process(self._process)

    def wait(self, seconds: float) -> None:
        """Wait for the end. Raises TimeoutExpired."""
        self._process.wait(seconds)

    def _reason(self) -> str:
        code = self._process.returncode
        if code in (_DONE, _INCOMPLETE):
            return ""
        if self._stopped:
            return "it was stopped; what was done is kept, and the next run goes on from there"
        end = self._complaints.seek(0, 2)
        self._complaints.seek(max(0, end - _MAX_ERROR_BYTES))
        lines = self._complaints.read().decode("utf-8", "replace").splitlines()
        said = [line.removeprefix("wva: ") for line in lines if line.startswith("wva: ")]
        if said:
            return said[-1]
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"indexing ended by itself with code {code} ({last.strip()}); try again"


class Jobs:
    """The runs of one server, the last one of each index; to be used from any thread."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = tuple(command)
        self._jobs: dict[Path, Job] = {}
        self._passwords: dict[Path, list[str]] = {}
        self._lock = threading.Lock()
        atexit.register(self.stop_all)

    def start(self, folder: Path, paths: Sequence[str | Path], options: Sequence[str] = ()) -> Job:
        """Bring `paths` into the index in `folder`; `options` as `wva index` takes them.

        Raises IndexStateError while a run on this index is going on.
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

    def learn(self, folder: Path, password: str) -> None:
        """Try this password, too, in all runs to come on the index; it is kept in memory only."""
        with self._lock:
            known = self._passwords.setdefault(folder, [])
            if password and password not in known:
                known.append(password)

    def count_passwords(self, folder: Path) -> int:
        """How many passwords are known for the index."""
        return len(self._passwords.get(folder, ()))

    def of(self, folder: Path) -> Job | None:
        """The last run on the index in `folder`, also when it has ended."""
        return self._jobs.get(folder)

    def forget(self, folder: Path) -> None:
        """Drop a run that has ended, with what it said, and the index's passwords."""
        with self._lock, suppress(KeyError):
            if not self._jobs[folder].running:
                del self._jobs[folder]
                self._passwords.pop(folder, None)

    def stop_all(self) -> None:
        """End all runs."""
        for job in list(self._jobs.values()):
            job.stop()


__all__ = ["COMMAND", "Job", "Jobs"]
