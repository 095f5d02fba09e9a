"""Results as files: each read back by an independent reader."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from retriever.interface.export import COLUMNS, SearchExport, as_csv, as_json, as_markdown, citation
from retriever.interface.terminal.results import hit_lines
from retriever.langchain import as_document
from retriever.types import Chunk, DocumentRow, Excerpt, Hit, Strength

NASTY = '=HYPERLINK("x")\n<script>alert(1)</script> *b* [l](u) # 1. "quoted", ü\udc80'


def hit(rank: int, text: str = "Pears are green.", **changes: object) -> Hit:
    values = {
        "id": f"c{rank}", "document_id": "d1", "path": "fruit/pears.pdf", "format": "pdf",
        "title": "On pears.", "page": 3, "start": 0, "end": len(text), "text": text,
    }  # fmt: skip
    chunk = Chunk(**{**values, **changes})  # type: ignore[arg-type]  # the chunk's own fields
    return Hit(rank, 1.5, chunk, dense=0.25, keyword=None)


ROW = DocumentRow("d1", "s", "/s", "fruit/pears.pdf", "pdf", author="Ada Lovelace", date="1843-07")
FOUND = SearchExport(
    "green *pears*", "notes", "hybrid",
    [replace(hit(1), exact=True, strength=Strength.EXACT), hit(2, NASTY, path="+x.md", page=None)],
    ["path *.pdf"], {"d1": ROW},
)  # fmt: skip


def test_json_says_everything() -> None:
    told = json.loads(as_json(FOUND))
    assert {name: told[name] for name in ("query", "index", "mode", "filters")} == {
        "query": "green *pears*", "index": "notes", "mode": "hybrid", "filters": ["path *.pdf"],
    }  # fmt: skip
    assert [one["text"] for one in told["hits"]] == ["Pears are green.", NASTY]
    assert told["hits"][0]["scores"] == {"dense": 0.25, "keyword": None, "rerank": None}
    assert told["hits"][0]["author"] == "Ada Lovelace"


def test_one_json_of_a_hit() -> None:
    """The command line prints it, files add what one cites, chains get its places and scores."""
    chunk = Chunk(
        *("c2", "d1", "a.pdf", "pdf", "Pears", 3, 5, 12, "Second."),
        {"year": 2024, "ratio": math.nan},
        label="iii",
    )
    other = replace(chunk, id="c1", start=0, end=4, text="One.")
    known = Hit(
        *(1, 1.5, chunk),
        dense=0.25,
        match=0.9,
        strength=Strength.LIKELY,
        also=(replace(chunk, id="c9", path="b.pdf", page=None, label=""),),
        parts=(other, chunk),
        passage=(Excerpt(3, "iii", 0, 12, "One. Second."),),
        sentence=Excerpt(3, "iii", 0, 4, "One."),
    )
    told = json.loads(json.dumps(known.to_json(), allow_nan=False))
    assert told == {
        "rank": 1, "score": 1.5, "match": 0.9, "exact": False, "strength": "likely",
        "embedded": True,
        "scores": {"dense": 0.25, "keyword": None, "rerank": None},
        "chunk_id": "c2", "document_id": "d1", "path": "a.pdf", "format": "pdf", "title": "Pears",
        "page": 3, "printed": "", "label": "iii", "state": "text", "start": 5, "end": 12,
        "metadata": {"year": 2024, "ratio": None},
        "text": "Second.", "full_text": "One. Second.", "parts": ["c1", "c2"],
        "passage": [{"page": 3, "label": "iii", "start": 0, "end": 12, "text": "One. Second."}],
        "sentence": {"page": 3, "label": "iii", "start": 0, "end": 4, "text": "One."},
        "also": [{"chunk_id": "c9", "path": "b.pdf", "page": None, "label": ""}],
    }  # fmt: skip
    assert hit(1).to_json()["full_text"] == hit(1).to_json()["text"] == "Pears are green."
    (exported,) = json.loads(as_json(SearchExport("q", "notes", "hybrid", [known])))["hits"]
    assert exported == {**told, "author": "", "date": "", "citation": "Pears. a.pdf, iii"}
    document = as_document(known)
    assert (document.id, document.page_content) == ("c2", "One. Second.")
    assert document.metadata == {
        "year": 2024, "ratio": None,
        **{name: told[name] for name in (
            "score", "match", "exact", "strength", "path", "format", "title", "document_id", "page",
            "printed", "label", "state", "start", "end",
        )},
        "dense": 0.25, "keyword": None, "rerank": None,
        "passage": [{"page": 3, "label": "iii", "start": 0, "end": 12}],
        "sentence": told["sentence"],
        "also": ["b.pdf"],
    }  # fmt: skip


def test_a_page_is_cited_by_the_number_that_is_printed_on_it() -> None:
    found = hit(1)
    printed = replace(found, chunk=replace(found.chunk, page=39, printed="23"))
    assert printed.to_json()["printed"] == "23"
    assert printed.to_json()["page"] == 39
    assert citation(printed).endswith("page 23 (PDF page 39)")
    table = as_csv(SearchExport("q", "notes", "hybrid", [printed])).removeprefix("\ufeff")
    (row,) = csv.DictReader(io.StringIO(table, newline=""))
    assert row["place"] == "page 23 (PDF page 39)"
    assert "page 23 (PDF page 39)" in hit_lines(printed, "pears", colour=False)[0]


def test_files_have_the_best_sentence() -> None:
    best = Excerpt(3, "", 6, 14, "=*green*")
    found = replace(FOUND, hits=[replace(hit(1, "Ripe. =*green*"), sentence=best), hit(2)])
    assert [one["sentence"] for one in json.loads(as_json(found))["hits"]] == [
        {"page": 3, "label": "", "start": 6, "end": 14, "text": "=*green*"}, None,
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(as_csv(found)[1:], newline="")))
    assert [row["sentence"] for row in rows] == ["'=*green*", ""]
    lines = as_markdown(found).splitlines()
    at = lines.index(r"**=\*green\***")
    assert lines[at + 1 : at + 3] == ["", r"> Ripe. =\*green\*"]
    assert sum(line.startswith("**") for line in lines) == 1


def test_csv_is_a_table_without_formulas() -> None:
    text = as_csv(FOUND)
    assert text.startswith("\ufeff")
    text.encode()
    rows = list(csv.DictReader(io.StringIO(text[1:], newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["text"] == "Pears are green."
    assert (rows[0]["place"], rows[0]["meaning"], rows[0]["keywords"]) == ("page 3", "0.25", "")
    assert [row["strength"] for row in rows] == ["exact words", ""]
    assert rows[1]["path"] == "'+x.md"
    assert rows[1]["text"] == "'" + NASTY.replace("\udc80", "\ufffd")


def test_markdown_quotes_and_cites_and_shows_text_as_it_is() -> None:
    docutils_free = as_markdown(FOUND)
    lines = docutils_free.splitlines()
    assert lines[0] == r"# green \*pears\*"
    assert "> Pears are green." in lines
    assert "[1] Ada Lovelace (1843). On pears. fruit/pears.pdf, page 3" in lines
    assert r"\<script\>alert(1)\</script\> \*b\* \[l\](u) \# 1. " in docutils_free
    assert all(line.startswith(("#", ">", "[")) or not line or line == lines[2] for line in lines)


@pytest.mark.parametrize(
    ("row", "title", "expected"),
    [
        (None, "", "fruit/pears.pdf, page 3"),
        (ROW, "On pears.", "Ada Lovelace (1843). On pears. fruit/pears.pdf, page 3"),
        (DocumentRow("", "", "", "", "", author="A. B."), "", "A. B. fruit/pears.pdf, page 3"),
        (DocumentRow("", "", "", "", "", date="2024"), "T", "(2024). T. fruit/pears.pdf, page 3"),
    ],
)
def test_a_citation_says_what_is_known(row: DocumentRow | None, title: str, expected: str) -> None:
    assert citation(hit(1, title=title), row) == expected
