"""`python -m retriever`, as the Makefile calls it before the page is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from retriever.__main__ import main
from retriever.interface import cli
from retriever.settings import DEFAULT_MODEL
from tests.tiny import save_model

ROOT = Path(__file__).parents[1]
WITHOUT_STREAMLIT = (
    "import runpy, sys; sys.modules['streamlit'] = None; "
    "runpy.run_module('retriever', run_name='__main__', alter_sys=True)"
)


def test_a_model_is_fetched_without_the_ui_extra(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    command = [sys.executable, "-c", WITHOUT_STREAMLIT, "models", "fetch", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder} is ready in {folder}\n"


def test_wrong_usage_has_its_exit_code() -> None:
    command = [sys.executable, "-m", "retriever", "models", "fetch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "NAME" in done.stderr


def test_ctrl_c_while_it_starts(monkeypatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert main() == 130


def test_make_fetches_the_default_model() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.findall(r"-m retriever (.+)", makefile) == [f"models fetch {DEFAULT_MODEL}"]
