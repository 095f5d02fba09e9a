"""The files for servers and clusters: they parse, fit the pins, and open nothing by themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
)


def parsed(name: str) -> dict[str, Any]:
    (found,) = yaml.safe_load_all((DEPLOY / name).read_text("utf-8"))
    return found


def minor(version: str) -> list[str]:
    return version.removeprefix("v").split(".")[:2]


def images(node: Any) -> list[str]:
    """All values under the name "image", wherever they are."""
    if isinstance(node, dict):
        own = [node["image"]] if isinstance(node.get("image"), str) else []
        return own + [one for value in node.values() for one in images(value)]
    return [one for value in node for one in images(value)] if isinstance(node, list) else []


def test_every_file_is_named_in_the_document_and_parses() -> None:
    told = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    files = sorted(DEPLOY.iterdir())
    assert len(files) == 4
    for file in files:
        assert f"(deploy/{file.name})" in told, file.name
        if file.suffix == ".yaml":
            assert parsed(file.name)


def test_milvus_fits_its_client() -> None:
    """Release 3.0 of the server is for release 3.0 of pymilvus."""
    compose = parsed("milvus-compose.yaml")["services"]["milvus"]["image"]
    chart = parsed("milvus-values.yaml")["image"]["all"]
    assert compose == f"{chart['repository']}:{chart['tag']}"
    assert minor(chart["tag"]) == minor(PINS["pymilvus"])
    assert not [one for one in images(parsed("milvus-compose.yaml")) if one.endswith(":latest")]


def test_ray_is_the_pinned_one_everywhere() -> None:
    cluster = parsed("ray-cluster.yaml")
    assert cluster["spec"]["rayVersion"] == PINS["ray"]
    assert set(images(cluster)) == {f"wva-ray:{PINS['ray']}"}
    docker = (DEPLOY / "ray.Dockerfile").read_text()
    assert f"FROM rayproject/ray:{PINS['ray']}-py312-gpu" in docker
    assert f"-t wva-ray:{PINS['ray']} ." in docker


def test_ports_are_open_to_this_machine_alone() -> None:
    services = parsed("milvus-compose.yaml")["services"]
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert ports
    assert all(re.match(r"127\.0\.0\.1:|\$\{MILVUS_BIND:-127\.0\.0\.1\}:", one) for one in ports)
    assert parsed("milvus-values.yaml")["service"]["type"] == "ClusterIP"
    assert parsed("ray-cluster.yaml")["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_nobody_is_let_in_without_a_secret_of_ones_own() -> None:
    services = parsed("milvus-compose.yaml")["services"]
    for service, name in (
        ("minio", "MINIO_ROOT_PASSWORD"),
        ("milvus", "MINIO_SECRET_ACCESS_KEY"),
        ("milvus", "COMMON_SECURITY_DEFAULTROOTPASSWORD"),
    ):
        assert re.match(r"\$\{\w+:\?", services[service]["environment"][name])
    assert services["milvus"]["environment"]["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    user = yaml.safe_load(parsed("milvus-values.yaml")["extraConfigFiles"]["user.yaml"])
    assert user["common"]["security"]["authorizationEnabled"] is True
    assert parsed("ray-cluster.yaml")["spec"]["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("service", ["etcd", "minio", "milvus"])
def test_services_are_known_to_be_healthy(service: str) -> None:
    services = parsed("milvus-compose.yaml")["services"]
    assert services[service]["healthcheck"]["test"][0] == "CMD"
    waits = services["milvus"]["depends_on"]
    assert {one["condition"] for one in waits.values()} == {"service_healthy"}
