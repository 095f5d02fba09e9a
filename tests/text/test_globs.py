"""The literal beginning of a glob, by which a database narrows the paths that it tries."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retriever.text.globs import glob_matches, literal_beginning


@given(
    st.text(alphabet="aeK.*?[]/\u0301\u00e9\u212a~", max_size=8),
    st.text(alphabet="aeK./\u0301\u00e9\u212a~", max_size=6),
)
@example("x/\u212a/*", "x/K/a")
@example("x/e\u0301/*", "x/\u00e9/a")
@example("x/a.txt", "x/a.TXT")
def test_a_path_that_matches_has_the_literal_beginning(pattern: str, path: str) -> None:
    for each in (pattern, f"x/{pattern}", path):
        for name in (path, f"x/{path}"):
            if glob_matches(each, name):
                assert name.startswith(literal_beginning(each))


@pytest.mark.parametrize(
    ("pattern", "beginning"),
    [
        ("a/b/**", "a/b/"),
        ("a/b", "a/b"),
        ("*/b", ""),
        ("a", ""),
        ("a/K*", "a/"),
        ("a/e\u0301*", "a/"),
        ("v1.2/b*", "v1"),
    ],
)
def test_the_literal_beginning_of_a_pattern(pattern: str, beginning: str) -> None:
    assert literal_beginning(pattern) == beginning
