"""Response times of the page: `python -m benchmarks.page --index indexes/sample`.

Measured in Chromium, from a key or click until its result is on the screen. A first search loads
the model before. The output has the machine's load, since everything is slower on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.browser import MODEL_SECONDS, open_chromium, serve_page

QUESTIONS = (
    "who may approve a risk exception",
    "how long must a password be",
    "visitors in the conference center",
    "what does the time machine look like",
    "how to make bread for many people",
    "a man who turns into somebody else",
    "when is an assessment report due",
    "trust zones and network location",
    "lost her way in a garden",
    "what to do after a secret was stolen",
)

_WATCH = """() => { window.readable = new Promise(done => {
  let start;
  addEventListener("keydown", () => { start = performance.now(); }, { capture: true, once: true });
  const list = new MutationObserver(changes => {
    if (!changes.some(one => [...one.addedNodes].some(node => node.matches?.(".wva-list")))) return;
    list.disconnect();
    requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1000)));
  });
  list.observe(document.body, { childList: true, subtree: true });
}); }"""
_DRAWN = """alt => { const image = document.querySelector(".wva-paper img");
  return image && image.complete && image.naturalWidth > 0 && image.alt !== alt; }"""


_OPEN_OTHER = """alt => [...document.querySelectorAll(".wva-card")].some(card => {
  const file = card.querySelector("bdi").textContent;
  return [...card.querySelectorAll(".wva-open")].some(open => {
    const shown = alt.startsWith(`${open.textContent} of`) && alt.endsWith(file);
    if (shown || !open.offsetParent) return false;
    open.click();
    return true;
  });
})"""


_READING = 1.0  # seconds that a reader looks at the list before the first click


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the median and the maximum of each response time in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, default=Path("indexes/sample"))
    parser.add_argument("--first", type=int, help="ask only the first questions")
    options = parser.parse_args(arguments)
    with serve_page(options.index) as address, open_chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(MODEL_SECONDS * 1000)
        tab.goto(f"{address}/?q=warm&format=pdf")
        tab.wait_for_selector(".wva-card")
        visits = [seconds(lambda: _visit(browser, address)) for _ in range(5)]
        searches, pictures, at_once, pages = [], [], [], []
        for question in QUESTIONS[: options.first]:
            searches.append(_search(tab, question))
            tab.locator('[data-test-script-state="notRunning"]').wait_for()
            tab.wait_for_timeout(_READING * 1000)
            pictures.append(seconds(lambda: _open(tab)))
            at_once.append(seconds(lambda: _turn(tab)))  # before the highlighting is done
            tab.locator('[data-test-script-state="notRunning"]').wait_for()
            pages.append(seconds(lambda: _turn(tab)))
            tab.locator(".st-key-close button").first.click()
            tab.wait_for_function("!document.querySelector('.wva-opened')")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}; seconds: median, longest, count")
    for name, times in (
        ("the page's search box", visits),
        ("first result after Enter", searches),
        ("the page of a hit, after a click", pictures),
        ("the next page, turned at once", at_once),
        ("the page after it", pages),
    ):
        print(f"{name:32} {median(times):5.2f} {max(times):5.2f} {len(times):3}")


def seconds(what: Callable[[], None]) -> float:
    """The seconds that `what` takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def _visit(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(".st-key-q input")
    page.close()


def _search(tab: Any, question: str) -> float:
    """The seconds from Enter until the list is painted, measured in the page itself."""
    tab.locator(".st-key-q input").fill(question)
    tab.evaluate(_WATCH)
    tab.keyboard.press("Enter")
    return float(tab.evaluate("window.readable"))


def _open(tab: Any) -> None:
    """Open the first result on another page than the one that is shown beside the list."""
    before = tab.evaluate("document.querySelector('.wva-paper img')?.alt ?? ''")
    tab.evaluate(_OPEN_OTHER, before)
    tab.wait_for_function(_DRAWN, arg=before)


def _turn(tab: Any) -> None:
    before = tab.locator(".wva-paper img").first.get_attribute("alt")
    last = tab.locator(".st-key-next button").first.is_disabled()
    tab.locator(".st-key-previous button" if last else ".st-key-next button").first.click()
    tab.wait_for_function(_DRAWN, arg=before)


if __name__ == "__main__":
    main()
