"""Nothing is sent anywhere: a guard in every process notes connections beyond this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import save_model

HERE = Path(__file__).parent


@pytest.mark.timeout(300)  # it imports everything there is
def test_no_door_leads_outward(tmp_path: Path) -> None:
    notes, model = tmp_path / "connections", save_model(tmp_path / "model")
    left_out = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(HERE / "guarded"), str(HERE.parent)]),
        "WVA_CONNECTIONS": str(notes),
        "WVA_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.apps.every_door", str(tmp_path), str(model)],
        capture_output=True, text=True, check=False, cwd=HERE.parent, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = notes.read_text().splitlines()
    processes = [line for line in lines if line.startswith("started")]
    assert len(processes) >= 2, "the processes that read files were not watched"
    assert [line for line in lines if line not in processes] == [
        "socket.connect ('192.0.2.1', 9)"
    ], "the only one is the guard's own control"
