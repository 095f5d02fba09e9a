"""The card of a tuned model: what it was made of, how, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """\
# {name}

{base}, tuned for Value Aggregation by {made_by} on {date}. It is a plain causal language model:
the adapters are merged into its weights. Its licence is that of {base}, and of the pairs.

Use it wherever a model is named: `wva index FOLDER --model {name}`.

## Data

{pairs:,} pairs of {data}; {held_out:,} held-out pairs were used for the table alone. No pair was
trained on that shares a query or a passage with them.

## Measured on the held-out pairs

| measure | before | after |
|---|---|---|
{rows}

{measured}

## Recipe

{recipe}

Tuning took {minutes:.0f} minutes.
"""


def card(name: str, facts: Mapping[str, Any]) -> str:
    """The card in Markdown."""
    before, after = facts["before"], facts["after"]
    rows = [f"| {what} | {before[what]} | {after[what]} |" for what in before if what in after]
    recipe = [f"- {what.replace('_', ' ')}: {value}" for what, value in facts["recipe"].items()]
    more = {"rows": "\n".join(rows), "recipe": "\n".join(recipe), "minutes": facts["seconds"] / 60}
    return _TEXT.format(name=name, **{**facts, **more})


__all__ = ["card"]
