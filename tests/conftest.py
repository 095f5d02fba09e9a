"""One thread everywhere: two test processes on two cores, and results that repeat."""

from __future__ import annotations

import os

from retriever import isolated

isolated.IDLE = 1  # files are read in one process all tests share: starting one takes a while

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
