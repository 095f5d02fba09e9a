"""Checks the packages that the project needs: their licences, and their known vulnerabilities.

    python -m benchmarks.dependencies           # the licences, package by package
    python -m benchmarks.dependencies --check   # what `make check` runs
    python -m benchmarks.dependencies --bill FILE

A bill of materials lists what an installation brings, in CycloneDX's JSON. It is the same each time
for the same packages, and holds no path of the machine and no name of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from benchmarks import licences, vulnerabilities
from benchmarks.licences import DEVELOPMENT, ROOT, SHIPPED, Needed, Package
from benchmarks.tables import markdown
from benchmarks.vulnerabilities import Audit

PINS = ROOT / "constraints.txt"


def tables(shipped: Needed, development: Needed) -> list[str]:
    """The packages of an installation, then those that only developers install."""
    names = {one.name for one in shipped.packages}
    only = [one for one in development.packages if one.name not in names]
    return [*_table(shipped.packages), "", "For development only:", "", *_table(only)]


def _table(packages: Iterable[Package]) -> list[str]:
    rows = [
        [one.name, one.version, _licence(one), ", ".join(one.groups)]
        for one in sorted(packages, key=lambda one: one.name)
    ]
    return markdown(["package", "version", "licence", "needed by"], rows)


def _licence(one: Package) -> str:
    """The declared licence, and why it was accepted where that had to be decided."""
    looked_at = licences.LOOKED_AT.get(one.name)
    why = f" ({looked_at.why})" if looked_at and looked_at.declared == one.licence else ""
    return f"{one.licence}{why}"


def licence_problems(shipped: Needed) -> list[str]:
    """Licences to look at, and packages whose licence cannot be looked at."""
    missing = [f"{name} is not installed, its licence is unknown" for name in shipped.missing]
    return [*missing, *licences.objections(shipped.packages, licences.LOOKED_AT)]


def not_pinned(needed: Iterable[Needed], pinned: Iterable[str]) -> list[str]:
    """The needed packages that are not in the constraints file, so that nobody audits them."""
    known = {"pip", *(canonicalize_name(pin.partition("==")[0]) for pin in pinned)}
    names = {one.name for each in needed for one in each.packages} - known
    return [
        f"{name} is not pinned in {PINS.name}"
        for name in sorted(names)
        if not licences.OF_TORCH.fullmatch(name)
    ]


def of_torch(shipped: Needed) -> list[str]:
    """A line for what comes with torch's build for CUDA, which is not looked at here."""
    names = [one.name for one in shipped.packages if licences.OF_TORCH.fullmatch(one.name)]
    told = f"with torch's build for CUDA, under licences of its own and not audited: {len(names)}"
    return [f"{told} packages, such as {names[0]}"] if names else []


def vulnerability_lines(audit: Audit) -> list[str]:
    """What is said of an audit; what was not audited stands out."""
    if audit.skipped:
        return [
            "*** NOT AUDITED: known vulnerabilities were not looked for.",
            f"*** {audit.skipped}",
        ]
    found = f"{audit.audited} packages audited, {len(audit.findings)} known vulnerabilities"
    unknown = [f"*** NOT AUDITED, not known to the service: {', '.join(audit.unknown)}"]
    return [found, *audit.ignored, *(unknown if audit.unknown else [])]


def check(pinned: Sequence[str], shipped: Needed, development: Needed, audit: Audit) -> int:
    """Print what was looked at, and what is wrong; 1 if anything is."""
    wrong = [
        *licence_problems(shipped),
        *not_pinned((shipped, development), pinned),
        *audit.findings,
    ]
    if audit.skipped and os.environ.get("WVA_REQUIRE_AUDIT"):
        wrong.append("WVA_REQUIRE_AUDIT is set, and nothing was audited")
    print(
        f"{len(shipped.packages)} packages of an installation under permissive licences, or named"
    )
    print("\n".join([*of_torch(shipped), *vulnerability_lines(audit), *wrong]))
    return 1 if wrong else 0


# The bill of materials


def bill(shipped: Needed, made: Mapping[str, Any]) -> dict[str, Any]:
    """A bill of what `shipped` holds, from one of the whole environment."""
    packages = {one.name: one for one in shipped.packages}
    components = [
        _licensed(one, packages[name])
        for one in made["components"]
        if (name := canonicalize_name(one["name"])) in packages
    ]
    root = made["metadata"]["component"]["bom-ref"]
    kept = {one["bom-ref"] for one in components} | {root}
    edges = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in kept]}
        for one in made["dependencies"]
        if one["ref"] in kept
    ]
    return {**made, "components": components, "dependencies": edges}


def _licensed(component: Mapping[str, Any], package: Package) -> dict[str, Any]:
    """A component with the licence that the table shows, where it has none."""
    if component.get("licenses") or package.licence == licences.NONE:
        return dict(component)
    named = {"acknowledgement": "declared", "name": package.licence}
    return {**component, "licenses": [{"license": named}]}


def environment_bill() -> dict[str, Any]:
    """CycloneDX's bill of everything in this environment."""
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "environment"),
        *("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"),
        # Validated below, when it is complete: that takes most of the time.
        *("--output-reproducible", "--no-validate", "--output-format", "JSON"),
    ]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603  (as above)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_bill(path: Path, found: Mapping[str, Any]) -> None:
    """Validate a bill against its schema and write it, keys in order."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    version = SchemaVersion.from_version(found["specVersion"])
    if error := JsonStrictValidator(version).validate_str(text):
        raise SystemExit(f"the bill of materials is not valid CycloneDX: {error}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, check, or write the bill of materials; 1 if a licence is not permissive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="licences and vulnerabilities, briefly")
    what.add_argument("--bill", type=Path, metavar="FILE", help="write a CycloneDX bill there")
    options = parser.parse_args(arguments)
    project = licences.project()
    shipped = licences.needed(SHIPPED, project)
    development = licences.needed(DEVELOPMENT, project)
    if options.check:
        pinned = vulnerabilities.pins(PINS)
        return check(pinned, shipped, development, vulnerabilities.audit(pinned))
    if options.bill:
        write_bill(options.bill, bill(shipped, environment_bill()))
        print(f"wrote {options.bill}: {len(shipped.packages)} packages")
        return 0
    wrong = licence_problems(shipped)
    print("\n".join([*tables(shipped, development), *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
