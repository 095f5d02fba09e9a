"""Ingest: batches, memory, means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retriever.arrays import PRIOR_WEIGHT
from retriever.indexing import fitting as fitting_module
from retriever.indexing import vectors as vectors_module
from retriever.indexing.fitting import calibration_is_current, corpus_digest, typical_sentence
from retriever.indexing.ingest import Ingest, document_row, limit_chunking
from retriever.searching.match import general_questions
from retriever.settings import ChunkSettings
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import Reader
from retriever.types import (
    Chunk,
    Document,
    DocumentRow,
    IndexStateError,
    Page,
    PageState,
    document_id,
)
from tests.fakes import FakeEmbedder
from tests.live import live, read

CHUNKING = ChunkSettings(size=16, overlap=0)


class Plain(FakeEmbedder):
    """Fast: a vector from the text's length and first letters; remembers how much was asked."""

    def __init__(self, **options) -> None:
        super().__init__(8, **options)
        self.passages: list[int] = []  # the size of each batch of them
        self.largest = 0

    def embed_inputs(self, inputs):
        if "".join(inputs[:1]).startswith("passage: "):
            self.passages.append(len(inputs))
            self.largest = max(self.largest, sum(map(len, inputs)))
        vectors = np.ones((len(inputs), 8), np.float32)
        vectors[:, 0] = [len(text) % 7 for text in inputs]
        vectors[:, 1] = [hash_of(text) for text in inputs]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def general_means(self):
        return np.full(8, 0.25, np.float32), np.full(8, -0.25, np.float32)


def hash_of(text: str) -> int:
    return sum(text.encode()) % 5


@pytest.fixture
def backend(tmp_path: Path):
    with EmbeddedBackend.open(tmp_path / "index", create=True) as opened:
        opened.bind_embedder(Plain().settings, CHUNKING)
        yield opened


def add(ingest: Ingest, name: str, text: str, **facts) -> None:
    document = Document(name, "txt", (Page(None, text),))
    ingest.add(document_row(document, id=document_id("", name), sha256=name, **facts), document)


def paragraph(number: int) -> str:
    return f"Paragraph number{number} tells what was seen at mile {number} of the long road."


def test_a_long_document_is_embedded_in_batches(backend, monkeypatch) -> None:
    monkeypatch.setattr(vectors_module, "BATCH_TOKENS", 1000)
    monkeypatch.setattr(vectors_module, "FIRST_BATCH_TOKENS", 250)
    embedder, done = Plain(), []
    text = "\n\n".join(map(paragraph, range(1500)))
    document = Document("long", "txt", tuple(Page(n, part) for n, part in pages_of(text, 100)))
    ingest = Ingest(
        backend, embedder, CHUNKING, on_batch=lambda: done.append(live(backend).count_vectors())
    )
    ingest.add(document_row(document, id="x"), document)
    assert backend.info()["pending"] == backend.info()["chunks"] >= 1500, "words come first"
    ingest.close()
    assert backend.info()["chunks"] == sum(embedder.passages) >= 1500
    assert backend.info()["pending"] == 0
    assert embedder.passages[0] < 30, "the first batch is small, so that something is found soon"
    assert embedder.largest < vectors_module.CHARACTERS_PER_TOKEN * 1000 + 100
    assert done == sorted(set(done))
    assert len(done) > 20


def pages_of(text: str, size: int) -> list[tuple[int, str]]:
    parts = text.split("\n\n")
    return [
        (at // size + 1, "\n\n".join(parts[at : at + size])) for at in range(0, len(parts), size)
    ]


def test_every_document_is_written_at_once(backend) -> None:
    ingest = Ingest(backend, Plain(), CHUNKING)
    for number in range(100):
        add(ingest, f"{number}.txt", paragraph(number % 3))  # nothing new after three
        assert backend.info()["documents"] == number + 1
    ingest.close()
    assert ingest.vectors.chunks == 3, "a text was embedded twice"


def test_known_texts_have_their_vectors_from_the_beginning(backend) -> None:
    old = "\n\n".join(map(paragraph, range(40)))
    first = Ingest(backend, Plain(), CHUNKING)
    add(first, "first", old)
    first.close()
    ingest = Ingest(backend, Plain(), CHUNKING)
    add(ingest, "new", paragraph(99))
    add(ingest, "first", old + "\n\n" + paragraph(98))
    assert backend.info()["pending"] == 2
    assert live(backend).count_vectors() == backend.info()["chunks"] - 2


def test_the_work_does_not_grow_with_the_corpus(backend, monkeypatch) -> None:
    """Neither fits nor samples happen more than a few times in a run of many batches."""
    calls = {"sample_chunks": 0, "sample_vectors": 0, "calibrate": 0, "documents": 0, "info": 0}
    for name in calls:
        owner = EmbeddedBackend if hasattr(EmbeddedBackend, name) else Reader
        real = getattr(owner, name)

        def counted(self, *arguments, name=name, real=real, **options):
            calls[name] += 1
            return real(self, *arguments, **options)

        monkeypatch.setattr(owner, name, counted)
    monkeypatch.setattr(vectors_module, "BATCH_TOKENS", 20)
    monkeypatch.setattr(vectors_module, "FIRST_BATCH_TOKENS", 20)
    embedder = Plain()
    ingest = Ingest(backend, embedder, CHUNKING)
    for number in range(300):
        add(ingest, f"{number}.txt", paragraph(number))
    ingest.close()
    assert len(embedder.passages) > 100
    assert max(calls.values()) <= 8, calls  # 1, 4, 16, 64, 256 chunks, and the end


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_the_means_are_the_corpus_s_drawn_to_general_ones_and_questions(backend, count) -> None:
    embedder = Plain()
    ingest = Ingest(backend, embedder, CHUNKING)
    for number in range(count):
        add(ingest, f"{number}.txt", paragraph(number))
    seen = {}
    real = backend.calibrate

    def noted(passage, query, facts):
        seen.update(passage=passage, query=query, facts=facts)
        real(passage, query, facts)

    backend.calibrate = noted
    ingest.close()
    texts = [paragraph(number) for number in range(count)]
    for name, prompt, prior in (("passage", "passage: {}", 0.25), ("query", "query: {}", -0.25)):
        inputs = [prompt.format(text) for text in texts]
        vectors = Plain().embed_inputs(inputs).astype(np.float64)
        expected = (vectors.sum(axis=0) + PRIOR_WEIGHT * prior) / (count + PRIOR_WEIGHT)
        if name == "query":  # what people type are questions: they have half of the say
            general = Plain().embed_inputs([prompt.format(one) for one in general_questions()])
            expected = (expected + general.astype(np.float64).mean(axis=0)) / 2
        np.testing.assert_allclose(seen[name], expected, atol=1e-6)
    assert (seen["facts"]["passages"], seen["facts"]["sentences"]) == (count, count)
    assert seen["facts"]["questions_share"] == 0.5


def test_what_is_read_as_a_query_is_read_through_every_prompt(backend) -> None:
    embedder = FakeEmbedder(8, query=("query: {}", "answer: to {}"))
    ingest = Ingest(backend, embedder, CHUNKING)
    for number in range(3):
        add(ingest, f"{number}.txt", paragraph(number))
    ingest.close()
    asked = [paragraph(number) for number in range(3)]
    readings = [[f"query: {text}", f"answer: to {text}"] for text in asked]
    embedded = list(embedder.embedded)
    for each in readings:
        assert [embedded.count(model_input) for model_input in each] == [1, 1]
    own = [FakeEmbedder(8).embed_inputs(each).sum(axis=0) for each in readings]
    units = [each / np.linalg.norm(each) for each in own]
    general = embedder.embed_queries(general_questions()).mean(axis=0)
    drawn = np.sum(units, axis=0) / (3 + PRIOR_WEIGHT)
    np.testing.assert_allclose(
        live(backend).calibration.query_mean, 0.5 * drawn + 0.5 * general, atol=1e-6
    )
    embedder.embedded.clear()
    ingest.vectors.fitter.fit()
    assert not embedder.embedded


def test_the_general_questions_are_embedded_for_the_first_index_only(tmp_path: Path) -> None:
    kept: dict[tuple[str, ...], np.ndarray] = {}

    class Remembering(FakeEmbedder):
        def embed_fixed_queries(self, texts):
            name = (self.settings.fingerprint, *texts)
            if name not in kept:
                kept[name] = self.embed_queries(texts)
            return kept[name]

    means = []
    for number in range(2):
        embedder = Remembering(8)
        asked = {embedder.query_inputs(question)[0] for question in general_questions()}
        with EmbeddedBackend.open(tmp_path / str(number), create=True) as backend:
            backend.bind_embedder(embedder.settings, CHUNKING)
            ingest = Ingest(backend, embedder, CHUNKING)
            add(ingest, "a", paragraph(1))
            ingest.close()
            means.append(live(backend).calibration.query_mean)
            assert asked.isdisjoint(embedder.embedded) == (number == 1)
    np.testing.assert_array_equal(*means)


SPANISH = "El tren no llega a la estación por el puente de los ingleses."
CHINESE = "他对他们那时在漫长旅途中所看到的一切都有许多话要说。"


def test_english_questions_speak_for_english_passages_only(backend) -> None:
    embedder = Plain()
    ingest = Ingest(backend, embedder, CHUNKING)
    texts = [paragraph(1), SPANISH, CHINESE, "GPS 12-4"]
    for number, text in enumerate(texts):
        add(ingest, f"{number}.txt", text)
    ingest.close()
    languages = [chunk.language for chunk in live(backend).sample_chunks(9)]
    assert sorted(languages) == ["", "", "en", "es"]
    facts = backend.info()["calibration"]
    assert facts["questions_share"] == 0.25  # two of the four: half of the say for half of them
    own = Plain().embed_queries(texts[:3]).astype(np.float64)  # the last one is no sentence
    general = Plain().embed_queries(general_questions())
    drawn = (own.sum(axis=0) - 0.25 * PRIOR_WEIGHT) / (len(own) + PRIOR_WEIGHT)
    expected = 0.75 * drawn + 0.25 * general.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(live(backend).calibration.query_mean, expected, atol=1e-6)


def test_a_query_mean_of_an_earlier_version_is_fitted_again(backend) -> None:
    ingest = Ingest(backend, Plain(), CHUNKING)
    add(ingest, "a", paragraph(1))
    ingest.close()
    facts = dict(backend.info()["calibration"])
    del facts["questions_share"]
    means = live(backend).calibration
    backend.calibrate(means.passage_mean, means.query_mean, facts)
    assert not read(backend, calibration_is_current)


def test_the_means_do_not_depend_on_the_way_there(tmp_path, monkeypatch) -> None:
    """More chunks than are sampled, added at once, or in five runs in another order."""
    monkeypatch.setattr(fitting_module, "FIT_PASSAGES", 60)
    monkeypatch.setattr(fitting_module, "FIT_SENTENCES", 40)
    monkeypatch.setattr(fitting_module, "EARLY_SENTENCES", 10)
    results = []
    for name, runs in (("one", 1), ("five", 5)):
        embedder = Plain()
        with EmbeddedBackend.open(tmp_path / name, create=True) as backend:
            backend.bind_embedder(embedder.settings, CHUNKING)
            order = np.random.default_rng(runs).permutation(100)
            for run in range(runs):
                ingest = Ingest(backend, embedder, CHUNKING)
                for number in order[run::runs]:
                    add(ingest, f"{number}.txt", paragraph(number))
                if runs > 1 and run < 4:
                    add(ingest, "passing.txt", f"Only in run {run} was this sentence to be read.")
                ingest.close()
                backend.delete([document_id("", "passing.txt")])
                backend.finish({})
            if runs > 1:
                Ingest(backend, embedder, CHUNKING).close()
            with backend._catalog.reading() as reader:
                results.append(reader.calibration()[1])
        assert sum(embedder.passages) == 100 + (4 if runs > 1 else 0), "embedded again"
    np.testing.assert_array_equal(results[0].passage_mean, results[1].passage_mean)
    np.testing.assert_array_equal(results[0].query_mean, results[1].query_mean)


def test_nothing_is_fitted_twice(backend) -> None:
    ingest = Ingest(backend, Plain(), CHUNKING)
    add(ingest, "a", paragraph(1))
    ingest.close()
    assert read(backend, calibration_is_current)
    generation = live(backend).generation()
    Ingest(backend, Plain(), CHUNKING).close()
    assert live(backend).generation() == generation
    backend.delete([document_id("", "a")])
    assert not read(backend, calibration_is_current)


def test_the_digest_of_a_corpus_ignores_names_and_order() -> None:
    one = DocumentRow("1", "docs", "/a", "x.txt", "txt", sha256="s", settings="r", chunks=3)
    two = DocumentRow("2", "docs", "/a", "y.txt", "txt", sha256="t", settings="r", chunks=3)
    renamed = DocumentRow("9", "other", "/b", "z.txt", "txt", sha256="s", settings="r", chunks=3)
    assert corpus_digest([one, two]) == corpus_digest([two, renamed])
    for name, value in {"sha256": "u", "settings": "q", "chunks": 4, "format": "html"}.items():
        values = {field: getattr(one, field) for field in DocumentRow.__slots__}
        changed = DocumentRow(**{**values, name: value})
        assert corpus_digest([changed, two]) != corpus_digest([one, two])
    assert corpus_digest([one, one]) != corpus_digest([one])


def test_documents_without_text_are_documents(backend) -> None:
    done: list[DocumentRow] = []
    ingest = Ingest(backend, Plain(), CHUNKING, on_document=done.append)
    pages = (Page(1, "", PageState.SCANNED, "image"), Page(2, "", PageState.EMPTY))
    document = Document("scan.pdf", "pdf", pages)
    ingest.add(document_row(document, id="s"), document)
    assert [row.id for row in done] == ["s"], "there was nothing to wait for"
    assert done[0].page_states == {PageState.SCANNED: 1, PageState.EMPTY: 1}
    assert (done[0].pages, done[0].chunks) == (2, 0)
    ingest.close()
    assert live(backend).document("s") is not None


def test_documents_become_visible_as_a_whole_and_in_order(backend, monkeypatch) -> None:
    monkeypatch.setattr(vectors_module, "FIRST_BATCH_TOKENS", 30)
    monkeypatch.setattr(vectors_module, "BATCH_TOKENS", 30)
    done: list[str] = []

    def visible(row: DocumentRow) -> None:
        done.append(row.path)
        assert len(live(backend).chunks(row.id)) == row.chunks

    ingest = Ingest(backend, Plain(), CHUNKING, on_document=visible)
    for number in range(9):
        add(ingest, f"{number}", "\n\n".join(paragraph(10 * number + n) for n in range(number + 1)))
    ingest.close()
    assert done == [str(number) for number in range(9)]


def chunk(text: str, id_: str = "1") -> Chunk:
    return Chunk(id_, "d", "p", "txt", "", None, 0, len(text), text)


def test_a_typical_sentence_depends_on_the_text_alone() -> None:
    text = " ".join(paragraph(number) for number in range(20)) + " Too short. "
    chosen = typical_sentence(chunk(text, "1"))
    assert chosen in [paragraph(number) for number in range(20)]
    assert typical_sentence(chunk(text, "2")) == chosen
    assert len({typical_sentence(chunk(text + "x" * n)) for n in range(30)}) > 5
    assert typical_sentence(chunk("Too short.")) == ""
    assert typical_sentence(chunk("")) == ""
    endless = " ".join(f"word{number}" for number in range(99))
    assert typical_sentence(chunk(endless)) == " ".join(endless.split()[:20])
    assert typical_sentence(chunk("鲸" * 99)).startswith("鲸鲸鲸鲸")
    assert typical_sentence(chunk("A lone \ud800 surrogate stands in this long sentence."))


@pytest.mark.parametrize(
    ("most", "expected"),
    [(512, (224, 32)), (274, (224, 32)), (150, (100, 32)), (90, (40, 20)), (10, (8, 4))],
)
def test_chunks_are_fitted_to_the_model(most, expected) -> None:
    fitted = limit_chunking(ChunkSettings(224, 32), FakeEmbedder(max_tokens=most))
    assert (fitted.size, fitted.overlap) == expected
    assert limit_chunking(fitted, FakeEmbedder(max_tokens=most)) == fitted


def test_known_vectors_stay_while_they_are_looked_up(backend: EmbeddedBackend) -> None:
    """Another process that ends its run drops the vectors that no passage has."""
    first = Ingest(backend, Plain(), CHUNKING)
    add(first, "a", "the same text")
    first.close()
    backend.delete([document_id("", "a")])
    backend.release()
    second = Ingest(backend, Plain(), CHUNKING)
    with (
        EmbeddedBackend.open(backend.catalog.folder) as other,
        pytest.raises(IndexStateError, match="another process is writing"),
    ):
        other.finish({})
    add(second, "b", "the same text")
    second.close()
    assert read(backend, Reader.count_vectors) == 1
