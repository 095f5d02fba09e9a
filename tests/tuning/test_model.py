"""`wva tune OUT`: measured, trained, kept or dropped; a killed run goes on; wrong input is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever.embedding.aligned_wva import AlignedWVA
from retriever.index import Index
from retriever.interface.cli import main
from retriever.searching.options import Mode
from retriever.tuning import model as flow
from retriever.tuning.guard import Decision
from retriever.types import Document, Page
from tests.tiny import save_model

WORDS = ("heron", "otter", "river", "stove", "train", "letter", "budget", "garden", "kettle")
FAST = ["--epochs=1", "--batch=8", "--rank=2", "--device=cpu", "--dtype=float32", "--processes=1"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = [
        {"query": f"where is {word} {n}", "positive": f"The {word} of number {n} is at the {n}th."}
        for n, word in enumerate(WORDS * 4)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def decide(kept: bool, monkeypatch: pytest.MonkeyPatch) -> list[Mode | None]:
    """Let the guard decide so; returns, later, which search had to be better each time."""
    real = flow.judge_change
    asked: list[Mode | None] = []

    def judge(before: Any, after: Any, *, wanted: Mode | None) -> Decision:
        asked.append(wanted)
        found = real(before, after, wanted=wanted)
        return Decision(kept, found.dense, found.hybrid, "A sentence of the guard.")

    monkeypatch.setattr(flow, "judge_change", judge)
    return asked


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard decides about a handful of held-out questions."""
    monkeypatch.setattr(flow, "MIN_QUERIES", 2)


def tune(out: Path, base: Path, *more: str) -> int:
    return main(["tune", str(out), "--model", str(base), *FAST, *more])


def test_what_helps_becomes_a_folder_with_a_card(
    base: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(True, monkeypatch)
    out = tmp_path / "tuned"
    assert tune(out, base, "--pairs", str(pairs), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"]
    assert told["pairs"] + told["held_out"] == len(WORDS) * 4
    assert {"dense ndcg@10", "hybrid ndcg@10"} <= told["before"].keys() & told["after"].keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl", "tuned"]
    facts = json.loads((out / "tuning.json").read_text())
    assert facts["after"] == told["after"]
    assert facts["recipe"]["rank"] == 2
    assert facts["recipe"]["minutes"] == 30.0  # on a CPU, where none was given
    card = (out / "README.md").read_text()
    assert "| dense ndcg@10 |" in card
    assert "A sentence of the guard." in card
    assert AlignedWVA(str(out), device="cpu").settings.weights != facts["base_weights"]
    assert tune(out, base, "--pairs", str(pairs)) == 2
    assert "is there already" in capsys.readouterr().err


def test_what_does_not_help_leaves_nothing(
    base: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(False, monkeypatch)
    assert tune(tmp_path / "tuned", base, "--pairs", str(pairs)) == 1
    assert "A sentence of the guard." in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_a_killed_run_goes_on_and_another_one_is_told(
    base: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(True, monkeypatch)
    out, given = tmp_path / "tuned", ("--pairs", str(pairs))
    real: Callable[..., None] = flow._merge

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "_merge", killed)
    assert tune(out, base, *given) == 130
    assert (tmp_path / "tuned.unfinished" / "adapter.safetensors").is_file()
    assert not out.exists()
    monkeypatch.setattr(flow, "_merge", real)
    assert tune(out, base, *given, "--rank=3") == 2
    assert "is an unfinished run with other pairs or another recipe" in capsys.readouterr().err
    monkeypatch.setattr("retriever.tuning.training.train", killed)  # it is not trained again
    assert tune(out, base, *given) == 0
    assert out.is_dir()
    assert not (tmp_path / "tuned.unfinished").exists()


def test_documents_are_enough(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = decide(True, monkeypatch)
    documents = [
        Document(f"{word}-{n}.txt", "text", (Page(None, _story(word, n)),), title=f"On {word} {n}")
        for n, word in enumerate(WORDS * 3)
    ]
    folder = tmp_path / "index"
    with Index.open_or_create(folder, AlignedWVA(str(base), device="cpu")) as index:
        index.add(documents)
    given = ("--documents", str(folder), "--negatives=2", "--teacher=0.5", "--json")
    assert tune(tmp_path / "tuned", base, *given) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] > 10
    assert (tmp_path / "tuned" / "model.safetensors").is_file()
    assert tune(tmp_path / "for-dense", base, *given, "--for=dense") == 0
    assert asked == [Mode.HYBRID, Mode.DENSE]


def _story(word: str, n: int) -> str:
    """Sentences of their own in every document."""
    return " ".join(
        f"The {word} was seen {n + at} times by the {WORDS[(n + at) % 9]} in spring number {at}."
        for at in range(6)
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "tuning needs --pairs PATH, or --documents INDEX"),
        (("--pairs=none.jsonl",), "none.jsonl"),
        (("--pairs=PAIRS", "--dimensions=a"), "--dimensions takes whole numbers"),
        (("--pairs=RATED", "--for=dense"), "rated sentences are not searched: leave --for out"),
        (("--pairs=PAIRS", "--rank=0"), "rank must be at least 1"),
        (("--pairs=PAIRS", "--not=PAIRS"), "no pair is left to train on"),
        (("--pairs=PAIRS", "--held-out=0.01"), "only 1 questions would be held out"),
        (("--pairs=PAIRS", "--dimensions=9999"), "the model's vectors have"),
        (("--pairs=PAIRS", "--seed=-1"), "seed must lie between"),
        (("--pairs=PAIRS", "--dtype=int8"), "8-bit weights cannot be trained"),
        (("--pairs=PAIRS", "--most=0"), "--most must be at least 1"),
        (("--pairs=PAIRS", "--judge", "--negatives=0"), "--judge sorts out negatives"),
    ],
    ids=str,
)
def test_wrong_input_is_told(
    given: tuple[str, ...],
    told: str,
    base: Path,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rated = tmp_path / "rated.jsonl"
    rated.write_text(
        "\n".join(json.dumps({**json.loads(x), "score": 1}) for x in pairs.read_text().splitlines())
    )
    named = {"PAIRS": str(pairs), "RATED": str(rated)}
    arguments = [named.get(value, value) for each in given for value in each.split("=")]
    assert tune(tmp_path / "tuned", base, *arguments) == 2
    assert told in capsys.readouterr().err


def test_without_the_extra_its_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert main(["tune", str(tmp_path / "tuned"), "--pairs", "x"]) == 2
    assert "pip install 'wva-retriever[tune]'" in capsys.readouterr().err
