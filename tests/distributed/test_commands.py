"""`--workers` on the command line: what is wrong with it is said before an index is made."""

from __future__ import annotations

import pytest

from retriever.interface.cli import main


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "dask"], "unknown workers 'dask'"),
        (["--workers", "ray?actors=0"], "actors in 'ray?actors=0' is a positive number"),
        (["--workers", "ray", "--jobs", "2"], "--jobs is for this machine alone"),
        (["--workers", "ray", "--watch"], "leave --workers out"),
    ],
)
def test_wrong_workers_leave_no_index(tmp_path, capsys, options, said) -> None:
    (tmp_path / "docs").mkdir()
    command = ["index", str(tmp_path / "docs"), "--index", str(tmp_path / "index"), *options]
    assert main(command) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
