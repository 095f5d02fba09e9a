"""One thread everywhere: two test processes on two cores, and results that repeat."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session", autouse=True)
def shared_reader():
    """Files are read in one process all tests share: starting one takes a while."""
    from tests import shared_reader  # not above: NumPy looks at OMP_NUM_THREADS when imported

    shared_reader.install()
    yield
    shared_reader.close()
