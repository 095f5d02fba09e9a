"""The quality table: fusion with a trained embedder, tables by hand, one small set end to end."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality, trained
from benchmarks.tables import (
    Cost,
    compare_systems,
    comparison_table,
    cost_table,
    markdown,
    means,
    quality_table,
    variant_table,
)
from benchmarks.trained import top_ids, z_sum
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.evaluation.datasets import RetrievalDataset
from retriever.evaluation.runs import Data, Run
from retriever.index import Index
from retriever.settings import QUERY_PROMPT, Prompts
from retriever.text.analyzer import content_terms, index_terms
from retriever.types import UsageError
from tests.fakes import FakeEmbedder
from tests.live import live
from tests.tiny import save_model

# Fusion


def naive_z_sum(one: list[float], other: list[float]) -> list[float]:
    sides = []
    for side in (one, other):
        mean, deviation = statistics.fmean(side), statistics.pstdev(side)
        sides.append([(score - mean) / deviation if deviation else 0.0 for score in side])
    return [a + b for a, b in zip(*sides, strict=True)]


def test_z_sum_is_that_of_a_naive_loop() -> None:
    draw = np.random.default_rng(0)
    one = draw.random((5, 40), dtype=np.float32)
    other = np.maximum(draw.normal(-1, 5, (5, 40)), 0).astype(np.float32)
    expected = [naive_z_sum(*map(list, pair)) for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(z_sum(one, other), expected, atol=1e-5)
    # The scores of a query do not depend on others, nor on scale and offset of a system.
    np.testing.assert_array_equal(z_sum(one[2], other[2]), z_sum(one, other)[2])
    np.testing.assert_allclose(z_sum(3 * one + 1, other / 7), z_sum(one, other), atol=1e-5)


def test_a_system_with_equal_scores_changes_nothing() -> None:
    one = np.array([0.5, 0.25, 1.0], dtype=np.float32)
    zero = np.zeros(3, dtype=np.float32)
    np.testing.assert_allclose(z_sum(one, zero), naive_z_sum(list(one), [0.0] * 3), atol=1e-6)


def test_ties_are_ordered_by_id() -> None:
    scores = np.array([1.0, 2.0, 1.0, 2.0], dtype=np.float32)
    assert top_ids(scores, ["d", "c", "a", "b"]) == ["b", "c", "a", "d"]
    assert top_ids(scores, ["d", "c", "a", "b"], 3) == ["b", "c", "a"]


# Tables


def run(**systems: list[float]) -> Run:
    values = {
        system: {"ndcg@10": {f"q{at}": value for at, value in enumerate(listed)}}
        for system, listed in systems.items()
    }
    return Run(Data("x", 3, "", ""), values)


RUNS = {
    "large": run(ours=[0.75] * 20, theirs=[0.5] * 20),
    "small": run(ours=[0.25] * 6, theirs=[0.75] * 6),
}


def test_means_over_sets_do_not_weigh_them_by_size() -> None:
    found = {name: one.mean for name, one in means(RUNS, "ours").items()}
    assert found == {"large": 0.75, "small": 0.25, "mean": 0.5}
    assert set(means({"large": RUNS["large"]}, "ours")) == {"large"}
    compared = compare_systems(RUNS, "ours", "theirs")
    assert {name: one.difference.mean for name, one in compared.items()} == {
        "large": 0.25,
        "small": -0.5,
        "mean": -0.125,
    }
    assert [one.verdict.value for one in compared.values()] == ["better", "worse", "worse"]


def test_the_tables() -> None:
    assert quality_table(RUNS) == [
        "| set | ours | theirs |",
        "|---|---|---|",
        "| large | 0.750 (0.750 to 0.750) | 0.500 (0.500 to 0.500) |",
        "| small | 0.250 (0.250 to 0.250) | 0.750 (0.750 to 0.750) |",
        "| mean | 0.500 (0.500 to 0.500) | 0.625 (0.625 to 0.625) |",
    ]
    assert comparison_table(RUNS, "ours", "ours against") == [
        "| ours against | theirs |",
        "|---|---|",
        "| large | better (+0.250) |",
        "| small | worse (-0.500) |",
        "| mean | worse (-0.125) |",
    ]
    assert variant_table(RUNS, "ours") == [
        "|  | large | small | mean |",
        "|---|---|---|---|",
        "| ours | 0.750 | 0.250 | 0.500 |",
        "| theirs | 0.500, worse (-0.250) | 0.750, better (+0.500) | 0.625, better (+0.125) |",
    ]


def test_costs_are_means_of_what_there_is() -> None:
    one = {"keyword": Cost(1.0), "ours": Cost(10.0, 100.0, 5000.0)}
    other = {"keyword": Cost(2.0), "ours": Cost(20.0, 50.0, 6000.0)}
    assert cost_table([one, other]) == markdown(
        ["", "ms a query", "s for 1,000 passages", "bytes a passage"],
        [["keyword", "1.5", "", ""], ["ours", "15.0", "75.0", "5,500"]],
    )


# The command


class Ours(FakeEmbedder):
    """A fake model for evaluations; it prefers the shortest passage."""

    dtype = "float32"
    dimension = 256
    device = "cpu"

    def __init__(self, model: str = "") -> None:
        super().__init__(same={"felin": "cat"}, weights=model)
        self.fingerprint = self.settings.fingerprint

    def with_single_prompt(self, known: Index) -> Ours:
        return Ours("once")

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> np.ndarray:
        return -np.array([len(passage) for passage in passages], dtype=float)


class Theirs(trained.Trained):
    """A fake of the trained embedder, with another pair of synonyms."""

    def __init__(self, device: str, progress: object) -> None:
        self._fake = FakeEmbedder(trained.DIMENSION, same={"hound": "dog"})

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._fake.embed_inputs([f"passage: {text}" for text in texts])

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        return self.encode(texts)


CORPUS = {
    "a": ("Cats", "A cat sleeps on the roof."),
    "b": ("Dogs", "A dog barks at the postman every morning."),
    "c": ("", "Rain falls on the roof of the station all night."),
    "d": ("Trains", ""),
    "e": ("Birds", "A bird sings in the morning."),
}
QUERIES = {"1": "feline on a roof", "2": "hound", "3": "trains", "4": "nothing is right"}
RIGHT = {"1": "a", "2": "b", "3": "d"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(quality, "CachingWVA", Ours)
    monkeypatch.setattr(quality, "Trained", Theirs)
    place = tmp_path / "sets" / "mini"
    place.mkdir(parents=True)
    files = {
        "corpus": [{"_id": n, "title": t, "text": x} for n, (t, x) in CORPUS.items()],
        "queries": [{"_id": number, "text": text} for number, text in QUERIES.items()],
    }
    for name, rows in files.items():
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = [f"{query}\t{document}\t1" for query, document in RIGHT.items()]
    (place / "qrels.tsv").write_text("\n".join([*judged, "4\ta\t0"]))
    return place


def naive_bm25(query: str, texts: Sequence[str]) -> list[float]:
    """The textbook's formula, k1 1.2 and b 0.75, over whole documents."""
    documents = [content_terms(index_terms(text)) for text in texts]
    mean = statistics.fmean(map(len, documents))
    scores = []
    for words in documents:
        score = 0.0
        for term in set(content_terms(index_terms(query))):
            have = sum(term in other for other in documents)
            weight = math.log((len(documents) - have + 0.5) / (have + 0.5)) if have else 0.0
            count = words.count(term)
            length = 1.2 * (0.25 + 0.75 * len(words) / mean)
            score += max(weight, 1e-6) * count * 2.2 / (count + length)
        scores.append(score)
    return scores


def test_bm25_counts_whole_documents_with_their_titles(folder: Path) -> None:
    data = quality.read_beir(folder)
    with quality.bench("mini", data, Ours(), Theirs("cpu", None), lambda text: None) as ready:
        for query in ("trains", "cat roof", "morning dog", "xylophone"):
            expected = naive_bm25(query, [trained.document_text(*each) for each in CORPUS.values()])
            np.testing.assert_allclose(ready.keyword_scores(query), expected, atol=1e-4)


def test_one_command_makes_all_tables(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    options = ["--ablate", "--rerank", "2", "--first", "2", "--json", str(kept)]
    assert quality.main([str(folder), *options]) == 0
    shown = capsys.readouterr()
    assert "mini: costs" in shown.err
    assert sum(line.startswith("|---") for line in shown.out.splitlines()) == 5
    found = json.loads(kept.read_text())
    values = found["sets"]["mini"]["per_query"]
    got = {system: values[system]["ndcg@10"] for system in quality.SYSTEMS}
    # A document without text has no passage; as a whole document its title is found.
    assert got["keyword"]["2"] == got["keyword"]["3"] == 0
    assert got["dense"]["1"] == got["hybrid"]["1"] == 1
    assert got[quality.WHOLE_BM25]["3"] == 1
    assert got[quality.TRAINED]["2"] == got[quality.FUSED]["2"] == 1
    assert found["reranked"]["mini"]["queries"] == 2
    assert set(found["costs"]["mini"]) == set(quality.SYSTEMS)
    assert all(cost["query_ms"] > 0 for cost in found["costs"]["mini"].values())
    modes = found["ablation"]["mini"]["modes"]
    assert {"without the dense side", "a query read once"} <= set(modes)
    assert set(found["means"]["hybrid"]) == {"mini"}


def test_a_single_prompt_embeds_no_passage_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    model = str(save_model(tmp_path / "model"))
    embedder = quality.CachingWVA(model, device="cpu", dtype="float32")
    alone = AlignedWVA(model, device="cpu", dtype="float32", prompts=Prompts(query=(QUERY_PROMPT,)))
    data = RetrievalDataset(
        CORPUS, {n: QUERIES[n] for n in RIGHT}, {n: {RIGHT[n]: 1.0} for n in RIGHT}
    )
    with quality.open_dataset(embedder, data, "mini") as ours:
        once = embedder.with_single_prompt(ours.index)
        assert once.fingerprint == alone.fingerprint != embedder.fingerprint
        passages = [
            embedder.passage_input(chunk.text, chunk.title)
            for chunk in live(ours.index.backend).sample_chunks(9)
        ]
        new = "This passage is new"
        found = once.embed_inputs([new, *passages, *once.query_inputs("trains")])
        expected = alone.embed_inputs([new, *passages, *alone.query_inputs("trains")])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        read: list[str] = []
        embed = AlignedWVA.embed_inputs

        def noted(self: AlignedWVA, inputs: Sequence[str]) -> np.ndarray:
            read.extend(inputs)
            return embed(self, inputs)

        monkeypatch.setattr(AlignedWVA, "embed_inputs", noted)
        with quality.open_dataset(once, data, "mini") as ready:
            assert len(ready.index.documents()) == len(CORPUS)
            np.testing.assert_allclose(
                ready.vectors["trains"], alone.embed_queries(["trains"])[0], atol=1e-5
            )
        assert read
        assert not set(passages) & set(read)


def test_without_the_trained_embedder_its_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install -c constraints\.txt -e "\.\[quality\]"'):
        trained.Trained("cpu", lambda text: None)


def test_a_folder_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["no such folder"]) == 1
    assert "no such folder is not a folder" in capsys.readouterr().err
