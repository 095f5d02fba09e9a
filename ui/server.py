"""How the page is started: the command line of its server, bound to this machine alone."""

from __future__ import annotations

import sys
from pathlib import Path

APP = Path(__file__).with_name("app.py")

# Streamlit leaves system light and dark mode alone as long as only single colours are named.
_OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.maxUploadSize": "500",  # MB: as large as a file may be to be read
    "browser.gatherUsageStats": "false",
    "runner.magicEnabled": "false",  # no expression of the script is shown by itself
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#2f5fb3",
    "theme.dark.primaryColor": "#8fb4f5",
}


def command(index: Path, port: int, address: str = "127.0.0.1", *, app: Path = APP) -> list[str]:
    """The argument vector that serves `index` (a folder) on `http://address:port`.

    >>> command(Path("my index"), 8501)[-3:]
    ['--', '--index', 'my index']
    """
    options = {**_OPTIONS, "server.address": address, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    # -P: a module in the current folder, which may hold anything, is not taken for ours.
    run = [sys.executable, "-P", "-m", "streamlit", "run", str(app)]
    return [*run, *flags, "--", "--index", str(index)]


__all__ = ["APP", "command"]
