"""The tree: a folder a stage, each of which imports only from those before it."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = (
    "text",
    "reading",
    "embedding",
    "storage",
    "searching",
    "indexing",
    "distributed",
    "explaining",
    "answers",
    "evaluation",
    "tuning",
    "interface",
)
ADAPTERS = ("langchain",)
"""Folders beside the stages, for other programs."""

FOUNDATIONS = ("files",)
"""Folders below the stages, which any of them imports."""

TRAINING = {f"tuning/{name}.py" for name in ("module", "training", "merging")}
"""What trains a model, and is imported when that is asked for."""

MODELS = ("torch", "transformers", "safetensors", "gguf", "tokenizers")


def imports(path: Path) -> set[str]:
    """The full names of all that a module imports, wherever in it and for whatever."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def room(name: str) -> str | None:
    """The stage folder, or the module beside them, that a full name belongs to.

    >>> room("retriever.storage.catalog.Reader"), room("retriever.types.Hit"), room("ui.app")
    ('storage', 'types', 'ui')
    """
    head, _, rest = name.partition(".")
    if head == "ui":
        return "ui"
    return rest.partition(".")[0] if head == "retriever" and rest else None


def edges() -> dict[str, set[str]]:
    """Room → the rooms that it imports from."""
    found = defaultdict(set)
    for top in ("retriever", "ui"):
        for path in (ROOT / top).rglob("*.py"):
            here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
            if here in (None, "__init__", "__main__"):
                continue  # the package's own names are looked up when they are asked for
            for name in imports(path):
                there = room(name)
                if there not in (None, here):
                    found[here].add(there)
    return found


def test_a_folder_for_each_stage_and_few_modules_beside_them() -> None:
    inside = [path for path in (ROOT / "retriever").iterdir() if path.name != "__pycache__"]
    folders = {path.name for path in inside if path.is_dir() and any(path.glob("*.py"))}
    assert folders == {*STAGES, *ADAPTERS, *FOUNDATIONS}
    assert len([path for path in inside if path.suffix == ".py"]) <= 9


def test_measurements_leave_nothing_at_the_top() -> None:
    """What is committed beside the folders and files that belong there was left by a command."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git does not list the files: {listed.stderr.strip()}")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    folders = {".ci", "benchmarks", "data", "docs", "indexes", "retriever", "tests", "ui"}
    documents = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"}
    settings = {".gitignore", "Makefile", "constraints.txt", "pyproject.toml"}
    assert top == folders | documents | settings


def test_rooms_import_in_one_direction_only() -> None:
    """Nothing is reached again from what it imports: the rooms can be put in an order."""
    left, order = dict(edges()), []
    assert left["indexing"] >= {"searching", "reading"}, "the imports were not found"
    while left:
        free = sorted(one for one in left if not left[one] - {one} - set(order) & set(left))
        assert free, f"these import each other in a circle: {sorted(left)}"
        order += free
        left = {one: there for one, there in left.items() if one not in free}


def test_stages_stand_in_the_order_of_the_pipeline() -> None:
    place = {stage: at for at, stage in enumerate(STAGES)}
    wrong = [
        (here, there)
        for here, all_there in edges().items()
        for there in all_there
        if place.get(there, -1) > place.get(here, len(place))
    ]
    assert not wrong


def test_the_import_contract_is_short_and_names_every_room() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    [layers] = [one["layers"] for one in contracts["contracts"] if one["type"] == "layers"]
    assert len(layers) <= 12
    named = {room(each.strip()) for row in layers for each in re.split(r" [|:] ", row)}
    beside = {p.stem for p in (ROOT / "retriever").glob("*.py")} - {"__init__", "__main__"}
    assert named == {"ui", *STAGES, *ADAPTERS, *FOUNDATIONS, *beside}


@pytest.mark.parametrize(
    "stage", [one for one in (*STAGES, *ADAPTERS, *FOUNDATIONS) if one != "embedding"]
)
def test_only_embedding_imports_the_model_libraries(stage: str) -> None:
    for path in (ROOT / "retriever" / stage).rglob("*.py"):
        found = {name.partition(".")[0] for name in imports(path)}
        trains = path.relative_to(ROOT / "retriever").as_posix() in TRAINING
        assert trains or not found & set(MODELS), path
