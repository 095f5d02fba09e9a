"""The output of commands: exit codes, and JSON or named values on standard output."""

from __future__ import annotations

import json
import math
from typing import Any

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(_finite(value), ensure_ascii=False, indent=2))


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
                print(f"{indent}  - " + ", ".join(f"{k} {v}" for k, v in entry.items()))
        elif isinstance(value, list):
            print(f"{indent}{name}: {', '.join(map(str, value)) or 'none'}")
        else:
            print(f"{indent}{name}: {'none' if value is None or value == {} else value}")
