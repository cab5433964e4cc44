"""Docker Engine: where it comes from, what daemon.json says, when changing it disturbs what runs."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.docker.plan import docker_plan, drain_reasons
from tests.support.factories import engine_spec, lab_spec

DEBIAN = "debian 12"


def names(**changes: Any) -> list[str]:
    made = docker_plan(engine_spec(**changes), DEBIAN)
    return [str(package) for package in made.packages if package.name in made.held]


def test_from_the_distribution() -> None:
    assert names() == ["docker.io"]
    assert docker_plan(engine_spec(), DEBIAN).files == ()


def test_from_the_vendor_at_an_exact_version() -> None:
    assert names(docker_source="vendor", docker_version="28.5.2") == [
        "docker-ce=5:28.5.2-*",
        "docker-ce-cli=5:28.5.2-*",
        "containerd.io",
    ]


@pytest.mark.parametrize(
    ("system", "line"),
    [
        ("debian 12", "https://download.docker.com/linux/debian bookworm stable"),
        ("ubuntu 22.04", "https://download.docker.com/linux/ubuntu jammy stable"),
        ("ubuntu 24.04", "https://download.docker.com/linux/ubuntu noble stable"),
    ],
)
def test_the_vendors_repository(system: str, line: str) -> None:
    key, source = docker_plan(engine_spec(docker_source="vendor"), system).files
    assert source.content == f"deb [arch=amd64 signed-by=/etc/apt/keyrings/barewind-docker.asc] {line}\n"
    assert key.content.startswith("-----BEGIN PGP")


@pytest.mark.parametrize(
    ("changes", "runtimes"),
    [
        ({}, ["nvidia"]),
        ({"accelerator_drivers": "external"}, []),
        ({"accelerator": "mi300x"}, []),
        ({"accelerator": "mi300x", "amd_container_access": "toolkit"}, ["amd"]),
    ],
)
def test_runtimes(changes: dict[str, Any], runtimes: list[str]) -> None:
    assert list(docker_plan(engine_spec(**changes), DEBIAN).settings["runtimes"]) == runtimes


def test_hosts_without_accelerators_need_no_runtime() -> None:
    assert docker_plan(lab_spec(), DEBIAN).settings == {"insecure-registries": ["172.30.77.2:5000"], "runtimes": {}}


@pytest.mark.parametrize(
    ("changes", "installed", "expected"),
    [
        ({}, {}, []),
        ({}, {"docker.io": "20.10.24+dfsg1-1"}, []),
        ({"docker_source": "vendor"}, {}, []),
        (
            {"docker_source": "vendor"},
            {"docker.io": "20.10.24"},
            ["docker.io -> docker-ce, docker-ce-cli, containerd.io"],
        ),
        ({}, {"docker-ce": "5:28.5.2-1"}, ["docker-ce -> docker.io"]),
        (
            {"docker_source": "vendor", "docker_version": "28.5.2"},
            {"docker-ce": "5:28.5.1-1", "docker-ce-cli": "5:28.5.2-1", "containerd.io": "1.7"},
            ["docker-ce -> docker-ce=5:28.5.2-*"],
        ),
    ],
)
def test_only_another_engine_disturbs_what_runs(
    changes: dict[str, Any], installed: dict[str, str], expected: list[str]
) -> None:
    wanted = docker_plan(engine_spec(**changes), DEBIAN)
    assert drain_reasons(wanted, {name: {"version": one, "held": True} for name, one in installed.items()}) == expected
