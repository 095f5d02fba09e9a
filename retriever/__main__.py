"""`python -m retriever`: the command line, also where the script `wva` is not installed."""

from __future__ import annotations

import sys

from retriever.interface.cli import main

if __name__ == "__main__":
    sys.exit(main())
