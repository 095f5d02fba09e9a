"""Layers, prompts and the fingerprint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from retriever.settings import ChunkSettings, EmbedderSettings, Prompts, resolve_layers
from retriever.types import UsageError

BASE = EmbedderSettings(model="a", weights="f" * 64, dimension=8, layers=(2, 3))


@pytest.mark.parametrize(
    ("spec", "count", "expected"),
    [
        ("upper-half", 30, tuple(range(15, 30))),
        ("upper-half", 1, (0,)),
        ("all", 3, (0, 1, 2)),
        ("1-2", 4, (1, 2)),
        ("-2--1", 4, (2, 3)),
        ("3,1,-1", 4, (1, 3)),
        (" ALL ", 2, (0, 1)),
        ([0, -1], 4, (0, 3)),
        ((2,), 4, (2,)),
    ],
)
def test_layers(spec: str, count: int, expected: tuple[int, ...]) -> None:
    assert resolve_layers(spec, count) == expected


@pytest.mark.parametrize("spec", ["", "some", "0-9", "5", "-9", "1,x", "2-1", [], "1--9"])
def test_layers_that_are_not_there(spec: str) -> None:
    with pytest.raises(UsageError, match=r"layers .*(not in this model|not understood)"):
        resolve_layers(spec, 4)


def test_the_fingerprint_follows_what_changes_a_vector() -> None:
    other = [
        replace(BASE, weights="0" * 64),
        replace(BASE, dimension=9),
        replace(BASE, layers=(3,)),
        replace(BASE, prompts=Prompts(passage="P {}")),
        replace(BASE, pooling="last-hidden"),
    ]
    prints = {settings.fingerprint for settings in [BASE, *other]}
    assert len(prints) == len(other) + 1
    assert replace(BASE, model="elsewhere/a").fingerprint == BASE.fingerprint


def test_settings_survive_json() -> None:
    again = EmbedderSettings.from_json(json.loads(json.dumps(BASE.to_json())))
    assert again == BASE
    assert again.fingerprint == BASE.fingerprint


def test_prompts_need_one_place() -> None:
    for template in ("none", "{} and {}", ("{}", "none")):
        with pytest.raises(UsageError, match="the query prompt needs the placeholder"):
            Prompts(query=template)
    with pytest.raises(UsageError, match="the passage prompt needs the placeholder"):
        Prompts(passage="none")
    with pytest.raises(UsageError, match="at least one prompt"):
        Prompts(query=())


def test_an_index_with_one_query_prompt_keeps_its_fingerprint() -> None:
    """Settings and fingerprint of a version with a single query prompt."""
    values = BASE.to_json()
    values["prompts"]["query"] = 'This question : "{}" means in one word:"'
    before = EmbedderSettings.from_json(values)
    assert before.prompts.queries == (values["prompts"]["query"],)
    assert before.to_json() == values
    assert before.fingerprint == "46e4c31ce02f4943"
    assert Prompts(query=("Q {}",)) == Prompts(query="Q {}")
    assert Prompts(query=["Q {}", "R {}"]).queries == ("Q {}", "R {}")
    two = replace(BASE, prompts=Prompts(query=("Q {}", "R {}")))
    assert two.fingerprint != replace(BASE, prompts=Prompts(query="Q {}")).fingerprint


def test_prompts_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"query": ["Q {}", "R {}"], "passage": "P {}"}', "utf-8-sig")
    assert Prompts.read(path) == Prompts(passage="P {}", query=("Q {}", "R {}"))
    path.write_text(json.dumps(Prompts().to_json()))
    assert Prompts.read(path) == Prompts()
    for text, message in {
        "{": "is not a JSON file",
        "[]": "must be a JSON object with any of the names passage, query, sentence",
        '{"querry": "Q {}"}': "must be a JSON object",
        '{"query": 3}': "query must be a text or a list of texts",
        '{"query": ["Q {}", 3]}': "query must be a text or a list of texts",
        '{"passage": ["P {}"]}': "passage must be a text",
        '{"query": []}': "at least one prompt",
        '{"passage": "P"}': "the passage prompt needs the placeholder",
    }.items():
        path.write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            Prompts.read(path)
        assert str(path) in str(caught.value)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="is not a JSON file"):
        Prompts.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Prompts.read(tmp_path)


def test_chunk_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="at least 8"):
        ChunkSettings(size=4)
    with pytest.raises(UsageError, match="overlap"):
        ChunkSettings(size=20, overlap=11)
