"""The survey against brute force: other formulas, loops, and planted passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retriever.explaining.corpus_map import (
    centre_vectors,
    characteristic_words,
    cluster_vectors,
    duplicate_groups,
    occurrences,
    project_vectors,
    survey,
)
from retriever.index import Index
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.live import read


@pytest.fixture
def cloud() -> np.ndarray:
    drawn = np.random.default_rng(7).standard_normal((60, 12)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) + 0.5


def test_centred_vectors_have_length_one_and_no_common_part(cloud: np.ndarray) -> None:
    found = centre_vectors(cloud)
    for row, raw in zip(found, cloud, strict=True):
        direction = raw - cloud.mean(axis=0)
        assert np.allclose(row, direction / np.sqrt((direction**2).sum()), atol=1e-6)
    assert np.array_equal(centre_vectors(np.ones((3, 4), np.float32)), np.zeros((3, 4)))


@pytest.mark.parametrize("passages", [60, 9])
def test_the_map_is_that_of_the_covariance_s_eigenvectors(cloud: np.ndarray, passages: int) -> None:
    cloud = cloud[:passages]
    places, shown = project_vectors(cloud)
    values, axes = np.linalg.eigh(np.cov(cloud.T.astype(np.float64)))
    for number in (0, 1):
        axis = axes[:, -1 - number]
        axis = axis * np.sign(axis[np.abs(axis).argmax()])
        assert np.allclose(places[:, number], (cloud - cloud.mean(axis=0)) @ axis, atol=1e-4)
    assert shown == pytest.approx(values[-2:].sum() / values.sum(), abs=1e-6)
    assert np.array_equal(project_vectors(cloud)[0], places)


def test_hubs_are_counted_as_a_loop_counts_them(cloud: np.ndarray) -> None:
    vectors = centre_vectors(cloud)
    similar = vectors @ vectors.T
    expected = np.zeros(len(vectors), int)
    for at in range(len(vectors)):
        others = [one for one in range(len(vectors)) if one != at]
        for one in sorted(others, key=lambda one: (-similar[at, one], one))[:5]:
            expected[one] += 1
    assert np.array_equal(occurrences(similar, 5), expected)
    assert occurrences(similar, 1000).tolist() == [59] * 60


def test_planted_clusters_are_found_largest_first() -> None:
    rng = np.random.default_rng(3)
    centres = np.eye(4, 16, dtype=np.float32)
    truth = np.repeat([2, 0, 3, 1], [30, 20, 15, 5])
    vectors = centres[truth] + 0.05 * rng.standard_normal((70, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = cluster_vectors(vectors, 4)
    assert found.tolist() == np.repeat([0, 1, 2, 3], [30, 20, 15, 5]).tolist()


def test_groups_hang_together() -> None:
    similar = np.eye(6, dtype=np.float32)
    for one, other in ((0, 3), (3, 5), (1, 2)):
        similar[one, other] = similar[other, one] = 0.98
    assert duplicate_groups(similar, 0.97) == [[0, 3, 5], [1, 2]]
    assert duplicate_groups(similar, 0.99) == []


def test_the_most_telling_words_by_hand() -> None:
    texts = ["The apples were red", "An apple is red", "A motor needs oil", "Oil is red"]
    # tf-idf by hand, 4 texts: apple 2·ln(5/2) = 1.83, red 2·ln(5/3) = 1.02; oil 2·ln(5/2) = 1.83,
    # motor and need 1·ln(5/1) = 1.61, red ln(5/3) = 0.51.
    assert characteristic_words(texts, np.array([0, 0, 1, 1])) == (
        "apple, red",
        "oil, motor, needs",
    )


def test_what_was_planted_in_an_index_is_seen(tmp_path: Path) -> None:
    about = ["apples pears plums", "motors engines oil", "bread flour yeast"]
    documents = [
        Document(f"{at}.txt", "txt", (Page(None, f"{about[at % 3]} {about[at % 3]} number{at}"),))
        for at in range(30)
    ]
    documents += [
        Document(f"copy{at}.txt", "txt", (Page(None, "all rights reserved worldwide"),))
        for at in range(4)
    ]
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        index.add(documents)
        found = read(index, survey)
        again = read(index, survey)
        assert len(read(index, survey, 7).chunks) == 7
    assert len(found.chunks) == 34
    assert {chunk.text for chunk in found.twins[0]} == {"all rights reserved worldwide"}
    assert len(found.twins[0]) == 4
    by_cluster: dict[int, set[str]] = {}
    for chunk, cluster in zip(found.chunks, found.clusters.tolist(), strict=True):
        by_cluster.setdefault(cluster, set()).add(chunk.text.split()[0])
    assert sorted(map(sorted, by_cluster.values())) in (
        [["all", "apples"], ["bread"], ["motors"]],
        [["all"], ["apples"], ["bread"], ["motors"]],
        [["all", "bread"], ["apples"], ["motors"]],
        [["all", "motors"], ["apples"], ["bread"]],
    )
    assert np.array_equal(found.places, again.places)
    assert found.names == again.names
    assert len(found.middle) == 10
    assert found.hubs[0].count >= found.hubs[-1].count


def test_an_index_with_hardly_anything_in_it_is_surveyed_too(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        assert read(index, survey).chunks == ()
        for count, text in enumerate(("one apple", "one apple", "two pears"), 1):
            index.add([Document(f"{count}.txt", "txt", (Page(None, text),))])
            found = read(index, survey)
            assert len(found.chunks) == len(found.places) == len(found.clusters) == count
            assert np.isfinite(found.places).all()
