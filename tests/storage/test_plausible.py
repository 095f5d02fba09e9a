"""Vector files that somebody has prepared: with the right hash, and wrong sizes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import faiss
import numpy as np
import pytest

from retriever.storage.vectors.faiss import build, make_index, read
from retriever.storage.vectors.plausible import is_plausible
from retriever.types import IndexStateError

KINDS = ("Flat", "SQ8", "RaBitQ", "RaBitQ2", "HNSW8,Flat", "IVF4,Flat", "PQ4x4")
D = 16


def vectors() -> np.ndarray:
    made = np.random.default_rng(7).normal(size=(600, D)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def file_of(path: Path, kind: str) -> bytes:
    store = build([(np.arange(600), vectors())], D, kind, training=vectors())
    assert store.kind == kind
    store.write(path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_every_kind_are_read(tmp_path: Path, kind: str) -> None:
    def fetch(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ids, vectors()[ids]

    data = file_of(tmp_path / "x.faiss", kind)
    read_again = read(tmp_path / "x.faiss", hashlib.sha256(data).hexdigest(), kind, fetch)
    assert read_again.search(vectors()[3], 1)[0].tolist() == [3]


def test_no_wrong_size_of_codes_is_searched(tmp_path: Path) -> None:
    """The sizes of the codes, which made FAISS 1.15.1 read memory of others (signal 11)."""
    path = tmp_path / "x.faiss"
    data = file_of(path, "RaBitQ2")
    refused = 0
    for at in range(82, 103):
        for value in (0, 3, 255):
            changed = bytearray(data)
            changed[at] = value
            path.write_bytes(changed)
            try:
                store = read(path, hashlib.sha256(changed).hexdigest(), "RaBitQ2")
            except IndexStateError:
                refused += 1
            else:
                store.search(vectors()[3], 5)
    assert refused > 40


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    digest = hashlib.sha256(file_of(tmp_path / "x.faiss", "SQ8")).hexdigest()
    for kind in ("Flat", "RaBitQ2", "no kind", "HNSW8,Flat"):
        with pytest.raises(IndexStateError, match="kind"):
            read(tmp_path / "x.faiss", digest, kind)
    plain = faiss.IndexFlatIP(D)
    assert not is_plausible(plain, make_index(D, "Flat"))
