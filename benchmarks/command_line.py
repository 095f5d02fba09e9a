"""Writes the help of every command into `docs/cli.md`: `python -m benchmarks.command_line`.

Everything after `MARK` is replaced. A test compares it with the help of the commands.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from retriever.interface.cli import COMMANDS
from retriever.interface.cli import main as wva_main

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100
MARK = "<!-- From here on generated: python -m benchmarks.command_line -->"
"""Everything after this line of the page is generated; everything before it is kept."""


def names() -> list[str]:
    """The names of all commands; the program itself and groups come before their members.

    >>> names()[:2], "eval" in names(), names().count("models")
    (['', 'index'], True, 1)
    """
    found = [""]
    for name in COMMANDS:
        parts = name.split()
        found += [" ".join(parts[: end + 1]) for end in range(len(parts))]
    return list(dict.fromkeys(found))


def help_of(name: str) -> str:
    """The output of `wva NAME --help` at a width of `WIDTH` characters, without colours."""
    output = io.StringIO()
    before = dict(os.environ)
    os.environ.update(COLUMNS=str(WIDTH), NO_COLOR="1")
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            wva_main([*name.split(), "--help"])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return output.getvalue().strip()


def sections() -> str:
    """The generated part: a section for each command."""
    found = (f"## wva {name}".rstrip() + f"\n\n```text\n{help_of(name)}\n```" for name in names())
    return "\n\n".join(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, and print where it is."""
    parser = argparse.ArgumentParser(description="Write the help texts into docs/cli.md.")
    parser.add_argument("--output", type=Path, default=PAGE, help="another file to write")
    options = parser.parse_args(arguments)
    before = PAGE.read_text("utf-8").partition(MARK)[0]
    options.output.write_text(f"{before}{MARK}\n\n{sections()}\n", "utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
