"""The sample's vectors: `data/sample` embedded with the default model, in a file beside the tests.

Embedding all of it takes many minutes on a processor without bfloat16, so the test of quality reads
the vectors from a file. Their keys are those of an index, from the embedder's fingerprint and the
exact model input: a change to the model, a prompt, a reader or chunking needs new ones.

    python -m tests.sample

embeds the missing ones and deletes unused ones. Run it when the test of quality says so.
"""

from __future__ import annotations

import lzma
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever import AlignedWVA, Index

Vectors = NDArray[np.float32]

FOLDER = Path("data/sample")
QUESTIONS = Path("data/queries.jsonl")
KEPT = Path(__file__).with_name("sample_vectors.xz")
STEP = 1 / 4096
"""Values are multiples of this step: the cosine to the exact vector is at least 0.99999."""

KEY_BYTES = 20


class KnownVectors:
    """The default model, with known vectors from a file. `asked` records the inputs.

    `new` holds what was not known: it is embedded, up to `most` texts, then refused.
    """

    def __init__(self, model: AlignedWVA, known: dict[str, Vectors], most: int) -> None:
        self.model = model
        self.known = known
        self.most = most
        self.asked: dict[str, str] = {}  # key → one of the inputs
        self.new: dict[str, Vectors] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        return self._vectors(inputs, list(map(self.model.key, inputs)), self.model.embed_inputs)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        keys = [self.model.key("\0".join(self.model.query_inputs(text))) for text in texts]
        return self._vectors(texts, keys, self.model.embed_queries)

    def _vectors(
        self, texts: Sequence[str], keys: Sequence[str], embed: Callable[[Sequence[str]], Vectors]
    ) -> Vectors:
        of = dict(zip(keys, texts, strict=True))
        self.asked |= of
        missing = [key for key in of if key not in self.known and key not in self.new]
        assert len(self.new) + len(missing) <= self.most, (
            f"{len(missing)} texts of the sample are not what they were: run python -m tests.sample"
        )
        if missing:
            vectors = embed([of[key] for key in missing])
            self.new |= dict(zip(missing, vectors, strict=True))
        rows = [self.known[key] if key in self.known else self.new[key] for key in keys]
        return np.array(rows, dtype=np.float32).reshape(len(keys), self.model.dimension)


def read(path: Path = KEPT) -> dict[str, Vectors]:
    """The vectors by their keys, of unit length: (dim,) each."""
    data = lzma.decompress(path.read_bytes())
    count = int.from_bytes(data[:4], "little")
    keys = [data[4 + KEY_BYTES * at :][:KEY_BYTES].hex() for at in range(count)]
    values = np.frombuffer(data, "<i2", offset=4 + KEY_BYTES * count).reshape(count, -1)
    rows = values.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return dict(zip(keys, rows, strict=True))


def write(vectors: dict[str, Vectors], path: Path = KEPT) -> None:
    """Write the vectors, in the order of their keys."""
    keys = sorted(vectors)
    values = np.array([np.rint(vectors[key] / STEP) for key in keys]).astype("<i2")
    names = b"".join(map(bytes.fromhex, keys))
    path.write_bytes(lzma.compress(len(keys).to_bytes(4, "little") + names + values.tobytes()))


def main() -> None:
    model = AlignedWVA(device="cpu", dtype="float32")
    embedder = KnownVectors(model, read() if KEPT.exists() else {}, most=10**9)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Index.open_or_create(Path(scratch, "index"), embedder) as index,
    ):
        index.sync(FOLDER)
    vectors = {key: (embedder.known | embedder.new)[key] for key in embedder.asked}
    write(vectors)
    print(  # noqa: T201
        f"{len(vectors)} vectors, {len(embedder.new)} new: {KEPT.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
