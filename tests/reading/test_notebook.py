"""Notebooks: cells and their printed outputs, in order."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.reading.plain.notebook import read_notebook
from retriever.types import Document, Page, ReadError


def only(document: Document) -> Page:
    (page,) = document.pages
    return page


NOTEBOOK = {
    "metadata": {"kernelspec": {"language": "python"}, "authors": [{"name": "Ada Lovelace"}]},
    "nbformat": 4,
    "cells": [
        {"cell_type": "markdown", "source": ["# The Garden\n", "Words."]},
        {
            "cell_type": "code",
            "source": "x = '```'",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31maccuracy\x1b[0m 0.93\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": "<F>"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []},
            ],
        },
        {"cell_type": "code", "source": "", "outputs": []},
        {"cell_type": "raw", "source": "raw words"},
    ],
}


def test_a_notebook():
    found = read_notebook(json.dumps(NOTEBOOK).encode(), "a.ipynb")
    assert only(found).text == (
        "# The Garden\nWords.\n\n````python\nx = '```'\n````\n\n"
        "```\naccuracy 0.93\nKeyError: 'x'\n```\n\nraw words"
    )
    assert (found.title, found.author) == ("The Garden", "Ada Lovelace")
    assert found.metadata == {"language": "python"}


def test_an_old_notebook_and_long_outputs():
    old = {
        "worksheets": [
            {"cells": [{"cell_type": "code", "input": "1", "outputs": [{"text": "y" * 5_000}]}]}
        ]
    }
    text = only(read_notebook(json.dumps(old).encode(), "a.ipynb")).text
    assert text.startswith("```\n1\n```\n\n```\nyyy")
    assert len(text) < 2_100


@pytest.mark.parametrize("source", ["", "[]", "{}", '{"cells": 1}', "{" * 100_000, '{"cells": ['])
def test_what_is_no_notebook(source):
    with pytest.raises(ReadError, match=r"not a notebook|not the JSON of a notebook"):
        read_notebook(source.encode(), "a.ipynb")


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "source", "cell_type", "outputs", "data", "text", "metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=80, deadline=None)
@given(cells=st.lists(VALUES, max_size=4), metadata=VALUES)
def test_odd_notebooks_raise_nothing_but_read_errors(cells, metadata):
    data = json.dumps({"cells": cells, "metadata": metadata}).encode()
    page = only(read_bytes(data, "a.ipynb", ReadOptions()))
    assert page.state.readable == bool(page.text.strip())


def notebook_of(outputs: list[dict[str, object]]) -> Document:
    cell = {"cell_type": "code", "source": "", "outputs": outputs}
    return read_notebook(json.dumps({"cells": [cell]}).encode(), "a.ipynb")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text/markdown": ["**result** marabou"]}, "**result** marabou"),
        ({"text/latex": "$x = 1$", "text/plain": "<IPython.core.display.Latex object>"}, "$x = 1$"),
        ({"text/html": "<p>html <b>crane</b></p>"}, "html crane"),
        ({"text/html": "<p>crane 1</p>", "text/plain": "crane 1"}, "```\ncrane 1\n```"),
        ({"text/plain": "bill  10 %\r\x1b[Kbill 100 %"}, "```\nbill 100 %\n```"),
    ],
)
def test_outputs_in_other_forms(data, text):
    found = notebook_of([{"output_type": "display_data", "data": data}])
    assert only(found).text == text


def test_outputs_of_version_3():
    outputs = [
        {"output_type": "pyout", "html": "<p>crane</p>"},
        {"output_type": "stream", "text": "ibis"},
    ]
    assert only(notebook_of(outputs)).text == "crane\n\n```\nibis\n```"


def test_what_is_left_out_of_outputs_is_named():
    long = "".join(f"line {number}\n" for number in range(400))
    drawn = {"image/svg+xml": "<svg>drawn</svg>", "text/plain": "<Figure>"}
    traceback = ["\x1b[31mmarsh\x1b[0m"]
    found = notebook_of(
        [
            {"output_type": "stream", "text": "load 10%\rload 99%\n"},
            {"output_type": "error", "ename": "E", "evalue": "x", "traceback": traceback},
            {"output_type": "stream", "text": long},
            {"output_type": "display_data", "data": drawn},
        ]
    )
    kinds = {one.kind: one.text for one in found.left_out}
    assert kinds["overwritten progress"] == "load 10%"
    assert kinds["tracebacks"] == "marsh"
    assert kinds["outputs that are no text"] == "<svg>drawn</svg>"
    assert kinds["names of objects"] == "<Figure>"
    shown = only(found).text.removeprefix("```\n").removesuffix("\n```")
    assert shown.replace(" … ", kinds["long outputs"]) == f"load 99%\nE: x\n{long}".rstrip("\n")


KINDS = ["markdown", "raw", "code", "stream", "plain", "both", "html", "error", "svg", "metadata"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 3)), max_size=8))
def test_every_word_of_a_notebook_is_on_the_page_or_left_out(parts):
    words: list[str] = []
    cells = []
    for kind, count in parts:
        mine = [f"w{len(words) + at:03}" for at in range(count)]
        words += mine
        cells.append(_cell(kind, " ".join(mine)))
    found = read_notebook(json.dumps({"cells": cells}).encode(), "a.ipynb")
    pages = re.findall(r"\bw\d{3}\b", only(found).text)
    left = re.findall(r"\bw\d{3}\b", " ".join(one.text for one in found.left_out))
    assert pages == sorted(pages)
    assert Counter([*pages, *left]) == Counter(words)


def _cell(kind: str, text: str) -> dict[str, object]:
    if kind in ("markdown", "raw", "code"):
        return {"cell_type": kind, "source": [text, "\n"], "outputs": []}
    if kind == "metadata":
        return {"cell_type": "raw", "source": "", "metadata": {"note": [text]}}
    output: dict[str, object] = {"output_type": "stream", "text": f"\x1b[1m{text}\x1b[0m\n"}
    if kind == "error":
        output = {"output_type": "error", "ename": "E", "evalue": "", "traceback": [text]}
    forms = {"plain": ["text/plain"], "both": ["text/plain", "text/markdown"]}
    forms |= {"html": ["text/html"], "svg": ["image/svg+xml"]}
    if kind in forms:
        output = {"output_type": "execute_result", "data": dict.fromkeys(forms[kind], text)}
    return {"cell_type": "code", "source": "x()", "outputs": [output]}
