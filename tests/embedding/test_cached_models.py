"""Cached models: listing, sizes, removal."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
from filelock import FileLock

from retriever.embedding.models import cached, locate, presets
from retriever.types import ModelError
from tests.ggufs import write_gguf
from tests.tiny import save_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    hub = tmp_path / "hub"
    monkeypatch.setattr(
        huggingface_hub, "scan_cache_dir", lambda scan=huggingface_hub.scan_cache_dir: scan(hub)
    )
    return tmp_path / "cache" / "models"


def hub_model(hub: Path, name: str, kind: str = "models") -> Path:
    """A model in the layout of the hub library's cache."""
    folder = hub / f"{kind}--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    save_model(snapshot)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    return folder


def test_presets_are_listed_whether_cached_or_not(cache: Path) -> None:
    assert [model.name for model in cached.list_presets()] == list(presets.PRESETS)
    assert not any(model.cached for model in cached.list_presets())
    folder = cache / "gemma3-270m"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    assert cached.list_cached_models()[0].kind == "unfinished"
    (folder / "wva-source.json").write_text(
        '{"preset": "gemma3-270m", "licence": "Gemma Terms of Use", "sha256": "0"}'
    )
    assert [m.name for m in cached.list_presets() if m.cached] == ["gemma3-270m"]
    (model,) = cached.list_cached_models()
    assert (model.kind, model.licence) == ("preset", "Gemma Terms of Use")
    assert model.size == 5 + (folder / "wva-source.json").stat().st_size


def test_a_converted_file_is_listed_and_removed(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf")
    folder = cached.fetch_model(str(path))
    (model,) = cached.list_cached_models()
    assert (model.name, model.kind, model.source) == (folder.name, "gguf", "tiny.gguf")
    assert model.size == sum(file.stat().st_size for file in folder.iterdir())
    overview = json.loads(json.dumps(cached.models_overview()))
    assert overview["size"] == model.size
    assert overview["cached"][0]["name"] == folder.name
    assert cached.remove_model("tiny.gguf") == model
    assert cached.list_cached_models() == []
    assert not folder.exists()
    assert path.exists()
    assert cached.fetch_model(str(path)) == folder, "it can be made again"


def test_names_that_are_not_there_or_not_clear(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ModelError, match="no cached model 'x'; there is: nothing"):
        cached.remove_model("x")
    for number in (1, 2):
        folder = cache / f"gguf-{number}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
        (folder / "wva-source.json").write_text('{"gguf": "same.gguf", "sha256": "0"}')
    with pytest.raises(ModelError, match="there is: gguf-1, gguf-2"):
        cached.remove_model("x")
    with pytest.raises(ModelError, match=r"2 cached models come from 'same\.gguf'.*gguf-1 and"):
        cached.remove_model("same.gguf")
    cached.remove_model("gguf-1")
    assert [model.name for model in cached.list_cached_models()] == ["gguf-2"]


def test_what_is_being_made_is_not_removed(tmp_path: Path, cache: Path) -> None:
    folder = cached.fetch_model(str(write_gguf(tmp_path / "tiny.gguf")))
    scratch = folder.with_name(f"{folder.name}.tmp-abc")
    scratch.mkdir()
    with FileLock(f"{folder}.lock"):
        for name in (folder.name, scratch.name):
            with pytest.raises(ModelError, match="is being made by another process"):
                cached.remove_model(name)
    assert cached.remove_model(scratch.name).kind == "unfinished"
    assert locate.is_complete(folder)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [folder.name]


def test_the_hub_s_models_are_listed_and_go_only_when_named(tmp_path: Path, cache: Path) -> None:
    folder = hub_model(tmp_path / "hub", "org/model")
    other = hub_model(tmp_path / "hub", "org/other")
    data = hub_model(tmp_path / "hub", "org/model", "datasets")
    models = cached.list_cached_models()
    assert [(m.name, m.kind, m.licence) for m in models] == [
        ("org/model", "hub", "mit"),
        ("org/other", "hub", "mit"),
    ]
    assert models[0].size > 100_000
    assert cached.models_overview()["size"] == 0, "what is shared is not counted as ours"
    with pytest.raises(ModelError, match="no cached model 'model'"):
        cached.remove_model("model")
    cached.remove_model("org/model")
    assert not folder.exists()
    assert other.exists()
    assert data.exists()


def test_the_scratch_of_any_killed_conversion_is_removed(tmp_path: Path, cache: Path) -> None:
    """But for that of a conversion that still runs, whose lock is held."""
    cache.mkdir(parents=True)
    for name in ("gguf-00.tmp-killed", "gguf-11.tmp-running"):
        (cache / name / "model").mkdir(parents=True)
    with FileLock(cache / "gguf-11.lock"):
        folder = cached.fetch_model(str(write_gguf(tmp_path / "tiny.gguf")))
    left = {path.name for path in cache.iterdir() if path.is_dir()}
    assert left == {folder.name, "gguf-11.tmp-running"}
