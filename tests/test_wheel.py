"""What is installed: the wheel has all that the package needs, and runs outside of this tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
SCRIPT = """
import json, sys
from importlib.metadata import Distribution

(found,) = Distribution.discover(name="wva-retriever", path=[sys.argv[1]])
(wva,) = found.entry_points.select(group="console_scripts")
import retriever
from retriever.interface import page_server
from retriever.searching.match import general_questions
from retriever.cache import SHIPPED

told = {
    "files": [retriever.__file__, page_server.__file__, str(page_server._page())],
    "questions": len(general_questions()),
    "arrays": len(list(SHIPPED.rglob("*.npy"))),
    "command": wva.name,
}
print(json.dumps(told), flush=True)
sys.argv = ["wva", "doctor", "--help"]
wva.load()()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds. It is built of a copy, since building leaves files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("retriever", "ui"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_it_holds_every_file_of_the_package(installed: Path) -> None:
    def files(root: Path, *endings: str) -> set[str]:
        return {
            path.relative_to(root).as_posix()
            for package in ("retriever", "ui")
            for path in root.joinpath(package).rglob("*")
            if path.suffix in endings or path.name == "py.typed"
        }

    expected = files(ROOT, ".py", ".txt", ".npy", ".js", ".css")
    assert {"retriever/py.typed", "retriever/interface/cli.py", "ui/app.py"} <= expected
    assert any(name.endswith(".npy") for name in expected)
    assert files(installed, ".py", ".txt", ".npy", ".js", ".css") == expected
    (licence,) = installed.glob("*.dist-info/licenses/LICENSE")
    assert licence.read_text("utf-8") == (ROOT / "LICENSE").read_text("utf-8")
    assert not list(installed.rglob("test*.py"))


def test_it_runs_outside_of_the_tree(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(installed)], cwd=tmp_path, text=True,
        capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    first, _, shown = done.stdout.partition("\n")
    told = json.loads(first)
    assert len(told["files"]) >= 3
    for file in told["files"]:
        assert Path(file).is_relative_to(installed), file
        assert Path(file).is_file()
    assert (told["command"], told["questions"], told["arrays"]) == ("wva", 120, 3)
    assert shown.startswith("usage: wva doctor")
