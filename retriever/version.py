"""The version of this program, below all modules, and how more of it is installed."""

from __future__ import annotations

__version__ = "0.1.0"
"""An index notes which version wrote it."""


def install_command(extra: str) -> str:
    """The command that installs an extra of the package; in a checkout that is installed, too.

    pip adds what the extra needs to the version that is there, and fetches no other one.

    >>> install_command("ocr")
    "pip install 'wva-retriever[ocr]'"
    """
    return f"pip install 'wva-retriever[{extra}]'"
