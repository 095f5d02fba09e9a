"""The embedder's methods: prompts, tokens, batches, pieces; on tiny models."""

from __future__ import annotations

import logging
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertLMHeadModel

from retriever import AlignedWVA, Index
from retriever.arrays import centred, shrunk_mean
from retriever.embedding import inputs
from retriever.embedding.aligned_wva import GENERAL_TEXTS
from retriever.embedding.inputs import fill_template, with_full_stop
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.sentence_map import sentence_map
from retriever.settings import POOLINGS, Prompts
from retriever.types import Document, IndexStateError, ModelError, Page, UsageError
from tests.naive import Naive, reference
from tests.tiny import CONFIGS, make_tokenizer, save_model

SENTENCES = [
    "A red apple.",
    "The train to the coast leaves from platform four.",
    'She said "no" and closed the door.',
    "x",
    "Old maps show the island farther north than it lies, as sailors could not measure longitude.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny", "llama")


@pytest.fixture(scope="module")
def embedder(folder: Path) -> AlignedWVA:
    return AlignedWVA(str(folder), device="cpu", dtype="float32")


def by_hand(embedder: AlignedWVA, text: str) -> np.ndarray:
    """The unit vector of one exact input, alone in a pass of the whole model."""
    tokenizer, model = embedder._loaded.tokenizer, embedder._loaded.model
    pooler = AttentionPooler(model, embedder.settings.layers)
    pooled = pooler.run([tokenizer(text)["input_ids"]], packed=False, exit_early=False)[0]
    return (pooled / pooled.norm()).numpy()


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_every_family_embeds_from_its_folder(family: str, tmp_path: Path) -> None:
    embedder = AlignedWVA(str(save_model(tmp_path / "m", family)), device="cpu", dtype="float32")
    vectors = embedder.embed_passages(SENTENCES)
    for text, vector in zip(SENTENCES, vectors, strict=True):
        quoted = text.replace('"', "'")
        expected = by_hand(embedder, f'This passage : "{quoted}" means in one word:"')
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def read_twice(embedder: AlignedWVA, query: str) -> np.ndarray:
    """A query's vector by default, by the naive formula."""
    meaning = by_hand(embedder, f'This question : "{query}" means in one word:"')
    answer = by_hand(embedder, f'The answer to this question : "{query}" in one word:"')
    return (meaning + answer) / np.linalg.norm(meaning + answer)


def test_a_query_is_read_through_every_prompt_alike(embedder: AlignedWVA) -> None:
    texts = ["A dog", " ", "What is it?"]
    one, two = "In short, {} is", "Of {} one says"
    found = embedder.embed_prompted(texts, [one, two])
    for row, text in zip(found, texts, strict=True):
        if text.strip():
            sides = [by_hand(embedder, template.format(text)) for template in (one, two)]
            expected = sum(sides) / np.linalg.norm(sum(sides))
            np.testing.assert_allclose(row, expected, atol=1e-5)
    assert not found[1].any()
    np.testing.assert_array_equal(
        embedder.embed_prompted(texts, [one]), embedder.embed_prompted(texts, one)
    )
    # A repeated prompt changes nothing, nor does the order of the prompts.
    once = embedder.embed_prompted(texts, one)
    np.testing.assert_allclose(embedder.embed_prompted(texts, [one, one]), once, atol=1e-6)
    np.testing.assert_allclose(embedder.embed_prompted(texts, [two, one]), found, atol=1e-6)
    mean = embedder.general_mean([one, two])
    first = [line.split(". ")[0] + "." for line in GENERAL_TEXTS.read_text("utf-8").splitlines()]
    expected = embedder.embed_prompted(first, [one, two]).mean(axis=0)
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    with pytest.raises(UsageError, match="at least one prompt"):
        embedder.embed_prompted(texts, [])


def test_the_methods_differ_by_their_prompts(embedder: AlignedWVA) -> None:
    expected = {
        "query": read_twice(embedder, "A dog"),
        "sentence": by_hand(embedder, 'This sentence : "A dog." means in one word:"'),
        "own": by_hand(embedder, "In short, A 'dog' is"),
        "titled": by_hand(embedder, 'This passage : "Pets. A dog" means in one word:"'),
    }
    found = {
        "query": embedder.embed_queries(["A dog"])[0],
        "sentence": embedder.embed_sentences(["A dog"])[0],
        "own": embedder.embed_prompted(['A "dog"'], "In short, {} is")[0],
        "titled": embedder.embed_passages(["A dog"], titles=["Pets"])[0],
    }
    for name, vector in found.items():
        np.testing.assert_allclose(vector, expected[name], atol=1e-5, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=12))
def test_neighbours_and_order_do_not_matter(texts: list[str]) -> None:
    embedder = _shared()
    together = embedder.embed_queries(texts)
    backwards = embedder.embed_queries(texts[::-1])[::-1]
    alone = np.concatenate([embedder.embed_queries([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(backwards, alone, atol=1e-5)


_memory: dict[str, AlignedWVA] = {}


@pytest.fixture(autouse=True)
def _remember(embedder: AlignedWVA) -> None:
    _memory["embedder"] = embedder


def _shared() -> AlignedWVA:
    return _memory["embedder"]


def test_several_threads_give_the_same_as_one(embedder: AlignedWVA) -> None:
    texts = [f"{sentence} {number}" * 5 for number in range(20) for sentence in SENTENCES]
    before = torch.get_num_threads()
    single = embedder.embed_passages(texts)
    torch.set_num_threads(3)
    try:
        several = embedder.embed_passages(texts)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(several, single, atol=1e-5)


def test_padded_batches_give_the_same_as_packed_ones(embedder: AlignedWVA, folder: Path) -> None:
    padded = AlignedWVA(str(folder), device="cpu", dtype="float32")
    padded._runner.packed = False
    np.testing.assert_allclose(
        padded.embed_passages(SENTENCES), embedder.embed_passages(SENTENCES), atol=1e-5
    )


def test_sentences_are_calibrated_by_one_map(embedder: AlignedWVA) -> None:
    texts = [*SENTENCES, "", SENTENCES[0]]
    raw = embedder.embed_sentences(texts)
    prior = embedder.general_mean(embedder.settings.prompts.sentence)
    found = embedder.calibrated_sentences(texts)
    np.testing.assert_array_equal(found, sentence_map(raw, prior).apply(raw))
    assert found.dtype == np.float32
    cosines = found @ found.T
    np.testing.assert_allclose(np.diag(cosines), [1, 1, 1, 1, 1, 0, 1], atol=1e-6)
    assert cosines[0, -1] == pytest.approx(1, abs=1e-6)
    alone = embedder.calibrated_sentences(SENTENCES[:1])
    shrunk = shrunk_mean(raw[:1], prior)
    np.testing.assert_allclose(alone, centred(raw[:1], shrunk), atol=1e-5)
    assert embedder.calibrated_sentences([]).shape == (0, embedder.dimension)


def test_an_empty_text_has_no_direction(embedder: AlignedWVA) -> None:
    vectors = embedder.embed_passages(["", "a word", " \n\t"])
    assert not vectors[0].any()
    assert not vectors[2].any()
    np.testing.assert_allclose(vectors[1], embedder.embed_passages(["a word"])[0], atol=1e-6)
    assert embedder.embed_queries([]).shape == (0, embedder.dimension)


def test_a_lone_surrogate_is_embedded(embedder: AlignedWVA) -> None:
    assert np.isfinite(embedder.embed_queries(["bad \udc80 name", "nul \0 byte"])).all()


def test_a_long_text_is_embedded_in_pieces_and_says_so(
    embedder: AlignedWVA, caplog: pytest.LogCaptureFixture
) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    with caplog.at_level(logging.WARNING):
        vector = embedder.embed_queries([text])[0]
    assert "was embedded in" in caplog.text
    pooler = AttentionPooler(embedder._loaded.model, embedder.settings.layers)
    readings = []
    for model_input in embedder.query_inputs(text):
        ids = embedder._loaded.tokenizer(model_input)["input_ids"]
        count = -(-len(ids) // embedder.max_tokens)
        assert count > 1
        cuts = [len(ids) * number // count for number in range(count + 1)]
        pieces = [ids[a:b] for a, b in pairwise(cuts)]
        pooled = pooler.run(pieces, packed=False).double()
        units = pooled / pooled.norm(dim=1, keepdim=True)
        mean = (units * torch.tensor([len(piece) for piece in pieces])[:, None]).sum(dim=0)
        readings.append(mean / mean.norm())
    both = torch.stack(readings).sum(dim=0)
    np.testing.assert_allclose(vector, (both / both.norm()).numpy(), atol=1e-5)
    other = embedder.embed_queries([text + " and an end that must not be cut away"])[0]
    assert abs(float(other @ vector)) < 0.99999


def test_a_text_without_an_end_is_embedded_by_its_beginning(
    embedder: AlignedWVA, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inputs, "MAX_CHARACTERS", 1_000)
    monkeypatch.setattr(inputs, "MAX_QUERY_CHARACTERS", 500)
    text = "".join(f"word{number} " for number in range(400))
    with caplog.at_level(logging.WARNING):
        whole = embedder.embed_passages([text])
    assert "only the first 1,000 are embedded" in caplog.text
    np.testing.assert_allclose(whole, embedder.embed_passages([text[:1_000]]), atol=1e-6)
    asked = [embedder.embed_queries([text[:end]]) for end in (None, 500)]
    np.testing.assert_allclose(*asked, atol=1e-6)
    assert embedder.query_inputs(text) == embedder.query_inputs(text[:500])
    raw = [embedder.embed_inputs([text[:end]]) for end in (None, 2_000)]
    np.testing.assert_allclose(*raw, atol=1e-6)


def test_what_is_tokenized_of_a_huge_text_is_bounded(embedder: AlignedWVA) -> None:
    started = time.process_time()
    made = embedder.passage_input("a" * 3_000_000, "b" * 1_000_000)
    assert len(made) < inputs.MAX_CHARACTERS + 1_000
    assert max(map(len, embedder.query_inputs("a" * 1_000_000))) < 21_000
    assert embedder.count_tokens([made, "a" * 3_000_000]) < 700_000
    assert time.process_time() - started < 10


def test_a_beginning_token_is_kept_and_an_ending_one_is_not(tmp_path: Path) -> None:
    plain = AlignedWVA(str(save_model(tmp_path / "p")), device="cpu", dtype="float32")
    marked = AlignedWVA(
        str(save_model(tmp_path / "m", bos=True, eos=True)), device="cpu", dtype="float32"
    )
    assert plain._tokenize(["a b"])[0] == marked._tokenize(["a b"])[0][1:]
    assert marked._tokenize(["a b"])[0][0] == 1


def test_token_spans_cover_the_text(embedder: AlignedWVA) -> None:
    text = "The train — naïve — leaves."
    spans = embedder.token_spans(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(a <= b for a, b in spans)


def test_general_means_are_the_means_and_are_cached(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    embedder = AlignedWVA(str(folder), device="cpu", dtype="float32")
    lines = GENERAL_TEXTS.read_text("utf-8").splitlines()
    passages, queries = embedder.general_means()
    np.testing.assert_allclose(passages, embedder.embed_passages(lines).mean(axis=0), atol=1e-6)
    first = [line.split(". ")[0] + "." for line in lines]
    np.testing.assert_allclose(queries, embedder.embed_queries(first).mean(axis=0), atol=1e-6)
    monkeypatch.setattr(embedder, "embed_prompted", None)  # must not be needed again
    np.testing.assert_array_equal(embedder.general_means()[0], passages)
    for file in (tmp_path / "general").iterdir():
        file.write_bytes(b"damaged")
    again = AlignedWVA(str(folder), device="cpu", dtype="float32").general_means()
    np.testing.assert_allclose(again[0], passages, atol=1e-6)


def test_fixed_queries_are_cached(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    embedder = AlignedWVA(str(folder), device="cpu", dtype="float32")
    texts = ["when does the train leave?", "a bakery near the river"]
    expected = embedder.embed_queries(texts)
    np.testing.assert_array_equal(embedder.embed_fixed_queries(texts), expected)
    monkeypatch.setattr(embedder, "embed_prompted", lambda *_: np.zeros_like(expected))
    np.testing.assert_array_equal(embedder.embed_fixed_queries(texts), expected)
    # Other texts, prompts or weights have other arrays.
    assert not embedder.embed_fixed_queries(texts[::-1]).any()
    asked = AlignedWVA(str(folder), prompts=Prompts(query="Q {}"), device="cpu", dtype="float32")
    assert not np.allclose(asked.embed_fixed_queries(texts), expected, atol=1e-4)


def test_fingerprints_tell_what_may_be_compared(folder: Path, tmp_path: Path) -> None:
    def fingerprint(**arguments: object) -> str:
        # Arguments of several types are handed through.
        return AlignedWVA(str(folder), device="cpu", **arguments).fingerprint  # type: ignore[arg-type]

    base = fingerprint(dtype="float32")
    assert fingerprint(dtype="bfloat16") == base
    assert fingerprint(layers="all") != base
    assert fingerprint(prompts=Prompts(query="Q {}")) != base
    copy = save_model(tmp_path / "copy")
    assert AlignedWVA(str(copy), device="cpu").fingerprint == base
    other = save_model(tmp_path / "other", "llama-bias")
    assert AlignedWVA(str(other), device="cpu").fingerprint != base


@pytest.mark.parametrize("pooling", ["va", "last-hidden", "mean-hidden"])
def test_other_poolings_share_the_model(embedder: AlignedWVA, pooling: str) -> None:
    other = embedder.with_pooling(pooling)
    assert other._loaded is embedder._loaded
    assert other.fingerprint != embedder.fingerprint
    assert embedder.settings.pooling == "aligned-wva"
    naive = Naive(reference(other.settings.model), "llama")
    prompted = pooling == "last-hidden"
    for text in SENTENCES:
        quoted = text.replace('"', "'")
        read = f'This passage : "{quoted}" means in one word:"' if prompted else text
        assert other.passage_input(text) == read
        ids = embedder._loaded.tokenizer(read)["input_ids"]
        expected = {
            "va": lambda ids: naive.values(ids, [2, 3, 4]),
            "last-hidden": lambda ids: naive.states(ids)[-1],
            "mean-hidden": lambda ids: naive.states(ids).mean(dim=0),
        }[pooling](ids)
        found = other.embed_passages([text])[0]
        assert len(found) == other.dimension == (16 if pooling == "va" else 32)
        np.testing.assert_allclose(found, (expected / expected.norm()).numpy(), atol=1e-5)
    together = other.embed_passages(SENTENCES)
    other._runner.packed = False
    np.testing.assert_allclose(other.embed_passages(SENTENCES), together, atol=1e-5)
    assert not other.embed_passages([" "]).any()


def test_other_prompts_share_the_model(folder: Path) -> None:
    embedder = AlignedWVA(str(folder), device="cpu", dtype="float32", pooling="last-hidden")
    prompts = Prompts(query="Q {}")
    other = embedder.with_prompts(prompts)
    assert other._loaded is embedder._loaded
    assert other.query_inputs("A dog") == ("Q A dog",)
    assert len(embedder.query_inputs("A dog")) == 2
    made = AlignedWVA(
        str(folder), device="cpu", dtype="float32", pooling="last-hidden", prompts=prompts
    )
    assert other.settings == made.settings
    np.testing.assert_array_equal(other.embed_queries(["A dog"]), made.embed_queries(["A dog"]))


def test_a_pooling_is_part_of_the_settings(embedder: AlignedWVA, folder: Path) -> None:
    found = {
        pooling: AlignedWVA(str(folder), device="cpu", dtype="float32", pooling=pooling).settings
        for pooling in POOLINGS
    }
    assert len({each.fingerprint for each in found.values()}) == len(POOLINGS)
    for pooling, each in found.items():
        assert embedder.with_pooling(pooling).settings == each
        again = AlignedWVA.from_settings(each, device="cpu", dtype="float32")
        assert again.settings == each
    assert found["mean-hidden"].layers == (4,)  # whatever layers were asked for
    own = AlignedWVA(str(folder), device="cpu", pooling="va", prompts=Prompts())
    assert own.query_inputs("A dog") == (
        'This question : "A dog" means in one word:"',
        'The answer to this question : "A dog" in one word:"',
    )
    with pytest.raises(UsageError, match="unknown pooling 'max': use aligned-wva, va, last-hidden"):
        AlignedWVA(str(folder), device="cpu", pooling="max")
    with pytest.raises(UsageError, match="unknown pooling"):
        embedder.with_pooling("")


def test_an_index_of_one_pooling_refuses_another(embedder: AlignedWVA, tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", embedder) as index:
        index.add([Document("a.txt", "text", (Page(None, "A red apple."),))])
    with pytest.raises(IndexStateError):
        Index.open(tmp_path / "index", embedder.with_pooling("mean-hidden"))


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    path = save_model(tmp_path / "m")
    settings_before = AlignedWVA(str(path), device="cpu").settings
    assert AlignedWVA.from_settings(settings_before, device="cpu").settings == settings_before
    save_model(path, "llama-bias")
    with pytest.raises(ModelError, match="weights have changed"):
        AlignedWVA.from_settings(settings_before, device="cpu")


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    config.is_decoder = False
    BertLMHeadModel(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="decoder-only"):
        AlignedWVA(str(tmp_path), device="cpu")


def test_bidirectional_attention_is_detected_by_its_effect(
    embedder: AlignedWVA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = embedder._pooler.layers[0]
    handle = layer.projection.register_forward_pre_hook(
        lambda _, inputs: (inputs[0] + inputs[0].flip(1),)  # each token sees the other
    )
    layer.projection._forward_pre_hooks.move_to_end(handle.id, last=False)
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "one"))
    try:
        with pytest.raises(ModelError, match="see what follows"):
            embedder._refuse_bidirectional()
    finally:
        handle.remove()
    with pytest.raises(ModelError, match="see what follows"):
        embedder._refuse_bidirectional()  # remembered, for the same weights
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "other"))
    embedder._refuse_bidirectional()


def test_batches_are_padded_where_packing_would_differ(
    embedder: AlignedWVA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedder._runner.packed
    assert embedder._packing_agrees()
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    monkeypatch.setattr("retriever.embedding.packing._causal_mask", lambda *_: torch.zeros(()))
    assert not embedder._packing_agrees()
    assert not AlignedWVA(embedder.settings.model, device="cpu", dtype="float32")._runner.packed


def test_the_outcome_of_a_self_check_is_remembered(
    embedder: AlignedWVA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    name, runs = embedder.settings.model, []
    check = AlignedWVA._packing_agrees
    monkeypatch.setattr(AlignedWVA, "_packing_agrees", lambda self: runs.append(1) or check(self))
    for _ in range(2):
        assert AlignedWVA(name, device="cpu", dtype="float32")._runner.packed
        assert AlignedWVA(name, device="cpu", dtype="float32", layers="all")._runner.packed
        assert AlignedWVA(name, device="cpu", dtype="float32", pooling="va")._runner.packed
    assert len(runs) == 3  # once for each set of layers and pooling
    for outcome in (tmp_path / "checks").iterdir():
        outcome.write_bytes(b"damaged")
    assert AlignedWVA(name, device="cpu", dtype="float32")._runner.packed
    assert len(runs) == 4


def test_impossible_arguments(folder: Path, embedder: AlignedWVA) -> None:
    with pytest.raises(UsageError, match="layers 0 to 4"):
        AlignedWVA(str(folder), device="cpu", dtype="float32", layers="3-9")
    with pytest.raises(ModelError, match="unknown device"):
        AlignedWVA(str(folder), device="abacus")
    with pytest.raises(ModelError, match="unknown precision"):
        AlignedWVA(str(folder), dtype="int3")
    with pytest.raises(UsageError, match="exactly once"):
        embedder.embed_prompted(["a"], "no place")
    with pytest.raises(UsageError, match="2 texts but 1 titles"):
        embedder.embed_passages(["a", "b"], titles=["t"])


def test_prompt_helpers() -> None:
    assert fill_template("a {} b", "{}") == "a {} b"
    assert with_full_stop("") == ""
    assert with_full_stop("好。") == "好。"


@pytest.mark.parametrize("wrong", [None, "abc", b"abc", 5, ["a", None], {"a": "b"}, iter("a")])
def test_texts_are_a_list_of_texts(embedder: AlignedWVA, wrong) -> None:
    for embed in (
        embedder.embed_passages,
        embedder.embed_queries,
        embedder.embed_sentences,
        embedder.calibrated_sentences,
        embedder.embed_inputs,
        lambda texts: embedder.embed_prompted(texts, "{}"),
        lambda texts: embedder.embed_passages(["a", "b"], titles=texts or 5),
        lambda texts: embedder.log_likelihoods("a", texts),
    ):
        with pytest.raises(UsageError, match=r"must be a (list of )?text"):
            embed(wrong)
    with pytest.raises(UsageError, match="the query must be a text"):
        embedder.log_likelihoods(["a"], ["b"])
    several = embedder.embed_passages(np.array(["a", "b"]))
    np.testing.assert_array_equal(several, embedder.embed_passages(("a", "b")))


def test_wrong_arguments_are_refused_before_anything_is_loaded() -> None:
    for arguments, said in (
        ({"model": None}, "the model must be a text; it is None"),
        ({"layers": 5}, "layers are a text or a list of numbers"),
        ({"max_tokens": "8"}, "max_tokens must be a whole number"),
        ({"max_tokens": 0}, "max_tokens must be a whole number"),
        ({"pooling": None}, "pooling"),
    ):
        with pytest.raises(UsageError, match=said):
            AlignedWVA(**{"model": "nowhere", **arguments})
