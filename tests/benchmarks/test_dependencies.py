"""Licences and known vulnerabilities of packages, on environments that are made up."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import dependencies, licences, vulnerabilities
from benchmarks.licences import LookedAt, Needed, Package, is_permissive, needed, objections
from benchmarks.vulnerabilities import Audit, Ignored, audit

ROOT = Path(__file__).parents[2]
PROJECT = {
    "name": "ours",
    "dependencies": ["one>=1", "Two.Parts[more]"],
    "optional-dependencies": {
        "page": ["shown"],
        "all": ["ours[page]", "one"],
        "dev": ["tested"],
    },
}
PINS = ["one==1.0", "two-parts==2.0"]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A site-packages folder: two needs three by an extra, four on another platform only."""
    folder = tmp_path / "site"
    install(folder, "one", "1.0", "License-Expression: MIT")
    install(
        folder,
        "two_parts",
        "2.0",
        "Classifier: License :: OSI Approved :: BSD License",
        'Requires-Dist: three; extra == "more"',
        'Requires-Dist: four; sys_platform == "elsewhere"',
        'Requires-Dist: five; extra == "less"',
    )
    install(folder, "three", "3.0", "License: Apache 2.0", "Requires-Dist: one")
    install(folder, "shown", "4.0", "License: UNKNOWN", "License-Expression: ISC")
    install(folder, "tested", "5.0", "License: GPL-3.0-only")
    install(folder, "nobody_needs", "6.0", "License: GPL-3.0-only")
    return folder


def install(folder: Path, name: str, version: str, *lines: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*head, *lines]) + "\n\nWhat it is.\n")


def found(folder: Path, *groups: str) -> Needed:
    return needed(groups, PROJECT, [str(folder)])


# Which packages are needed


def test_all_that_is_needed_is_found_through_extras_and_for_this_platform(packages: Path) -> None:
    seen = found(packages, "run", "all", "dev")
    assert [(one.name, one.version, one.licence, one.groups) for one in seen.packages] == [
        ("one", "1.0", "MIT", ("run", "all")),
        ("shown", "4.0", "ISC", ("all",)),
        ("tested", "5.0", "GPL-3.0-only", ("dev",)),
        ("three", "3.0", "Apache-2.0", ("run",)),
        ("two-parts", "2.0", "LicenseRef-BSD", ("run",)),
    ]
    assert seen.missing == ()


def test_what_is_not_installed_is_an_error_of_the_check(packages: Path) -> None:
    project = {**PROJECT, "dependencies": ["absent"]}
    seen = needed(["run"], project, [str(packages)])
    assert seen.missing == ("absent",)
    assert dependencies.licence_problems(seen) == [
        "absent is not installed, its licence is unknown"
    ]


# Licences


def test_a_package_under_gpl_fails_the_check(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(packages, "five", "5.1", "License: GPL-3.0-or-later")
    project = {**PROJECT, "dependencies": [*PROJECT["dependencies"], "five"]}
    seen = needed(["run"], project, [str(packages)])
    nobody = Needed((), ())
    pinned = [*PINS, "three==3.0", "five==5.1"]
    assert dependencies.check(pinned, seen, nobody, Audit(audited=4)) == 1
    assert "five 5.1 is under a licence to look at: GPL-3.0-or-later" in capsys.readouterr().out
    assert dependencies.check(pinned, found(packages, "run"), nobody, Audit(audited=4)) == 0


def test_what_torch_brings_for_cuda_is_told_and_not_held(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brings = [f"Requires-Dist: {name}" for name in ("nvidia-cudnn-cu13", "cuda-bindings", "triton")]
    install(packages, "torch", "2.0", "License-Expression: MIT", *brings)
    install(packages, "nvidia_cudnn_cu13", "9.0", "License: NVIDIA Proprietary Software")
    install(packages, "cuda_bindings", "13.0", "License-Expression: LicenseRef-NVIDIA")
    install(packages, "triton", "3.0", "License-Expression: MIT")
    seen = needed(["run"], {**PROJECT, "dependencies": ["torch"]}, [str(packages)])
    assert len(seen.packages) == 4
    assert dependencies.check(["torch==2.0"], seen, Needed((), ()), Audit(audited=1)) == 0
    told = capsys.readouterr().out
    assert "not audited: 3 packages, such as cuda-bindings" in told
    assert dependencies.of_torch(found(packages, "run")) == []


def test_a_package_of_development_alone_may_have_any_licence(packages: Path) -> None:
    shipped, development = found(packages, "run", "all"), found(packages, "dev")
    assert dependencies.licence_problems(shipped) == []
    lines = dependencies.tables(shipped, development)
    below = lines.index("For development only:")
    assert [line for line in lines[below:] if "GPL" in line] == [
        "| tested | 5.0 | GPL-3.0-only | dev |"
    ]
    assert not [line for line in lines[:below] if "GPL" in line]


@pytest.mark.parametrize(
    ("lines", "licence", "permissive"),
    [
        (["License-Expression: MIT OR GPL-2.0-only", "License: x"], "MIT OR GPL-2.0-only", True),
        (["License-Expression: MIT AND GPL-2.0-only"], "MIT AND GPL-2.0-only", False),
        (["License: LGPL"], "LGPL", False),
        (["License: BSD, mostly"], "BSD, mostly", False),
        ([], "not declared", False),
        (["License: UNKNOWN", "Classifier: License :: OSI Approved"], "not declared", False),
        (["Classifier: License :: OSI Approved :: MIT License"], "MIT", True),
        (
            ["License: MIT", "Classifier: License :: OSI Approved :: GNU Affero"],
            "MIT AND GNU Affero",
            False,
        ),
        (
            ["License: BSD-2-Clause", "Classifier: License :: OSI Approved :: BSD License"],
            "BSD-2-Clause",
            True,
        ),
        (
            ["License: MIT OR Apache-2.0", "Classifier: License :: OSI Approved :: MIT License"],
            "MIT OR Apache-2.0",
            True,
        ),
        (["License: MIT License", "        Permission is hereby granted"], "MIT", True),
    ],
)
def test_a_licence_is_read_from_every_field(
    tmp_path: Path, lines: list[str], licence: str, permissive: bool
) -> None:
    install(tmp_path, "one", "1.0", *lines)
    (one,) = needed(["run"], {**PROJECT, "dependencies": ["one"]}, [str(tmp_path)]).packages
    assert one.licence == licence
    assert is_permissive(licence) is permissive


def test_an_accepted_licence_is_looked_at_again_when_it_changes() -> None:
    accepted = {"one": LookedAt("MPL-2.0", "unchanged")}
    assert objections([Package("one", "1", "MPL-2.0", ("run",))], accepted) == []
    (told,) = objections([Package("one", "2", "AGPL-3.0-only", ("run",))], accepted)
    assert told == "one 2: its licence was MPL-2.0, and is now AGPL-3.0-only"


def test_the_packages_of_this_installation_pass() -> None:
    """And each accepted licence is still needed."""
    project = licences.project()
    shipped = needed(licences.SHIPPED, project)
    assert len(shipped.packages) > 60
    assert dependencies.licence_problems(shipped) == []
    assert {one.name for one in shipped.packages} >= set(licences.LOOKED_AT)
    assert not [
        one.name
        for one in shipped.packages
        if is_permissive(one.licence) and one.name in licences.LOOKED_AT
    ]


def test_every_package_of_this_installation_is_pinned_so_that_it_is_audited() -> None:
    project = licences.project()
    every = needed([*licences.SHIPPED, "dev"], project)
    pinned = vulnerabilities.pins(ROOT / "constraints.txt")
    assert dependencies.not_pinned([every], pinned) == []
    assert dependencies.not_pinned([every], pinned[1:]) == [
        "torch is not pinned in constraints.txt"
    ]


def test_every_extra_is_looked_at() -> None:
    """`quality` is for one benchmark, and its packages are not installed for the tests."""
    extras = set(licences.project()["optional-dependencies"])
    parts = {"office", "markup", "ocr"}
    assert extras - parts == {*licences.SHIPPED[1:], *licences.DEVELOPMENT, "quality"}


# Vulnerabilities


def clean(name: str = "one") -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": []}


def vulnerable(name: str = "one", **changed: Any) -> dict[str, Any]:
    flaw = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"], "description": ""}
    return {"name": name, "version": "1.0", "vulns": [{**flaw, **changed}]}


def service(answers: dict[str, Any], asked: list[str] | None = None) -> Any:
    """Stands for pip-audit: a list is what a service knows, a string why it does not answer."""

    def ask(name: str, pinned: Sequence[str], seconds: float) -> dict[str, Any] | str:
        if asked is not None:
            asked.append(f"{name} {len(pinned)}")
        known = answers[name]
        return known if isinstance(known, str) else {"dependencies": known[: len(pinned)]}

    return ask


def test_a_known_vulnerability_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    seen = audit(PINS, {}, service({"pypi": [clean(), vulnerable("two")], "osv": "down"}))
    assert seen == Audit(2, ("two 1.0: PYSEC-1 CVE-2026-1, mended in 1.1",))
    nobody = Needed((), ())
    assert dependencies.check(PINS, nobody, nobody, seen) == 1
    told = capsys.readouterr().out
    assert "2 packages audited, 1 known vulnerabilities" in told
    assert "two 1.0: PYSEC-1 CVE-2026-1, mended in 1.1" in told
    assert "NOT AUDITED" not in told


def test_an_ignored_vulnerability_is_told_with_reason_and_date(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By an alias too."""
    ignored = {"CVE-2026-1": Ignored("we never call it", "2026-11-30")}
    seen = audit(PINS, ignored, service({"pypi": [vulnerable(fix_versions=[])], "osv": "down"}))
    nobody = Needed((), ())
    assert dependencies.check(PINS, nobody, nobody, seen) == 0
    assert "no version yet; ignored since 2026-11-30: we never call it" in capsys.readouterr().out
    other = audit(PINS, ignored, service({"pypi": [vulnerable(aliases=[])], "osv": "down"}))
    assert len(other.findings) == 1


def test_without_a_service_it_says_that_nothing_was_audited(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    seen = audit(PINS, {}, service({"pypi": "no route", "osv": "no name"}, asked))
    assert sorted(asked) == ["osv 1", "pypi 1"], "one package each, not all of them"
    nobody = Needed((), ())
    monkeypatch.delenv("WVA_REQUIRE_AUDIT", raising=False)
    assert dependencies.check(PINS, nobody, nobody, seen) == 0
    told = capsys.readouterr().out
    assert "*** NOT AUDITED: known vulnerabilities were not looked for." in told
    assert "pypi: no route; osv: no name" in told
    monkeypatch.setenv("WVA_REQUIRE_AUDIT", "1")
    assert dependencies.check(PINS, nobody, nobody, seen) == 1


def test_a_service_that_knows_no_package_has_audited_nothing() -> None:
    """A mirror of PyPI; pip-audit itself says "No known vulnerabilities found"."""
    unknown = [{"name": "one", "skip_reason": "not found on PyPI"}]
    seen = audit(PINS, {}, service({"pypi": unknown, "osv": "down"}))
    assert seen.audited == 0
    assert "knows none of the packages" in seen.skipped
    other = audit(PINS, {}, service({"pypi": unknown, "osv": [vulnerable()]}))
    assert len(other.findings) == 1, "the other service is asked"


def test_packages_that_a_service_does_not_know_are_named() -> None:
    answer = [clean(), {"name": "two", "skip_reason": "not found on PyPI"}]
    seen = audit(PINS, {}, service({"pypi": answer, "osv": "down"}))
    assert (seen.audited, seen.unknown) == (1, ("two",))
    told = dependencies.vulnerability_lines(seen)
    assert "*** NOT AUDITED, not known to the service: two" in told


def test_a_service_that_fails_on_the_way_has_audited_nothing() -> None:
    def ask(name: str, pinned: Sequence[str], seconds: float) -> dict[str, Any] | str:
        return {"dependencies": [clean()]} if len(pinned) == 1 else f"{name} went away"

    assert audit(PINS, {}, ask).skipped == "pypi: pypi went away; osv: osv went away"


def pip_audit_that(monkeypatch: pytest.MonkeyPatch, folder: Path, does: str) -> None:
    """A program in the place of the interpreter that would run pip-audit."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


def test_pip_audit_is_asked_for_pins_without_installing_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = json.dumps({"dependencies": [vulnerable()]})
    does = f'cat "$4" > {tmp_path}/pins; echo "$@" > {tmp_path}/words; echo \'{report}\'; exit 1'
    pip_audit_that(monkeypatch, tmp_path, does)
    assert vulnerabilities.ask("osv", PINS, 10) == {"dependencies": [vulnerable()]}
    assert (tmp_path / "pins").read_text().split() == PINS
    words = (tmp_path / "words").read_text()
    assert "--no-deps --disable-pip --vulnerability-service osv" in words


def test_why_pip_audit_has_no_report_is_its_last_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip_audit_that(monkeypatch, tmp_path, "echo Traceback >&2; echo no route >&2; exit 1")
    assert vulnerabilities.ask("pypi", PINS, 10) == "no route"
    pip_audit_that(monkeypatch, tmp_path, "exit 2")
    assert vulnerabilities.ask("pypi", PINS, 10) == "pip-audit ended with 2"
    pip_audit_that(monkeypatch, tmp_path, "exec sleep 60")
    assert vulnerabilities.ask("pypi", PINS, 0.05) == "no answer within 0 s"


# The bill of materials


def test_the_bill_holds_what_is_shipped_and_is_valid(packages: Path, tmp_path: Path) -> None:
    def component(name: str, **more: Any) -> dict[str, Any]:
        return {"bom-ref": f"{name}==1", "name": name, "version": "1", "type": "library", **more}

    ours = {"bom-ref": "root", "name": "ours", "version": "0", "type": "application"}
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ours},
        "components": [
            component("one", licenses=[{"license": {"id": "MIT"}}]),
            component("Two_Parts"),
            component("tested"),
        ],
        "dependencies": [
            {"ref": "root", "dependsOn": ["one==1", "tested==1"]},
            {"ref": "Two_Parts==1", "dependsOn": ["one==1", "tested==1"]},
            {"ref": "tested==1"},
        ],
    }
    whole = dependencies.bill(found(packages, "run"), made)
    assert [(one["name"], one["licenses"]) for one in whole["components"]] == [
        ("one", [{"license": {"id": "MIT"}}]),
        ("Two_Parts", [{"license": {"acknowledgement": "declared", "name": "LicenseRef-BSD"}}]),
    ]
    assert whole["dependencies"] == [
        {"ref": "root", "dependsOn": ["one==1"]},
        {"ref": "Two_Parts==1", "dependsOn": ["one==1"]},
    ]
    path = tmp_path / "new" / "bill.cdx.json"
    dependencies.write_bill(path, whole)
    assert json.loads(path.read_text()) == whole


def test_a_bill_that_is_not_valid_is_not_written(tmp_path: Path) -> None:
    wrong = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "no type"}]}
    with pytest.raises(SystemExit, match="not valid CycloneDX"):
        dependencies.write_bill(tmp_path / "bill.cdx.json", wrong)
    assert not list(tmp_path.iterdir())


def test_the_bill_of_this_installation_names_no_path_no_machine_and_no_time() -> None:
    shipped = needed(licences.SHIPPED, licences.project())
    whole = dependencies.bill(shipped, dependencies.environment_bill())
    assert len(whole["components"]) == len(shipped.packages)
    assert all(one.get("licenses") for one in whole["components"])
    assert set(whole["metadata"]) == {"component", "properties", "tools"}, "no time, no machine"
    assert "serialNumber" not in whole
    text = json.dumps(whole)
    assert not [one for one in (str(ROOT), str(Path.home()), sys.prefix) if one in text]
