"""The model that an index names: an index may come from somebody else."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from retriever.embedding.aligned_wva import AlignedWVA
from retriever.embedding.models import cached, locate, trusted
from retriever.index import Index
from retriever.interface.collections import create_collection
from retriever.settings import EmbedderSettings
from retriever.types import Document, ModelError, Page, PageState
from tests.fakes import FakeEmbedder
from tests.tiny import save_model

TEXT = "Otters swim in the river at night."
OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub library's cache, with a model in two revisions of which the newer is `main`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "hub" / "models--org--tiny"
    for revision, family in ((OLD, "llama"), (NEW, "qwen2")):
        save_model(folder / "snapshots" / revision, family)
    move_main(folder, NEW)
    return folder


def move_main(folder: Path, revision: str) -> None:
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(revision)


def make_index(folder: Path, model: str) -> Path:
    """An index that names a model that its user has loaded. Its vectors are of no importance."""
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.add([Document("a.txt", "text", (Page(1, TEXT, PageState.TEXT),))])
    set_model(folder, AlignedWVA(model, device="cpu").settings)
    return folder


def load(folder: Path) -> str:
    """Load the model that an index names; its weights."""
    with Index.open(folder, device="cpu") as index:
        return index.embedder.settings.weights


def settings_of(folder: Path) -> EmbedderSettings:
    with Index.open(folder) as index:
        found = index.embedder_settings
    assert found is not None
    return found


def set_model(folder: Path, settings: EmbedderSettings) -> None:
    with Index.open(folder) as index, index.backend._catalog.writing() as writer:
        writer.set_meta("embedder", settings.to_json())


def rename_model(folder: Path, **changes: Any) -> None:
    """What somebody else could write into an index."""
    set_model(folder, dataclasses.replace(settings_of(folder), **changes))


# Folders


def test_a_folder_that_only_the_index_names_is_refused_unread(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "clone" / "m")
    index = make_index(tmp_path / "clone" / "index", str(model))
    shutil.rmtree(cache)  # it comes from another machine
    opened = []
    monkeypatch.setattr(locate, "_check_folder", lambda *given: opened.append(given))
    for name in (str(model), "../../evil", "~/evil", str(tmp_path / "missing.gguf"), "nonsense"):
        rename_model(index, model=name)
        for act in (load, lambda folder: Index.open(folder)._text_side()):
            with pytest.raises(ModelError, match="wva models fetch") as caught:
                act(index)
            assert name in str(caught.value)
    assert not opened
    with Index.open(index) as found:  # words need no model
        assert found.search("otters", mode="keyword")[0].text == TEXT


def test_what_the_user_names_once_is_trusted(tmp_path: Path, cache: Path) -> None:
    model = save_model(tmp_path / "m")
    index = make_index(tmp_path / "index", str(model))
    weights = settings_of(index).weights
    assert load(index) == weights  # who loads a model names it
    shutil.rmtree(cache)
    with pytest.raises(ModelError, match="not used here yet"):
        load(index)
    cached.fetch_model(str(model))
    assert load(index) == weights


def test_other_weights_in_a_known_folder_are_not_taken(tmp_path: Path) -> None:
    model = save_model(tmp_path / "m")
    index = make_index(tmp_path / "index", str(model))
    rename_model(index, weights="0" * 64)
    with pytest.raises(ModelError, match="not used here yet"):
        load(index)


def test_the_wish_of_an_empty_index_is_a_claim_as_well(tmp_path: Path, cache: Path) -> None:
    model = save_model(tmp_path / "m")
    folder = create_collection(tmp_path / "collections", "one", str(model))
    with Index.open(folder, device="cpu") as index:  # the user has typed it on the page
        assert index.embedder.settings.model == str(model)
    shutil.rmtree(cache)
    with Index.open(folder) as index, pytest.raises(ModelError, match="not used here yet"):
        _ = index.embedder


def test_presets_need_no_word() -> None:
    assert trusted.check_trusted("smollm2-135m", place="x")


def test_a_damaged_list_of_names_is_an_empty_one(cache: Path) -> None:
    cache.mkdir()
    for text in ("", "{}", "[1, null", '"m"'):
        (cache / trusted.FILE).write_text(text)
        with pytest.raises(ModelError):
            trusted.check_trusted("./m", place="x")
    trusted.trust("./m")
    assert trusted.check_trusted("./m", place="x")
    assert json.loads((cache / trusted.FILE).read_text()) == [str(Path("m").resolve())]


# The hub


def test_an_index_keeps_the_revision_that_it_was_made_with(tmp_path: Path, hub: Path) -> None:
    move_main(hub, OLD)
    index = make_index(tmp_path / "index", "org/tiny")
    settings = settings_of(index)
    assert (settings.model, settings.revision) == ("org/tiny", OLD)
    assert settings.pinned_model == f"org/tiny@{OLD}"
    move_main(hub, NEW)  # somebody publishes other weights under the same name
    with Index.open(index, device="cpu") as opened:
        assert opened._text_side().settings == settings
        assert opened.embedder.settings.weights == settings.weights
    assert AlignedWVA("org/tiny", device="cpu").settings.weights != settings.weights


def test_the_revision_is_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    settings = EmbedderSettings("org/tiny", "0" * 64, 8, (0,))
    pinned = dataclasses.replace(settings, revision=OLD)
    assert pinned.fingerprint == settings.fingerprint
    assert "revision" not in settings.to_json()
    assert EmbedderSettings.from_json(pinned.to_json()) == pinned
    assert EmbedderSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("revision", [OLD, NEW])
def test_a_revision_can_be_named(hub: Path, revision: str) -> None:
    settings = AlignedWVA(f"org/tiny@{revision}", device="cpu").settings
    assert (settings.model, settings.revision) == ("org/tiny", revision)
    assert (settings.layers[-1], hub.name) == (4, "models--org--tiny")


def test_an_index_downloads_nothing(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_main(hub, OLD)
    index = make_index(tmp_path / "index", "org/tiny")
    rename_model(index, model="org/evil")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked: list[str] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *given, **more: asked.append(str(given)))
    with pytest.raises(ModelError, match=rf"wva models fetch org/evil@{OLD}"):
        load(index)
    rename_model(index, model="org/evil/x.gguf", revision="")
    with pytest.raises(ModelError, match=r"wva models fetch org/evil/x\.gguf"):
        load(index)
    assert not asked


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/name", ("org/name", "", "")),
        ("org/name@main", ("org/name", "", "main")),
        ("org/name@refs/pr/1", ("org/name", "", "refs/pr/1")),
        (f"org/name/q4.gguf@{OLD}", ("org/name", "q4.gguf", OLD)),
        ("org/name/sub/q4.gguf", ("org/name", "sub/q4.gguf", "")),
        *[
            (bad, None)
            for bad in ("name", "name@x", "a/b/c", "org/name@", "org/name@-x", "a/m.gguf")
        ],
        *[(bad, None) for bad in ("./name", "../name", "~/name", ".hidden/name")],
        *[(bad, None) for bad in ("org/name@ x", "org/na\nme", "/org/name", "org/name\x1b")],
    ],
)
def test_names_on_the_hub(name: str, expected: tuple[str, str, str] | None) -> None:
    found = locate.split_hub_name(name)
    assert (found and (found.repository, found.file, found.revision)) == expected
