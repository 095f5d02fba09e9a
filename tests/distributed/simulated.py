"""A simulated cluster: several machines of Ray, all of them this one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from retriever.distributed.cluster import load_ray

AGENTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
)
"""Ports of processes for which a machine waits, and not long enough on a busy one, if it must look
which ones they have taken."""


@contextmanager
def simulated(*cpus: float) -> Iterator[Any]:
    """So many processors on each machine, and a connection."""
    ray = load_ray()
    with _light_processes():
        started = _started(*cpus)
        stop: Callable[[], None] = started.shutdown
        try:
            ray.init(address=started.address, log_to_driver=False, logging_level="error")
            yield started
        finally:
            ray.shutdown()
            stop()


@contextmanager
def _light_processes() -> Iterator[None]:
    """Let processes that start within the block do without a package of the development extras.

    Each process of Ray imports jsonschema, which builds grammars for a second if it finds this one.
    """
    before = os.environ.get("PYTHONPATH")
    with TemporaryDirectory(prefix="without-") as folder:
        Path(folder, "rfc3987_syntax.py").write_text("raise ImportError(__name__)\n")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *([before] if before else [])])
        try:
            yield
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def add_machine(cluster: Any, cpus: float) -> Any:
    """One machine more; `cluster.remove_node` removes it."""
    return _tried(lambda: cluster.add_node(num_cpus=cpus, **_free_ports()))


def _tried(start: Callable[[], Any]) -> Any:
    """What a start gives. One of eight fails, more on a busy machine: it is tried three times."""
    for left in reversed(range(3)):
        try:
            return start()
        except Exception:
            if not left:
                raise
    return None


def _started(*cpus: float) -> Any:
    from ray.cluster_utils import Cluster

    first, *others = cpus
    # Each process less lets the others start sooner.
    few = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    head = {"num_cpus": first, **few}
    started = _tried(
        lambda: Cluster(initialize_head=True, head_node_args={**head, **_free_ports()})
    )
    try:
        for each in others:
            add_machine(started, each)
    except BaseException:
        started.shutdown()
        raise
    return started


def _free_ports() -> dict[str, int]:
    found = {}
    with ExitStack() as open_ones:  # all at once, so that they differ
        for name in AGENTS:
            listening = open_ones.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            found[name] = listening.getsockname()[1]
    return found
