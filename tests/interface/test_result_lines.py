"""Results in the terminal: the best sentence first, what stands around it dim, words bold."""

from __future__ import annotations

import re

import pytest

from retriever.interface.terminal import results
from retriever.interface.terminal.printing import BOLD, DIM, RESET
from retriever.interface.terminal.results import hit_lines
from retriever.types import Chunk, Excerpt, Hit

TEXT = (
    "This sentence is too long to stand before the best one, which has to be seen at once. Look "
    "at this first. [Secrets](#memsecret) have eight characters at least in all of the systems. "
    "They may have more, of course."
)
BEST = "[Secrets](#memsecret) have eight characters at least in all of the systems."


def hit(*, with_sentence: bool = True) -> Hit:
    start = TEXT.index(BEST)
    best = Excerpt(None, "", start, start + len(BEST), BEST)
    chunk = Chunk("c", "d", "a.md", "markdown", "", None, 0, len(TEXT), TEXT)
    return Hit(1, 1.0, chunk, sentence=best if with_sentence else None)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "text_width", lambda: 40)


def test_the_best_sentence_is_first() -> None:
    head, *lines, last = hit_lines(hit(), "secrets", colour=False)
    assert head.startswith(" 1. a.md")
    assert " ".join(map(str.strip, lines)) == (
        "Look at this first. Secrets have eight characters at least in all of the systems. "
        "They may have more, of course."
    )
    assert last == ""


def test_what_stands_around_it_is_dim() -> None:
    _, *lines, _ = hit_lines(hit(), "secrets first", colour=True)
    plain = [re.sub(r"\033\[\d*m", "", line) for line in lines]
    assert plain == hit_lines(hit(), "secrets first", colour=False)[1:-1]
    bright = "".join(line.strip() + " " for line in lines)
    bright = re.sub(rf"{re.escape(DIM)}.*?{re.escape(RESET)}(?!{re.escape(DIM)})", "", bright)
    shown = " ".join(bright.replace(BOLD, "").replace(RESET, "").split())
    assert shown == "Secrets have eight characters at least in all of the systems."
    assert f"{BOLD}Secrets{RESET} have" in "".join(lines)
    assert f"{BOLD}first{RESET}{DIM}." in "".join(lines)


def test_without_a_sentence_or_with_context_it_is_the_text() -> None:
    lines = hit_lines(hit(with_sentence=False), "secrets", colour=False)
    assert "This sentence is too long" in lines[1]
    whole = " ".join(map(str.strip, hit_lines(hit(), "secrets", colour=False, whole=True)[1:]))
    assert whole.startswith("This sentence is too long")
    assert whole.strip().endswith("of course.")
