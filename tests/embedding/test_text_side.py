"""The text side equals that of the whole embedder, and loads it only for a vector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from retriever import AlignedWVA, Index
from retriever.embedding.text_side import PLAIN_FAMILIES, TextSide, text_side
from retriever.settings import POOLINGS, Prompts
from retriever.types import ModelError, UsageError
from tests.tiny import CONFIGS, save_model

TEXTS = ["", "The passage means in one word.", 'naïve "café" 好 \U0001f600\t\n x ', "the " * 300]


def not_loaded() -> AlignedWVA:
    raise AssertionError("the model is not needed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny", "llama")


def same(side: object, whole: AlignedWVA) -> None:
    assert isinstance(side, TextSide)
    assert side.settings == whole.settings
    assert side.fingerprint == whole.fingerprint
    assert side.max_tokens == whole.max_tokens
    assert side.prompt_tokens() == whole.prompt_tokens()
    assert side.tokenizer_json() == whole.tokenizer_json()
    for text in TEXTS:
        assert side.token_spans(text) == whole.token_spans(text)
        given = side.passage_input(text, "A title")
        assert given == whole.passage_input(text, "A title")
        assert side.key(given) == whole.key(given)
    assert side.count_tokens(TEXTS) == whole.count_tokens(TEXTS)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_every_family_has_the_same_text_side(family: str, tmp_path: Path) -> None:
    model = str(save_model(tmp_path / "m", family))
    whole = AlignedWVA(model, device="cpu", dtype="float32")
    side = text_side(lambda: whole, model=model)
    if CONFIGS[family].model_type in PLAIN_FAMILIES:
        same(text_side(not_loaded, model=model), whole)
        same(text_side(not_loaded, whole.settings), whole)
    else:
        assert side is whole


@pytest.mark.parametrize("special", [{}, {"bos": True}, {"eos": True}, {"bos": True, "eos": True}])
def test_special_tokens_and_settings(special, tmp_path: Path) -> None:
    model = str(save_model(tmp_path / "m", "llama", **special))
    prompts = Prompts(passage="P {}", query=("Q {}", "A {} of the question"))
    whole = AlignedWVA(model, layers="1-3", prompts=prompts, device="cpu", dtype="float32")
    same(text_side(not_loaded, model=model, layers="1-3", prompts=prompts), whole)


def test_what_the_folder_does_not_tell_is_asked_of_the_model(folder: Path, tmp_path: Path) -> None:
    whole = object()
    for pooling in POOLINGS[1:]:
        assert text_side(lambda: whole, model=str(folder), pooling=pooling) is whole
    settings = AlignedWVA(str(folder), pooling="va", device="cpu").settings
    assert isinstance(text_side(not_loaded, settings), TextSide)
    changed = save_model(tmp_path / "m", "llama")
    config = json.loads((changed / "config.json").read_text())
    for values in (
        {"architectures": ["LlamaForSequenceClassification"]},
        {"architectures": None},
        {"model_type": "unheard-of"},
        {"num_hidden_layers": None},
        {"max_position_embeddings": None},
    ):
        (changed / "config.json").write_text(json.dumps({**config, **values}))
        assert text_side(lambda: whole, model=str(changed)) is whole


def test_other_weights_are_those_of_the_whole_embedder(folder: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "m", "llama")
    settings = AlignedWVA(str(model), device="cpu").settings
    save_model(model, "llama-bias")
    with pytest.raises(ModelError, match="its weights have changed"):
        text_side(lambda: AlignedWVA.from_settings(settings), settings)


def test_wrong_layers_and_models_are_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="it has layers 0 to 4"):
        text_side(not_loaded, model=str(folder), layers="3-9")
    with pytest.raises(ModelError, match="unknown model"):
        text_side(not_loaded, model="nothing")


def test_the_first_vector_loads_the_embedder_once(folder: Path) -> None:
    whole = AlignedWVA(str(folder), device="cpu", dtype="float32")
    calls: list[int] = []

    def load() -> AlignedWVA:
        calls.append(1)
        return whole

    side = text_side(load, model=str(folder))
    assert not calls
    given = [side.passage_input("A red apple.")]
    assert side.embed_inputs(given).tolist() == whole.embed_inputs(given).tolist()
    assert side.embed_queries(["apple"]).tolist() == whole.embed_queries(["apple"]).tolist()
    assert len(calls) == 1


COMMAND = """
import sys
from retriever.interface.cli import main
assert main({arguments!r}) == 0
print(*sorted({{"torch", "transformers"}} & set(sys.modules)), "none")
"""


def index_in_a_process(*arguments: str) -> list[str]:
    """Run `wva index`; the model libraries that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(arguments=["index", *arguments])],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].split()


def test_keywords_alone_import_no_model_library(folder: Path, tmp_path: Path) -> None:
    docs, index = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    (docs / "plum.txt").write_text("A plum tree stands in the garden. " * 40)
    named = ("--index", str(index), "--keywords-only")
    assert index_in_a_process(str(docs), *named, "--model", str(folder)) == ["none"]
    (docs / "pear.txt").write_text("A pear tree stands in the yard. " * 40)
    assert index_in_a_process(str(docs), *named) == ["none"]
    with Index.open(index) as opened:
        assert opened.embedder_settings == AlignedWVA(str(folder), device="cpu").settings
        assert opened.vector_share == 0
        opened.sync(vectors_only=True)
        assert opened.search("pear", 1)[0].embedded
    with Index.open_or_create(tmp_path / "fresh", AlignedWVA(str(folder))) as fresh:
        fresh.sync(docs)
        with Index.open(index) as opened:
            passages = [
                [c for row in one.documents() for c in one.chunks(row.id)]
                for one in (fresh, opened)
            ]
    assert passages[0] == passages[1]
