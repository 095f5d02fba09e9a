"""From a model's name to its weights on this machine, and to a loaded model."""

from __future__ import annotations

import os

# What the libraries of the model hub would tell about their use, beside what is asked of them.
for _name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "1")
