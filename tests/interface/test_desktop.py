"""Files opened in the programs of the machine, with programs of our own on PATH."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retriever import RetrieverError
from retriever.interface import desktop

PROGRAM = """#!{python}
import json, sys, time
with open({calls!r}, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
print({says!r})
time.sleep({seconds})
sys.exit({status})
"""


class Machine:
    """A folder of programs that write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.file = folder / "calls.jsonl"

    def has(self, name: str, *, says: str = "", status: int = 0, seconds: float = 0) -> None:
        program = self.programs / name
        program.write_text(
            PROGRAM.format(
                python=sys.executable,
                calls=str(self.file),
                name=name,
                says=says,
                seconds=seconds,
                status=status,
            )
        )
        program.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A Linux desktop with `xdg-open` alone."""
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(machine.programs))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(desktop, "WAIT", 20.0)  # the programs are slow to start under load
    machine.has("xdg-open")
    return machine


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "Bericht, 2 & $(touch x) ü.pdf"
    file.write_bytes(b"%PDF-")
    return file


def test_a_file_opens_in_its_viewer(machine: Machine, report: Path) -> None:
    desktop.open_file(report)
    assert machine.calls == [["xdg-open", str(report)]]


@pytest.mark.parametrize(
    ("viewer", "expected"),
    [
        ("org.gnome.Evince.desktop\n", ["evince", "--page-index=39"]),
        ("evince.desktop", ["evince", "--page-index=39"]),
        ("okularApplication_pdf.desktop", ["xdg-open"]),
        ("org.kde.okular.desktop", ["okular", "--page=39"]),
        ("firefox.desktop", ["xdg-open"]),
        ("", ["xdg-open"]),
    ],
)
def test_a_viewer_that_knows_pages_is_told_the_page(
    machine: Machine, report: Path, viewer: str, expected: list[str]
) -> None:
    machine.has("xdg-mime", says=viewer)
    machine.has("evince")
    machine.has("okular")
    desktop.open_file(report, page=39)
    assert machine.calls[1:] == [[*expected, str(report)]]


def test_the_file_manager_marks_the_file(machine: Machine, report: Path) -> None:
    machine.has("dbus-send")
    desktop.show_in_folder(report)
    (call,) = machine.calls
    assert call[-2] == f"array:string:{report.as_uri()}"
    assert "," not in call[-2]  # which would end the item
    assert call[-3] == "org.freedesktop.FileManager1.ShowItems"


@pytest.mark.parametrize("answers", [False, None])
def test_the_folder_opens_without_a_file_manager(
    machine: Machine, report: Path, answers: bool | None
) -> None:
    if answers is False:
        machine.has("dbus-send", status=1)
    desktop.show_in_folder(report)
    assert machine.calls[-1] == ["xdg-open", str(report.parent)]


def test_macos_opens_and_reveals(
    machine: Machine, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    machine.has("open")
    desktop.open_file(report, page=3)
    desktop.show_in_folder(report)
    assert machine.calls == [["open", str(report)], ["open", "-R", str(report)]]


def test_windows_opens_and_selects(
    machine: Machine, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(desktop.os, "startfile", opened.append, raising=False)
    machine.has("explorer", status=1)  # as it always says
    desktop.open_file(report)
    desktop.show_in_folder(report)
    assert opened == [str(report)]
    assert machine.calls == [["explorer", f"/select,{report}"]]


def test_a_path_is_never_an_option(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("--version.pdf").write_bytes(b"%PDF-")
    desktop.open_file("--version.pdf")
    assert machine.calls == [["xdg-open", str(tmp_path / "--version.pdf")]]


@pytest.mark.parametrize("do", [desktop.open_file, desktop.show_in_folder])
@pytest.mark.parametrize("path", ["gone.pdf", "", ".", "https://example.org", "a\0b"])
def test_what_is_no_file_is_refused_in_a_sentence(
    machine: Machine, tmp_path: Path, do: Callable[..., None], path: str
) -> None:
    with pytest.raises(RetrieverError, match=r"there is no file .* on this machine"):
        do(tmp_path / path if path else path)
    assert not machine.calls


@pytest.mark.parametrize("name", ["run.bat", "a.DESKTOP", "b.py", "c.lnk", "script"])
def test_a_program_is_not_run(machine: Machine, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    with pytest.raises(RetrieverError, match="may run as a program; open it from its folder"):
        desktop.open_file(file)
    desktop.show_in_folder(file)
    assert machine.calls == [["xdg-open", str(tmp_path)]]


def test_a_failing_or_missing_program_is_told(machine: Machine, report: Path) -> None:
    machine.has("xdg-open", status=3)
    with pytest.raises(RetrieverError, match=r"ü\.pdf cannot be opened: no program for it"):
        desktop.open_file(report)
    (machine.programs / "xdg-open").unlink()
    with pytest.raises(RetrieverError, match="the program xdg-open is missing"):
        desktop.open_file(report)


def test_a_viewer_that_stays_does_not_block(
    machine: Machine, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop, "WAIT", 0.05)
    machine.has("xdg-open", seconds=5)
    started = time.monotonic()
    desktop.open_file(report)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),  # noqa: S104 - what must be refused
        ("192.168.1.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_only_who_sits_here_may_open(machine: Machine, address: str, expected: bool) -> None:
    assert desktop.can_open(address) is expected


def test_there_must_be_a_desktop(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desktop.available()
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not desktop.available()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert desktop.available()
    (machine.programs / "xdg-open").unlink()
    assert not desktop.can_open("127.0.0.1")
