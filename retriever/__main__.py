"""The program: `python -m retriever`, and the script `wva`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit code. Ctrl-C ends it also while it starts."""
    try:
        from retriever.interface.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
