"""Words from tokens: which token belongs to which word, and that the sum is kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retriever.embedding.word_attribution import (
    OTHERS,
    TokenAttribution,
    WordPosition,
    sum_by_word,
    sum_readings,
    word_spans,
)


def token_attribution(text: str, tokens: list[str]) -> TokenAttribution:
    """Consecutive tokens of `text`; each has a direction of its own."""
    spans, at = [], 0
    for token in tokens:
        at = text.index(token, at)
        spans.append((at, at + len(token)))
        at += len(token)
    return TokenAttribution(text, tuple(spans), np.eye(len(tokens)), np.full(len(tokens), 0.5))


def owners(text: str, tokens: list[str], places: list[WordPosition]) -> dict[str, list[str]]:
    """Group → its tokens."""
    grouped = sum_by_word(token_attribution(text, tokens), places)
    names = [f"{'title:' * word.in_title}{word.word}" for word in grouped.words] + list(OTHERS)
    vectors = grouped.vectors.copy()
    vectors[-1] -= 0.5
    return {
        name: [tokens[at] for at in np.flatnonzero(row)]
        for name, row in zip(names, vectors, strict=True)
    }


def test_tokens_belong_to_words_marks_or_the_prompt() -> None:
    text = 'Say: "A title. The un-happy, end." now'
    tokens = ["Say", ":", ' "', "A", " tit", "le", "."]
    tokens += [" The", " un", "-h", "appy", ",", " end", '."', " now"]
    places = [WordPosition("A title", 6, in_title=True), WordPosition("The un-happy, end.", 15)]
    assert owners(text, tokens, places) == {
        "title:A": ["A"],
        "title:title": [" tit", "le"],
        "The": [" The"],
        "un": [" un"],
        "happy": ["-h", "appy"],
        "end": [" end"],
        "marks": [".", ","],
        "prompt": ["Say", ":", ' "', '."', " now"],
        "constant": [],
    }


def test_prompts_of_one_text_are_summed_word_by_word() -> None:
    """The second prompt's tokens join words: "a b" and "d e" are one word in both."""
    text = "a b c d e."
    readings = [
        sum_by_word(token_attribution(f"<{text}>", tokens), [WordPosition(text, 1)])
        for tokens in (
            ["<", "a b", " c", " d", " e", ".", ">"],
            ["<", "a", " b", " c", " d e", ".>", ""],
        )
    ]
    assert [len(each.words) for each in readings] == [4, 4]
    found = sum_readings(text, readings)
    assert [(word.word, word.start, word.end) for word in found.words] == [
        ("a b", 0, 3),
        ("c", 4, 5),
        ("d e", 6, 9),
    ]
    eye = np.eye(7)
    expected = [
        eye[1] + eye[1] + eye[2],
        eye[2] + eye[3],
        eye[3] + eye[4] + eye[4],
        eye[5],  # marks
        eye[0] + eye[6] + eye[0] + eye[5] + eye[6],  # the prompt, and tokens that overlap it
        np.full(7, 1.0),
    ]
    np.testing.assert_array_equal(found.vectors, expected)
    np.testing.assert_allclose(found.total, sum(each.total for each in readings))
    alone = sum_readings(text, readings[:1])
    assert alone.words == readings[0].words
    np.testing.assert_array_equal(alone.vectors, readings[0].vectors)
    nothing = sum_by_word(token_attribution("<>", ["<", ">"]), [WordPosition("", 1)])
    assert sum_readings("", [nothing, nothing]).words == ()


def test_offsets_are_those_of_the_text_and_of_the_title() -> None:
    title, text = "  A title ", "The end."
    model_input = f"<{title.strip()}. {text}>"
    places = [WordPosition(title.rstrip(), 1, in_title=True, skipped=2), WordPosition(text, 10)]
    words = sum_by_word(token_attribution(model_input, ["A", "title", "The", "end"]), places).words
    for word in words:
        assert (title if word.in_title else text)[word.start : word.end] == word.word
    assert [word.word for word in words] == ["A", "title", "The", "end"]


def test_words_that_share_a_token_are_merged() -> None:
    assert owners("搜索引擎", ["搜索", "引", "擎"], [WordPosition("搜索引擎", 0)]) == {
        "搜索": ["搜索"],
        "引": ["引"],
        "擎": ["擎"],
        "marks": [],
        "prompt": [],
        "constant": [],
    }
    groups = owners("a b c d", ["a b", " c", " d"], [WordPosition("a b c d", 0)])
    assert list(groups)[:3] == ["a b", "c", "d"]
    chain = TokenAttribution("a b c", ((0, 3), (2, 5)), np.eye(2), np.zeros(2))
    assert [word.word for word in sum_by_word(chain, [WordPosition("a b c", 0)]).words] == ["a b c"]


def test_words() -> None:
    def found(text: str) -> list[str]:
        return [text[start:end] for start, end in word_spans(text)]

    assert found("Don’t re-use AC-2(1)!") == ["Don’t", "re", "use", "AC", "2", "1"]
    assert found("naïve nai\u0308ve") == ["naïve", "nai\u0308ve"]
    assert found("हिन्दी में") == ["हिन्दी", "में"]
    assert found("GPU加速 ok") == ["GPU", "加", "速", "ok"]
    assert found("snake_case") == ["snake", "case"]
    assert found("'quoted' rock 'n' roll") == ["quoted", "rock", "n", "roll"]
    assert found(" ,. ") == []


@given(st.text(max_size=60), st.lists(st.integers(1, 5), max_size=40))
def test_nothing_is_lost(text: str, sizes: list[int]) -> None:
    model_input = f"<<{text}>>"
    spans, at = [(0, 0)], 0
    for size in [*sizes, len(model_input)]:
        if at < len(model_input):
            spans.append((at, min(at + size, len(model_input))))
            at += size
    vectors = np.random.default_rng(0).normal(size=(len(spans), 3))
    tokens = TokenAttribution(model_input, tuple(spans), vectors, np.ones(3))
    grouped = sum_by_word(tokens, [WordPosition(text, 2)])
    np.testing.assert_allclose(grouped.total, tokens.total, atol=1e-9)
    assert all(text[word.start : word.end] == word.word for word in grouped.words)
    assert all(
        one.end <= two.start for one, two in zip(grouped.words, grouped.words[1:], strict=False)
    )
