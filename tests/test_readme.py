"""The README is true: its examples run, its commands and files exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from retriever.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SAMPLES = (
    "nist-digital-identity/sp800-63b_appA_memorized.md",
    "government-pdf/USDA_10_tips_healthy_meals.pdf",
)


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_python_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SAMPLES:
        target = tmp_path / "data" / "sample" / name
        target.parent.mkdir(parents=True)
        shutil.copy(ROOT / "data" / "sample" / name, target)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block, scope)  # noqa: S102  (our own README)
    output = capsys.readouterr().out
    hits = re.findall(r"^-?\d+\.\d{3} (\S+) (\S+) ", output, re.MULTILINE)
    assert len(hits) == 5
    assert SAMPLES[0] in [path for path, _ in hits]
    assert len(re.findall(r"^\+0\.\d{3} \w+ \w+$", output, re.MULTILINE)) == 5
    documents = re.findall(rf"^{re.escape(SAMPLES[1])} (\d) -?[\d.]+$", output, re.MULTILINE)
    assert documents, "the retriever's example found no page of the PDF"
    assert scope["report"].complete  # type: ignore[attr-defined]
    assert len(scope["vector"]) == 576  # type: ignore[arg-type]


def test_the_files_it_links_to_exist() -> None:
    linked = set()
    for name in ("README.md", "CONTRIBUTING.md", "indexes/README.md", "benchmarks/README.md"):
        text = (ROOT / name).read_text("utf-8")
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not link.startswith("http"):
                file = (ROOT / name).parent.joinpath(link).resolve()
                assert file.exists(), f"{name} links to {link}"
                linked.add(file.relative_to(ROOT).as_posix())
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "data/README.md"} <= linked


def test_the_commands_it_shows_exist(capsys: pytest.CaptureFixture[str]) -> None:
    shown = set(re.findall(r"`wva ([a-z]+)", README)) | set(
        re.findall(r"^wva ([a-z]+)", README, re.M)
    )
    with pytest.raises(SystemExit):
        main(["--help"])
    known = capsys.readouterr().out
    assert {"index", "search", "ui", "eval", "embed", "info", "doctor"} <= shown
    for command in shown:
        assert re.search(rf"^\s+{command}\s", known, re.M), command
    options = {"index": README, "search": README}
    for command in options:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        described = capsys.readouterr().out
        row = next(line for line in README.splitlines() if line.startswith(f"| `wva {command}"))
        for option in re.findall(r"--[a-z-]+", row):
            assert option in described, f"wva {command} {option}"


def test_make_has_the_targets_it_names() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", README, re.M))
    assert {"run", "test"} <= named
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    explained = set(re.findall(r"(?:^|`)make ([a-z]+)\b", guide, re.M))
    assert {"test", "check", "coverage", "bench"} <= explained
    for target in named | explained:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_public_names_are_the_documented_ones() -> None:
    import retriever

    assert set(retriever.__all__) <= set(dir(retriever))
    for name in retriever.__all__:
        assert getattr(retriever, name).__doc__
    with pytest.raises(AttributeError):
        _ = retriever.nonsense
