"""Known vulnerabilities of the pinned packages, asked for with pip-audit.

The services are public: PyPI, else OSV. They are told names and versions of packages, nothing else.
Where neither answers, nothing is audited, which is said and is not an error: a check without a
network must stay possible. `WVA_REQUIRE_AUDIT=1` makes it one, for a release.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")
"""Some mirrors of PyPI answer for packages alone, so there are two."""
PROBE_S = 8.0
AUDIT_S = 180.0


@dataclass(frozen=True, slots=True)
class Ignored:
    """A known vulnerability that does not concern this project: why, and when it was looked at."""

    why: str
    date: str


IGNORED: Mapping[str, Ignored] = {}
"""By any of its identifiers (PYSEC, CVE, GHSA)."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found: sentences, and the packages that no service knew; or why there is none."""

    audited: int = 0
    findings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    skipped: str = ""


Ask = Callable[[str, Sequence[str], float], "dict[str, Any] | str"]
"""(service, pins, seconds) → pip-audit's report, or the reason why there is none."""


def pins(path: Path) -> list[str]:
    """The lines `name==version` of a constraints file."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if re.fullmatch(r"[\w.-]+==\S+", line)]


def ask(service: str, pinned: Sequence[str], seconds: float) -> dict[str, Any] | str:
    """Run pip-audit on `pinned`; nothing is installed or resolved for it."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(pinned) + "\n")
        file.flush()
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", file.name),
            *("--no-deps", "--disable-pip", "--vulnerability-service", service),
            *("--format", "json", "--progress-spinner", "off", "--timeout", "3"),
        ]
        try:
            done = subprocess.run(  # noqa: S603  (this interpreter, and words of our own)
                command, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {seconds:.0f} s"
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:  # it ends with 1 for findings and for failures, which print no report
        last = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return textwrap.shorten(last, 160, placeholder=" …")
    return report


def audit(pinned: Sequence[str], ignored: Mapping[str, Ignored] = IGNORED, ask: Ask = ask) -> Audit:
    """Ask the first service that knows our packages for the vulnerabilities of all of them.

    One package is asked for first, of all services at once: without a network that takes a second
    or two, where asking for all of them may take minutes.
    """
    with ThreadPoolExecutor() as pool:
        probes = pool.map(lambda service: ask(service, pinned[:1], PROBE_S), SERVICES)
        reasons = dict(zip(SERVICES, map(_no_answer, probes), strict=True))
    for service, reason in reasons.items():
        if not reason:
            report = ask(service, pinned, AUDIT_S)
            reasons[service] = reason = _no_answer(report)
            if not reason and isinstance(report, dict):
                return _read(report["dependencies"], ignored)
    return Audit(skipped="; ".join(f"{name}: {why}" for name, why in reasons.items()))


def _no_answer(report: dict[str, Any] | str) -> str:
    """Why a report says nothing; pip-audit itself calls a report of unknown packages a success."""
    if isinstance(report, str):
        return report
    known = [one for one in report["dependencies"] if "skip_reason" not in one]
    return "" if known else "the service knows none of the packages"


def _read(dependencies: Iterable[Mapping[str, Any]], ignored: Mapping[str, Ignored]) -> Audit:
    audited, unknown = 0, []
    findings, passed = [], []
    for one in dependencies:
        if "skip_reason" in one:
            unknown.append(str(one["name"]))
            continue
        audited += 1
        for each in one["vulns"]:
            names = [each["id"], *each["aliases"]]
            fixed = ", ".join(each["fix_versions"]) or "no version yet"
            told = f"{one['name']} {one['version']}: {' '.join(names)}, mended in {fixed}"
            reason = next((ignored[name] for name in names if name in ignored), None)
            if reason:
                passed.append(f"{told}; ignored since {reason.date}: {reason.why}")
            else:
                findings.append(told)
    return Audit(audited, tuple(findings), tuple(passed), tuple(unknown))
