"""Preflight's question: can the images that hosts lack be had? Registries in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barewind.images import availability
from barewind.plan.engine import EnginePlan, plan_host
from barewind.registry import client
from barewind.registry.client import Unreachable
from barewind.registry.reference import parse
from tests.support.factories import lab_spec, locked
from tests.support.registry_server import RegistryServer, running

VLLM = "vllm/vllm-openai"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RegistryServer]:
    monkeypatch.setattr(client, "sleep", lambda _: None)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as server:
        yield server


def planned(server: RegistryServer, digest: str, *, mirror: bool = False, **changes: Any) -> EnginePlan:
    reference = f"{server.name}/{VLLM}:nightly"
    own: dict[str, Any] = {"image": reference, "insecure_registries": [server.name]}
    if mirror:
        own = {"image": "docker.io/vllm/vllm-openai:nightly", "mirror": server.name, "mirror_tls": False}
    spec = lab_spec(**own | changes)
    return plan_host(spec, locked(spec, digest=digest))


def test_an_image_that_is_there_costs_one_question(server: RegistryServer) -> None:
    plan = planned(server, server.image(VLLM, "nightly", b"layer"))
    assert availability.finding(plan) is None
    assert [request.method for request in server.asked] == ["HEAD"]


def test_one_that_upstream_has_deleted(server: RegistryServer) -> None:
    plan = planned(server, "sha256:" + "0" * 64)
    finding = availability.finding(plan)
    assert finding == f"image {server.name}/{VLLM}@sha256:{'0' * 64}: its registry does not have it any more"
    problem = availability.problem(plan, ["engine1", "engine2"], finding)
    assert problem.host == "engine1, engine2"
    assert "barewind lock INVENTORY --update" in problem.remedy


def test_one_that_the_mirror_has(server: RegistryServer) -> None:
    digest = server.image(f"docker.io/{VLLM}", None, b"layer")
    assert availability.finding(planned(server, digest, mirror=True)) is None


def test_one_that_the_mirror_has_not_or_not_whole(server: RegistryServer) -> None:
    digest = server.image(f"docker.io/{VLLM}", None, b"layer")
    del server.repositories[f"docker.io/{VLLM}"].blobs[next(iter(server.repositories[f"docker.io/{VLLM}"].blobs))]
    plan = planned(server, digest, mirror=True)
    finding = availability.finding(plan)
    assert finding is not None
    assert finding.endswith(", or not whole")
    assert availability.problem(plan, ["engine1"], finding).remedy == "fill the mirror: barewind mirror INVENTORY"
    assert availability.finding(planned(server, "sha256:" + "0" * 64, mirror=True)) is not None


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_registry_that_refuses_is_a_finding(server: RegistryServer, status: int) -> None:
    plan = planned(server, server.image(VLLM, "nightly", b"layer"))
    server.fault("HEAD", "*", "status", status=status, times=9)
    assert f"the registry answered {status}" in str(availability.finding(plan))


@pytest.mark.parametrize("mirror", [True, False])
def test_one_that_does_not_answer_here_may_answer_the_hosts(server: RegistryServer, mirror: bool) -> None:
    plan = planned(server, "sha256:" + "0" * 64, mirror=mirror)
    server.fault("HEAD", "*", "close", times=9)
    server.fault("GET", "*", "close", times=9)
    with pytest.raises(Unreachable):
        availability.finding(plan)
    assert availability.url(plan) == f"http://{server.name}/v2/"


def test_where_a_host_would_try() -> None:
    spec = lab_spec(image="vllm/vllm-openai:nightly")
    assert availability.url(plan_host(spec, locked(spec))) == "https://registry-1.docker.io/v2/"
    spec = lab_spec(mirror="m.example:5000")
    assert availability.url(plan_host(spec, locked(spec))) == "https://m.example:5000/v2/"


def test_each_image_is_asked_for_once() -> None:
    specs = {name: lab_spec(host=name) for name in ("a", "b", "c")} | {"d": lab_spec(host="d", image="r:1/x:1")}
    plans = {name: plan_host(spec, locked(spec)) for name, spec in specs.items()}
    lacking = availability.lacking(plans, ["a", "c", "d"])
    assert list(lacking.values()) == [["a", "c"], ["d"]]
    assert all(parse(reference).digest for reference in lacking)
