"""What the first screen of results shows: `python -m benchmarks.screen --index indexes/sample`.

For queries of all kinds and for the sample's questions: how many snippets are wholly visible
without scrolling, where the first word of the first result stands, and whether the right document
is there. Measured in Chromium, with windows of 1280×800 and 1440×900 pixels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks.browser import MODEL_SECONDS, open_chromium, serve_page

QUESTIONS = Path(__file__).parents[1] / "data" / "queries.jsonl"

KINDS = (
    ("keywords", "password length"),
    ("question", "How long should a memorized secret be?"),
    ("name", "Alice"),
    ("abbreviation", "OSCAL"),
    ("code", "AC-2"),
    ("typing errors", "risc assesment"),
    ("German", "Wie lang muss ein Passwort sein?"),
    ("phrase", '"access control"'),
    ("operators", "+password -biometric type:pdf"),
    ("without an answer", "salary of the president of Mars"),
    ("nonsense", "qqqxyzzy"),
    ("names no word of it", "who may approve a risk exception?"),
    (
        "370 words",
        "An organisation wants to know how its people prove who they are when they come to work "
        "with its systems, and which secrets, devices and features of the body may be used. " * 12,
    ),
)
"""A query of each kind."""

_SEEN = """() => {
  const seen = [...document.querySelectorAll(".wva-hit")].filter((hit) => hit.offsetParent);
  const texts = seen.map((hit) => hit.querySelector(".wva-text").getBoundingClientRect());
  const first = document.querySelector(".wva-card .wva-text");
  const heads = [...document.querySelectorAll(".wva-card > header")];
  const whole = (box) => box.top >= 0 && box.bottom <= innerHeight;
  return {
    visible: texts.filter(whole).length,
    first: first && Math.round(first.getBoundingClientRect().top),
    shown: texts.length,
    files: heads.filter((head) => whole(head.getBoundingClientRect()))
      .map((head) => head.querySelector("bdi").textContent),
    height: document.querySelector(".stMain")?.scrollHeight ?? 0,
    verdict: document.querySelector(".wva-verdict")?.textContent ?? "",
  };
}"""

_SIZES = ((1280, 800), (1440, 900))


@dataclass(frozen=True, slots=True)
class Screen:
    """What the first screen shows of a query; `first` is in pixels, None without results."""

    kind: str
    query: str
    visible: int
    shown: int
    first: int | None
    files: tuple[str, ...]
    verdict: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, default=Path("indexes/sample"))
    parser.add_argument("--first", type=int, help="only so many queries of each kind")
    options = parser.parse_args(arguments)
    lines = QUESTIONS.read_text("utf-8").splitlines()
    questions = [json.loads(line) for line in lines if line.strip()][: options.first]
    with serve_page(options.index) as address, open_chromium() as browser:
        for width, height in _SIZES:
            tab = browser.new_page(viewport={"width": width, "height": height})
            tab.set_default_timeout(MODEL_SECONDS * 1000)
            kinds = [_look(tab, address, *each) for each in KINDS[: options.first]]
            asked = [_look(tab, address, one["id"], one["query"]) for one in questions]
            _print(f"{width}×{height}", kinds, asked, questions)
            tab.close()


def _look(tab: Any, address: str, kind: str, query: str) -> Screen:
    tab.goto(f"{address}/?{urlencode({'q': query})}")
    tab.wait_for_selector(".wva-hit, .wva-nothing")
    # By meaning, too: the first results may be those by words.
    tab.wait_for_function("!document.querySelector('.wva-waiting')")
    tab.locator('[data-test-script-state="notRunning"]').wait_for()
    seen = tab.evaluate(_SEEN)
    return Screen(
        kind, query, seen["visible"], seen["shown"], seen["first"], tuple(seen["files"]),
        seen["verdict"],
    )  # fmt: skip


def _print(
    size: str, kinds: Sequence[Screen], asked: Sequence[Screen], questions: Sequence[dict[str, Any]]
) -> None:
    print(f"\n{size}\n")
    print("| query | snippets wholly visible | first word at, px | said |")
    print("|---|---|---|---|")
    for one in kinds:
        said = one.verdict or "–"
        query = one.query if len(one.query) < 60 else f"{len(one.query.split())} words"
        print(f"| {query} ({one.kind}) | {one.visible} of {one.shown} | {one.first} | {said} |")
    right = 0
    for one, question in zip(asked, questions, strict=True):
        wanted = {Path(relevant["path"]).name for relevant in question["relevant"]}
        right += bool(wanted & set(one.files))
    every = [*kinds, *asked]
    enough = [min(one.shown, 5) for one in every]
    print(
        f"\nAll {len(every)}: {min(one.visible for one in every)} to "
        f"{max(one.visible for one in every)} snippets wholly visible, median "
        f"{median(one.visible for one in every):g} (of as many as there are, up to five, in "
        f"{sum(one.visible >= most for one, most in zip(every, enough, strict=True))}); first word "
        f"at {max(one.first or 0 for one in every)} px at most. The right document is on the first "
        f"screen for {right} of the sample's {len(asked)} questions."
    )


if __name__ == "__main__":
    main()
