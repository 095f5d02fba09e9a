"""The program keeps the bytecode it compiles, also where the environment forbids it; -B forbids."""

from __future__ import annotations

import subprocess
import sys

import pytest

from retriever.interface.page_server import server_environment

ASK = (
    "import retriever.__main__ as m, sys; m.write_bytecode();"
    " print(sys.dont_write_bytecode, 'torch' in sys.modules)"
)


@pytest.mark.parametrize(("flags", "forbidden"), [((), "False"), (("-B",), "True")])
def test_only_an_explicit_flag_forbids_bytecode(
    flags: tuple[str, ...], forbidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = [sys.executable, *flags, "-c", ASK]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [forbidden, "False"]


def test_the_page_may_write_what_the_program_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert "PYTHONDONTWRITEBYTECODE" in server_environment(None)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert "PYTHONDONTWRITEBYTECODE" not in server_environment(None)


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"]])
def test_the_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from retriever.__main__ import main; sys.argv = ['wva', *sys.argv[1:]];"
        "main(); print({'torch', 'transformers', 'numpy', 'faiss'} & set(sys.modules), end='')"
    )
    command = [sys.executable, "-c", code, *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.endswith("set()")
