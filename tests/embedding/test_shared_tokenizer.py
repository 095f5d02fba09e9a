"""The tokenizer of other processes finds the tokens that the library finds in the whole text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from retriever.embedding import shared_tokenizer
from retriever.embedding.shared_tokenizer import span_finder, token_counter

TEXT = (
    "The heron's nest is in the reeds, isn't it? 27001 items of the list: the otters saw them. "
    "Die Häuser der Straße; Ёлка и дом. def f(x):\n    return x_1 + 22\n\n\nThe end.  \n"
)


def byte_level(digits: bool = False, **options: object) -> Tokenizer:
    """A small byte-level tokenizer of the form of GPT-2."""
    made = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    steps = [pre_tokenizers.Digits(individual_digits=True), level] if digits else [level]
    made.pre_tokenizer = pre_tokenizers.Sequence(steps) if digits else level
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>", "<repo_name>"],
        show_progress=False,
    )
    made.train_from_iterator([TEXT] * 3, trainer)
    return made


PLAIN, DIGITS = byte_level(), byte_level(digits=True)
WORDS = "The heron 's ’s é ß Ж 中文 7 22 . , _ <|end|> <repo_name> <| ² ª İ ʼ 😀 e\u0301"
SPACES = "\n\t\xa0\xad\u200b\u200d\u2003\u2028\u3000\u180e\x1c\x85\ufeff"
PARTS = st.sampled_from([*WORDS.split(), " ", "  ", "\r\n", *SPACES])


@pytest.mark.parametrize("tokenizer", [PLAIN, DIGITS], ids=["bytes", "digits"])
@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(PARTS, st.text(max_size=4)), max_size=16).map("".join))
def test_the_tokens_are_those_of_the_whole_text(tokenizer: Tokenizer, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    find = span_finder(tokenizer.to_str())
    for _ in range(2):  # the second time the pieces are known
        assert find(text) == tokenizer.encode(text, add_special_tokens=False).offsets


@pytest.mark.parametrize("tokenizer", [PLAIN, DIGITS], ids=["bytes", "digits"])
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(PARTS, max_size=16).map("".join), max_size=3))
def test_tokens_are_counted_as_in_the_whole_text(tokenizer: Tokenizer, texts: list[str]) -> None:
    count = token_counter(tokenizer.to_str())
    expected = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
    assert count(texts) == count(texts) == expected


def test_known_words_are_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_tokenizer, "_REMEMBERED", 200)
    count = token_counter(PLAIN.to_str())
    assert isinstance(count, shared_tokenizer._Counting)
    expected = count([TEXT])
    monkeypatch.setattr(count, "_counts", None)
    assert count([TEXT]) == expected == [len(PLAIN.encode(TEXT).ids)]


def test_known_words_are_not_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    find = span_finder(PLAIN.to_str())
    expected = find(TEXT)
    monkeypatch.setattr(find, "_token_spans", None)
    assert find(TEXT) == expected == PLAIN.encode(TEXT, add_special_tokens=False).offsets


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_tokenizer, "_REMEMBERED", 5)
    find = span_finder(PLAIN.to_str())
    assert find(TEXT + "x" * 100) == PLAIN.encode(TEXT + "x" * 100).offsets
    assert 0 < len(find._known) <= 5
    assert max(map(len, find._known)) <= 32
    count = token_counter(PLAIN.to_str())
    assert isinstance(count, shared_tokenizer._Counting)
    texts = [word * 10 for word in TEXT.split()] + TEXT.split()
    assert count(texts) == [len(PLAIN.encode(text).ids) for text in texts]
    assert 0 < len(count._known) <= 5
    assert max(map(len, count._known)) <= 32


def others() -> dict[str, Tokenizer]:
    """Tokenizers in which the text around a word may change its tokens."""
    taking = byte_level()
    taking.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    spaced = byte_level()
    spaced.add_tokens([AddedToken("the otters")])
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    whole = json.loads(PLAIN.to_str())
    whole["pre_tokenizer"] = None
    random = json.loads(PLAIN.to_str())
    random["model"]["dropout"] = 0.1
    folded = json.loads(PLAIN.to_str())
    folded["normalizer"] = {"type": "NFC"}
    return {
        "taking": taking,
        "spaced": spaced,
        "words": words,
        "no pattern": byte_level(use_regex=False),
        "whole": Tokenizer.from_str(json.dumps(whole)),
        "random": Tokenizer.from_str(json.dumps(random)),
        "folded": Tokenizer.from_str(json.dumps(folded)),
    }


@pytest.mark.parametrize("name", others())
def test_other_tokenizers_read_the_whole_text(name: str) -> None:
    tokenizer = others()[name]
    find = span_finder(tokenizer.to_str())
    count = token_counter(tokenizer.to_str())
    assert not isinstance(find, shared_tokenizer._Remembering)
    assert not isinstance(count, shared_tokenizer._Counting)
    if name != "random":
        assert count([TEXT, ""]) == [len(tokenizer.encode(TEXT).ids), 0]
        assert find(TEXT) == tokenizer.encode(TEXT, add_special_tokens=False).offsets
