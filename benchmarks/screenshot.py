"""Screenshots of the page for `docs/`: `python -m benchmarks.screenshot --index indexes/sample`.

It takes all of them, or with `--only NAME` a single one. Needs the extra `dev` and a Chromium on
the PATH.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from benchmarks.browser import MODEL_SECONDS, open_chromium, serve_page

OUTPUT = Path(__file__).parents[1] / "docs" / "images"
QUESTION = "giving visitors and maintenance technicians limited access to company resources"
MAX_BYTES = 300_000
_COLOURS = 128  # per picture: enough for text and charts, with a third of the bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A screenshot: its name, address, preparing actions, and appearance."""

    name: str
    path: str
    prepare: Callable[[Any], None]
    height: int = 800
    scheme: str = "light"


def _searched(page: Any) -> None:
    page.wait_for_selector(".wva-card", timeout=MODEL_SECONDS * 1000)
    # The first results may be those by words alone.
    waiting = "!document.querySelector('.wva-waiting')"
    page.wait_for_function(waiting, timeout=MODEL_SECONDS * 1000)
    page.locator('[data-test-script-state="notRunning"]').wait_for()


def _explained(page: Any) -> None:
    _searched(page)
    hit = page.locator('.wva-hit[data-rank="1"]')
    hit.hover()
    hit.locator('[data-act="why"]').click()
    words = page.locator(".st-key-explained-1 .wva-words button")
    words.last.wait_for(timeout=MODEL_SECONDS * 1000)
    words.last.click()


def _opened(page: Any) -> None:
    _searched(page)
    page.locator(".wva-card .wva-open").nth(1).click()
    page.locator(".wva-opened:not(.wva-auto)").wait_for(state="attached")
    page.locator('[data-test-script-state="notRunning"]').wait_for()


def _collections(page: Any) -> None:
    page.locator('[data-testid="stDataFrame"]').wait_for()


def _about(page: Any) -> None:
    page.locator('[data-testid="stVegaLiteChart"]').wait_for(timeout=MODEL_SECONDS * 1000)


_ASKED = f"/?{urlencode({'q': QUESTION})}"
_LISTED = f"/?{urlencode({'q': 'How long should a memorized secret be?'})}"

PICTURES = (
    Picture("search", _LISTED, _searched),
    Picture("explained", _ASKED, _explained, height=1000),
    Picture("document", _ASKED, _opened, scheme="dark"),
    Picture("collections", "/collections", _collections),
    Picture("about", "/about", _about),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, default=Path("indexes/sample"))
    parser.add_argument("--only", choices=[picture.name for picture in PICTURES])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder they go to")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    with serve_page(options.index) as address, open_chromium() as browser:
        for picture in PICTURES:
            if options.only in (None, picture.name):
                path = options.output / f"{picture.name}.png"
                path.write_bytes(_small(_shoot(browser, address, picture)))
                print(f"wrote {path} ({path.stat().st_size:,} bytes)")


def _shoot(browser: Any, address: str, picture: Picture) -> bytes:
    context = browser.new_context(
        viewport={"width": 1280, "height": picture.height},
        color_scheme=picture.scheme,
        device_scale_factor=1.5,
    )
    page = context.new_page()
    page.set_default_timeout(MODEL_SECONDS * 1000)
    page.goto(f"{address}{picture.path}")
    picture.prepare(page)
    page.locator('[data-test-script-state="notRunning"]').wait_for()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1_500)  # what fades in has faded in
    drawn: bytes = page.screenshot()
    context.close()
    return drawn


def _small(drawn: bytes) -> bytes:
    """The picture with fewer colours, compressed as far as possible, below `MAX_BYTES`."""
    picture = Image.open(io.BytesIO(drawn)).convert("RGB")
    for colours in (_COLOURS, _COLOURS // 2, _COLOURS // 4):
        made = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
        if made.tell() <= MAX_BYTES:
            break
    return made.getvalue()


if __name__ == "__main__":
    main()
