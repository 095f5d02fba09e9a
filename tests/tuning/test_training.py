"""Training: gradients are those of the formula, a killed run goes on, the merged model is equal."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from retriever.arrays import centred
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.embedding.pooling import AttentionPooler
from retriever.settings import Prompts
from retriever.tuning.merging import merge
from retriever.tuning.pairs import Pair, Passage
from retriever.tuning.recipe import Recipe, filled, rows
from retriever.tuning.training import Contrastive, Run, Step, adapted, train, train_on_all
from retriever.types import ModelError, UsageError
from tests.embedding.test_families import texts
from tests.naive import HEADS, LAYOUTS, LLAMA
from tests.tiny import make_model, save_model

LAYERS = [1, 3]
PAIRS = [
    Pair(f"question {number} about {word}", Passage(f"the {word} is number {number}", "Title"))
    for number, word in enumerate(["heron", "otter", "river", "stove", "train", "letter"] * 4)
]
SCORED = [Pair("a cat", Passage("a dog"), score=float(n % 5)) for n in range(12)]
SMALL = Recipe(rank=2, batch=6, part_tokens=64, epochs=2, learning_rate=5e-3, max_tokens=64)


def naive_vector(model: PreTrainedModel, family: str, ids: list[int]) -> Tensor:
    """Σ_l W_O · concat_h(Σ_t α v), differentiable, from eager attention: (hidden_size,)."""
    place, fused, total = LAYOUTS.get(family, LLAMA), [], 0
    blocks = [getattr(x, place.attention) for x in reduce(getattr, place.layers.split("."), model)]
    hooks = [
        getattr(block, place.fused).register_forward_hook(lambda m, i, out: fused.append(out[0]))
        for block in blocks
    ]
    model.set_attn_implementation("eager")
    out = model(torch.tensor([ids]), output_attentions=True, use_cache=False)
    for hook in hooks:
        hook.remove()
    for layer in LAYERS:
        alpha = out.attentions[layer][0, :, -1]  # (H, T)
        value = place.cut(fused[layer])
        value = value.repeat_interleave(HEADS // value.shape[1], dim=1)  # (T, H, D)
        joined = torch.cat([alpha[head] @ value[:, head] for head in range(HEADS)])
        projection = getattr(blocks[layer], place.output)
        matrix = projection.weight if isinstance(projection, Conv1D) else projection.weight.T
        total = total + joined @ matrix + (0 if projection.bias is None else projection.bias)
    return total


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt2", "llama-bias"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_gradients_equal_autograd_of_the_naive_formula(family: str, packed: bool) -> None:
    chosen = torch.randn(len(texts()), 32, dtype=torch.float64, generator=_seeded())
    found, expected = make_model(family).double(), make_model(family).double()
    pooler = AttentionPooler(found, LAYERS, gradients=True)
    (pooler.run(texts(), packed=packed) * chosen).sum().backward()
    loss = [naive_vector(expected, family, ids) @ chosen[at] for at, ids in enumerate(texts())]
    torch.stack(loss).sum().backward()
    named = dict(found.named_parameters())
    # Of these families, transformers computes all but GPT-2's norms and softmax in float32.
    reached, within = 0, 1e-9 if family == "gpt2" else 1e-4
    for name, parameter in expected.named_parameters():
        gradient, ours = parameter.grad, named[name].grad
        if gradient is None or not gradient.abs().max() > 1e-9:
            assert ours is None or ours.abs().max() < 1e-9, name
            continue
        assert ours is not None, name
        # Rotations and the causal mask are computed in float32 by some families.
        assert float((ours - gradient).abs().max() / gradient.abs().max()) < within, name
        reached += 1
    assert reached > 12


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


def begin(
    folder: Path, base: Path, recipe: Recipe, pairs=PAIRS, taught=None, **options: str
) -> AlignedWVA:
    """Write a run of these pairs."""
    embedder = AlignedWVA(str(base), device="cpu", dtype="float32", **options)
    passage, query = embedder.general_means()
    sentence = embedder.general_mean(embedder.settings.prompts.sentence)
    rated = pairs[0].score is not None
    run = Run(embedder.settings, recipe, rated=rated, device="cpu", dtype="float32")
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [pair.positive for pair in pairs]
    whole = pairs if rated else filled(pairs, corpus, recipe)
    means = {"passage": passage, "query": query, "sentence": sentence}
    run.write(folder, rows(whole, taught), means)
    return embedder


def test_the_untrained_module_embeds_as_a_search_does(base: Path, tmp_path: Path) -> None:
    embedder = begin(tmp_path, base, SMALL)
    module = adapted(tmp_path, Run.read(tmp_path)).module
    asked = ["what is a heron", "an otter", "the letter of the train"]
    passage, query = embedder.general_means()
    for side, raw, mean in (
        ("query", embedder.embed_queries(asked), query),
        ("passage", embedder.embed_passages(asked), passage),
    ):
        with torch.no_grad():
            found = module(module.preprocess(asked, side))["sentence_embedding"].numpy()
        assert np.abs(found - centred(raw, mean)).max() < 1e-5


def test_an_input_is_cut_inside_the_text(base: Path, tmp_path: Path) -> None:
    begin(tmp_path, base, replace(SMALL, max_tokens=40))
    module = adapted(tmp_path, Run.read(tmp_path)).module
    whole, cut = (module.preprocess([text], "passage") for text in ("heron", "heron " * 90))
    assert cut["lengths"].max() == 40
    end = whole["input_ids"][0, -4:]
    assert torch.equal(cut["input_ids"][0, -4:], end)  # the prompt's end is still there


def _trained(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter.safetensors")


def test_training_lowers_the_loss_and_touches_the_adapters_alone(
    base: Path, tmp_path: Path
) -> None:
    begin(tmp_path, base, replace(SMALL, epochs=6))
    told: list[Step] = []
    train(tmp_path, told.append)
    losses = [step.loss for step in told if step.loss is not None]
    assert losses[-1] < losses[0]
    assert told[-1].share == 1.0
    assert {name.rsplit(".", 3)[1] for name in _trained(tmp_path)} == {"lora_A", "lora_B"}
    assert not [
        name for name in _trained(tmp_path) if ".layers.0." not in name and "attn" not in name
    ]


def test_a_batch_in_parts_has_the_gradients_of_the_whole_one(base: Path, tmp_path: Path) -> None:
    found = {}
    for name, tokens in (("parts", 64), ("whole", 100_000)):
        recipe = replace(SMALL, part_tokens=tokens, epochs=1, negatives=2, teacher=0.5)
        taught = [[3.0, float(at % 5), -1.0] for at in range(len(PAIRS))]
        begin(tmp_path / name, base, recipe, taught=taught)
        train(tmp_path / name)
        found[name] = _trained(tmp_path / name)
    for name, tensor in found["whole"].items():
        assert torch.allclose(tensor, found["parts"][name], atol=1e-6), name


def test_the_loss_is_that_of_its_formula() -> None:
    """-log softmax at the positive, and KL(teacher | model) over a row's own passages."""
    rng = np.random.default_rng(3)
    vectors = [torch.from_numpy(rng.normal(size=(4, 8))) for _ in range(4)]
    labels = torch.from_numpy(rng.normal(size=(4, 3)))
    labels[1, 0] = torch.nan  # the teacher cannot rank this positive
    loss = Contrastive(
        SentenceTransformer(modules=[torch.nn.Identity()]), teacher=0.7, whole=True, scale=20.0
    )
    found = float(loss.calculate_loss([[each] for each in vectors], labels))
    units = [each / each.norm(dim=1, keepdim=True) for each in vectors]
    expected = 0.0
    for row in range(4):
        logits = [20 * float(units[0][row] @ each[at]) for each in units[1:] for at in range(4)]
        expected += np.log(np.exp(logits).sum()) - logits[row]
        own = np.exp([20 * float(units[0][row] @ each[row]) for each in units[1:]])
        taught = np.exp(labels[row].numpy())
        own, taught = own[~np.isnan(taught)], taught[~np.isnan(taught)]
        own, taught = own / own.sum(), taught / taught.sum()
        expected += 0.7 * float((taught * np.log(taught / own)).sum())
    assert found == pytest.approx(expected / 4, rel=1e-9)


@pytest.mark.parametrize(("adapt", "first"), [("upper", 1), ("all", 0)])
def test_the_layers_that_are_adapted(adapt: str, first: int, base: Path, tmp_path: Path) -> None:
    begin(tmp_path, base, replace(SMALL, adapt=adapt), layers=[1, 2])
    trained = adapted(tmp_path, Run.read(tmp_path)).module.trained
    layers = {int(name.split(".layers.")[1].split(".")[0]) for name in trained}
    assert layers == set(range(first, 3))


def test_a_killed_run_goes_on_to_the_same_adapters(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retriever.tuning.training.CHECKPOINT_SECONDS", 0.0)
    for name in ("whole", "killed"):
        begin(tmp_path / name, base, SMALL)
    train(tmp_path / "whole")

    def kill(step: Step) -> None:
        if step.number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", kill)
    assert not (tmp_path / "killed" / "adapter.safetensors").exists()
    torn = tmp_path / "killed" / "checkpoints" / "checkpoint-9"  # killed while it was written
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global')
    numbers: list[int] = []
    train(tmp_path / "killed", lambda step: numbers.append(step.number))
    assert numbers[0] == 4  # the checkpoint of step 3 was the last one
    whole, killed = _trained(tmp_path / "whole"), _trained(tmp_path / "killed")
    for name, tensor in whole.items():
        assert torch.allclose(tensor, killed[name], atol=1e-6), name


def test_a_run_ends_when_its_time_is_over(base: Path, tmp_path: Path) -> None:
    begin(tmp_path, base, replace(SMALL, minutes=1e-9, epochs=1000))
    told: list[Step] = []
    train(tmp_path, told.append)
    assert len(told) == 1
    assert told[0].total > 1000


@pytest.mark.parametrize("pooling", ["aligned-wva", "va", "last-hidden"])
@pytest.mark.parametrize("pairs", [PAIRS, SCORED], ids=["questions", "rated"])
def test_every_pooling_is_trained_and_merged(
    pooling: str, pairs: list[Pair], base: Path, tmp_path: Path
) -> None:
    begin(tmp_path / "run", base, replace(SMALL, epochs=1), pairs, pooling=pooling)
    train(tmp_path / "run")
    run = Run.read(tmp_path / "run")
    merge(tmp_path / "run", tmp_path / "tuned", {"data": "a test"})
    there = adapted(tmp_path / "run", run)
    there.module.restore(tmp_path / "run")
    tuned = AlignedWVA(str(tmp_path / "tuned"), device="cpu", dtype="float32")
    assert tuned.settings.pooling == pooling
    assert tuned.settings.layers == run.settings.layers
    assert tuned.settings.prompts == run.settings.prompts
    assert tuned.fingerprint != run.settings.fingerprint
    asked = ["what is a heron", "an otter, and a letter"]
    ids = tuned._tokenize([tuned.passage_input(text) for text in asked])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(there.module.pooler.run(ids), dim=-1).numpy()
    found = tuned.embed_passages(asked)
    assert np.abs(found - expected).max() < 1e-5
    untrained = AlignedWVA(str(base), pooling=pooling, device="cpu", dtype="float32")
    assert np.abs(found - untrained.embed_passages(asked)).max() > 1e-4
    if pooling == "aligned-wva":
        attribution = tuned.token_attribution(tuned.passage_input(asked[0]))
        total = attribution.vectors.sum(axis=0) + attribution.constant
        raw = total / np.linalg.norm(total)
        assert np.abs(raw - found[0]).max() < 1e-5


def test_a_merged_folder_is_a_plain_model_with_its_facts(base: Path, tmp_path: Path) -> None:
    begin(tmp_path / "run", base, replace(SMALL, epochs=1))
    train(tmp_path / "run")
    merge(tmp_path / "run", tmp_path / "tuned", {"data": "a test"})
    names = {path.name for path in (tmp_path / "tuned").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "prompts.json"} <= names
    assert not [name for name in names if "adapter" in name]
    assert json.loads((tmp_path / "tuned" / "tuning.json").read_text())["data"] == "a test"
    assert Prompts.read(tmp_path / "tuned" / "prompts.json") == Prompts()
    (tmp_path / "tuned" / "tuning.json").write_text('{"pooling": "x"}')
    with pytest.raises(ModelError, match=r"tuning\.json does not say"):
        AlignedWVA(str(tmp_path / "tuned"))


@pytest.mark.timeout(180)  # three processes import torch
def test_two_processes_train_one_run(base: Path, tmp_path: Path) -> None:
    begin(tmp_path, base, replace(SMALL, epochs=1))
    told: list[Step] = []
    train_on_all(tmp_path, 2, told.append)
    assert told[-1].share == 1.0
    assert _trained(tmp_path)


def test_a_base_with_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    begin(tmp_path, base, SMALL)
    run = Run.read(tmp_path)
    other = replace(run, settings=replace(run.settings, weights="0" * 64))
    with pytest.raises(ModelError, match="has other weights"):
        adapted(tmp_path, other)


def test_rows_have_the_same_columns_and_no_positive_as_a_negative() -> None:
    corpus = [pair.positive for pair in PAIRS]
    made = rows(filled(PAIRS, corpus, replace(SMALL, negatives=2)))
    assert {tuple(row) for row in made} == {("query", "positive", "negative_1", "negative_2")}
    assert all(row["positive"] not in (row["negative_1"], row["negative_2"]) for row in made)
    assert all(row["negative_1"] != row["negative_2"] for row in made)
    assert made[0]["positive"].startswith("Title. ")
    with pytest.raises(UsageError, match="one kind at a time"):
        rows([*PAIRS, *SCORED])
    with pytest.raises(UsageError, match="at least two pairs"):
        rows(PAIRS[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rank": 0}, {"batch": 1}, {"minutes": 0.0}, {"dropout": 1.0}, {"learning_rate": 0.0}),
        *({"seed": -1}, {"seed": 2**32}, {"teacher": -0.1}, {"adapt": "lower"}),
        *({"teacher": 1.0, "negatives": 0}, {"dimensions": (0,)}),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Recipe(**wrong)
