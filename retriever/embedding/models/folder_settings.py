"""How a model in a folder wants to be read: a tuned model brings its pooling, layers and prompts.

`prompts.json` has the form of `--prompts`; `tuning.json` is the rest of what its tuning wrote down.
Both are data alone, and every other model folder lacks them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from retriever.settings import Prompts, check_pooling
from retriever.types import ModelError, UsageError

PROMPTS_FILE, TUNING_FILE = "prompts.json", "tuning.json"


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """The pooling, the pooled layers and the prompts that a model was tuned with."""

    pooling: str
    layers: tuple[int, ...]
    prompts: Prompts


def folder_settings(folder: Path) -> FolderSettings | None:
    """What the model in `folder` was tuned with; None if it is not a tuned one.

    Raises ModelError, naming the file, if it cannot be understood.
    """
    path = folder / TUNING_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
        pooling, layers = values["pooling"], tuple(map(int, values["layers"]))
        check_pooling(pooling)
        return FolderSettings(pooling, layers, Prompts.read(folder / PROMPTS_FILE))
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise ModelError(f"{path} does not say how its model was tuned: {error!r}") from None
    except UsageError as error:
        raise ModelError(f"{path} does not say how its model was tuned: {error}") from None


__all__ = ["PROMPTS_FILE", "TUNING_FILE", "FolderSettings", "folder_settings"]
