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


def pytest_terminal_summary(terminalreporter) -> None:
    """Say loudly which engine the tests of Milvus had."""
    ran = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    if not os.environ.get("MILVUS_URI") and any("milvus" in one.nodeid for one in ran):
        terminalreporter.write_line(
            "MILVUS_URI names no server: the tests of Milvus ran on Milvus Lite alone", yellow=True
        )
