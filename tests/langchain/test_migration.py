"""From the FAISS store of langchain-community, without running its pickle."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import faiss
import numpy as np
import pytest
from langchain_core.documents import Document

from retriever.langchain import AlignedWVAVectorStore, from_community_faiss
from retriever.types import ReadError, UsageError
from tests.langchain.embeddings import GivenEmbeddings

RNG = np.random.default_rng(5)
VECTORS = RNG.standard_normal((6, 8)).astype(np.float32)
TEXTS = ["one", "two", "", "日本 \U0001f600", "five", "six"]
METADATA: list[dict[str, Any]] = [
    {"source": "a.txt", "page": 1},
    {"tags": ["x", 1, None], "nested": {"a": {"b": 1.5}}},
    {},
    {"day": date(2024, 3, 7), "at": datetime(2024, 3, 7, 10, tzinfo=UTC), "took": timedelta(1)},
    {"id": UUID(int=5), "price": Decimal("2.50"), "set": {1, 2}, "pair": (1, "x")},
    {"raw": b"\0\1", "text": "huge " * 20_000},
]
IDS = [f"id {n}" for n in range(6)]
EMBEDDINGS = GivenEmbeddings(dict(zip(TEXTS, VECTORS, strict=True)))


class Docstore:
    """A stand-in for `InMemoryDocstore`, which pickles under its name."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self._dict = documents


class OldDocument:
    """A stand-in for the documents of LangChain before pydantic 2."""

    def __init__(self, text: str, metadata: dict[str, Any]) -> None:
        self.page_content, self.metadata = text, metadata

    def __getstate__(self) -> dict[str, Any]:
        return {"__dict__": dict(vars(self)), "__fields_set__": {"page_content"}}


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, str], None]:
    """Lets a class be pickled under another qualified name."""

    def name(kind: type, module: str, qualified: str) -> None:
        parts = module.split(".")
        for at in range(len(parts)):
            known = ".".join(parts[: at + 1])
            if known not in sys.modules:
                monkeypatch.setitem(sys.modules, known, ModuleType(known))
        monkeypatch.setattr(sys.modules[module], qualified, kind, raising=False)
        kind.__module__, kind.__qualname__, kind.__name__ = module, qualified, qualified

    return name


@pytest.fixture(autouse=True)
def _docstore(named: Callable[[type, str, str], None]) -> None:
    named(Docstore, "langchain_community.docstore.in_memory", "InMemoryDocstore")


def saved(
    folder: Path, *, protocol: int = pickle.DEFAULT_PROTOCOL, documents: Any = None,
    numbers: Any = None, index: Any = None,
) -> Path:  # fmt: skip
    """A folder as `FAISS.save_local` writes it."""
    folder.mkdir()
    if index is None:
        index = faiss.IndexFlatL2(8)
        index.add(VECTORS)
    if documents is None:
        documents = {
            id_: Document(page_content=text, metadata=each, id=id_)
            for id_, text, each in zip(IDS, TEXTS, METADATA, strict=True)
        }
    faiss.write_index(index, str(folder / "index.faiss"))
    content = (Docstore(documents), dict(enumerate(IDS)) if numbers is None else numbers)
    (folder / "index.pkl").write_bytes(pickle.dumps(content, protocol))
    return folder


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_everything_is_taken_over_and_nothing_embedded(tmp_path: Path, protocol: int) -> None:
    metadata = METADATA if protocol >= 3 else [{"n": n} for n in range(6)]
    documents = {
        id_: Document(page_content=text, metadata=each, id=id_)
        for id_, text, each in zip(IDS, TEXTS, metadata, strict=True)
    }
    old = saved(tmp_path / "old", protocol=protocol, documents=documents)
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    with from_community_faiss(old, EMBEDDINGS, tmp_path / "new") as store:
        found = store.get_by_ids(IDS)
        assert [(one.id, one.page_content, one.metadata) for one in found] == list(
            zip(IDS, TEXTS, metadata, strict=True)
        )
        for id_, vector in zip(IDS, VECTORS, strict=True):
            ((nearest, score),) = store.similarity_search_with_score_by_vector(vector.tolist(), 1)
            assert (nearest.id, score) == (id_, pytest.approx(1.0))
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    with AlignedWVAVectorStore(EMBEDDINGS, tmp_path / "new") as again:
        assert len(again) == 6


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat", "SQ8"])
def test_vectors_of_other_kinds_of_index(tmp_path: Path, kind: str) -> None:
    index = faiss.index_factory(8, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add(VECTORS)
    with from_community_faiss(saved(tmp_path / "old", index=index), EMBEDDINGS) as store:
        ((nearest, score),) = store.similarity_search_with_score_by_vector(VECTORS[3].tolist(), 1)
        assert (nearest.id, round(score, 2)) == (IDS[3], 1.0)


@pytest.mark.parametrize(
    "module", ["langchain.schema.document", "langchain.docstore.document", "langchain.schema"]
)
def test_documents_of_older_versions(
    tmp_path: Path, named: Callable[[type, str, str], None], module: str
) -> None:
    named(OldDocument, module, "Document")
    documents = {
        id_: OldDocument(text, {"n": n})
        for n, (id_, text) in enumerate(zip(IDS, TEXTS, strict=True))
    }
    with from_community_faiss(saved(tmp_path / "old", documents=documents), EMBEDDINGS) as store:
        assert store.get_by_ids(IDS) == [
            Document(page_content=text, metadata={"n": n}, id=id_)
            for n, (id_, text) in enumerate(zip(IDS, TEXTS, strict=True))
        ]


def test_another_name_and_documents_without_vectors(tmp_path: Path) -> None:
    index = faiss.IndexFlatIP(8)
    index.add(VECTORS[:4])
    old = saved(tmp_path / "old", index=index, numbers=dict(enumerate(IDS[:4])))
    for path in list(old.iterdir()):
        path.rename(path.with_stem("mine"))
    with from_community_faiss(old, EMBEDDINGS, index_name="mine") as store:
        assert len(store) == 6, "nothing is lost"
        assert store.similarity_search("six", 1)[0].id == IDS[5]


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    numbers = {
        kind: np.array([n], kind)[0]
        for n, kind in enumerate(["i8", "i4", "u1", "f4", "f8", "f2", "b1"])
    }
    documents = {id_: Document(page_content="x", metadata=dict(numbers)) for id_ in IDS}
    with from_community_faiss(saved(tmp_path / "old", documents=documents), EMBEDDINGS) as store:
        (found,) = store.get_by_ids(IDS[:1])
    assert found.metadata == {kind: number.item() for kind, number in numbers.items()}
    assert [type(one) for one in found.metadata.values()] == [int] * 3 + [float] * 3 + [bool]


def test_paths_in_metadata_are_taken_over(tmp_path: Path) -> None:
    documents = {id_: Document(page_content="x", metadata={"at": Path("a/b")}) for id_ in IDS}
    old = saved(tmp_path / "old", documents=documents)
    with from_community_faiss(old, EMBEDDINGS) as store:
        assert store.get_by_ids(IDS[:1])[0].metadata == {"at": Path("a/b")}
    with pytest.raises(UsageError, match="folder is the one that save_local wrote"):
        from_community_faiss(None, EMBEDDINGS)  # type: ignore[arg-type]


class Attack:
    """Runs code when it is unpickled by a reader that runs it."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        function, *given = self._call
        return function, tuple(given)


def attacks(victim: Path) -> Iterator[Any]:
    yield Attack(os.system, f"touch {victim}")
    yield Attack(eval, f"open({str(victim)!r}, 'w')")
    yield Attack(exec, f"open({str(victim)!r}, 'w')")
    yield Attack(getattr, "", "join")
    yield Attack(__import__, "antigravity")
    yield Attack(Path.touch, victim)
    yield Attack(type, "X", (), {})
    yield np.array([victim], dtype=object)
    yield np.float64
    yield b"\x80\x04cos\nsystem\n."
    yield b"\x80\x04\x8c\x08datetime\x8c\x12datetime.__class__\x93."
    yield b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x041+1\x85R."
    yield b"(S'touch x'\nios\nsystem\n."
    yield b"\x80\x02clangchain_community.docstore.in_memory\n_Secret\n."
    yield b"\x80\x04P1\n."
    yield b"\x82\x01."


@pytest.mark.parametrize("number", range(16))
def test_a_pickle_that_names_anything_else_is_refused(tmp_path: Path, number: int) -> None:
    victim = tmp_path / "victim"
    attack = list(attacks(victim))[number]
    old = saved(tmp_path / "old")
    if isinstance(attack, bytes):
        (old / "index.pkl").write_bytes(attack)
    else:
        documents = {"a": Document(page_content="x", metadata={"x": 1})}
        content = (Docstore(documents), {0: "a", 1: attack})
        (old / "index.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ReadError, match=r"index\.pkl is (refused|damaged)") as raised:
        from_community_faiss(old, EMBEDDINGS, tmp_path / "new")
    assert "\n" not in str(raised.value)
    assert not victim.exists()
    assert not (tmp_path / "new").exists()


def test_damage_is_said_in_a_sentence(tmp_path: Path) -> None:
    whole = saved(tmp_path / "old")
    data = (whole / "index.pkl").read_bytes()
    for name, content, error, said in (
        ("index.pkl", data[: len(data) // 2], ReadError, "damaged"),
        ("index.pkl", b"", ReadError, "damaged"),
        ("index.pkl", pickle.dumps([1, 2]), ReadError, "no store of documents"),
        ("index.pkl", pickle.dumps((Docstore({}), {})), ReadError, "does not fit together"),
        ("index.pkl", None, UsageError, r"there is no index\.pkl"),
        ("index.faiss", b"nothing", ReadError, "gives no vectors"),
        ("index.faiss", None, UsageError, r"there is no index\.faiss"),
    ):
        path = whole / name
        before = path.read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(error, match=said):
            from_community_faiss(whole, EMBEDDINGS, tmp_path / "new")
        path.write_bytes(before)
    lost = saved(tmp_path / "lost", numbers=dict(enumerate([*IDS[:5], "gone"])))
    with pytest.raises(ReadError, match="a document 'gone' that it does not hold"):
        from_community_faiss(lost, EMBEDDINGS)
    with AlignedWVAVectorStore(EMBEDDINGS, tmp_path / "new") as store:
        store.add_texts(["one"])
    with pytest.raises(UsageError, match="holds texts already"):
        from_community_faiss(whole, EMBEDDINGS, tmp_path / "new")
