"""Comparing models: parsing their names, one table, and a winner only if it is significant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retriever import AlignedWVA, Index
from retriever.evaluation.compare_models import (
    UNSPLIT,
    Variant,
    compare_models,
    parse_variant,
    winner,
)
from retriever.evaluation.datasets import RetrievalDataset
from retriever.evaluation.metrics import ndcg_at
from retriever.evaluation.retrieval import evaluate_dataset, open_dataset
from retriever.settings import Prompts
from retriever.storage.adapter import Adapter
from retriever.types import Document, Page, UsageError
from tests.tiny import save_model

TEXTS = {
    "apple": "Red apples grow on old trees in the valley.",
    "whale": "Whales sing in the sea and breathe air.",
    "tax": "The tax law of May lowered the rates.",
}
QUERIES = {"apple": "Apples in the valley.", "whale": "Songs of whales.", "tax": "Rates of tax."}
DATA = RetrievalDataset(
    {name: ("", text) for name, text in TEXTS.items()},
    QUERIES,
    {name: {name: 1.0} for name in QUERIES},
)


def test_what_a_name_means(tmp_path: Path) -> None:
    assert parse_variant("m") == Variant("m", "m")
    assert parse_variant("m:layers=3,5,-1").layers == "3,5,-1"
    both = "org/name/file.gguf:layers=all:pooling=va"
    assert parse_variant(both) == Variant(both, "org/name/file.gguf", "all", "va")
    (tmp_path / "p.json").write_text('{"query": "Q {}"}')
    assert parse_variant(f"m:prompts={tmp_path}/p.json").prompts == Prompts(query="Q {}")
    assert parse_variant("C:\\models\\a").model == "C:\\models\\a"
    for wrong, message in {
        "m:prompt=x": "options are :layers=, :pooling=, :prompts= and :adapter=",
        "m:layers=1:layers=2": "each once",
        "m:pooling=mean": "unknown pooling 'mean'",
        "m:prompts=none.json": "'none.json' cannot be read",
    }.items():
        with pytest.raises(UsageError, match=message):
            parse_variant(wrong)


def test_each_model_has_the_rows_it_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    folder = str(save_model(tmp_path / "model"))

    def load(each: Variant) -> AlignedWVA:
        kind = {"layers": each.layers, "pooling": each.pooling}
        return AlignedWVA(each.model, **kind, device="cpu", dtype="float32")

    variants = [parse_variant(folder), parse_variant(f"{folder}:pooling=va")]
    run = compare_models(variants, DATA, load, name="mini")
    assert list(run.values) == [
        "keyword",
        *(f"{each.name} {mode}" for each in variants for mode in ("dense", "hybrid")),
    ]
    assert list(run.made_with) == [each.name for each in variants]
    for each in variants:
        alone = evaluate_dataset(load(each), DATA, "mini", chunking=UNSPLIT)
        assert alone.values["keyword"]["ndcg@10"] == run.values["keyword"]["ndcg@10"]
        for mode in ("dense", "hybrid"):
            shown = run.values[f"{each.name} {mode}"]
            assert shown == {name: alone.values[mode][name] for name in shown}
    assert set(run.against_keyword()) == set(list(run.values)[1:])
    with pytest.raises(UsageError, match="named twice"):
        compare_models([variants[0]] * 2, DATA, load, name="mini")


def test_the_adapter_of_an_index_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    folder = str(save_model(tmp_path / "model"))
    place = tmp_path / "mine"

    def load(each: Variant) -> AlignedWVA:
        return AlignedWVA(each.model, layers=each.layers, device="cpu", dtype="float32")

    variants = [parse_variant(folder), parse_variant(f"{folder}:adapter={place}")]
    plain = load(variants[0])
    with Index.open_or_create(place, plain) as index:
        index.add([Document("a.txt", "text", (Page(None, TEXTS["apple"]),))])
        with pytest.raises(UsageError, match=r"mine has no adapter; .* wva tune .*mine --adapter"):
            compare_models(variants, DATA, load, name="mini")
        with index.changing():  # what was first becomes last
            index.backend.set_adapter(Adapter.of("query", -np.eye(plain.dimension)))
            index.backend.finish({})
    run = compare_models(variants, DATA, load, name="mini")
    with open_dataset(plain, DATA, "mini", chunking=UNSPLIT) as ready:
        ranked = ready.rankings(mode="dense")
        assert ready.index.info()["adapter"] is None
    for name, ids in ranked.items():
        found = [run.values[f"{each.name} dense"]["ndcg@10"][name] for each in variants]
        assert found == [ndcg_at(10, order, {name: 1.0}) for order in (ids, ids[::-1])]
    with pytest.raises(UsageError, match="mine was made by another model"):
        compare_models(
            [parse_variant(f"{folder}:layers=0:adapter={place}")], DATA, load, name="mini"
        )


def values(**models: np.ndarray) -> dict[str, dict[str, dict[str, float]]]:
    return {
        f"{name} hybrid": {"ndcg@10": {str(n): float(v) for n, v in enumerate(row)}}
        for name, row in models.items()
    }


def test_a_winner_only_where_there_is_one() -> None:
    draw = np.random.default_rng(0)
    hard = draw.random(100) * 0.8
    good, same = hard + 0.1, np.clip(hard + draw.normal(0, 0.1, 100), 0, 1)
    a, b, c = parse_variant("a"), parse_variant("b"), parse_variant("c")
    best, sentence = winner(values(a=hard, b=good), [a, b])
    assert best == "b"
    assert "b is better in hybrid search: +0.1000 ndcg@10 against a, 95 % +0.1000" in sentence
    best, sentence = winner(values(a=hard, b=same), [a, b])
    assert best == ""
    assert sentence.startswith("within noise: 100 sentences do not tell which of ")
    assert sentence.endswith("is better in hybrid search")
    # Better than one is not enough: it must be better than all.
    assert winner(values(a=hard, b=good, c=good), [a, b, c])[0] == ""
    assert winner(values(a=hard, b=same, c=good), [a, b, c])[0] == "c"
    assert winner(values(a=hard), [a])[0] == ""
