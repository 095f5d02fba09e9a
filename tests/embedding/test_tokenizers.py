"""Tokenizers with special tokens: the model reads the same tokens and gives the same vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from retriever import AlignedWVA
from tests.naive import Naive
from tests.tiny import make_model, make_tokenizer

TEXTS = ["A red apple.", "x", "The train to the coast leaves from platform four at noon."]
CHAT = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"


def left(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.padding_side = tokenizer.truncation_side = "left"


def right(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.padding_side = "right"


def no_pad(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = None


def pads_as_it_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = tokenizer.eos_token


def chat(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT


def pads_and_cuts_by_itself(tokenizer: PreTrainedTokenizerFast) -> None:
    """As in tokenizer.json of many embedding models."""
    tokenizer.backend_tokenizer.enable_padding(length=64, pad_id=0, pad_token="<pad>")
    tokenizer.backend_tokenizer.enable_truncation(max_length=8)


def appends_its_pad(tokenizer: PreTrainedTokenizerFast) -> None:
    """As in Qwen's embedding models: an appended token that is not the end token."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <pad>", special_tokens=[("<pad>", 0)]
    )


def appends_two(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s> <pad>", special_tokens=[("<s>", 1), ("</s>", 2), ("<pad>", 0)]
    )


def knows_no_begin(tokenizer: PreTrainedTokenizerFast) -> None:
    """The model was trained with one, but the tokenizer does not say so: it is left at that."""
    tokenizer.bos_token = None


HABITS = [
    (left, False, False),
    (left, True, True),
    (right, False, True),
    (no_pad, False, False),
    (no_pad, True, False),
    (pads_as_it_ends, False, True),
    (chat, True, False),
    (pads_and_cuts_by_itself, False, False),
    (appends_its_pad, False, False),
    (appends_two, True, False),
    (knows_no_begin, False, False),
]


@pytest.fixture(scope="module")
def naive() -> Naive:
    return Naive(make_model("llama"), "llama")


@pytest.mark.parametrize(("habit", "bos", "eos"), HABITS)
def test_the_same_text_is_the_same_vector(habit, bos, eos, naive: Naive, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(bos=bos, eos=eos)
    habit(tokenizer)
    make_model("llama").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    embedder = AlignedWVA(str(tmp_path), device="cpu", dtype="float32")
    for packed in (False, True):
        embedder._runner.packed = packed
        found = embedder.embed_passages(TEXTS)
        for text, vector in zip(TEXTS, found, strict=True):
            ids = by_hand(f'This passage : "{text}" means in one word:"', bos=bos)
            expected = naive.outputs(ids)[[2, 3, 4]].sum(dim=0)
            np.testing.assert_allclose(vector, (expected / expected.norm()).numpy(), atol=1e-5)


def by_hand(text: str, *, bos: bool) -> list[int]:
    """The bare tokens of a text, without special tokens; with <s> in front if asked."""
    bare = make_tokenizer().backend_tokenizer.encode(text, add_special_tokens=False)
    assert not set(bare.ids) & {0, 1, 2}
    return [1, *bare.ids] if bos else bare.ids
