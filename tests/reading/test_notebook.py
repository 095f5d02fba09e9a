"""Notebooks: cells and their printed outputs, in order."""

from __future__ import annotations

import json

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
