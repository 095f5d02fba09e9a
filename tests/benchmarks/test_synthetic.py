"""The synthetic collection: what it leaves out agrees with what the product would do itself."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import SHARES, Collection, build, day_of, folder, topic_of, vocabulary
from retriever import Index
from retriever.storage.catalog.analysis import analyse_chunks
from retriever.storage.filters import Filter
from retriever.text.detection import detect_language
from retriever.types import DocumentRow

SMALL = Collection(300, words=4000, dimension=32)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "index"
    build(path, SMALL)
    return path


def test_the_terms_are_those_of_the_analyzer() -> None:
    documents, _, _ = next(SMALL.blocks())
    for one in documents[:12]:
        assert one.terms == analyse_chunks(one.row.title, one.pages, one.chunks)
        assert detect_language(one.pages[0].text) == "en"


def test_the_vectors_are_those_of_the_embedder() -> None:
    documents, keys, vectors = next(SMALL.blocks())
    inputs = [
        SMALL.embedder.passage_input(
            one.pages[chunk.page].text[chunk.span.start : chunk.span.end], one.row.title
        )
        for one in documents[:5]
        for chunk in one.chunks
    ]
    assert [SMALL.embedder.key(text) for text in inputs] == keys[: len(inputs)]
    own = SMALL.embedder.embed_inputs(inputs)
    np.testing.assert_allclose(own, vectors[: len(inputs)], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_smaller_collection_is_the_beginning_of_a_larger_one() -> None:
    smaller = Collection(40, words=4000, dimension=32)
    few, many = ([key for _, keys, _ in one.blocks() for key in keys] for one in (smaller, SMALL))
    assert len(few) == 40
    assert many[:40] == few
    assert len(many) == len(set(many)) == 300


def test_words_are_distinct_and_follow_zipfs_law() -> None:
    assert len(set(vocabulary(20_000))) == 20_000
    documents, _, _ = next(SMALL.blocks())
    pages = chain.from_iterable(one.pages for one in documents)
    counts = Counter(word for page in pages for word in page.text.lower().split())
    frequent = [count for _, count in counts.most_common(1000)]
    assert frequent[0] > 20 * frequent[99] > 20 * frequent[999]


def test_an_index_of_it_is_searchable(index: Path) -> None:
    with Index.open(index, SMALL.embedder) as opened:
        facts = opened.info()
        assert (facts["chunks"], facts["pending"]) == (300, 0)
        assert facts["background"] is not None
        question = SMALL.questions(1)[0]
        (hit, *_) = opened.search(question.text, mode="dense")
        assert hit.dense is not None


@pytest.mark.parametrize("share", SHARES)
def test_filters_let_their_share_through(share: float) -> None:
    numbers = range(10_000)
    fields = [
        {
            "path": f"{folder(topic_of(number), 3)}/1-{number}.md",
            "date": day_of(number).isoformat(),
            "metadata": {"project": number * 7919 % 1000},
        }
        for number in numbers
    ]
    for where in SMALL.filters(share, SMALL.questions(6)):
        chosen = Filter.parse(where)
        assert sum(map(chosen.matches, fields)) == pytest.approx(share * len(numbers), rel=0.2)


def test_the_rows_say_what_the_filters_ask(index: Path) -> None:
    with Index.open(index, SMALL.embedder) as opened:
        rows: list[DocumentRow] = opened.documents()
    for row in rows:
        number = int(row.path.rsplit("-", 1)[1].split(".")[0])
        assert row.path.startswith(folder(topic_of(number), 3))
        assert row.date == day_of(number).isoformat()
        assert row.metadata["project"] == number * 7919 % 1000
