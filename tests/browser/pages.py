"""The documents of the browser tests, and what a page shows of them."""

from __future__ import annotations

from typing import Any

from retriever.types import Document, Page

NASTY = "<script>window.owned=1<!script> *b* _u_ [l](x) :red[r] $m$.md"
TEXT = (
    "A turnip <script>window.owned=1</script><img src=x onerror='window.owned=1'> **grows** here."
)

DOCUMENTS = [
    Document("fruit/apples.pdf", "pdf", (Page(1, "A cover."), Page(2, "Apples are red & sweet."))),
    Document("fruit/pears.txt", "txt", (Page(None, "Pears are green. " + "They hang. " * 90),)),
    Document(NASTY, "markdown", (Page(None, TEXT),), title="<b onclick='window.owned=1'>*t*</b>"),
]


def results(tab: Any) -> list[str]:
    """The names of the files in the list of results, in order."""
    return [str(text) for text in tab.locator(".wva-card .wva-file bdi").all_inner_texts()]


def act_on(tab: Any, rank: int, act: str) -> None:
    """Click a button of a result: "open", "why", "more", "less", "copy", "longer"."""
    hit = tab.locator(f'.wva-hit[data-rank="{rank}"]')
    hit.hover()
    hit.locator(f'[data-act="{act}"]').click()
