"""Loader, blob parser, splitter and compressor."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from pydantic import ValidationError

from retriever.embedding.protocols import Judge
from retriever.langchain import (
    AlignedWVABlobParser,
    AlignedWVACompressor,
    AlignedWVAEmbeddings,
    AlignedWVALoader,
    AlignedWVARetriever,
    AlignedWVATextSplitter,
)
from retriever.reading.formats import read_document
from retriever.settings import ChunkSettings
from retriever.text.chunking import chunk_page
from retriever.types import ReadError, UsageError
from tests.langchain.test_retriever import small_index, tiny_model

FILES = Path(__file__).parents[1] / "data" / "documents"


# Loader


def test_a_folder_is_loaded_page_by_page() -> None:
    loader = AlignedWVALoader(FILES)
    found = loader.load()
    expected = []
    for path in sorted(FILES.iterdir()):
        document = read_document(path, path.name)
        expected += [
            (str(path), page.number, document.format, document.title, page.state.value)
            for page in document.pages
            if page.text.strip()
        ]
    assert [
        (one.metadata["source"], *(one.metadata[n] for n in ("page", "format", "title", "state")))
        for one in found
    ] == expected
    assert {one.metadata["path"] for one in found} == {path.name for path in FILES.iterdir()}
    for one in found:
        assert json.loads(json.dumps(one.metadata)) == one.metadata
        assert one.page_content.strip()
    lease = [one for one in found if one.metadata["path"] == "lease.pdf"]
    assert [one.metadata["page"] for one in lease] == list(range(1, len(lease) + 1))
    assert [one.metadata["path"] for one in AlignedWVALoader(FILES / "faq.html").load()] == [
        "faq.html"
    ]
    chosen = AlignedWVALoader(FILES, include=["*.md", "*.csv"], exclude=["prices.*"])
    assert {one.metadata["path"] for one in chosen.load()} == {"house.md"}
    assert chosen.unread == []


async def test_it_is_lazy_and_can_be_awaited() -> None:
    pages = AlignedWVALoader(FILES).lazy_load()
    assert next(pages).metadata["path"] == "faq.html"
    pages.close()
    loader = AlignedWVALoader([FILES / "faq.html", FILES / "house.md"])
    assert [one async for one in loader.alazy_load()] == loader.load()


def test_what_cannot_be_read_is_listed_or_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("whales")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "empty.txt").write_bytes(b"")
    loader = AlignedWVALoader(tmp_path)
    assert [one.page_content for one in loader.load()] == ["whales"]
    assert [Path(one.source).name for one in loader.unread] == ["broken.pdf", "empty.txt"]
    assert loader.unread[1].reason == "zero bytes"
    with pytest.raises(ReadError, match=r"broken\.pdf cannot be read: "):
        AlignedWVALoader(tmp_path, strict=True).load()
    with pytest.raises(UsageError, match="there is no file or folder"):
        AlignedWVALoader(tmp_path / "nothing").load()
    for wrong, said in (
        (lambda: AlignedWVALoader(5), "paths must be a path"),
        (lambda: AlignedWVALoader([5]), "paths: number 1 must be a text"),
        (lambda: AlignedWVALoader(tmp_path, include="*.md"), "include must be a list"),
        (lambda: AlignedWVALoader(tmp_path, ocr=True), "ocr must be a text"),
    ):
        with pytest.raises(UsageError, match=said):
            wrong()


def test_blobs_are_parsed_from_memory_and_by_path() -> None:
    parser = AlignedWVABlobParser()
    by_path = parser.parse(Blob.from_path(FILES / "lease.pdf"))
    whole = (FILES / "lease.pdf").read_bytes()
    in_memory = parser.parse(
        Blob.from_data(whole, path="https://example.com/lease.pdf", metadata={"mine": 1})
    )
    assert [one.page_content for one in in_memory] == [one.page_content for one in by_path]
    assert in_memory[0].metadata["source"] == "https://example.com/lease.pdf"
    assert (in_memory[0].metadata["mine"], in_memory[0].metadata["format"]) == (1, "pdf")
    (text,) = parser.parse(Blob.from_data("# Whales\n\nThey *sing*.", mime_type="text/markdown"))
    assert text.metadata["format"] == "markdown"
    for path, mime, metadata in (
        ("a/whales.md", None, {"source": "the library"}),
        ("https://example.com/show?id=1.2", "text/markdown", {}),
        ("whales", "text/markdown", {}),
    ):
        blob = Blob.from_data("# Whales", path=path, mime_type=mime, metadata=metadata)
        assert parser.parse(blob)[0].metadata["format"] == "markdown", path
    with pytest.raises(ReadError, match="the blob cannot be read"):
        parser.parse(Blob.from_data(b"%PDF-1.7 nothing"))
    assert len(parser.parse(Blob.from_path(FILES / "faq.html"))) == 1
    parser.close()


# Splitter


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


TEXT = "\n\n".join(f"Paragraph {n} has some words. It has a second sentence." for n in range(9))


def test_passages_are_those_of_an_index() -> None:
    splitter = AlignedWVATextSplitter(size=20, overlap=5, tokenize=words)
    spans = chunk_page(TEXT, ChunkSettings(20, 5), words)
    assert splitter.split_text(TEXT) == [TEXT[span.start : span.end] for span in spans]
    given = [
        Document(page_content=TEXT, metadata={"source": "a"}, id="a"),
        Document(page_content=" \n"),
    ]
    before = [one.model_copy(deep=True) for one in given]
    for found in (splitter.split_documents(given), splitter.transform_documents(given)):
        assert len(found) == len(spans)
        for one in found:
            start = one.metadata["start_index"]
            assert TEXT[start : start + len(one.page_content)] == one.page_content
            assert one.metadata["source"] == "a"
    assert given == before
    assert splitter.create_documents([TEXT])[0].metadata == {"start_index": 0}


def test_passages_share_nothing_with_each_other_or_their_document() -> None:
    document = Document(page_content=TEXT, metadata={"tags": ["a"]})
    first, second, *_ = AlignedWVATextSplitter(size=20, tokenize=words).split_documents([document])
    first.metadata["tags"].append("b")
    assert (second.metadata["tags"], document.metadata["tags"]) == (["a"], ["a"])


def test_a_splitter_that_was_used_can_be_pickled() -> None:
    splitter = AlignedWVATextSplitter(tiny_model(), size=40)
    assert splitter.split_text(TEXT)
    copied = pickle.loads(pickle.dumps(splitter))  # noqa: S301  (our own)
    assert splitter.split_text(TEXT) == copied.split_text(TEXT)


async def test_the_tokens_are_those_of_the_model() -> None:
    """Of its tokenizer alone, or of embeddings that are loaded."""
    embeddings = AlignedWVAEmbeddings(tiny_model(), device="cpu")
    by_name = AlignedWVATextSplitter(tiny_model(), size=40)
    loaded = AlignedWVATextSplitter(embeddings=embeddings, size=40)
    assert by_name.split_text(TEXT) == loaded.split_text(TEXT)
    document = Document(page_content=TEXT)
    assert await by_name.atransform_documents([document]) == loaded.split_documents([document])
    for passage in by_name.split_text(TEXT):
        assert len(embeddings.embedder.token_spans(passage)) <= 40


def test_wrong_arguments_of_a_splitter() -> None:
    for wrong, said in (
        (lambda: AlignedWVATextSplitter(5), "the model must be a text"),
        (lambda: AlignedWVATextSplitter(size=2), "at least 8 tokens"),
        (lambda: AlignedWVATextSplitter(size="200"), "size must be a whole number"),
        (lambda: AlignedWVATextSplitter(size=20, overlap=15), "overlap"),
        (lambda: AlignedWVATextSplitter(embeddings="x"), "embeddings must be"),
        (lambda: AlignedWVATextSplitter(tokenize="words"), "tokenize must be a function"),
        (lambda: AlignedWVATextSplitter("x", tokenize=words), "give only one"),
        (lambda: AlignedWVATextSplitter(tokenize=words).split_text(5), "must be a text"),
        (lambda: AlignedWVATextSplitter(tokenize=words).create_documents("x"), "list of texts"),
        (
            lambda: AlignedWVATextSplitter(tokenize=words).create_documents(["x"], [{}, {}]),
            "as many metadatas",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            wrong()


# Compressor


class WordJudge:
    """Judges by how many words of the query a passage has."""

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> Any:
        wanted = set(query.lower().split())
        return np.array([len(wanted & set(re.findall(r"\w+", p.lower()))) for p in passages], float)


FOUND = [
    Document(page_content=text, metadata={"score": 1.0, "n": n}, id=id_)
    for n, (id_, text) in enumerate(
        {
            "a": "Apples are red. They grow on trees.",
            "b": "It rains. Whales sing in the deep sea. It is cold.",
            "c": "The sea is deep. Ships cross it.",
            "d": "",
        }.items()
    )
]


async def test_documents_are_reranked_and_cut_to_their_best_sentence() -> None:
    before = [one.model_copy(deep=True) for one in FOUND]
    assert isinstance(WordJudge(), Judge)
    query = "what sings in the deep sea"
    whole = AlignedWVACompressor(judge=WordJudge())
    found = whole.compress_documents(FOUND, query)
    assert [one.id for one in found[:2]] == ["b", "c"]
    assert found[0].page_content == FOUND[1].page_content
    sentence = found[0].metadata["sentence"]
    assert sentence["text"] == "Whales sing in the deep sea."
    assert found[0].page_content[sentence["start"] : sentence["end"]] == sentence["text"]
    assert found[0].metadata["rerank"] == 4.0
    short = AlignedWVACompressor(judge=WordJudge(), top_n=2, sentences=True)
    for cut in (
        short.compress_documents(FOUND, query),
        await short.acompress_documents(FOUND, query),
    ):
        assert [one.page_content for one in cut] == [
            "Whales sing in the deep sea.",
            "The sea is deep.",
        ]
        assert cut[1].metadata["n"] == 2
    kept = AlignedWVACompressor(sentences=True).compress_documents(FOUND, query)
    assert [one.id for one in kept] == list("abcd")
    assert (kept[3].page_content, kept[3].metadata["sentence"]) == ("", None)
    assert "rerank" not in kept[0].metadata
    assert whole.compress_documents([], query) == []
    assert before == FOUND


def test_only_the_first_are_judged() -> None:
    found = AlignedWVACompressor(judge=WordJudge(), rerank=2).compress_documents(FOUND, "sea")
    assert [one.metadata["rerank"] is None for one in found] == [False, False, True, True]


def test_a_model_judges() -> None:
    embeddings = AlignedWVAEmbeddings(tiny_model(), device="cpu")
    retriever = AlignedWVARetriever(index=small_index(), k=3)
    documents = retriever.invoke("Who sings in the sea?")
    compressor = AlignedWVACompressor(judge=embeddings, seconds=60)
    found = compressor.compress_documents(documents, "Who sings in the sea?")
    assert {one.id for one in found} == {one.id for one in documents}
    expected = embeddings.embedder.log_likelihoods(
        "Who sings in the sea?", [one.page_content for one in found]
    )
    assert [one.metadata["rerank"] for one in found] == pytest.approx(list(expected), rel=1e-4)


def test_wrong_arguments_of_a_compressor() -> None:
    for wrong, said in (
        ({"judge": "x"}, "judge is AlignedWVAEmbeddings"),
        ({"top_n": 0}, "greater than or equal to 1"),
        ({"sentences": "yes"}, "valid boolean"),
        ({"sentences": True, "k": 3}, "Extra inputs"),
        ({"sentences": True, "seconds": 0}, "greater than 0"),
        ({}, "every document would stay as it is"),
    ):
        with pytest.raises(ValidationError, match=said):
            AlignedWVACompressor(**wrong)
    with pytest.raises(UsageError, match="the query must be a text"):
        AlignedWVACompressor(top_n=1).compress_documents(FOUND, 5)
