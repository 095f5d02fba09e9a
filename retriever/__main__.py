"""The program: `python -m retriever`, and the script `wva`."""

from __future__ import annotations

import os
import sys


def write_bytecode() -> None:
    """Let Python keep the bytecode that it compiles, also where the environment forbids it.

    A search imports some 2,000 modules, which pip leaves uncompiled: compiling them in each process
    takes longer than all the rest. Python ignores folders that cannot be written; -B still forbids.
    """
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and "-B" not in sys.orig_argv:
        sys.dont_write_bytecode = False


def main() -> int:
    """Run the command line; returns the exit code. Ctrl-C ends it also while it starts."""
    write_bytecode()
    try:
        from retriever.interface.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
