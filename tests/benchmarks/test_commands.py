"""Every documented benchmark command runs: as it is written, on inputs of a few lines.

What a command reads is replaced (`PATH/…`, models, indexes), its other options are kept. What it
measures is not looked at here, but that it prints its tables.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import benchmarks.browser
from benchmarks import dependencies, page, quality
from benchmarks.vulnerabilities import Audit
from retriever import AlignedWVA, Index
from retriever.interface.page_server import server_command as serving
from retriever.reading.pictures.tesseract import unavailable_reason
from retriever.tuning import adapter_tasks, adapting
from tests.benchmarks.test_quality_table import Theirs
from tests.fakes import FakeEmbedder
from tests.pdfs import pdf_file, text_page
from tests.tiny import save_model

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"
PDF = SAMPLE / "government-pdf" / "FedRAMP_OSCAL_vendor_resources.pdf"
NOTES = {
    "cats.md": "# Cats\n\nA cat sleeps on the roof of the house. It sees a bird in the garden.\n",
    "dogs.md": "# Dogs\n\nA dog barks at the postman every morning. The postman runs away.\n",
    "rain.md": "# Rain\n\nRain falls on the roof of the station all night. Trains are late.\n",
    "tea.md": "# Tea\n\nThe kettle sings on the stove. Tea is drunk with milk in the morning.\n",
}
QUERIES = {"1": "a cat on the roof", "2": "who barks at the postman", "3": "tea with milk"}

DOCUMENTS = ("README.md", "benchmarks/README.md", "Makefile", "CONTRIBUTING.md")


def documented() -> list[str]:
    """The commands in the documents and the Makefile, from the module's name on."""
    paths = [ROOT / name for name in DOCUMENTS] + sorted((ROOT / "docs").rglob("*.md"))
    found = [
        re.sub(r"\s+(#|-->).*", "", rest).strip()
        for path in paths
        for rest in re.findall(r"python3? -m benchmarks\.([a-z_]+[^\n`]*)", path.read_text("utf-8"))
    ]
    return list(dict.fromkeys(found))


COMMANDS = documented()
BROWSER = {"page", "screen", "screenshot"}
ELSEWHERE = {
    "ray",  # with the cluster of `tests/distributed/test_ray.py`
    "start",  # by `bench --parts start`, which fails where it fails and prints its tables
}
SMALLER = {  # options that shorten commands which read much by default
    "synthetic": "--size 200 --words 4000",
    "speed": "--tokens 300 --rounds 1 --folder NOTES",
    "gpu": "--tiny",
    "pipeline": "--tiny",
    "scale": "--tiny",
    "kills": "--tiny --folder NOTES",
    "milvus": "--tiny",
    "fuzz": "--tiny --output OUT",
    "flips": "--tiny",
    "half_made": "--sample --questions QUESTIONS",
    "steering": "--passages 500",
    "pdf_text": "PDF --pages 2",
    "passage_boxes": "PDF --passages 3",
    "page": "--first 1 --index INDEX",
    "screen": "--first 1",
    "screenshot": "--only search --output OUT --index INDEX",
    "command_line": "--output PAGE",
    "shipped": "--output OUT",
    "sentences": "--answers ANSWERS",
    "answers": "--answers ANSWERS",
    "bench": "--tiny --parts start --index INDEX --json FIGURES",  # `start`, in its own process
    "serving": "--tiny",
    "soak": "--tiny",
    "watch": "--tiny",
    "tuning": "--tiny",
    "adapter": "--tiny",
}
AGAIN = {"flips": "--only .rows"}
"""What narrows the later commands of a module that differ in nothing but what is shortened."""

TABLES = {  # output of commands that print no table
    "milvus_equality": "shared %",
    "difficult_files": "found by a sentence of their own: 4 of 4; not: []",
    "page": "the page after it",
    "screen": "The right document is on the first screen for ",
    "screenshot": "wrote ",
    "command_line": "wrote ",
    "dependencies": "package",
    "shipped": " bytes  ",
}
NO_COMPONENTS = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {"component": {"bom-ref": "root", "name": "none", "type": "application"}},
    "components": [],
    "dependencies": [],
}
WRITTEN = ("NEW", "KEPT", "FIGURES", "PLOT")
WITH_MODEL = (
    "speed",
    "gpu",
    "pipeline",
    "steering",
    "chunk_size",
    "quality",
    "planted",
    "shipped",
    "sentences",
    "answers",
    "half_made",
    "tuning",
    "adapter",
)
TUNES = ("tuning", "adapter")
TUNED = ("scifact-train", "cranfield", "medline")
INDEXED = (
    *("bench", "deletion", "literal", "milvus_equality", "sentences", "serving"),
    "sizing",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The inputs: a model of random weights, notes, an index of them, a labelled set."""
    folder = tmp_path_factory.mktemp("tiny")
    names = ("NOTES", "INDEX", "BEIR", "OUT", "PAGE", "CACHE", *WRITTEN)
    found = {name: folder / name for name in names}
    found |= {"PDF": PDF, "MODEL": save_model(folder / "MODEL")}
    for name, text in NOTES.items():
        found["NOTES"].mkdir(exist_ok=True)
        (found["NOTES"] / name).write_text(text)
    found["BEIR"].mkdir()
    corpus = [{"_id": n, "title": n[:-3], "text": text} for n, text in NOTES.items()]
    queries = [{"_id": number, "text": text} for number, text in QUERIES.items()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (found["BEIR"] / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = zip(QUERIES, ("cats.md", "dogs.md", "tea.md"), strict=True)
    (found["BEIR"] / "qrels.tsv").write_text("\n".join(f"{q}\t{n}\t1" for q, n in judged))
    found["ANSWERS"] = folder / "answers.tsv"  # each the first sentence below the heading
    spans = {
        number: NOTES[name].index("\n\n") + 2 for number, name in zip(QUERIES, NOTES, strict=False)
    }
    found["ANSWERS"].write_text("\n".join(f"{q}\t\t{at}-{at + 9}" for q, at in spans.items()))
    found["RATED"] = folder / "rated.tsv"
    rated = (
        f"{at % 6}\t{text[9:40]}\t{text[20:60]}" for at, text in enumerate([*NOTES.values()] * 4)
    )
    found["RATED"].write_text(
        "\n".join(["score\tsentence1\tsentence2", *rated]).replace("\n\n", " ")
    )
    found["RATED_TOO"] = folder / "rated-too.tsv"
    head, *lines = found["RATED"].read_text().splitlines()
    again = [line.replace("\t", "\tOnce more: ") for line in lines]
    found["RATED_TOO"].write_text("\n".join([head, *again]))
    found["STORIES"] = folder / "stories"
    found["STORIES"].mkdir()
    stories = [{"_id": str(n), "text": _story(n)} for n in range(20)]
    asked = [{"_id": str(n), "text": f"Who saw {n} herons?"} for n in range(20)]
    for name, rows in (("corpus", stories), ("queries", asked)):
        (found["STORIES"] / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (found["STORIES"] / "qrels.tsv").write_text("\n".join(f"{n}\t{n}\t1" for n in range(20)))
    found["QUESTIONS"] = folder / "questions.jsonl"
    found["QUESTIONS"].write_text(json.dumps({"query": QUERIES["1"], "path": "cats.md"}))
    return found


def _story(n: int) -> str:
    """Sentences that no other story has."""
    chosen = random.Random(n)  # the same on every machine
    who, did = (
        ["cat", "dog", "hen", "fox", "cow", "owl", "ant", "bee"],
        ["saw", "ate", "led", "met", "fed"],
    )
    lines = (  # short ones: a passage has 180 bytes with the tiny tokenizer
        f"The {chosen.choice(who)} {chosen.choice(did)} {chosen.choice(who)} or "
        f"{chosen.choice(who)} {n}."
        for _ in range(6)
    )
    return " ".join(lines)


@pytest.fixture
def inputs(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The inputs, with one cache for all: most commands index the same data set."""
    monkeypatch.setenv("WVA_CACHE", str(tiny["CACHE"]))
    return tiny


def arguments(command: str, inputs: dict[str, Path]) -> tuple[str, list[str]]:
    """(module, its arguments with what they read replaced)."""
    module, *words = shlex.split(command)
    if command != next(one for one in COMMANDS if one.split()[0] == module):
        words = [*AGAIN.get(module, "").split(), *words]
    words += SMALLER.get(module, "").split()
    replaced = {
        "indexes/sample": inputs["INDEX"],
        "indexes/default": inputs["INDEX"],
        "data/sample": inputs["NOTES"],
        "data/queries.jsonl": inputs["QUESTIONS"],
        "build/wva-retriever.cdx.json": inputs["OUT"] / "bill.json",
        "PATH/difficult_files": inputs["NOTES"],
        "PATH/stsb-train.tsv": inputs["RATED"],
        "PATH/stsb-dev.tsv": inputs["RATED_TOO"],
        **({f"PATH/{name}": inputs["STORIES"] for name in TUNED} if module in TUNES else {}),
        **inputs,
    }
    found = [str(replaced.get(word, word)) for word in words]
    found = [str(inputs["BEIR"]) if word.startswith("PATH/") else word for word in found]
    if "--sample" in found:
        found[found.index("--sample")] = f"--sample={inputs['NOTES']}"
    if module in WITH_MODEL and words[0] != "speed":
        end = found.index("--model") if "--model" in found else len(found)
        found = [*found[:end], "--model", str(inputs["MODEL"])]
    return module, found


def test_the_commands_are_found() -> None:
    """Each module that is a command is documented; what is documented is a module."""
    modules = {command.split()[0] for command in COMMANDS}
    files = (ROOT / "benchmarks").glob("*.py")
    assert modules == {file.stem for file in files if "__main__" in file.read_text("utf-8")}


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.split()[0] not in BROWSER | ELSEWHERE], ids=str
)
@pytest.mark.timeout(120)
def test_a_documented_command_runs(
    command: str,
    inputs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, words = arguments(command, inputs)
    if "--ocr" in words and unavailable_reason() and not os.environ.get("WVA_REQUIRE_OCR"):
        pytest.skip(unavailable_reason())
    if module == "quality":
        monkeypatch.setattr(quality, "Trained", Theirs)  # the extra is not installed for tests
    if module in TUNES:  # so that a few questions are enough
        for each in (adapter_tasks, adapting):
            monkeypatch.setattr(each, "MIN_QUERIES", 3)
    if module == "dependencies":  # it asks services in the network, and reads every package twice
        monkeypatch.setattr(dependencies.vulnerabilities, "audit", lambda pinned: Audit(1))
        monkeypatch.setattr(dependencies, "environment_bill", NO_COMPONENTS.copy)
    if module in INDEXED and not inputs["INDEX"].exists():
        with Index.open_or_create(inputs["INDEX"], AlignedWVA(str(inputs["MODEL"]))) as index:
            index.sync(inputs["NOTES"])
    run(module, words)
    told = capsys.readouterr()
    assert TABLES.get(module, "|---|") in told.out, told.err
    assert module in TABLES or len(rows(told.out)) > 1
    assert "too little to measure by" not in told.out


def rows(told: str) -> list[str]:
    """The rows of the tables."""
    return [line for line in told.splitlines() if line.startswith("| ")]


def run(module: str, words: list[str]) -> None:
    """As `python -m benchmarks.MODULE`, in this process."""
    main: Callable[[list[str]], int | None] = importlib.import_module(f"benchmarks.{module}").main
    assert not main(words)


@pytest.mark.browser
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", [one for one in COMMANDS if one.split()[0] in BROWSER], ids=str)
def test_a_documented_command_runs_a_browser(
    command: str,
    tiny: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the tests' own page, which needs no model."""
    if not shutil.which("chromium") and not os.environ.get("WVA_REQUIRE_BROWSER"):
        pytest.skip("there is no Chromium on the PATH")
    app = ROOT / "tests" / "apps" / "search.py"
    monkeypatch.setattr(benchmarks.browser, "server_command", partial(serving, app=app))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "docs").mkdir()
    pages = [text_page(f"In a warm room, {question}.") for question in page.QUESTIONS]
    (tmp_path / "docs" / "asked.pdf").write_bytes(pdf_file(pages))
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.sync(tmp_path / "docs")
    module, words = arguments(command, {**tiny, "INDEX": tmp_path / "index"})
    run(module, words)
    assert TABLES[module] in capsys.readouterr().out


def test_without_a_browser_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    chromium = benchmarks.browser.open_chromium()
    with pytest.raises(SystemExit, match="apt-get install chromium"), chromium:
        pass
