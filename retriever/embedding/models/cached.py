"""The models on this disk, for `wva models`: presets, cached models, fetching and removing.

Fetched and converted models belong to this program. The model hub's cache is shared with other
programs: its models are listed, and removed only by their full name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import Timeout

from retriever.embedding.models.gguf_conversion import UNFINISHED
from retriever.embedding.models.locate import (
    is_complete,
    locate,
    model_lock,
    models_folder,
    read_source,
)
from retriever.embedding.models.presets import PRESETS
from retriever.embedding.models.trusted import trust
from retriever.types import ModelError


@dataclass(frozen=True, slots=True)
class PresetInfo:
    """A preset: its description, its download size in bytes, and whether it is cached."""

    name: str
    what: str
    parameters: int
    dimension: int
    download: int
    licence: str
    terms: str
    cached: bool


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model on this disk. `name` is what `remove_model` takes; `size` in bytes.

    `kind` is "preset", "gguf" (converted; `source` is the file's name), "hub" (shared with other
    programs), or "unfinished" (left by a process that was killed). `made` is an ISO date.
    """

    name: str
    kind: str
    source: str
    licence: str
    size: int
    made: str
    folder: str


def list_presets() -> list[PresetInfo]:
    """All presets, the default first."""
    return [
        PresetInfo(
            name=name,
            what=preset.what,
            parameters=preset.parameters,
            dimension=preset.dimension,
            download=preset.download,
            licence=preset.licence,
            terms=preset.terms,
            cached=is_complete(models_folder() / name),
        )
        for name, preset in PRESETS.items()
    ]


def list_cached_models() -> list[CachedModel]:
    """All models in this program's cache and in the model hub's."""
    return [*_list_own(), *_list_hub()]


def models_overview() -> dict[str, Any]:
    """Presets and cached models as plain JSON values, with the cache folder and its size."""
    cached = list_cached_models()
    return {
        "folder": str(models_folder()),
        "presets": [asdict(model) for model in list_presets()],
        "cached": [asdict(model) for model in cached],
        "size": sum(model.size for model in cached if model.kind != "hub"),
    }


def fetch_model(name: str) -> Path:
    """Fetch a model without loading it: download and convert as needed. Returns its folder.

    Indexes that name it may load it from now on.
    """
    found = locate(name)
    trust(found.name)
    return found.folder


def remove_model(name: str) -> CachedModel:
    """Delete the cached model `name`; returns what it was.

    `name` is a name from `list_cached_models`, or a converted GGUF file's own name if it is unique.
    Raises ModelError for an unknown name, or a model that another process is making.
    """
    cached = list_cached_models()
    found = [model for model in cached if model.name == name]
    found = found or [model for model in cached if model.kind == "gguf" and model.source == name]
    if not found:
        there = ", ".join(model.name for model in cached) or "nothing"
        raise ModelError(f"there is no cached model {name!r}; there is: {there}")
    if len(found) > 1:
        names = " and ".join(model.name for model in found)
        raise ModelError(f"{len(found)} cached models come from {name!r}: name one of {names}")
    model = found[0]
    folder = Path(model.folder)
    try:
        if model.kind == "hub":
            # By its folder: a copy of a repository has the same revisions, and must stay.
            shutil.rmtree(folder)
        else:
            _remove_own(folder)
    except Timeout:
        raise ModelError(
            f"the model {name!r} is being made by another process; wait for it, or stop it"
        ) from None
    except OSError as error:
        raise ModelError(
            f"the model {name!r} cannot be removed ({error.strerror or error}); "
            "close the programs that use it"
        ) from error
    return model


def _remove_own(folder: Path) -> None:
    with model_lock(_lock_path(folder), timeout=0):
        # Renamed first: a killed removal leaves no incomplete model under its name.
        doomed = folder.with_name(f"{_lock_path(folder).name}{UNFINISHED}removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.replace(doomed)
        shutil.rmtree(doomed)


def _lock_path(folder: Path) -> Path:
    """The path that is locked while the model in `folder`, finished or not, is being made."""
    return folder.with_name(folder.name.partition(UNFINISHED)[0])


def _list_own() -> Iterator[CachedModel]:
    parent = models_folder()
    if not parent.is_dir():
        return
    for folder in sorted(path for path in parent.iterdir() if path.is_dir()):
        facts = read_source(folder)
        preset = PRESETS.get(folder.name)
        kind = "preset" if "preset" in facts else "gguf" if "gguf" in facts else "unfinished"
        yield CachedModel(
            name=folder.name,
            kind=kind if is_complete(folder) else "unfinished",
            source=str(facts.get("gguf") or (preset.what if preset else "")),
            licence=str(facts.get("licence") or "yours"),
            size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            made=_date(folder.stat().st_mtime),
            folder=str(folder),
        )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


# The model hub's cache


def _list_hub() -> Iterator[CachedModel]:
    for repository in _hub_repositories():
        kept = [revision for revision in repository.revisions if _holds_model(revision)]
        if repository.repo_type == "model" and kept:
            yield CachedModel(
                name=repository.repo_id,
                kind="hub",
                source="model hub",
                licence=_licence(kept[0].snapshot_path),
                size=repository.size_on_disk,
                made=_date(repository.last_modified),
                folder=str(repository.repo_path),
            )


def _hub_repositories() -> list[Any]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return sorted(scan_cache_dir().repos, key=lambda repository: repository.repo_id)
    except CacheNotFound:
        return []


def _holds_model(revision: Any) -> bool:
    names = {file.file_name for file in revision.files}
    return "config.json" in names or any(name.endswith(".gguf") for name in names)


def _licence(snapshot: Path) -> str:
    """The licence in the model card, if it was fetched with the model."""
    try:
        text = (snapshot / "README.md").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return "see its page on the hub"
    for line in text.splitlines()[:40]:
        key, _, value = line.partition(":")
        if key == "license" and value.strip():
            return value.strip().strip("\"'")
    return "see its page on the hub"
