"""What the package ships of the default model: the arrays every new index needs, made anew.

    python -m benchmarks.shipped

Run it when the default model, its prompts, or the general texts or questions change.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from retriever import AlignedWVA, cache
from retriever.searching.match import general_questions


def make(folder: Path) -> None:
    """Write the arrays into `folder`, in the precision that is the same everywhere."""
    shutil.rmtree(folder, ignore_errors=True)
    cache.SHIPPED = folder  # nothing there: all is computed
    with tempfile.TemporaryDirectory() as scratch:
        embedder = AlignedWVA(device="cpu", dtype="float32")
        os.environ["WVA_CACHE"] = scratch
        embedder.general_means()
        embedder.remembered_queries(general_questions())
        shutil.copytree(Path(scratch, "general"), folder / "general", copy_function=shutil.copyfile)


def main() -> None:
    """Embed the general questions and texts with the default model, and write them."""
    folder = cache.SHIPPED
    make(folder)
    for path in sorted(folder.rglob("*.npy")):
        print(f"{path.stat().st_size:>9,} bytes  {path}")


if __name__ == "__main__":
    main()
