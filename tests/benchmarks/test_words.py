"""The account of the words of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.words import main


def test_the_words_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = "<nav><a href=x>Home</a> <a href=y>News</a></nav><main><p>Whales sing.</main>"
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "note.md").write_text("# One\n\nTwo three")
    (tmp_path / "empty.txt").touch()
    main([str(tmp_path)])
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "| format | files | words of the source | on pages | left out | unexplained |",
        "|---|---|---|---|---|---|",
        "| html | 1 | 4 | 2 | navigation 2 | 0 |",
        "| markdown | 1 | 3 | 3 |  | 0 |",
        "",
        "0 files with unexplained words",
    ]
    assert output.err == "empty.txt: zero bytes\n"
