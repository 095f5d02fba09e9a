"""The output of commands: exit codes, the streams, and JSON or named values on standard output."""

from __future__ import annotations

import codecs
import json
import logging
import math
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import PlainFormatter, out, out_json

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def prepare_streams() -> None:
    """Make both streams writable: a closed one discards, and what cannot be encoded becomes "?"."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before the start: wva info >&-
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    prepare_logging()


def prepare_logging() -> None:
    """Let log records and warnings go to standard error, as a terminal may get them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)


def discard_output() -> None:
    """Let nothing be written to standard output any more, also not when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def use_colour() -> bool:
    """Whether standard output is a terminal that shows colours, and the user wants them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal obeys no control characters."""
    return os.environ.get("TERM") == "dumb"


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print one JSON document: in UTF-8, or in ASCII where the stream has another encoding.

    Without `indent` it is one line. A file's name that is not valid UTF-8 has lone surrogates,
    which only ASCII can carry.
    """
    text = json.dumps(finite(value), ensure_ascii=False, indent=indent)
    if not _is_utf8(sys.stdout.encoding) or not _is_encodable(text):
        text = json.dumps(finite(value), indent=indent)
    out_json(text)


def _is_utf8(encoding: str | None) -> bool:
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def finite(value: Any) -> Any:
    """`value` with null where a number is not one: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_facts(facts: dict[str, Any], indent: str = "") -> None:
    """Print names and values for people, one per line, nested ones indented."""
    for key, value in facts.items():
        name = one_line(str(key))
        if isinstance(value, dict) and value:
            out(f"{indent}{name}:")
            print_facts(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            out(f"{indent}{name}:")
            for entry in value:
                out(f"{indent}  - " + one_line(", ".join(f"{k} {v}" for k, v in entry.items())))
        elif isinstance(value, list):
            out(f"{indent}{name}: {one_line(', '.join(map(str, value))) or 'none'}")
        else:
            said = "none" if value is None or value == {} else one_line(str(value))
            out(f"{indent}{name}: {said}")


def vectors_command(folder: str) -> str:
    """The command that makes the vectors that are missing, as it can be pasted."""
    return f"wva index --vectors-only --index {shlex.quote(one_line(folder))}"
