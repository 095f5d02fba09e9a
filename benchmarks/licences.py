"""The packages that the project needs, and the licences that they declare.

A package that is needed to run, or by an extra that people install, must be under a permissive
licence: `PERMISSIVE`, or `LOOKED_AT` with a reason. What only developers install is not held to it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, Licensing, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
RUN = "run"
"""The group of packages that every installation needs; the other groups are extras."""
SHIPPED = (
    *(RUN, "ui", "formats", "langchain", "server", "mcp", "milvus", "milvus-lite", "ray", "tune"),
)
"""What people install. `office`, `markup` and `ocr` are parts of `formats`."""
DEVELOPMENT = ("dev",)

PERMISSIVE = {
    *("0BSD", "BSD-2-Clause", "BSD-3-Clause", "LicenseRef-BSD"),
    *("Apache-2.0", "Apache-2.0 WITH LLVM-exception"),
    *("MIT", "MIT-0", "MIT-CMU", "ISC", "Zlib", "BSL-1.0"),
    *("PSF-2.0", "Python-2.0", "CNRI-Python"),
    *("CC0-1.0", "Unlicense"),
}
"""SPDX identifiers; `LicenseRef-BSD` is a BSD licence of two or three clauses, not said which."""

NAMES = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd": "LicenseRef-BSD",
    "bsd license": "LicenseRef-BSD",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "public domain": "LicenseRef-public-domain",
    "gnu general public license (gpl)": "LicenseRef-GPL",
}
"""Older names of licences, in lower case: those of classifiers and of free text."""
NOT_A_LICENCE = {"", "unknown", "osi approved", "dfsg approved"}
NONE = "not declared"


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A licence that is not in the list and was accepted: as it was declared then, and why."""

    declared: str
    why: str


FILE_LEVEL = "copyleft of single files, which we use unchanged and do not distribute"
LOOKED_AT: Mapping[str, LookedAt] = {
    "certifi": LookedAt("MPL-2.0", FILE_LEVEL),
    "docutils": LookedAt(
        "LicenseRef-public-domain AND LicenseRef-BSD AND LicenseRef-GPL",
        "public domain and BSD; under GPL is one file for Emacs, which is not in the package",
    ),
    "orjson": LookedAt("MPL-2.0 AND (Apache-2.0 OR MIT)", FILE_LEVEL),
    "pypdfium2": LookedAt(
        "BSD-3-Clause, Apache-2.0, dependency licenses",
        "PDFium is BSD; the libraries in it (FreeType, libjpeg, zlib …) are permissive too",
    ),
    "tqdm": LookedAt("MPL-2.0 AND MIT", FILE_LEVEL),
}


OF_TORCH = re.compile(r"(nvidia|cuda)-.+|(pytorch-)?triton(-.+)?")
"""What torch's build for CUDA brings, in versions of its own: most under NVIDIA's licence.

The CPU build, with which we test, has none of it. It is listed, and neither held nor pinned.
"""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, its declared licence, and the groups that need it."""

    name: str
    version: str
    licence: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Needed:
    """The packages of some groups in an environment, and the names of those not installed."""

    packages: tuple[Package, ...]
    missing: tuple[str, ...]


def project(root: Path = ROOT) -> dict[str, Any]:
    """The table `project` of a `pyproject.toml`."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def needed(
    groups: Iterable[str], project: Mapping[str, Any], path: list[str] | None = None
) -> Needed:
    """What `groups` need, in order of names; `path` is where packages are looked for."""
    found = distributions() if path is None else distributions(path=path)
    installed = {str(canonicalize_name(one.metadata["Name"])): one for one in found}
    by_name: dict[str, list[str]] = {}
    for group in groups:
        for name in _closure(group, project, installed):
            by_name.setdefault(name, []).append(group)
    packages = [
        Package(name, installed[name].version, declared(installed[name].metadata), tuple(whose))
        for name, whose in sorted(by_name.items())
        if name in installed
    ]
    return Needed(tuple(packages), tuple(sorted(by_name.keys() - installed.keys())))


def _closure(
    group: str, project: Mapping[str, Any], installed: Mapping[str, Distribution]
) -> set[str]:
    """Canonical names of all that a group needs on this platform, directly or not."""
    own = canonicalize_name(project["name"])
    extras = project["optional-dependencies"]
    todo = [Requirement(text) for text in project["dependencies"] if group == RUN]
    todo += [Requirement(text) for text in extras.get(group, ())]
    found: set[str] = set()
    seen = set()
    while todo:
        one = todo.pop()
        name = str(canonicalize_name(one.name))
        wanted = (name, frozenset(one.extras))
        if wanted in seen:
            continue
        seen.add(wanted)
        if name == own:  # an extra that is made of other extras
            todo += [Requirement(text) for extra in one.extras for text in extras[extra]]
            continue
        found.add(name)
        if name in installed:
            todo += _requirements(installed[name], one.extras)
    return found


def _requirements(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield one


def declared(metadata: Message | Any) -> str:
    """The licence that a package's metadata declares, as an SPDX expression where it can be told.

    What is declared more than once must all hold: a field and classifiers may differ.

    >>> message = Message()
    >>> message["License"] = "MIT"
    >>> message["Classifier"] = "License :: OSI Approved :: GNU General Public License (GPL)"
    >>> declared(message)
    'MIT AND LicenseRef-GPL'
    """
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        each.split(" :: ")[-1]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::")
    ]
    field = str(metadata.get("License") or "").strip()
    text = "\n" in field  # the licence itself instead of its name
    names = [*([] if text and classifiers else [field.partition("\n")[0]]), *classifiers]
    told = [_spdx(name.strip()) for name in names if name.strip().lower() not in NOT_A_LICENCE]
    told = list(dict.fromkeys(told))
    return " AND ".join(one for one in told if not _said_better(one, told)) or NONE


def _spdx(name: str) -> str:
    return NAMES.get(name.lower(), name)


def _said_better(one: str, told: Iterable[str]) -> bool:
    """Whether another declaration says the same and more: which BSD licence, or a choice of two.

    >>> _said_better("LicenseRef-BSD", ["BSD-3-Clause"]), _said_better("MIT", ["MIT OR Apache-2.0"])
    (True, True)
    """
    if one == "LicenseRef-BSD":
        return any(other.startswith("BSD-") for other in told)
    return any(one != other and one in other.split(" OR ") for other in told)


@cache
def _licensing() -> Licensing:
    return get_spdx_licensing()


def is_permissive(licence: str) -> bool:
    """Whether one can comply with `licence` by permissive licences alone.

    >>> is_permissive("MIT AND (Apache-2.0 OR GPL-3.0-only)"), is_permissive("MIT AND MPL-2.0")
    (True, False)
    >>> is_permissive("as you like, really"), is_permissive("not declared")
    (False, False)
    """
    try:
        return _allowed(_licensing().parse(licence))
    except ExpressionError:
        return False


def _allowed(node: Any) -> bool:
    if isinstance(node, _licensing().OR):
        return any(map(_allowed, node.args))
    if isinstance(node, _licensing().AND):
        return all(map(_allowed, node.args))
    return node is not None and node.render() in PERMISSIVE


def objections(packages: Iterable[Package], accepted: Mapping[str, LookedAt]) -> list[str]:
    """A sentence for each package whose licence is neither permissive nor accepted."""
    found = []
    for one in packages:
        if is_permissive(one.licence) or OF_TORCH.fullmatch(one.name):
            continue
        before = accepted.get(one.name)
        if before is None:
            found.append(f"{one.name} {one.version} is under a licence to look at: {one.licence}")
        elif before.declared != one.licence:
            found.append(
                f"{one.name} {one.version}: its licence was {before.declared}, and is now"
                f" {one.licence}"
            )
    return found
