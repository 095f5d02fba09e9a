"""Many callers of `wva serve` at once: `python -m benchmarks.serving --index indexes/sample`.

It starts the server as a process of its own, and asks it with one caller, then with many at once:
searches and embeddings of questions that differ. It prints requests a second and times, what was
answered with which status, how many requests a batch of the model has, and the server's memory from
the first second to the last.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from retriever.interface.page_server import TOKEN_VARIABLE

SUBJECTS = ("password", "account", "risk", "fruit", "report", "system", "user", "budget")
VERBS = ("approve", "protect", "measure", "reset", "review", "limit", "share", "cook")
ANSWER_SECONDS = 120


@dataclass
class Load:
    """What a number of callers got: seconds of each answer, the statuses, and memory in MB."""

    callers: int
    seconds: float
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    batch: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses[200] / self.seconds


def question(number: int) -> str:
    """A question that no other number has."""
    subject, verb = SUBJECTS[number % 8], VERBS[number // 8 % 8]
    return f"who may {verb} the {subject} of number {number}?"


class Caller:
    """One connection that asks again and again."""

    def __init__(self, url: str, token: str, path: str, model: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=ANSWER_SECONDS
        )
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._path, self._model = path, model

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, number: int) -> int:
        """The status of the answer to a question."""
        body: dict[str, Any] = {"query": question(number), "k": 5}
        if self._path != "/search":
            body = {"input": question(number), "model": self._model, "encoding_format": "base64"}
        status, _ = self.request("POST", self._path, body)
        return status

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def server(index: Path, token: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server of an index."""
    command = [sys.executable, "-m", "retriever", "serve", "--index", str(index), "--port", "0"]
    environment = {**os.environ, TOKEN_VARIABLE: token}
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and command)
        command, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        said = process.stderr.readline() if process.stderr else ""
        found = re.search(r"http://\S+?:\d+", said)
        if not found:
            raise SystemExit(f"the server does not start: {said}")
        yield found[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
        if process.stderr:
            process.stderr.close()


def measure(
    make: Callable[[int], Caller], process: psutil.Process, callers: int, seconds: float, first: int
) -> Load:
    """What so many callers get in some seconds; `first` is the number of the first question."""
    load = Load(callers, seconds)
    numbers = iter(range(first, 10**9))
    lock, end = threading.Lock(), time.monotonic() + seconds
    before = batches(make(0))

    def work(at: int) -> None:
        with closing(make(at)) as caller:
            while time.monotonic() < end:
                with lock:
                    number = next(numbers)
                begin = time.monotonic()
                status = caller.ask(number)
                if time.monotonic() >= end:
                    return
                with lock:
                    load.times.append(time.monotonic() - begin)
                    load.statuses[status] += 1
                if status == 429:
                    time.sleep(1)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(callers)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        load.memory.append(process.memory_info().rss / 1e6)
        time.sleep(min(1.0, max(0.0, end - time.monotonic())))
    for thread in threads:
        thread.join()
    after = batches(make(0))
    load.batch = (after[0] - before[0]) / max(1, after[1] - before[1])
    return load


def batches(caller: Caller) -> tuple[float, float]:
    """The requests in batches so far, and the batches; the caller's connection is closed."""
    with closing(caller):
        _, page = caller.request("GET", "/metrics")
    found = [
        re.findall(rf"^wva_batch_requests_{name}{{.*}} (\S+)", page.decode(), re.MULTILINE)
        for name in ("sum", "count")
    ]
    requests, count = (sum(map(float, several)) for several in found)
    return requests, count


def table(loads: Sequence[Load]) -> str:
    """The loads as a table."""
    rows = [
        "| callers | answers a second | median ms | 95 % ms | requests a batch | 200 | 429 | other "
        "| memory MB: first, median, last |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load in loads:
        times = np.array(load.times or [0.0]) * 1000
        other = load.statuses.total() - load.statuses[200] - load.statuses[429]
        memory = [load.memory[0], float(np.median(load.memory)), load.memory[-1]]
        cells = (
            f"{load.callers}",
            f"{load.rate:.1f}",
            f"{np.median(times):.0f}",
            f"{np.quantile(times, 0.95):.0f}",
            f"{load.batch:.1f}",
            f"{load.statuses[200]}",
            f"{load.statuses[429]}",
            f"{other}",
            ", ".join(f"{one:.0f}" for one in memory),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table; 1 if an answer was an error other than 429."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--only", choices=["search", "embeddings"], help="one kind of request")
    parser.add_argument("--tiny", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all values")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.seconds, options.callers = 1.0, 4
    paths = {"search": ["/search"], "embeddings": ["/v1/embeddings"]}.get(
        options.only, ["/search", "/v1/embeddings"]
    )
    token = secrets.token_urlsafe(24)
    with server(options.index, token) as (url, process):
        with closing(Caller(url, token, "", "")) as first:
            _, listed = first.request("GET", "/v1/models")
        model = json.loads(listed)["data"][1]["id"]

        def make(at: int) -> Caller:
            return Caller(url, token, paths[at % len(paths)], model)

        for path in paths:  # what is made once is made before
            with closing(Caller(url, token, path, model)) as first:
                first.ask(0)
        loads = [
            measure(make, process, 1, options.seconds / 3, 1),
            measure(make, process, options.callers, options.seconds, 10**6),
        ]
    print(table(loads))
    if options.json:
        options.json.write_text(json.dumps([vars(load) for load in loads]), "utf-8")
    return int(any(set(load.statuses) - {200, 429} for load in loads))


if __name__ == "__main__":
    sys.exit(main())
