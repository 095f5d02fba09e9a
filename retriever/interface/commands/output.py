"""The output of commands: exit codes, and JSON or named values on standard output."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from retriever.interface.terminal.characters import one_line, printable

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def print_json(value: Any) -> None:
    """Print one JSON document."""
    text = json.dumps(_finite(value), ensure_ascii=False, indent=2)
    # JSON leaves the controls of eight bits as they are, which a terminal would obey.
    print(re.sub("[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text))


def _finite(value: Any) -> Any:
    """`value` with null where a number is not one: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_facts(facts: dict[str, Any], indent: str = "") -> None:
    """Print names and values for people, one per line, nested ones indented."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{name}:")
            print_facts(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{name}:")
            for entry in value:
                print(f"{indent}  - " + one_line(", ".join(f"{k} {v}" for k, v in entry.items())))
        elif isinstance(value, list):
            print(f"{indent}{name}: {one_line(', '.join(map(str, value))) or 'none'}")
        else:
            shown = "none" if value is None or value == {} else printable(str(value))
            print(f"{indent}{name}: {shown}")
