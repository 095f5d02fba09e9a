"""reStructuredText: all of its text, also in Sphinx's directives; nothing is included or run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.markup import rst
from retriever.reading.markup.rst import read_rst
from retriever.types import PageState

FILE = """\
==========
The Garden
==========

:Author: Ada Lovelace
:Date: 2024-03-07

Dark *earth* and ``seeds``, see :ref:`the shed <shed>`, :class:`~garden.Bed` and `a link
<http://example.org>`_ of |who| [1]_.

.. |who| replace:: Bob
.. _shed:
.. A comment.

Beds
====

- one
- two

  - inner

#. first
#. second

Compost : noun
    Rotten leaves.

.. note:: Take care.

.. code-block:: python
   :linenos:

   def dig():
       return 1

Sub
---

=====  ====
Name   Born
=====  ====
Ada    1815
Bob    1900
=====  ====

.. list-table:: Tools
   :header-rows: 1

   * - Tool
     - Use
   * - Spade
     - To *dig*

Literal::

    x = y

| line one
| line two

-a, --all   Show all
--long=X    Longer

.. [1] A footnote.
"""

TEXT = """\
# The Garden

Author: Ada Lovelace
Date: 2024-03-07

Dark earth and seeds, see the shed, garden.Bed and a link of Bob [1].

## Beds

- one
- two
  - inner

1. first
2. second

Compost : noun
  Rotten leaves.

Note: Take care.

```python
def dig():
    return 1
```

### Sub

Name: Ada | Born: 1815
Name: Bob | Born: 1900

Tools

Tool: Spade | Use: To dig

Literal:

```
x = y
```

line one
line two

-a, --all  Show all
--long=X  Longer

[1] A footnote."""


def text_of(source: str) -> str:
    return read_rst(source.encode(), "a.rst").pages[0].text


def test_a_file():
    found = read_rst(FILE.encode(), "a.rst")
    assert found.pages[0].text == TEXT
    assert (found.title, found.author, found.date) == ("The Garden", "Ada Lovelace", "2024-03-07")
    assert (found.format, found.pages[0].number, found.pages[0].reason) == ("rst", None, "")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (".. unheard:: Some words\n   :option: x\n\n   More *words*.", "Some words\n\nMore words."),
        (".. py:function:: dig(deep)\n\n   Digs.", "dig(deep)\n\nDigs."),
        ("An :unheard:`odd one` here.", "An odd one here."),
        ("The :unheard:`title <target>`.", "The title."),
        (".. versionadded:: 3.2\n   Now with roses.", "Now with roses."),
        ("A\n\nBad\n~~\nBack\n", "A\n\nBad\n~~\nBack"),
        ("*open and ``open", "*open and ``open"),
        (".. list-table::\n\n   * - a\n   * - b\n     - c", "* - a\n   * - b\n     - c"),
        ("|missing| is missing", "missing is missing"),
    ],
)
def test_what_docutils_does_not_know_keeps_its_text(source, text):
    assert text in text_of(source)


def test_levels_in_the_wrong_order_lose_nothing():
    found = text_of("A\n=\n\nB\n-\n\nC\n~\n\nD\n=\n\nE\n^\n\nend\n")
    assert [word for word in found.split() if word.isalpha()] == ["A", "B", "C", "D", "E", "end"]


def test_nothing_is_included_or_run(tmp_path):
    (tmp_path / "secret.txt").write_text("SECRET")
    path = tmp_path / "secret.txt"
    source = (
        f"before\n\n.. include:: {path}\n\n.. raw:: html\n   :file: {path}\n\n"
        f".. csv-table::\n   :file: {path}\n\n.. literalinclude:: {path}\n\n"
        ".. raw:: html\n\n   <script>x</script>\n\nafter"
    )
    found = text_of(source)
    assert "SECRET" not in found
    assert "before" in found
    assert "after" in found


def test_nothing_is_printed(capfd):
    text_of("Title\n==\n\n*open\n\n.. bad::\n.. include:: nowhere")
    assert capfd.readouterr() == ("", "")


def test_substitutions_do_not_grow():
    bomb = "".join(f".. |a{n}| replace:: {f'|a{n - 1}| ' * 10}\n" for n in range(1, 30))
    assert len(text_of(f".. |a0| replace:: x\n{bomb}\n|a29|")) < 1_000


def test_deep_nesting_keeps_its_words():
    found = text_of("\n\n".join("  " * depth + f"- area{depth}" for depth in range(400)))
    assert {f"area{depth}" for depth in range(400)} <= {word.strip("- ") for word in found.split()}


def test_a_long_file_is_taken_as_it_stands(monkeypatch):
    monkeypatch.setattr(rst, "_MAX_PARSED", 10)
    (page,) = read_rst(b"*more* than that", "a.rst").pages
    assert (page.text, page.state) == ("*more* than that", PageState.TEXT)
    assert page.reason == "its 16 characters were taken as they stand"


def test_a_text_made_to_hurt_is_taken_as_it_stands():
    (page,) = read_rst(b"*a " * 50_000, "a.rst").pages
    assert page.reason == "its 150,000 characters were taken as they stand"


def test_nothing_in_it():
    (page,) = read_rst(b".. a comment\n", "a.rst").pages
    assert (page.state, page.reason) == (
        PageState.EMPTY,
        "nothing but blanks or comments in it",
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_files_keep_most_of_their_words(data):
    changed = FILE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        put = data.draw(st.text(" \n-=.:*`|_[]<>\t\\x", max_size=6))
        changed = changed[:at] + put + changed[at + data.draw(st.integers(0, 8)) :]
    (page,) = read_rst(changed.encode(), "a.rst").pages
    assert page.state is PageState.TEXT
    for word in ("leaves", "Spade", "Ada", "dig"):
        assert changed.count(word) == 0 or word in page.text or "::" in changed


def test_tables_keep_empty_and_merged_cells():
    source = (
        ".. csv-table::\n   :header: Name, Phone, Room\n\n   Ada,,14\n   Bob,7,9\n\n"
        "+---+---+\n| x | y |\n+   +---+\n|   | z |\n+---+---+\n"
    )
    assert text_of(source) == (
        "Name: Ada | Room: 14\nName: Bob | Phone: 7 | Room: 9\n\nx | y\nx | z"
    )


def test_raised_numbers_are_not_part_of_the_word():
    source = r"The treaty\ :sup:`1`, 10\ :sup:`23` and m\ :sup:`2`, H\ :sub:`2`\ O"
    assert text_of(source) == "The treaty[1], 10^23 and m2, H2O"


def test_captions_and_pictures_are_text_and_the_rest_is_named():
    source = (
        ".. A comment\n\n.. code-block:: python\n   :caption: The first steps\n   :linenos: 1\n\n"
        "   x = 1\n\n.. image:: a.png\n   :alt: A picture of a pump\n\n"
        ".. raw:: html\n\n   <b>Raw</b> words<script>x</script>\n\n"
        ".. raw:: latex\n\n   \\bf Other\n"
    )
    found = read_rst(source.encode(), "a.rst")
    assert found.pages[0].text == (
        "The first steps\n\n```python\nx = 1\n```\n\nA picture of a pump\n\nRaw words"
    )
    assert [(part.kind, part.text) for part in found.left_out] == [
        ("comments", "A comment"),
        ("options", "linenos: 1"),
        ("scripts", "x"),
        ("text for one output format", "\\bf Other"),
    ]


def test_what_is_left_out_is_named():
    source = (
        "Title\n=====\n\n.. a comment\n   of two lines\n\n.. |used| replace:: used words\n"
        ".. |unused| replace:: unused words\n\nSee |used| and 6 × 10\\ :sup:`23` here.\n\n"
        ".. raw:: html\n\n   <b>raw words</b>\n\n.. image:: a.png\n   :alt: a mill at night\n"
    )
    found = read_rst(source.encode(), "a.rst")
    assert found.pages[0].text == (
        "# Title\n\nSee used words and 6 × 10^23 here.\n\nraw words\n\na mill at night"
    )
    assert [(one.kind, one.text) for one in found.left_out] == [
        ("comments", "a comment\nof two lines"),
        ("unused substitutions", "unused words"),
    ]


def test_cells_keep_their_columns():
    table = """
+------+-------+------+
| Name | Phone | Room |
+======+=======+======+
| Ada  |       | 14   |
+------+-------+------+
| Bob  | 20    |      |
+------+-------+------+
"""
    assert text_of(table).split("\n") == ["Name: Ada | Room: 14", "Name: Bob | Phone: 20"]
