"""A check of this machine: Python, packages, device, measured speed, caches, SQLite.

Nothing is changed. The report names what may be deleted.
"""

from __future__ import annotations

import platform
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from retriever import __version__
from retriever.cache import cache_folder
from retriever.embedding.models.devices import (
    Machine,
    choose_device,
    gigabytes,
    inspect_machine,
    measure_precisions,
)
from retriever.embedding.models.presets import PRESETS
from retriever.reading import extras
from retriever.reading.pictures import tesseract
from retriever.settings import DEFAULT_MODEL
from retriever.types import ModelError, RetrieverError
from retriever.version import install_command

PACKAGES = (
    *("torch", "transformers", "tokenizers", "faiss-cpu", "numpy"),
    *("pypdf", "pypdfium2", "lxml", "python-docx"),
)
EXTRAS = {
    "streamlit": "ui",
    "langchain-core": "langchain",
    "pymilvus": "milvus",
    "milvus-lite": "milvus-lite",
    "ray": "ray",
    **{name: extra for extra, libraries in extras.EXTRAS.items() for name in libraries.values()},
}
PASSAGE = "A passage of the length that documents are cut into, said again and again. " * 12


def examine(*, measure: bool = True) -> dict[str, Any]:
    """The facts as plain JSON; `problems` holds a sentence for everything that does not work.

    With `measure` the default model is loaded, and fetched if it is missing, to measure its speed.
    """
    problems: list[str] = []
    facts = {
        "wva-retriever": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": _packages(problems),
        "ocr": _ocr(),
        "sqlite": _sqlite(problems),
        "model": _model(problems, measure=measure),
        "cache": _cache(),
    }
    return {**facts, "problems": problems}


def _packages(problems: list[str]) -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
            problems.append(f"{name} is not installed: pip install wva-retriever")
    for name, extra in EXTRAS.items():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = f"not installed (optional: {install_command(extra)})"
    return found


def _ocr() -> str:
    missing = tesseract.unavailable_reason()
    return missing or f"Tesseract reads {', '.join(tesseract.installed_languages())}"


def _sqlite(problems: list[str]) -> dict[str, Any]:
    with sqlite3.connect(":memory:") as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
            full_text = True
        except sqlite3.OperationalError:
            full_text = False
    if not full_text:
        problems.append("this Python's SQLite has no FTS5: keyword search will not work")
    return {
        "version": sqlite3.sqlite_version,
        "full text (FTS5)": full_text,
        "threads": "THREADSAFE=0" not in options,
    }


def _model(problems: list[str], *, measure: bool) -> dict[str, Any]:
    machine = inspect_machine()
    try:
        place = choose_device(DEFAULT_MODEL, PRESETS[DEFAULT_MODEL].parameters, machine)
    except ModelError as error:
        problems.append(str(error))
        return dict(_memory(machine))
    facts: dict[str, Any] = {
        "device": place.device,
        "precision": place.dtype,
        "threads": machine.threads,
        **_memory(machine),
    }
    if place.device == "cpu":
        facts["GFLOP/s of one core"] = {
            name: round(speed) for name, speed in measure_precisions().items()
        }
    if measure:
        facts["default model"] = DEFAULT_MODEL
        try:
            facts.update(_speed())
        except RetrieverError as error:
            problems.append(str(error))
    return facts


def _memory(machine: Machine) -> dict[str, str]:
    """Free main memory, and free memory of every card."""
    facts = {"free memory": gigabytes(machine.memory)}
    for number, card in enumerate(machine.cards):
        facts[f"cuda:{number}"] = f"{card.name}, {gigabytes(card.free)} free"
    return facts


def _speed() -> dict[str, Any]:
    from retriever.embedding.aligned_wva import AlignedWVA

    started = time.perf_counter()
    embedder = AlignedWVA()
    loaded = time.perf_counter() - started
    texts = [f"{number} {PASSAGE}" for number in range(8)]
    tokens = embedder.count_tokens([embedder.passage_input(text) for text in texts])
    embedder.embed_passages(texts[:1])
    started = time.perf_counter()
    embedder.embed_passages(texts)
    seconds = time.perf_counter() - started
    return {"load seconds": round(loaded, 1), "tokens per second": round(tokens / seconds)}


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    parts = {
        path.name: f"{_size(path) / 1e6:,.0f} MB"
        for parent in (folder / "models", folder)
        if parent.is_dir()
        for path in sorted(parent.iterdir())
        if path.is_dir() and path != folder / "models"
    }
    return {
        "folder": str(folder),
        "holds": parts or "nothing yet",
        "may be deleted": "all of it: models are fetched or converted again, "
        f"evaluation vectors are computed again; single models: wva models{_evaluations(folder)}",
    }


def _evaluations(folder: Path) -> str:
    """What evaluations keep: nothing removes it, and a new version reuses little of it."""
    kept = folder / "eval"
    if not kept.is_dir():
        return ""
    count = sum(path.is_dir() for path in kept.iterdir())
    return f"; {count} indexes and the vectors of wva eval and of benchmarks: {kept}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
