"""Computes the arrays of the default model that every new index needs and the package ships.

    python -m benchmarks.shipped

Run it when the default model, its prompts, or the general texts or questions change.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from retriever import AlignedWVA, cache
from retriever.searching.match import general_questions
from retriever.settings import DEFAULT_MODEL


def make(folder: Path, model: str = DEFAULT_MODEL) -> None:
    """Replace `folder` by the arrays, computed in float32, which is the same everywhere."""
    embedder = AlignedWVA(model, device="cpu", dtype="float32")
    shutil.rmtree(folder, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        # An empty cache: all arrays are computed.
        mock.patch.object(cache, "SHIPPED", Path(scratch, "none")),
        mock.patch.dict(os.environ, WVA_CACHE=scratch),
    ):
        embedder.general_means()
        embedder.embed_fixed_queries(general_questions())
        shutil.copytree(Path(scratch, "general"), folder / "general", copy_function=shutil.copyfile)


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed the general questions and texts, and write their arrays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=cache.SHIPPED, help="the folder to replace")
    options = parser.parse_args(arguments)
    make(options.output, options.model)
    for path in sorted(options.output.rglob("*.npy")):
        print(f"{path.stat().st_size:>9,} bytes  {path}")


if __name__ == "__main__":
    main()
