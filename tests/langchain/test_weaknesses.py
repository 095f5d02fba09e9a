"""What goes wrong in the FAISS store of langchain-community, each as a test of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from retriever.langchain import AlignedWVAVectorStore
from retriever.storage.backends.embedded import EmbeddedBackend
from tests.langchain.embeddings import FastEmbeddings, GivenEmbeddings, WordEmbeddings


def test_no_pickle_is_written_or_needed(tmp_path: Path) -> None:
    AlignedWVAVectorStore.from_texts(["x"], FastEmbeddings(), path=tmp_path / "s").close()
    files = [path for path in (tmp_path / "s").iterdir() if path.is_file()]
    assert files
    for path in files:
        assert path.suffix != ".pkl"
        assert not path.read_bytes().startswith(b"\x80")
    script = (
        "import sys; sys.modules['pickle'].load = sys.modules['pickle'].loads = None\n"
        "from retriever.langchain import AlignedWVAVectorStore as Store\n"
        "from tests.langchain.embeddings import FastEmbeddings\n"
        f"store = Store(FastEmbeddings(), {str(tmp_path / 's')!r})\n"
        "assert len(store.similarity_search('x')) == 1"
    )
    subprocess.run([sys.executable, "-c", "import pickle; " + script], check=True)


def test_adding_a_known_id_replaces_and_the_next_search_works() -> None:
    """There it raises after the vector is in, and every later search raises KeyError."""
    with AlignedWVAVectorStore(FastEmbeddings()) as store:
        store.add_texts(["one"], ids=["a"])
        store.add_texts(["two"], ids=["a"])
        assert [one.page_content for one in store.similarity_search("one", 9)] == ["two"]


def test_deleting_an_unknown_id_is_no_error() -> None:
    with AlignedWVAVectorStore(FastEmbeddings()) as store:
        store.add_texts(["one"], ids=["a"])
        assert store.delete(["unknown"]) is True
        assert len(store) == 1


def test_a_narrow_filter_gives_k_results() -> None:
    """There 0.26 of 5 on average: it filters after it searched for 20."""
    with AlignedWVAVectorStore(FastEmbeddings()) as store:
        store.add_texts(
            [f"text {n}" for n in range(1000)], [{"rare": n % 100 == 0} for n in range(1000)]
        )
        for n in range(20):
            found = store.similarity_search(f"text {n}", 5, filter={"rare": True})
            assert len(found) == 5


@pytest.mark.parametrize("scale", [1.0, 0.01, 50.0])
def test_the_same_text_has_relevance_one_and_no_other_is_below_zero(scale: float) -> None:
    """There 0.0 with inner products, and -1.7 for unrelated texts; vectors need not be units."""
    rng = np.random.default_rng(3)
    vectors = {f"t{n}": scale * rng.standard_normal(32) for n in range(100)}
    with AlignedWVAVectorStore.from_texts(list(vectors), GivenEmbeddings(vectors)) as store:
        found = store.similarity_search_with_relevance_scores("t7", 100)
    scores = [score for _, score in found]
    assert (found[0][0].page_content, scores[0]) == ("t7", 1.0)
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.0


@pytest.mark.parametrize("kind", ["Flat", "IVF16,Flat", "SQ8", "HNSW16,Flat"])
def test_deletes_are_right_over_every_kind_of_index(tmp_path: Path, kind: str) -> None:
    """There 0 of 50 self-queries were right over IVF, and HNSW raises."""
    rng = np.random.default_rng(4)
    vectors = {f"t{n}": rng.standard_normal(32) for n in range(400)}
    names = list(vectors)
    embeddings = GivenEmbeddings(vectors)
    store = AlignedWVAVectorStore.from_texts(names, embeddings, ids=names, path=tmp_path / "s")
    store.close()
    with EmbeddedBackend.open(tmp_path / "s", factory=kind) as backend:
        backend.finish({})
        assert backend.info()["store"]["kind"] == kind
    with AlignedWVAVectorStore(embeddings, tmp_path / "s") as store:
        store.delete(names[::8])
        assert len(store) == 350
        for name in names:
            found = [one.id for one in store.similarity_search(name, 1)]
            assert (found == [name]) is (name not in names[::8]), name


def test_a_delete_rewrites_no_file_of_vectors(tmp_path: Path) -> None:
    """There it renumbers all, and a save writes everything anew."""
    names = [f"t{n}" for n in range(300)]
    store = AlignedWVAVectorStore.from_texts(
        names, FastEmbeddings(), ids=names, path=tmp_path / "s"
    )
    store.backend.finish({})
    (file,) = (tmp_path / "s").glob("*.faiss")
    before = (file.name, file.stat().st_mtime_ns)
    store.delete(names[:3])
    store.add_texts(["new"], ids=["new"])
    assert [one.id for one in store.similarity_search("new", 1)] == ["new"]
    (file,) = (tmp_path / "s").glob("*.faiss")
    assert (file.name, file.stat().st_mtime_ns) == before
    store.close()


WRITER = """
import sys
from retriever.langchain import AlignedWVAVectorStore
from tests.langchain.embeddings import FastEmbeddings
folder, name = sys.argv[1:]
with AlignedWVAVectorStore(FastEmbeddings(), folder) as store:
    for n in range(10):
        store.add_texts([f"{name} {n}"], ids=[f"{name} {n}"])
"""


def test_several_processes_write_to_one_folder(tmp_path: Path) -> None:
    """There six writers truncated the file, and the store was lost."""
    AlignedWVAVectorStore(FastEmbeddings(), tmp_path / "s").close()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s"), name])
        for name in "abcd"
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    with AlignedWVAVectorStore(FastEmbeddings(), tmp_path / "s") as store:
        assert len(store) == 40
        for name in "abcd":
            assert store.similarity_search(f"{name} 7", 1)[0].id == f"{name} 7"


class Awaited(WordEmbeddings):
    """Embeddings that only a task may ask."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("a thread was blocked")

    embed_query = embed_documents  # type: ignore[assignment]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return super().embed_documents([text])[0]


async def test_embeddings_are_awaited() -> None:
    """There a thread is handed over for each call."""
    store = await AlignedWVAVectorStore.afrom_texts(["whales", "apples"], Awaited())
    await store.aadd_documents([Document(page_content="bread")])
    assert (await store.asimilarity_search("whales", 1))[0].page_content == "whales"
    assert await store.asimilarity_search_with_relevance_scores("whales", 1)
    assert await store.amax_marginal_relevance_search("whales", 1)
    retriever = store.as_retriever(search_type="mmr")
    assert len(await retriever.ainvoke("whales")) == 3
    store.close()
