"""The README's picture of the page: `python benchmarks/screenshot.py --index indexes/sample`.

Needs the extra `dev` and a Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from ui.server import command

OUTPUT = Path(__file__).parents[1] / "ui" / "static" / "search.png"
QUESTION = "giving visitors and maintenance technicians limited access to company resources"
MODEL_SECONDS = 180


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, default=Path("indexes/sample"))
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--mode", default="hybrid", choices=["hybrid", "dense", "keyword"])
    parser.add_argument("--scheme", default="light", choices=["light", "dark"])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no Chromium on the PATH; install one, e.g. apt-get install chromium")
    port = _free_port()
    server = subprocess.Popen(command(asked.index.absolute(), port))  # noqa: S603  (our own)
    try:
        _wait(port)
        link = urlencode({"q": asked.question, "mode": asked.mode})
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        _shoot(chromium, f"http://127.0.0.1:{port}/?{link}", asked.scheme, asked.output)
    finally:
        server.terminate()
        server.wait(10)
    print(f"wrote {asked.output}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    """Until the server answers, for half a minute."""
    for _ in range(150):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the page's server did not start")


def _shoot(chromium: str, url: str, scheme: str, output: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 860},
            color_scheme="dark" if scheme == "dark" else "light",
            device_scale_factor=1.5,
        )
        page.goto(url)
        page.wait_for_selector(".wva-card", timeout=MODEL_SECONDS * 1000)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(500)  # what fades in has faded in
        page.screenshot(path=output)
        browser.close()


if __name__ == "__main__":
    main()
