"""Search, explanations, documents and passages: the same JSON as the command line's."""

from __future__ import annotations

import gc
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.document_texts import PAGE_BREAK
from retriever.searching.options import SearchOptions
from retriever.storage.catalog import CATALOG_FILE
from retriever.types import Document, Page, PageState
from tests.fakes import FakeEmbedder
from tests.handles import open_inodes
from tests.interface.server.running import TEXTS, Running, make_index, running, served


def without_times(value: Any) -> Any:
    return json.loads(re.sub(r'"took_ms": [\d.]+', '"took_ms": 0', json.dumps(value)))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        (("-k", "1", "--mode", "keyword"), {"k": 1, "mode": "keyword"}),
        (("--mode", "dense", "--no-fold"), {"mode": "dense", "fold": False}),
        (("--where", '{"words": {"gte": 9}}'), {"where": {"words": {"gte": 9}}}),
        (("--min-match", "0.9", "--context", "1"), {"min_match": 0.9, "context": 1}),
        (("--no-syntax", "--no-feedback"), {"syntax": False, "feedback": False}),
        (("--diversity", "0.5", "--by-file"), {"diversity": 0.5, "by_file": True}),
    ],
)
def test_a_search_is_that_of_the_command_line(
    notes: Running, command: Any, arguments: tuple[str, ...], options: dict[str, Any]
) -> None:
    query = "a rof in the rain -postman"
    expected = command("search", query, *arguments)
    answer = notes.post("/search", {"query": query, **options})
    assert answer.status == 200
    assert without_times(answer.json) == without_times(expected)


def test_every_option_of_a_search_is_taken_and_documented(notes: Running) -> None:
    values = SearchOptions(where={"format": "text"}, min_match=0.5, typos=True).to_json()
    values |= {"steering": {"weights": [1, 0.5], "marked": []}}
    answer = notes.post("/search", {"query": "the roof", **values})
    assert answer.status == 200, answer.json
    schemas = notes.get("/openapi.json").json["components"]["schemas"]
    for name in ("SearchRequest", "ExplainRequest", "AnswerRequest"):
        assert {one.name for one in fields(SearchOptions)} < set(schemas[name]["properties"])
    assert schemas["SearchRequest"]["properties"]["k"] == {
        "type": "integer",
        "default": 10,
        "title": "K",
    }


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"query": "cat", "nok": 1}, 400, "'nok' is no search option; there are k, mode"),
        ({"query": "cat", "k": 0}, 400, "the number of results must be at least 1"),
        ({"query": "cat", "k": "3"}, 400, "k must be a whole number; it is '3'"),
        ({"query": "cat", "k": 1001}, 400, "k is at most 1000 here"),
        ({"query": "cat", "where": {"a": {"near": 1}}}, 400, "'near', which is not an operator"),
        ({"query": "cat", "mode": "magic"}, 400, "unknown mode 'magic'"),
        ({"query": " "}, 400, "the query is empty"),
        ({"query": 3}, 400, "query: input should be a valid string"),
        ({}, 400, "query: field required"),
        ([], 400, "input should be a valid"),
        (b"{", 400, "the request is no valid JSON"),
        ({"query": "cat", "index": "no"}, 404, "there is no index 'no' here; there are 'notes'"),
        ({"query": "cat", "index": ["notes", "no"]}, 404, "there is no index 'no'"),
    ],
)
def test_what_is_wrong_is_said(notes: Running, body: Any, status: int, sentence: str) -> None:
    answer = notes.post("/search", body)
    assert answer.status == status
    assert sentence in answer.json["error"]
    assert answer.json.keys() == {"error"}


def test_unknown_places_and_methods(notes: Running) -> None:
    assert notes.get("/nothing").json == {
        "error": "there is nothing at /nothing; /docs lists what there is"
    }
    refused = notes.get("/search")
    assert refused.status == 405
    assert "GET is not for /search" in refused.json["error"]


# Explanations


def test_an_explanation_is_that_of_the_command_line(notes: Running, command: Any) -> None:
    query = "cat on the roof"
    hits = notes.post("/search", {"query": query}).json["hits"]
    first, second = (hit["chunk_id"] for hit in hits[:2])
    for arguments, body in (
        ((), {}),
        (("--hit", "2"), {"hit": 2}),
        (("--chunk", second, "--mode", "dense"), {"chunk": second, "mode": "dense"}),
        (("--file", "tea.txt"), {"file": "tea.txt"}),
        (("--above", first, second), {"above": [first, second]}),
        (("--check",), {"check": True}),
    ):
        answer = notes.post("/explain", {"query": query, **body})
        assert answer.json == command("explain", query, *arguments), body


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"chunk": "nothing"}, 404, "there is no passage 'nothing'"),
        ({"above": ["one"]}, 400, "above takes the ids of two passages"),
        ({"hit": 99}, 400, "there is no result 99: 2 were found"),
        ({"hit": 0}, 400, "hit: input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_explained(
    notes: Running, body: dict[str, Any], status: int, sentence: str
) -> None:
    answer = notes.post("/explain", {"query": "+roof", "mode": "keyword", **body})
    assert (answer.status, sentence in answer.json["error"]) == (status, True), answer.json


# Documents and passages


@pytest.fixture
def pages(tmp_path: Path) -> Any:
    """A server of an index with a document of three pages, one of them unreadable."""
    texts = ("First page: apples. " * 60, "", "Third page: pears 🍐 and plums.")
    made = tuple(
        Page(number, text, PageState.TEXT if text else PageState.SCANNED, label="")
        for number, text in enumerate(texts, 1)
    )
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        index.add([Document("fruit.pdf", "pdf", made, title="Fruit", metadata={"year": 2024})])
        (row,) = index.documents()
    with running(served({"ix": tmp_path / "ix"})) as server:
        yield server, row.id, texts


def test_a_document_and_its_pages(pages: Any) -> None:
    server, id_, texts = pages
    whole = server.get(f"/documents/{id_}").json
    assert whole["text"] == PAGE_BREAK.join(texts)
    assert whole["next_offset"] is None
    assert {name: whole[name] for name in ("index", "path", "title", "metadata")} == {
        "index": "ix",
        "path": "fruit.pdf",
        "title": "Fruit",
        "metadata": {"year": 2024},
    }
    for place, text in zip(whole["pages"], texts, strict=True):
        assert whole["text"][place["start"] : place["end"]] == text
    assert [place["state"] for place in whole["pages"]] == ["text", "scanned", "text"]
    third = server.get(f"/documents/{id_}?page=3").json
    assert (third["page"], third["text"]) == (3, texts[2])


def test_a_document_in_pieces(pages: Any) -> None:
    server, id_, texts = pages
    found, offset = "", 0
    while offset is not None:
        part = server.get(f"/documents/{id_}?offset={offset}&length=100").json
        assert len(part["text"]) <= 100
        found, offset = found + part["text"], part["next_offset"]
    assert found == PAGE_BREAK.join(texts)
    beyond = server.get(f"/documents/{id_}?offset=99999").json
    assert (beyond["text"], beyond["next_offset"]) == ("", None)


def test_a_passage_and_those_around_it(pages: Any) -> None:
    server, _, texts = pages
    hit = server.post("/search", {"query": "pears", "k": 1, "fold": False}).json["hits"][0]
    found = server.get(f"/passages/{hit['chunk_id']}?context=1").json
    assert {name: found[name] for name in ("text", "page", "start", "end")} == {
        name: hit[name] for name in ("text", "page", "start", "end")
    }
    assert texts[2][found["start"] : found["end"]] == found["text"]
    (before,) = found["before"]
    assert before["page"] == 1
    assert texts[0][before["start"] : before["end"]] == before["text"]
    assert found["after"] == []
    alone = server.get(f"/passages/{hit['chunk_id']}").json
    assert alone["before"] == alone["after"] == []


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/documents/nothing", 404, "there is no document 'nothing' here"),
        ("/documents/..%2F..%2Fetc%2Fpasswd", 404, "there is n"),
        ("/passages/nothing", 404, "there is no passage 'nothing' here"),
        ("/documents/{id}?page=7", 400, "fruit.pdf has no page 7: it has 3 pages"),
        ("/documents/{id}?offset=-1", 400, "offset counts from 0"),
        ("/documents/{id}?length=0", 400, "length from 1"),
        ("/documents/{id}?page=x", 400, "page: input should be a valid integer"),
        ("/documents/{id}?index=other", 404, "there is no index 'other'"),
        ("/passages/{id}?context=99", 400, "from 0 to 20"),
    ],
)
def test_what_is_not_there(pages: Any, path: str, status: int, sentence: str) -> None:
    server, id_, _ = pages
    answer = server.get(path.format(id=id_))
    assert (answer.status, sentence in answer.json["error"]) == (status, True), answer.json


# The index while it changes, and several


def test_a_search_sees_the_newest_commit(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "notes")

    def paths(server: Running) -> list[str]:
        return [hit["path"] for hit in server.post("/search", {"query": "+whale"}).json["hits"]]

    with running(served({"notes": folder})) as server:
        assert paths(server) == []
        with Index.open(folder, FakeEmbedder()) as other:  # as another process writes
            other.add([Document("sea.txt", "text", (Page(None, "A whale sings."),))])
            assert paths(server) == ["sea.txt"]
            other.remove("sea.txt")
        assert paths(server) == []


def test_an_index_that_was_made_anew_is_opened_again(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "notes")
    with running(served({"notes": folder})) as server:
        assert server.post("/search", {"query": "+cat"}).json["hits"]
        anew = make_index(tmp_path / "anew", {"sea.txt": "A whale sings to a cat."})
        shutil.rmtree(folder)
        anew.rename(folder)
        (hit,) = server.post("/search", {"query": "+cat"}).json["hits"]
        assert hit["path"] == "sea.txt"


def test_what_was_replaced_is_closed(tmp_path: Path) -> None:
    """Else the server would hold more files with every replacement, and what was deleted."""
    folder = make_index(tmp_path / "notes")
    with running(served({"notes": folder})) as server:
        gone = {(folder / "catalog.sqlite").stat().st_ino}
        for number in range(3):
            anew = make_index(tmp_path / "anew", {f"{number}.txt": "A whale sings to a cat."})
            shutil.rmtree(folder)
            anew.rename(folder)
            assert server.post("/search", {"query": "+cat"}).json["hits"]
            now = (folder / "catalog.sqlite").stat().st_ino
            gc.collect()
            assert now in open_inodes()
            assert not open_inodes(deleted=True) & gone
            gone.add(now)


def test_an_index_that_gets_its_first_documents_while_it_is_served(tmp_path: Path) -> None:
    Index.open_or_create(tmp_path / "notes").close()
    with running(served({"notes": tmp_path / "notes"})) as server:
        assert server.post("/search", {"query": "cat"}).json["hits"] == []
        make_index(tmp_path / "notes")
        (hit,) = server.post("/search", {"query": "+cat"}).json["hits"]
        assert hit["scores"]["dense"] > 0.2


def test_several_indexes_are_searched_together(tmp_path: Path) -> None:
    folders = {
        "notes": make_index(tmp_path / "notes"),
        "sea": make_index(tmp_path / "sea", {"whales.txt": "A whale sings on no roof."}),
    }
    with running(served(folders)) as server:
        answer = server.post("/search", {"query": "roof", "mode": "keyword"}).json
        assert answer["indexes"] == ["notes", "sea"]
        assert answer["failed"] == {}
        assert {(hit["index"], hit["path"]) for hit in answer["hits"]} == {
            ("notes", "cats.txt"),
            ("notes", "rain.txt"),
            ("sea", "whales.txt"),
        }
        one = server.post("/search", {"query": "roof", "index": "sea"}).json
        assert (one["index"], len(one["hits"])) == ("sea", 1)
        id_ = one["hits"][0]["document_id"]
        assert server.get(f"/documents/{id_}").json["index"] == "sea"
        assert server.get(f"/documents/{id_}?index=notes").status == 404
        refused = server.post("/explain", {"query": "roof"})
        assert "give index, one of notes, sea" in refused.json["error"]
        assert len(server.served.models) == 1, "one model for both"


def test_a_name_that_is_no_unicode_is_sent_as_ascii(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "ix", {"na\udcefve.txt": "A naive text."})
    with running(served({"ix": folder})) as server:
        answer = server.post("/search", {"query": "naive"})
        assert answer.json["hits"][0]["path"] == "na\udcefve.txt"


# The server's own pages


def test_health_and_metrics(notes: Running) -> None:
    assert notes.get("/healthz").json == {"status": "ok"}
    before = metric(notes, 'wva_requests_total{route="/search",status="200"}')
    notes.post("/search", {"query": "secret words"})
    shown = notes.get("/metrics").body.decode()
    assert metric(notes, 'wva_requests_total{route="/search",status="200"}') == before + 1
    notes.get("/documents/166b04472f278188")
    assert metric(notes, 'wva_requests_total{route="/documents/{document_id}"') >= 1
    for name in ("wva_request_seconds_bucket", "wva_batch_texts_bucket", "wva_batch_seconds_sum"):
        assert name in shown
    assert 'wva_model_queue_requests{model="fake"} 0.0' in shown
    assert not any(word in shown for word in ("secret", *TEXTS, "127.0.0.1"))


def metric(server: Running, beginning: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(beginning))


def test_the_openapi_page_names_every_route_and_loads_nothing(notes: Running) -> None:
    page = notes.get("/docs").body.decode()
    document = notes.get("/openapi.json").json
    assert len(document["paths"]) > 10
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page
            assert "422" not in methods[method]["responses"]
    assert not re.search(r"<(script|link|img)|https?://", page)


def test_what_one_index_has_is_found_beside_one_that_cannot_be_read(tmp_path: Path) -> None:
    folders = {name: make_index(tmp_path / name) for name in ("gone", "broken")}
    texts = {"owls.txt": "An owl sees at night."}
    folders["kept"] = make_index(tmp_path / "kept", texts)
    with running(served(folders)) as server:
        (hit,) = server.post("/search", {"query": "owl", "index": "kept"}).json["hits"]
        shutil.rmtree(folders["gone"])
        catalog = folders["broken"] / CATALOG_FILE
        (tmp_path / "other").write_bytes(b"no catalog" * 1000)
        (tmp_path / "other").replace(catalog)  # a file of its own: the index is opened again
        answer = server.post("/search", {"query": "owl"})
        assert answer.status == 200
        assert [one["path"] for one in answer.json["hits"]] == ["owls.txt"]
        assert set(answer.json["failed"]) == {"gone", "broken"}
        assert server.get(f"/documents/{hit['document_id']}").json["index"] == "kept"
        assert server.get(f"/passages/{hit['chunk_id']}").json["index"] == "kept"
        assert server.get("/documents/none").status == 503, "it may be in one of the others"
        assert server.post("/search", {"query": "owl", "index": "broken"}).status == 503


def test_the_command_that_goes_on_names_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.sync([_written(tmp_path)], keywords_only=True)
    with running(served({"notes": folder})) as server:
        notes = server.post("/search", {"query": "owl"}).json["notes"]
    assert f"To go on: wva index --vectors-only --index {folder}" in notes


def _written(folder: Path) -> Path:
    path = folder / "owl.txt"
    path.write_text("An owl sees at night.", "utf-8")
    return path
