"""The documents are true: their examples run, their commands parse, what they link to exists."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command_line import MARK, PAGE, help_of, names, sections
from retriever import AlignedWVA
from retriever.interface.cli import main as wva

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
MANUAL = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
DOCUMENTS = (
    *MANUAL,
    *("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *("benchmarks/README.md", "data/README.md", "indexes/README.md"),
)
LANGUAGES = {"", "python", "sh", "json", "diff", "text"}
"""What a block of code may be in: only these are looked at."""

SAMPLES = (
    "nist-digital-identity/sp800-63b_appA_memorized.md",
    "government-pdf/USDA_10_tips_healthy_meals.pdf",
)
TO_BE_WRITTEN = {
    "retriever/reading/plain/translations.py",
    "tests/reading/test_translations.py",
}
"""Files that the reader adds who follows "Add a reader"."""

OTHER_PROGRAMS = {"apt-get", "cd", "curl", "docker", "git", "helm", "kubectl", "pip", "source"}
SERVED = "docs/serving.md"
"""Its examples ask a server: `tests/interface/server/test_document.py` runs them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `line` is that of its fence, counted from 1."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def read(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def blocks_of(document: str) -> Iterator[Block]:
    """Its fenced blocks; every fence is closed."""
    begun, lines = None, []
    for number, line in enumerate(read(document).splitlines(), 1):
        if begun is None and line.startswith("```"):
            begun, lines = (number, line[3:].strip()), []
        elif begun and line == "```":
            yield Block(document, *begun, "\n".join(lines) + "\n")
            begun = None
        else:
            lines.append(line)
    assert begun is None, f"{document}:{begun}: a block that does not end"


def prose(document: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", read(document), flags=re.DOTALL | re.MULTILINE)


def inline_code(document: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def blocks(language: str, documents: tuple[str, ...] = DOCUMENTS) -> list[Block]:
    found = [block for name in documents for block in blocks_of(name) if block.language == language]
    assert found, f"no block of {language}"
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_are_in_languages_that_are_looked_at(document: str) -> None:
    unknown = [block for block in blocks_of(document) if block.language not in LANGUAGES]
    assert not unknown, f"{unknown[0]}: {unknown[0].language}"


def test_the_readme_is_short() -> None:
    lines = read("README.md").splitlines()
    assert 60 <= len(lines) <= 140


def test_the_stages_are_those_of_the_package() -> None:
    """The folders of the architecture's first table, and of the README's drawing."""
    table = re.findall(r"^\| `(\w+)/` \|", read("docs/architecture.md"), re.MULTILINE)
    folders = {path.parent.name for path in (ROOT / "retriever").glob("*/__init__.py")}
    assert set(table) == folders
    (drawing,) = [block for block in blocks_of("README.md") if "files ──" in block.text]
    assert folders < set(re.findall(r"(\w+)/", drawing.text))


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the README from nothing, those of the manual after it with the same index."""
    for name in SAMPLES:
        target = tmp_path / "data" / "sample" / name
        target.parent.mkdir(parents=True)
        shutil.copy(ROOT / "data" / "sample" / name, target)
    monkeypatch.chdir(tmp_path)
    # Every document begins with the model; it need not be read from the disk each time.
    home = sys.modules[AlignedWVA.__module__]
    monkeypatch.setattr(home, "load_model", functools.cache(vars(home)["load_model"]))
    run_in_documents = {block.document for block in blocks("python")}
    assert {"README.md", "docs/python.md", "docs/explaining.md"} <= run_in_documents
    for document in MANUAL:
        if document == SERVED:
            continue
        scope, output = run(document)
        if document == "README.md":
            check_readme(scope, output)
    assert run_in_documents <= set(MANUAL)


def run(document: str) -> tuple[dict[str, Any], str]:
    """Run a document's Python, from top to bottom, in one scope: that, and what it printed."""
    scope: dict[str, Any] = {"__name__": document}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks_of(document):
            if block.language == "python":
                # As many empty lines before it as make an error name the document's line.
                code = compile("\n" * block.line + block.text, str(ROOT / document), "exec")
                exec(code, scope)  # noqa: S102  (our own documents)
    with contextlib.suppress(KeyError):
        scope["index"].close()
    return scope, printed.getvalue()


def check_readme(scope: dict[str, Any], output: str) -> None:
    assert scope["report"].complete
    hits = re.findall(r"^-?\d+\.\d{3} (\S+\.pdf) \d+ ", output, re.MULTILINE)
    assert hits
    assert set(hits) == {SAMPLES[1]}, "the filter lets PDFs through, nothing else"
    pairs = re.findall(r"^[+-]0\.\d{3} \S+ \S+$", output, re.MULTILINE)
    assert len(pairs) == 3 * len(hits)
    documents = re.findall(r"^(\S+\.\w+) (?:\d+|None) -?[\d.]+$", output, re.MULTILINE)
    assert SAMPLES[0] in documents
    assert len(scope["embeddings"].embed_query("a risk")) == 576


def test_the_json_blocks_are_json() -> None:
    for block in blocks("json"):
        json.loads(block.text)


# Commands


def commands() -> list[tuple[Block, list[str]]]:
    """Every shell command of all documents, with the block it stands in."""
    found = []
    for block in blocks("sh"):
        text = re.sub(r"\$\([^)]*\)", "VALUE", block.text.replace("\\\n", " "))
        for line in text.splitlines():
            for part in re.split(r"\s(?:&&|\|\||\||;)\s", line):
                words = shlex.split(part, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    found.append((block, words))
    return found


class _Understood(Exception):  # noqa: N818  (it is how a command is stopped before it runs)
    """The arguments were parsed."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        parse(parser, *given, **named)
        raise _Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


@pytest.mark.usefixtures("parse_only")
def test_the_shell_commands_are_understood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, made = set(), set()
    for block, (program, *arguments) in commands():
        name = Path(program).name
        if name == "wva":
            understood(block, capsys, wva, arguments)
        elif name in ("python", "python3"):
            python(block, arguments, monkeypatch, capsys)
        elif name == "make":
            assert set(arguments) <= make_targets(), f"{block}: make {arguments}"
            made.update(arguments)
        else:
            assert name in OTHER_PROGRAMS, f"{block}: {program}"
        seen.add(name)
    assert {"wva", "python", "make", "pip"} <= seen
    assert {"run", "test", "check", "coverage", "bench"} <= made


def python(
    block: Block,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`python -m MODULE …`: a module of ours parses its arguments, pytest is given what exists."""
    option, module, *rest = arguments
    assert option == "-m", f"{block}: python {option}"
    if module == "pytest":
        assert (ROOT / rest[0]).exists(), f"{block}: {rest[0]}"
    elif module != "venv":
        monkeypatch.setattr(sys, "argv", [module, *rest])
        monkeypatch.delitem(sys.modules, module, raising=False)  # another test may have imported it
        understood(block, capsys, runpy.run_module, module, None, "__main__")


def understood(
    block: Block, capsys: pytest.CaptureFixture[str], command: Any, *arguments: Any
) -> None:
    try:
        command(*arguments)
    except _Understood:
        return
    except SystemExit:
        pytest.fail(f"{block}: {arguments}\n{capsys.readouterr().err}")
    pytest.fail(f"{block}: {arguments} were not parsed")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))


def test_the_commands_in_the_text_exist() -> None:
    """`wva search --rerank N`, `make bench`, and options by themselves."""
    options = {name: set(re.findall(r"--?[a-z][a-z-]*", help_of(name))) for name in names()}
    every = set().union(*options.values())
    wva_seen = make_seen = options_seen = 0
    for document in MANUAL:
        for code in inline_code(document):
            words = code.split()
            if words[0] == "wva" and len(words) > 1 and words[1] != "COMMAND":
                name = command_in(words[1:])
                assert name or words[1].startswith("--"), code
                assert set(re.findall(r"(?<!\S)--[a-z-]+", code)) <= options[name], code
                wva_seen += 1
            elif "make" in words[:-1]:
                assert words[words.index("make") + 1] in make_targets(), code
                make_seen += 1
            elif code.startswith("--"):
                assert words[0] in every, f"{document}: {code}"
                options_seen += 1
    assert wva_seen > 10
    assert make_seen > 2
    assert options_seen > 20


def command_in(words: list[str]) -> str:
    """The longest name of a command that the words begin with; empty if there is none."""
    beginnings = (" ".join(words[:count]) for count in range(len(words), 0, -1))
    return next((name for name in beginnings if name in names()), "")


def test_the_command_line_page_is_the_help_of_the_commands() -> None:
    """Word by word: versions of Python break lines at other places."""
    shown = PAGE.read_text("utf-8").partition(MARK)[2]
    assert "usage: wva search [-h]" in shown
    message = "run python -m benchmarks.command_line"
    assert shown.split() == sections().split(), message


def test_the_extras_exist() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    text = "\n".join(map(read, DOCUMENTS))
    named = re.findall(r"(?:\.|wva-retriever)\[([a-z,]+)\]", text)
    assert named
    assert {extra for each in named for extra in each.split(",")} <= set(
        project["optional-dependencies"]
    )


# Links, pictures and paths


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_links_to_exists(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    assert links or document not in MANUAL
    if document == "README.md":
        assert {f"docs/{Path(name).name}" for name in MANUAL[1:]} <= {
            link.partition("#")[0] for link in links
        }, "every page of the manual is reached from the README"
    for link in links:
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = ROOT / document if not name else (ROOT / document).parent / name
        assert target.exists(), f"{document} links to {link}"
        if anchor:
            known = anchors(target.read_text("utf-8"))
            assert anchor in known, f"{document} links to {link}; there are {sorted(known)}"


def test_every_picture_is_shown() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", "\n".join(map(read, MANUAL)))
    drawn = {path.name for path in (ROOT / "docs" / "images").iterdir()}
    assert drawn
    assert {Path(name).name for name in shown} == drawn


def anchors(text: str) -> set[str]:
    """The names by which a page's headings are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"(?ms)^```.*?^```$", "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}


def test_the_modules_that_are_named_exist() -> None:
    """Paths from the top, or from `retriever/` as in the architecture's lists."""
    named = {
        (document, code)
        for document in (*MANUAL, "CONTRIBUTING.md", "SECURITY.md")
        for code in inline_code(document)
        if re.fullmatch(r"[\w/]+\.py", code)
    }
    assert len(named) > 30
    for document, path in sorted(named):
        exists = (ROOT / path).exists() or (ROOT / "retriever" / path).exists()
        assert exists != (path in TO_BE_WRITTEN), f"{document} names {path}"


def test_the_commands_of_the_tests_exist() -> None:
    """`benchmarks.kills` and others, which the promises name as what holds them."""
    named = {
        code
        for document in (*MANUAL, "SECURITY.md")
        for code in inline_code(document)
        if re.fullmatch(r"benchmarks\.\w+", code)
    }
    assert len(named) > 3
    for code in sorted(named):
        module = ROOT / code.replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), code


def test_public_names_are_the_documented_ones() -> None:
    import retriever

    assert set(retriever.__all__) <= set(dir(retriever))
    documented = read("docs/python.md")
    for name in retriever.__all__:
        assert getattr(retriever, name).__doc__
        assert f"`{name}`" in documented, name
    with pytest.raises(AttributeError):
        _ = retriever.nonsense
