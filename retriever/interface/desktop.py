"""Files in the programs of this machine: open one in its viewer, show one in its folder.

The programs are `xdg-open`, the viewer of PDFs and the file manager (by D-Bus) on Linux, `open` on
macOS, and Windows' own. They start without a shell and on their own; a path is absolute, so that it
is never an option. A file that its system would run is not opened.

This concerns the machine of the process. A server must offer it only to somebody who sits there:
see `can_open`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retriever.types import UsageError

WAIT = 1.0
"""Seconds that a program has to report an error; a viewer goes on behind that."""

_PROGRAMS = re.compile(
    r"app|appimage|bat|cmd|com|command|cpl|csh|desktop|exe|hta|jar|js|jse|ksh|lnk|msc|msi|pif|pl"
    r"|ps1|pyw?|rb|reg|scf|scpt|scr|sh|terminal|tool|url|vb|vbe|vbs|webloc|workflow|wsf?|wsh|zsh"
)
"""Endings of files that some system runs, or follows to another place, when they are opened."""

_PAGE_OPTIONS = {
    "evince": "--page-index={}",
    "atril": "--page-index={}",
    "xreader": "--page-index={}",
    "okular": "--page={}",
    "zathura": "--page={}",
}
"""Viewers of PDFs on Linux → how they are told the page, which counts from 1."""


def available() -> bool:
    """Whether this machine has a desktop to open files on."""
    if sys.platform in ("darwin", "win32"):
        return True
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) and shutil.which("xdg-open") is not None


def can_open(address: str) -> bool:
    """Whether who reaches a server at `address` sits at this machine, and it has a desktop.

    Only loopback addresses are of this machine alone. Through a tunnel somebody else may reach
    them, too, and the file opens here.

    >>> can_open("0.0.0.0"), can_open("192.168.0.7"), can_open("")
    (False, False, False)
    """
    return is_loopback(address) and available()


def is_loopback(address: str) -> bool:
    """Whether an address, or "localhost", is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("::"), is_loopback("example.org")
    (False, False)
    """
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def open_file(path: str | os.PathLike[str], page: int | None = None) -> None:
    """Open a file in its viewer, at a page (from 1) if the viewer of PDFs can be told one.

    Raises UsageError with a sentence if there is no such file, no viewer, or if it is a program.
    """
    file = _existing(path)
    if _is_program(file):
        raise UsageError(f"{file.name} may run as a program; open it from its folder")
    if sys.platform == "win32":
        _start_on_windows(file)
    elif sys.platform == "darwin":
        _start(["open", str(file)], file)
    else:
        command = _at_page(file, page) if page is not None else None
        _start(command or ["xdg-open", str(file)], file)


def show_in_folder(path: str | os.PathLike[str]) -> None:
    """Show a file in its folder, marked if the file manager can do that.

    Raises UsageError with a sentence if there is no such file or no file manager.
    """
    file = _existing(path)
    if sys.platform == "win32":  # whose exit status says nothing
        _run(["explorer", f"/select,{file}"])
    elif sys.platform == "darwin":
        _start(["open", "-R", str(file)], file)
    elif not _shown_by_file_manager(file):
        _start(["xdg-open", str(file.parent)], file.parent)


def _existing(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that exists."""
    try:
        file = Path(path).resolve(strict=True)
        if file.is_file():
            return file
    except (OSError, ValueError, RuntimeError):
        pass
    raise UsageError(f"there is no file {os.fspath(path)!r} on this machine any more")


def _is_program(file: Path) -> bool:
    """Whether some system would run it. Documents may be marked as executable, too."""
    if _PROGRAMS.fullmatch(file.suffix[1:].lower()):
        return True
    return not file.suffix and os.access(file, os.X_OK)


def _at_page(file: Path, page: int) -> list[str] | None:
    """The command that opens a PDF at a page; None if its viewer is unknown."""
    if file.suffix.lower() != ".pdf" or not shutil.which("xdg-mime"):
        return None
    known = _output(["xdg-mime", "query", "default", "application/pdf"])
    viewer = known.strip().removesuffix(".desktop").rpartition(".")[2].lower()
    program = viewer if viewer in _PAGE_OPTIONS else viewer.partition("-")[0]
    option = _PAGE_OPTIONS.get(program)
    if option is None or shutil.which(program) is None:
        return None
    return [program, option.format(int(page)), str(file)]


def _shown_by_file_manager(file: Path) -> bool:
    """Whether the file manager took the call; D-Bus starts it if need be."""
    if not shutil.which("dbus-send"):
        return False
    service = "org.freedesktop.FileManager1"
    command = [
        *("dbus-send", "--session", "--print-reply", f"--reply-timeout={round(1000 * WAIT)}"),
        *(f"--dest={service}", "--type=method_call", "/org/freedesktop/FileManager1"),
        f"{service}.ShowItems",
        f"array:string:{file.as_uri()}",  # its commas, which separate items, are encoded
        "string:",
    ]
    try:
        return _run(command) == 0
    except OSError:
        return False


def _start_on_windows(file: Path) -> None:
    try:
        # `vars` and not `os.startfile`: only Windows has it, and mypy misses it elsewhere.
        starter: Any = vars(os)["startfile"]
        starter(str(file))
    except OSError as error:
        raise UsageError(f"{file.name} cannot be opened: {error.strerror}") from None


def _start(command: Sequence[str], file: Path) -> None:
    """Start a program; raises UsageError if it is missing or fails at once."""
    try:
        status = _run(command)
    except OSError:
        raise UsageError(
            f"{file.name} cannot be opened: the program {command[0]} is missing"
        ) from None
    if status:
        raise UsageError(f"{file.name} cannot be opened: no program for it is known here")


def _run(command: Sequence[str]) -> int | None:
    """The exit status of a program; None if it goes on after `WAIT` seconds, as a viewer does."""
    process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell, an absolute path
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(WAIT)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, daemon=True).start()
        return None


def _output(command: Sequence[str]) -> str:
    """What a program prints; empty if it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - as in _run
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


__all__ = ["WAIT", "available", "can_open", "is_loopback", "open_file", "show_in_folder"]
