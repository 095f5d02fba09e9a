"""A trained run becomes a model folder: the adapters are added to the weights they adapt.

What comes out is a plain causal language model in safetensors, with its tokenizer, its prompts and
what it was tuned with. No code is needed to load it, and its explanations are exact as before: an
adapted projection is still a linear map.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from retriever.embedding.models.folder_settings import PROMPTS_FILE, TUNING_FILE
from retriever.embedding.models.gguf_conversion import SOURCE_FILE
from retriever.embedding.models.locate import WEIGHT_FILES
from retriever.tuning.training import Run, adapted

FLOAT32_UP_TO = 1_000_000_000
"""Models with at most so many parameters are written in float32, larger ones in bfloat16."""

COPIED = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*", "NOTICE*")
"""Files of the base that the tuned model takes over: tokenizer, templates, licence."""

NOT_COPIED = ("config.json", SOURCE_FILE, PROMPTS_FILE, TUNING_FILE)


def merge(folder: Path, target: Path, facts: dict[str, Any]) -> None:
    """Write the model that the run in `folder` has trained into the new folder `target`.

    `facts` go into `tuning.json`, beside the pooling and the layers.
    """
    run = Run.read(folder)
    there = adapted(folder, run, dtype="float32")
    there.module.restore(folder)
    model: Any = there.peft.merge_and_unload(safe_merge=True)
    if sum(one.numel() for one in model.parameters()) > FLOAT32_UP_TO:
        model = model.to(torch.bfloat16)
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    _copy_files(there.loaded.folder, target)
    settings = run.settings
    values = {"pooling": settings.pooling, "layers": list(settings.layers), **facts}
    _write(target / PROMPTS_FILE, settings.prompts.to_json())
    _write(target / TUNING_FILE, values)


def _copy_files(base: Path, target: Path) -> None:
    """Copy what belongs to the base's tokenizer and licence."""
    for pattern in COPIED:
        for path in sorted(base.glob(pattern)):
            is_weights = path.match(WEIGHT_FILES) or path.name.endswith(".index.json")
            if path.is_file() and not is_weights and path.name not in NOT_COPIED:
                shutil.copyfile(path, target / path.name)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")


__all__ = ["merge"]
