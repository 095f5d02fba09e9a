"""The command line as a script sees it: exit codes, JSON alone on standard output, sentences."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest

from retriever import AlignedWVA
from retriever.arrays import centred
from retriever.embedding.sentence_map import sentence_map
from retriever.interface.cli import main
from retriever.reading.account import take_account
from retriever.reading.formats import read_document
from retriever.reading.subprocess_reader import FileReader
from retriever.settings import POOLINGS, Prompts
from retriever.types import Document
from tests.ggufs import write_gguf
from tests.pdfs import pdf_file, text_page
from tests.tiny import save_model

TOTALS = {
    "files", "indexed", "updated", "unchanged", "renamed", "removed", "partial", "failed",
    "skipped", "pages", "chunks", "tokens",
}  # fmt: skip
HIT = {
    "rank", "score", "scores", "chunk_id", "path", "format", "title", "page", "start", "end",
    "match", "exact", "strength", "text", "label", "state", "parts", "passage", "also",
    "document_id", "metadata", "full_text", "printed", "sentence", "embedded",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "apple.txt").write_text("Red apples grow on trees.\n\nThey ripen in autumn.")
    (folder / "sub" / "sea.md").write_text("# The sea\n\nWhales breathe air and sing songs.")
    return folder


class Shell:
    """Runs commands against one index and model."""

    def __init__(self, index: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.index, self.model, self.capsys = str(index), model, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as stop:  # argparse
            code = int(str(stop.code))
        output = self.capsys.readouterr()
        return code, output.out, output.err

    def sync(self, *arguments: str) -> tuple[int, Any, str]:
        command = ["index", *arguments, "--index", self.index, "--model", self.model]
        code, out, err = self(*command, "--device", "cpu", "--json")
        return code, json.loads(out) if out else None, err

    def search(self, *arguments: str) -> Any:
        code, out, _ = self("search", *arguments, "--index", self.index, "--json")
        assert code == 0
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "index", model, capsys)


def test_index_and_search_as_json(shell: Shell, docs: Path) -> None:
    code, report, _ = shell.sync(str(docs))
    assert code == 0
    assert set(report["totals"]) == TOTALS
    assert report["totals"]["indexed"] == report["totals"]["files"] == 2
    assert [file["path"] for file in report["files"]] == ["apple.txt", "sub/sea.md"]
    assert report["files"][0]["page_states"] == {"text": 1}
    assert report["index"] == shell.index
    answer = shell.search("whales", "--mode", "keyword")
    assert set(answer) == {
        *{"query", "index", "mode", "took_ms", "hits", "text", "conditions", "instead"},
        *{"nothing_matches", "notes", "verdict", "vector_share"},
    }
    (hit,) = answer["hits"]
    assert set(hit) == HIT
    assert hit["path"] == "sub/sea.md"
    assert hit["scores"]["dense"] is None
    assert hit["page"] is None
    text = (docs / "sub" / "sea.md").read_text()
    assert hit["text"] in text
    both = shell.search("apples in autumn", "-k", "5", "--device", "cpu")
    assert [hit["rank"] for hit in both["hits"]] == [1, 2]
    assert both["hits"][0]["path"] == "apple.txt"
    assert both["hits"][1]["scores"]["keyword"] == 0
    assert shell.sync(str(docs))[1]["totals"]["unchanged"] == 2


def test_words_first_and_vectors_later(shell: Shell, docs: Path) -> None:
    code, _, err = shell("index", "--vectors-only", "--index", shell.index)
    assert code != 0
    assert not Path(shell.index).exists()
    code, report, _ = shell.sync(str(docs), "--keywords-only")
    assert (code, report["totals"]["tokens"]) == (0, 0)
    assert report["pending"] > 0
    _, out, _ = shell("index", str(docs), "--keywords-only", "--index", shell.index)
    waits = "passages are found by their words only so far; wva index --vectors-only --index"
    assert waits in out.splitlines()[-1]
    answer = shell.search("whales", "--embed-ms", "0")
    assert answer["vector_share"] == 0
    assert [hit["embedded"] for hit in answer["hits"]] == [False]
    assert answer["notes"] == [
        "Meaning covers 0 % of the passages so far; the others are found by their words",
        f"To go on: wva index --vectors-only --index {shell.index}",
    ]
    assert shell.search("whales", "--mode", "keyword")["notes"] == []
    code, _, err = shell.sync("--vectors-only", "--keywords-only")
    assert (code, "keywords only or vectors only" in err) == (2, True)
    code, out, _ = shell("index", "--vectors-only", "--index", shell.index)
    assert code == 0
    assert re.fullmatch(r"\d+ passages made searchable by meaning in \d:\d\d", out.strip())
    _, out, _ = shell("index", "--vectors-only", "--index", shell.index)
    assert out.startswith("all passages have their vectors: nothing to do in 0:")
    assert shell.search("whales")["vector_share"] == 1


def test_several_indexes_are_searched_together(
    shell: Shell, model: str, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Shell(tmp_path / "other", model, capsys)
    shell.sync(str(docs / "sub"))
    other.sync(str(docs / "apple.txt"))
    both = ("--index", other.index, "--index", shell.index, "--index", other.index)
    query = ("whales or apples", "--mode", "keyword")
    code, out, err = shell("search", *query, *both, "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert (answer["indexes"], answer["failed"]) == ([other.index, shell.index], {})
    hits = answer["hits"]
    assert {hit["path"]: hit["index"] for hit in hits} == {
        "sea.md": shell.index,
        "apple.txt": other.index,
    }
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert all(set(hit) == {*HIT, "index"} for hit in hits)
    code, out, _ = shell("search", *query, *both)
    assert code == 0
    assert f"in {shell.index}" in out
    assert f"in {other.index}" in out
    # A word that one of them has is no typing error.
    _, out, _ = shell("search", "whales appels", "--mode", "keyword", *both, "--json")
    assert json.loads(out)["instead"] == {"appels": ["apples"]}


def test_an_index_that_fails_is_told_and_the_others_answer(
    shell: Shell, docs: Path, tmp_path: Path
) -> None:
    shell.sync(str(docs))
    gone = str(tmp_path / "gone")
    query = ("search", "whales", "--mode", "keyword", "--index", gone)
    code, out, err = shell(*query, "--index", shell.index)
    assert code == 3
    assert "sea.md" in out
    assert f"{gone} is left out: " in err
    code, out, _ = shell(*query, "--index", shell.index, "--json")
    assert code == 3
    assert list(json.loads(out)["failed"]) == [gone]
    code, out, err = shell(*query, "--index", f"{gone}-too")
    assert (code, out) == (1, "")
    assert gone in err


def test_results_are_folded_joined_widened_or_plain(shell, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a.txt", "b.txt"):
        (docs / name).write_text("Red apples grow on trees in the old orchard.")
    (docs / "c.txt").write_text("Green apples cost 5 more.")
    shell.sync(str(docs))
    found = shell.search("apples", "--mode", "keyword")["hits"]
    assert sorted(len(hit["also"]) for hit in found) == [0, 1]
    (folded,) = [hit for hit in found if hit["also"]]
    assert {folded["path"], folded["also"][0]["path"]} == {"a.txt", "b.txt"}
    assert len(shell.search("apples", "--mode", "keyword", "--all")["hits"]) == 3
    options = ["--diversity", "0.5", "--context", "1"]
    diverse = shell.search("apples", "--mode", "keyword", *options)["hits"]
    assert diverse[0]["passage"] == [
        {name: diverse[0][name] for name in ("page", "label", "start", "end", "text")}
    ]
    code, out, _ = shell("search", "apples", "--mode", "keyword", "--index", shell.index)
    assert code == 0
    assert f"also in: {folded['also'][0]['path']}" in out
    code, _, err = shell("search", "apples", "--diversity", "2", "--index", shell.index)
    assert (code, "from 0 to 1" in err) == (2, True)


def test_queries_as_people_type_them(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))

    def paths(*arguments: str) -> list[str]:
        answer = shell.search(*arguments, "--mode", "keyword")
        return sorted(hit["path"] for hit in answer["hits"])

    assert paths("apples whales -songs") == ["apple.txt"]
    assert paths("apples whales -songs", "--literal") == ["apple.txt", "sub/sea.md"]
    assert paths("apples whales type:md") == ["sub/sea.md"]
    assert paths("apples whales", "--literal", "--path", "*.txt") == ["apple.txt"]
    answer = shell.search('whalse "sing songs" file:sea', "--mode", "keyword")
    assert answer["text"] == "whalse sing songs"
    assert answer["conditions"] == ['"sing songs"', "file:sea"]
    assert answer["instead"] == {"whalse": ["whales"]}
    code, out, err = shell(
        *["search", "whalse type:md", "--mode", "keyword", "--index", shell.index]
    )
    assert code == 0
    assert "Whales breathe" in out
    assert err.splitlines() == [
        "only: type:md",
        '"whalse" occurs nowhere; searched for whales instead',
    ]


def test_report_tells_every_file_and_its_exit_code(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))
    code, out, _ = shell("report", "--index", shell.index)
    words = "words: source 17, on pages 17, left out 0, unexplained 0"
    assert (code, out) == (0, f"2 files: 2 complete\n2 pages: 2 text\n{words}\n2 passages\n")
    (docs / "bad.pdf").write_bytes(b"%PDF-1.7\nnothing behind it")
    (docs / "song.xyz").touch()
    code, report, _ = shell.sync(str(docs))
    assert code == 3
    code, out, _ = shell("report", "--index", shell.index, "--json")
    told = json.loads(out)
    assert code == 3
    assert told["totals"]["files"]["all"] == len(told["files"]) == len(report["files"]) == 4
    assert {file["path"]: file["status"] for file in told["files"]} == {
        "apple.txt": "complete",
        "bad.pdf": "failed",
        "song.xyz": "skipped",
        "sub/sea.md": "complete",
    }
    code, out, _ = shell("report", "--index", shell.index)
    assert "failed  bad.pdf: broken: " in out
    assert "song.xyz" not in out
    assert "song.xyz" in shell("report", "--index", shell.index, "--all")[1]


def test_report_prints_what_a_file_leaves_out(shell: Shell, docs: Path) -> None:
    page = "<nav><a href=x>Home page</a></nav><main><p>Whales breathe air.</main>"
    (docs / "page.html").write_text(page)
    shell.sync(str(docs))
    code, out, _ = shell("report", "page.html", "--index", shell.index)
    assert code == 0
    assert out.startswith(" complete  page.html\n1 file: 1 complete\n")
    assert "words: source 5, on pages 3, left out 2 (navigation 2), unexplained 0" in out
    named = str(docs / "page.html")
    code, out, _ = shell("report", named, "--left-out", "--index", shell.index)
    assert (code, out.splitlines()) == (
        0,
        ["page.html leaves out", "navigation: 2 words", "  Home page"],
    )
    code, out, _ = shell("report", "page.html", "--left-out", "--json", "--index", shell.index)
    (file,) = json.loads(out)["files"]
    assert file["parts"] == [{"kind": "navigation", "text": "Home page"}]
    assert not file["cut"]
    out = shell("report", "apple.txt", "--left-out", "--index", shell.index)[1]
    assert out == "apple.txt: no text is left out\n"


def test_report_takes_a_file_of_the_index(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))
    code, _, err = shell("report", "pear.txt", "--index", shell.index)
    assert code == 2
    assert err == "wva: no file 'pear.txt' is in this index; wva report --all lists their names\n"
    code, _, err = shell("report", "--left-out", "--index", shell.index)
    assert (code, err) == (
        2,
        "wva: --left-out takes the name of a file: wva report FILE --left-out\n",
    )


def test_a_file_with_lost_words_is_partial(
    shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever reads it: the report and the exit codes say so, at every run."""
    monkeypatch.setattr(FileReader, "read", _losing_a_word)
    code, report, _ = shell.sync(str(docs))
    assert code == 3
    assert {file["path"]: file["status"] for file in report["files"]} == {
        "apple.txt": "partial",
        "sub/sea.md": "indexed",
    }
    lost = "1 word of the source is on no page and not named as left out: trees"
    assert report["files"][0]["reason"] == lost
    code, out, _ = shell("report", "--index", shell.index)
    assert code == 3
    assert f"partial  apple.txt: {lost}; look for them in the file itself" in out
    assert "words: source 17, on pages 16, left out 0, unexplained 1" in out
    told = json.loads(shell("report", "--index", shell.index, "--json")[1])
    assert told["totals"]["words"]["unexplained"] == 1
    assert told["files"][0]["words"]["missing"] == ["trees"]
    code, report, _ = shell.sync(str(docs))
    assert code == 3
    assert report["files"][0]["status"] == "unchanged"
    assert report["files"][0]["reason"] == lost
    (docs / "apple.txt").rename(docs / "tree.txt")
    code, report, _ = shell.sync(str(docs))
    assert code == 3
    assert report["files"][-1]["reason"] == f"was apple.txt; {lost}"


def _losing_a_word(reader: FileReader, path: Path, name: str) -> Document:
    document = read_document(path, name)
    pages = [replace(page, text=page.text.replace(" trees", "")) for page in document.pages]
    lossy = replace(document, pages=tuple(pages))
    return replace(lossy, account=take_account(path.read_bytes(), lossy))


def test_models_are_listed_and_removed(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    write_gguf(tmp_path / "mine.gguf")
    code, out, _ = shell("models", "fetch", str(tmp_path / "mine.gguf"))
    assert code == 0
    assert "mine.gguf is ready in " in out
    code, out, _ = shell("models")
    assert code == 0
    assert re.search(r"^smollm2-135m .*135 M .*576 .*Apache-2.0$", out, re.M)
    assert re.search(r"^gguf-\w+ +gguf +mine.gguf ", out, re.M)
    listed = json.loads(shell("models", "--json")[1])
    (mine,) = [model for model in listed["cached"] if model["source"] == "mine.gguf"]
    assert mine["size"] == listed["size"] > 0
    code, out, _ = shell("models", "remove", "mine.gguf")
    assert (code, Path(mine["folder"]).exists()) == (0, False)
    assert out.startswith(f"removed {mine['name']}: ")
    code, _, err = shell("models", "remove", "mine.gguf")
    assert (code, err) == (1, "wva: there is no cached model 'mine.gguf'; there is: nothing\n")


def test_an_ocr_that_cannot_run_is_refused_at_once(
    shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, err = shell("index", str(docs), "--index", shell.index, "--ocr")
    assert code == 2
    assert err.startswith("wva: --ocr: ")
    assert "install" in err
    assert not Path(shell.index).exists()


def test_passwords_come_from_a_file_too(shell: Shell, docs: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    code, _, err = shell(
        "index", str(docs), "--index", shell.index, "--password-file", str(missing)
    )
    assert code == 2
    assert err == f"wva: the password file {str(missing)!r} cannot be read as text\n"
    assert not Path(shell.index).exists()


def test_passwords_come_from_standard_input(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    pdf = io.BytesIO(pdf_file([text_page("A secret apple.")]))
    writer = pypdf.PdfWriter(clone_from=pdf)
    writer.encrypt("Käse", algorithm="AES-256")
    writer.write(tmp_path / "files" / "locked.pdf")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"wrong\nK\xc3\xa4se\n")))
    code, _, _ = shell.sync(str(tmp_path / "files"), "--password-file", "-")
    assert code == 0
    assert [hit["path"] for hit in shell.search("apple")["hits"]] == ["locked.pdf"]


def test_filters(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))

    def paths(*arguments: str) -> list[str]:
        hits = shell.search("apples whales", "--mode", "keyword", *arguments)["hits"]
        return sorted(hit["path"] for hit in hits)

    assert paths() == ["apple.txt", "sub/sea.md"]
    assert paths("--path", "sub/**") == ["sub/sea.md"]
    assert paths("--path", "*.txt", "--path", "*.md") == ["apple.txt", "sub/sea.md"]
    assert paths("--format", "markdown") == ["sub/sea.md"]
    assert paths("--where", '{"title": "The sea"}') == ["sub/sea.md"]
    assert paths("--page", "1-3") == []  # neither format has pages
    assert paths("--since", "2020") == []  # neither has a date


def test_text_output_is_for_reading(shell: Shell, docs: Path) -> None:
    code, out, err = shell(
        "index", str(docs), "--index", shell.index, "--model", shell.model, "--device", "cpu"
    )
    assert code == 0
    assert "2 indexed" in out
    code, out, _ = shell("search", "whales", "--index", shell.index, "--mode", "keyword")
    assert "sub/sea.md" in out
    assert "Whales breathe air" in out
    assert "\033" not in out  # no colours into a pipe
    code, out, err = shell("search", "zebra", "--index", shell.index, "--mode", "keyword")
    nowhere = 'nothing found\nThe word "zebra" occurs nowhere here.'
    assert (code, out, err.strip()) == (0, "", nowhere)


def test_a_result_has_one_word_for_its_strength(
    shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.sync(str(docs))
    monkeypatch.setenv("COLUMNS", "30")
    found = ["search", "--index", shell.index, "--mode", "keyword"]
    code, out, err = shell(*found, "whale breathes")
    assert (code, err) == (0, "")
    assert re.match(r" 1\. sub/sea\.md.*  \(\d+\.\d\d, exact words\)\n", out)
    code, out, err = shell(*found, "who is Bilbo?")
    assert (out, err) == ("", "nothing found\nNo document speaks of\nBilbo.\n")
    (hit,) = shell.search("whale breathes", "--mode", "keyword")["hits"]
    assert (hit["exact"], hit["strength"]) == (True, "exact words")


def test_what_does_not_really_match_is_said(shell: Shell, docs: Path) -> None:
    # In fewer passages no word is rare.
    for name in ("bread", "violins", "glaciers", "taxes"):
        (docs / f"{name}.txt").write_text(f"There is something to be told of {name}.")
    shell.sync(str(docs))
    found = ["search", "--index", shell.index, "--mode", "keyword"]
    answer = shell.search("whales sing songs", "--mode", "keyword", "--min-match", "0.95")
    assert [hit["match"] >= 0.95 for hit in answer["hits"]] == [True]
    assert answer["nothing_matches"] is False
    weak = "zeppelins over whales, balloons under kettles, trumpets"
    code, out, err = shell(*found, weak)
    assert (code, "sub/sea.md" in out) == (0, True)
    named = 'The words "zeppelins", "over", "balloons" and 3 more occur nowhere here'
    assert " ".join(err.split()) == f"{named}: these passages come nearest."
    answer = shell.search(weak, "--mode", "keyword")
    assert answer["nothing_matches"] is True
    assert answer["verdict"] == f"{named}: these passages come nearest."
    assert answer["hits"][0]["match"] < 0.95
    code, out, err = shell(*found, weak, "--min-match", "0.95")
    assert (code, out, err.strip()) == (
        *(0, ""),
        f"nothing here really matches this question\n{named}.",
    )
    assert shell(*found, "x", "--min-match", "2")[0] == 2
    code, out, _ = shell("info", "--index", shell.index)
    assert "background:" in out


def test_incomplete_files_give_exit_code_3(shell: Shell, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    code, report, _ = shell.sync(str(docs))
    assert code == 3
    failed = next(file for file in report["files"] if file["status"] == "failed")
    assert failed["path"] == "broken.pdf"
    assert failed["reason"]
    assert report["totals"]["failed"] == 1
    assert shell.sync(str(docs))[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage"),
        (["nonsense"], 2, "invalid choice"),
        (["search"], 2, "required"),
        (["index"], 2, "no path was given"),
        (["search", "-draft"], 2, "comes last, behind --: wva search --index DIR -- -draft"),
        (["search", "access", "control"], 2, "unrecognized arguments: control; a query of several"),
        (["search", "x", "--nonsense"], 2, "wva: unrecognized arguments: --nonsense"),
        (["search", "x", "-k", "many"], 2, "wva search: argument -k: invalid int value: 'many'"),
        (["index", "no/such/folder"], 2, "no file or folder 'no/such/folder'"),
        (["search", "x"], 1, "make one with: wva index PATH --index indexes/default"),
        (["search", " "], 2, "the query is empty; give some words"),
        (["info"], 1, "no index"),
        (["embed", "--input", "none.txt", "--output", "v.npy"], 2, "no file 'none.txt'"),
        (["eval"], 2, "required"),
        (["eval", "sts", "none.tsv"], 2, "none.tsv"),
        (["eval", "retrieval", "none"], 2, "none"),
        (["eval", "queries", "none.jsonl"], 2, "none.jsonl"),
        (["eval", "models", "m:x=1", "."], 2, "'m:x=1'"),
        (["ui", "--port", "99999999"], 2, "65535"),
    ],
)
def test_wrong_usage_is_one_sentence(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = shell(*arguments)
    assert found == code
    assert out == ""
    assert message in err
    assert not arguments or len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert not (tmp_path / "indexes").exists()


def test_wrong_values_name_themselves(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))
    wrong = {
        ("search", "x", "-k", "0"): "at least 1",
        ("search", "x", "--where", "{"): "--where takes a JSON object such as",
        ("search", "x", "--where", "[1]"): "--where takes a JSON object such as",
        ("search", "x", "--where", "5"): "--where takes a JSON object such as",
        ("search", "x", "--page", "9-3"): "the lower page first: 3-9",
        ("search", "x", "--page", "²"): "--page takes a page or a range",
        ("search", "x", "--since", "March"): "--since takes a date",
        ("search", "x", "--until", "2024-02-30"): "--until takes a date: there is no date",
        ("search", "x", "--since", "1/3/2024"): "two ways; write 2024-03-01 or 2024-01-03",
        ("search", "x", "--since", "2024", "--until", "2023"): "exchange them",
        ("search", "x", "--since", ""): "--since takes a date: '' is no date",
        ("search", "x", "--until", ""): "--until takes a date: '' is no date",
        ("search", "x", "--page", ""): "--page takes a page or a range",
        ("search", "x", "--page", "0"): "--page takes a page or a range",
        ("search", "x", "--where", ""): "--where takes a JSON object such as",
        ("search", "x", "--where", '{"$not":' * 50_000): "--where takes a JSON object such as",
        ("search", "x", "--where", "null"): "--where takes a JSON object such as",
        ("search", "x", "--where", '["ab"]'): "--where takes a JSON object such as",
        ("search", "x", "--where", "[]"): "--where takes a JSON object such as",
        ("search", "x", "--where", '{"date": "spring"}'): "'spring' is no date",
        ("search", "x", "--where", '{"page": {"gte": "three"}}'): "a number such as 3",
        ("search", "x", "--where", '{"path": {"like": 3}}'): "like",
        ("search", "x", "--page", "two"): "'two'",
        ("search", "x", "--rerank", "-3"): "at least 0",
        ("search", "x", "--rerank", "--rerank-seconds", "0"): "more than 0 seconds",
    }
    for arguments, message in wrong.items():
        code, out, err = shell(*arguments, "--index", shell.index, "--mode", "keyword")
        assert (code, out) == (2, "")
        assert message in err


def test_the_index_of_another_model_is_left_alone(shell: Shell, docs: Path, tmp_path: Path) -> None:
    shell.sync(str(docs))
    before = shell.search("apples", "--mode", "keyword")["hits"]
    other = str(save_model(tmp_path / "other", "llama-bias"))
    for command in (["index", str(docs)], ["search", "apples"]):
        code, out, err = shell(*command, "--index", shell.index, "--model", other)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert other in err
        assert shell.model in err
    code, _, err = shell("index", str(docs), "--index", shell.index, "--model", "nonsense")
    assert (code, err.count("\n")) == (1, 1)
    assert "unknown model 'nonsense'" in err
    assert shell.search("apples", "--mode", "keyword")["hits"] == before


def test_a_dry_run_leaves_no_trace(shell: Shell, docs: Path) -> None:
    code, report, _ = shell.sync(str(docs), "--dry-run")
    assert code == 0
    assert report["totals"]["indexed"] == 2
    assert not Path(shell.index).exists()
    shell.sync(str(docs))
    (docs / "new.txt").write_text("something new")
    (docs / "apple.txt").unlink()
    (docs / "more.txt").write_text("more")
    _, report, _ = shell.sync(str(docs), "--dry-run")
    assert report["totals"]["indexed"] == 2
    assert report["totals"]["removed"] == 1
    assert shell.search("apples", "--mode", "keyword")["hits"]


def test_an_empty_folder_is_no_error(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    code, out, err = shell("index", str(tmp_path / "void"), "--index", shell.index)
    assert code == 0
    assert "no documents found" in out
    code, out, err = shell("search", "x", "--index", shell.index)
    assert (code, err.strip()) == (0, "the index is empty")


def test_embed_writes_unit_vectors(shell: Shell, tmp_path: Path, model: str) -> None:
    # Only a line feed ends a line: what looks like one to Python is part of the text.
    texts = ["A red\u2028apple", 'He said "no"', "", "Whales\fsing"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    embedder = AlignedWVA(model, device="cpu", dtype="float32")
    base = ["embed", "--input", str(tmp_path / "texts.txt"), "--model", model]
    base += ["--device", "cpu", "--dtype", "float32", "--output", str(tmp_path / "v.npy")]

    def embed(*arguments: str) -> np.ndarray:
        code, out, _ = shell(*base, *arguments)
        assert (code, out) == (0, "")
        return np.load(tmp_path / "v.npy", allow_pickle=False)

    raw = embed("--kind", "sentence", "--raw")
    np.testing.assert_allclose(raw, embedder.embed_sentences(texts), atol=1e-6)
    assert raw.dtype == np.float32
    _, out, _ = shell(*base, "--raw", "--json")
    assert json.loads(out)["vectors"] == len(texts)
    own = embed("--prompt", "It means {} in", "--raw")
    np.testing.assert_allclose(own, embedder.embed_prompted(texts, "It means {} in"), atol=1e-6)
    query = embed("--kind", "query")
    mean = embedder.general_means()[1]
    expected = centred(embedder.embed_queries(texts), mean)
    np.testing.assert_allclose(query, expected, atol=1e-5)
    lengths = np.linalg.norm(query, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0, 1], atol=1e-6)
    # Sentences are calibrated together.
    together = embed("--kind", "sentence")
    mean = embedder.general_mean(embedder.settings.prompts.sentence)
    expected = sentence_map(raw, mean).apply(raw)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    (tmp_path / "texts.txt").write_text(f"{texts[0]}\n", "utf-8")
    alone = embed("--kind", "sentence")
    np.testing.assert_allclose(alone, centred(raw[:1], mean), atol=1e-5)


def test_eval_sts(shell: Shell, tmp_path: Path, model: str) -> None:
    path = tmp_path / "pairs.tsv"
    rows = ["score\tsentence1\tsentence2"]
    rows += ["5\tA dog runs\tA dog runs", "4\tA dog runs\tA dog walks", "0\tA dog runs\tTax law"]
    path.write_text("\n".join(rows))
    code, out, _ = shell("eval", "sts", str(path), "--model", model, "--json")
    assert code == 0
    (file,) = json.loads(out)["files"]
    assert file["pairs"] == 3
    embedder = AlignedWVA(model)
    left = embedder.embed_sentences(["A dog runs"] * 3)
    right = embedder.embed_sentences(["A dog runs", "A dog walks", "Tax law"])
    cosines = (left * right).sum(axis=1)
    expected = 100.0 if cosines[1] > cosines[2] else 50.0
    assert file["spearman_raw"] == pytest.approx(expected)
    code, out, _ = shell("eval", "sts", str(path), "--model", model, "--pooling", "all")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["pooling", *POOLINGS]
    chosen = ["eval", "sts", str(path), "--model", model, "--json", "--pooling", "va, last-hidden"]
    found = json.loads(shell(*chosen)[1])["files"]
    assert [row["pooling"] for row in found] == ["va", "last-hidden"]
    code, _, err = shell("eval", "sts", str(path), "--model", model, "--pooling", "mean")
    assert code == 2
    assert err == f"wva: unknown pooling 'mean': use {', '.join(POOLINGS)}\n"


def test_an_index_keeps_to_its_pooling(shell: Shell, docs: Path) -> None:
    arguments = ["index", str(docs), "--index", shell.index, "--model", shell.model]
    assert shell(*arguments, "--pooling", "last-hidden")[0] == 0
    assert json.loads(shell("info", "--index", shell.index, "--json")[1])["model"]["pooling"] == (
        "last-hidden"
    )
    assert shell("search", "apples", "--index", shell.index)[0] == 0
    code, _, err = shell(*arguments, "--pooling", "va")
    assert code == 1
    assert "index" in err


def test_prompts_of_ones_own(shell: Shell, docs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('{"query": ["Asked: {} in short:", "Answer to {} :"]}', "utf-8")
    arguments = ["index", str(docs), "--index", shell.index, "--model", shell.model]
    assert shell(*arguments, "--prompts", str(mine))[0] == 0
    kept = json.loads(shell("info", "--index", shell.index, "--json")[1])["model"]["prompts"]
    assert kept == Prompts.read(mine).to_json()
    assert "Answer to {} :" in shell("info", "--index", shell.index)[1]
    assert shell("search", "apples", "--index", shell.index)[0] == 0
    code, _, err = shell(*arguments)
    assert code == 1
    assert "prompts" in err
    code, out, err = shell("search", "x", "--index", shell.index, "--prompts", str(docs / "no"))
    assert (code, out) == (2, "")
    assert "cannot be read" in err


def test_eval_retrieval_twice(shell: Shell, tmp_path: Path, model: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mini"
    folder.mkdir()
    corpus = {"a": "Red apples grow on trees.", "b": "Whales sing in the sea.", "c": "Tax law."}
    queries = {"q1": "apples", "q2": "whales", "q3": "unjudged"}
    (folder / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": i, "title": "", "text": t}) for i, t in corpus.items())
    )
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": i, "text": t}) for i, t in queries.items())
    )
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n")
    arguments = ["eval", "retrieval", str(folder), "--model", model, "--json"]
    code, out, _ = shell(*arguments)
    assert code == 0
    first = json.loads(out)
    assert (first["dataset"], first["documents"], first["queries"]) == ("mini", 3, 2)
    assert first["modes"]["keyword"] == {
        "ndcg@10": 1.0, "mrr@10": 1.0, "recall@10": 1.0, "recall@100": 1.0,
    }  # fmt: skip
    assert first["modes"]["dense"]["recall@10"] == 1.0
    monkeypatch.setattr(AlignedWVA, "embed_inputs", None)  # nothing may be embedded again
    second = json.loads(shell(*arguments)[1])
    assert second["modes"] == first["modes"]
    assert set(second["intervals"]["hybrid"]) == set(second["modes"]["hybrid"])
    base = str(tmp_path / "base.json")
    code, out, err = shell(*arguments[:-1], "--save", base)
    assert (code, err.splitlines()[-1]) == (0, f"saved as {base}")
    assert out.splitlines()[0] == "mini: 3 documents, 2 queries"
    assert "ndcg@10 against keyword" in out
    third = json.loads(shell(*arguments, "--against", base, "--per-query")[1])
    assert third["against_baseline"]["dense"]["mrr@10"] == {
        "difference": 0.0, "interval": [0.0, 0.0], "verdict": "within noise",
    }  # fmt: skip
    assert third["per_query"]["keyword"]["ndcg@10"] == {"q1": 1.0, "q2": 1.0}
    assert out.splitlines()[1:] == shell(*arguments[:-1], "--against", base)[1].splitlines()[1:5]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb\t1\n")
    code, out, err = shell(*arguments, "--against", base)
    assert (code, out) == (2, "")
    assert "other queries or judgements" in err


def test_reranked_results(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))
    plain = shell.search("apples in autumn")["hits"]
    assert [hit["scores"]["rerank"] for hit in plain] == [None] * len(plain)
    for arguments in (["--rerank"], ["--rerank", "9", "--mode", "keyword"]):
        found = shell.search("apples in autumn", *arguments, "--rerank-seconds", "60")["hits"]
        assert found
        assert all(hit["scores"]["rerank"] < 0 for hit in found)
        scores = [hit["score"] for hit in found]
        assert scores == sorted(scores, reverse=True)


def test_eval_retrieval_with_some_reranked(
    shell: Shell, tmp_path: Path, model: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": i, "text": f"apples {i}"}) for i in "abc")
    )
    (tmp_path / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{i}", "text": f"which apples {i}?"}) for i in "abc")
    )
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nqb\tb\t1\nqa\ta\t0\nqc\tc\t1\n"
    )
    arguments = ["eval", "retrieval", str(tmp_path), "--model", model, "--json"]
    _, out, _ = shell(*arguments, "--rerank", "2", "--queries", "1", "--per-query")
    found = json.loads(out)
    assert list(found["modes"]) == ["keyword", "dense", "hybrid", "hybrid, 2 reranked"]
    assert set(found["per_query"]["hybrid, 2 reranked"]["ndcg@10"]) == {"qb"}
    assert found["modes"]["hybrid, 2 reranked"]["recall@10"] == 1.0
    for wrong, message in ((["--queries", "0"], "at least 1"), (["--rerank", "-1"], "at least 0")):
        code, _, err = shell(*arguments, *wrong)
        assert (code, message in err) == (2, True)


def test_eval_queries(shell: Shell, docs: Path, tmp_path: Path) -> None:
    shell.sync(str(docs))
    path = tmp_path / "questions.jsonl"
    path.write_text('{"query": "apples", "path": "apple.txt"}\n')
    arguments = ["eval", "queries", str(path), "--index", shell.index]
    code, out, err = shell(*arguments, "--save", str(tmp_path / "base.json"))
    assert (code, err) == (0, f"saved as {tmp_path / 'base.json'}\n")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        "mode", "keyword", "dense", "hybrid",
    ]  # fmt: skip
    _, out, _ = shell(*arguments, "--json", "--against", str(tmp_path / "base.json"))
    found = json.loads(out)
    assert found["modes"]["keyword"] == {"ndcg@10": 1.0, "mrr@10": 1.0, "recall@10": 1.0}
    assert found["missing"] == []
    assert found["against_baseline"]["hybrid"]["ndcg@10"]["verdict"] == "within noise"
    with path.open("a") as file:
        file.write('{"query": "whales", "path": "sub/sea.md", "page": 3}\n')
    code, out, err = shell(*arguments, "--json")
    assert code == 3
    (sentence,) = json.loads(out)["missing"]
    assert sentence == "sub/sea.md, page 3 has no passage in the index; it counts as not found"
    assert err == f"wva: {sentence}\n"
    assert json.loads(out)["modes"]["keyword"]["mrr@10"] == 0.5
    path.write_text('{"query": "apples", "path": "nowhere.txt"}')
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "")
    assert "'nowhere.txt'" in err


def test_eval_models(shell: Shell, tmp_path: Path, model: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "docs"
    folder.mkdir()
    words = ["river", "stone", "lamp", "cloud", "paper", "garden", "bridge", "winter", "market"]
    for number in range(20):
        own = " ".join(f"{word}{number}" for word in words)
        text = f"{own.capitalize()}. {own.upper()} and more. All {own} once again. The {own} end."
        (folder / f"{number}.txt").write_text(text)
    mine = tmp_path / "mine.json"
    mine.write_text('{"query": "Asked: {} :"}')
    other = f"{model}:layers=0:prompts={mine}"
    arguments = ["eval", "models", model, other, str(folder), "--passages", "20", "--device", "cpu"]
    code, out, err = shell(*arguments)
    assert code == 0
    rows = [line.split("  ")[0] for line in out.splitlines()[1:7]]
    assert rows == [
        "mode", "keyword", f"{model} dense", f"{model} hybrid", f"{other} dense", f"{other} hybrid",
    ]  # fmt: skip
    found = json.loads(shell(*arguments, "--json")[1])
    assert out.splitlines()[-1] == found["verdict"]
    assert (found["queries"], found["documents"]) == (20, 20)
    assert found["winner"] in (None, model, other)
    code, out, err = shell(*arguments[:4], str(folder / "none"))
    assert (code, out) == (2, "")
    assert "no file or folder" in err


def test_info(shell: Shell, docs: Path) -> None:
    shell.sync(str(docs))
    code, out, _ = shell("info", "--index", shell.index, "--json")
    info = json.loads(out)
    assert (code, info["documents"], info["model"]["model"]) == (0, 2, shell.model)
    assert info["store"]["kind"] == "Flat"
    code, out, _ = shell("info", "--index", shell.index)
    assert f"model: {shell.model}" in out


def test_doctor(shell: Shell) -> None:
    code, out, _ = shell("doctor", "--quick", "--json")
    facts = json.loads(out)
    assert (code, facts["problems"]) == (0, [])
    assert facts["sqlite"]["full text (FTS5)"] is True
    assert facts["model"]["precision"] in ("float32", "bfloat16")
    assert shell("doctor", "--quick")[0] == 0


def test_doctor_names_what_evaluation_has_left(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing removes it, and it grows with every set and version."""
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    kept = tmp_path / "eval"
    for name in ("first", "second"):
        (kept / name).mkdir(parents=True)
        (kept / name / "catalog.sqlite").write_bytes(b"0" * 2_000_000)
    (kept / "queries.npy").write_bytes(b"0" * 1_000_000)
    cache = json.loads(shell("doctor", "--quick", "--json")[1])["cache"]
    assert cache["holds"] == {"eval": "5 MB"}
    assert (
        f"2 indexes and the vectors of wva eval and of benchmarks: {kept}"
        in (cache["may be deleted"])
    )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom retriever.interface.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'streamlit'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Find passages by meaning" in done.stdout
    assert time.perf_counter() - started < 2  # half a second on a machine that does nothing else


def test_names_of_files_are_not_obeyed_by_the_terminal(shell: Shell, docs: Path) -> None:
    """A name may hold any byte but a slash; a terminal would clear the screen or write a line."""
    odd = docs / "a\x1b[2J\nforged line\x9b1m.txt"
    odd.write_text("Otters swim in the river.")
    (docs / "b\x1b[2J\nforged line.pdf").write_bytes(b"%PDF-1.7\n")
    (docs / "c\x1b[2J\nforged line.q\x1b[2J").write_bytes(b"?")
    name = "a\ufffd[2J\ufffdforged line\ufffd1m.txt"
    make = ["--model", shell.model, "--device", "cpu"]
    commands = [
        *[["index", str(docs), *make], ["index", str(docs), "--dry-run", *make]],
        *[["report"], ["report", "--all"], ["search", "otters"], ["info"], ["explain", "otters"]],
        *[["explain", "otters", "--file", odd.name], ["explain", "x", "--file", "\x1b[2J"]],
        *[["search", "otters", "--json"], ["report", "--json"]],
        ["index", str(docs / "no\x1b[2J\nforged line"), *make],
    ]
    told = [shell(*command, "--index", shell.index) for command in commands]
    for _, out, err in told:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", out + err)
        assert not re.search("^forged", out + err, re.MULTILINE)
    assert name in told[3][1]
    assert name in told[4][1]
