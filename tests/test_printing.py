"""One place prints, and what Streamlit reads as Markdown passes through one function."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRINTING = ROOT / "retriever" / "interface" / "terminal" / "printing.py"

MARKDOWN = {
    *("markdown", "caption", "error", "warning", "info", "success", "toast", "expander"),
    *("button", "popover", "checkbox", "toggle", "selectbox", "radio", "text_input", "metric"),
}
"""Functions of Streamlit whose first argument is Markdown."""


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_nothing_else_writes_to_the_streams() -> None:
    """`print` is ruff's T201; this finds what goes around it."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules("retriever", "ui")
        if path != PRINTING
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func).startswith(("sys.stdout.write", "sys.stderr.write"))
            or ast.unparse(node.func) == "print"
        )
    ]
    assert not found


def raw_parts(text: ast.expr) -> list[str]:
    """The parts of a label that come from a name or attribute, not through a function."""
    if not isinstance(text, ast.JoinedStr):
        return []
    values = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
    return [
        ast.unparse(value)
        for value in values
        if isinstance(value, ast.Attribute) and value.attr in ("path", "title", "author", "text")
    ]


def test_labels_of_the_page_hold_no_raw_text_of_documents() -> None:
    found = []
    for path in modules("ui"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in MARKDOWN and node.args:
                helps = [one.value for one in node.keywords if one.arg == "help"]
                raw = [part for text in (node.args[0], *helps) for part in raw_parts(text)]
                found += [f"{path.relative_to(ROOT)}:{node.lineno} {part}" for part in raw]
    assert not found


@pytest.mark.skipif(os.name != "posix", reason="the streams of a shell")
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = f'"{sys.executable}" -m retriever --version {closed}'
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
