"""A lock against the world: registry and hub of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from barewind.lock.check import Report, age, check
from barewind.lock.file import Lock
from barewind.lock.resolve import resolve
from barewind.registry import client
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site
from tests.support.factories import lab_spec
from tests.support.hub import COMMIT, REPOSITORY, LocalHub
from tests.support.registry_server import RegistryServer, running

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
VLLM = "vllm/vllm-openai"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    monkeypatch.setattr(client, "sleep", lambda _: None)
    with running() as server:
        server.image(VLLM, "nightly", b"layer", created="2026-11-20T12:00:00Z")
        yield server


@pytest.fixture
def spec(server: RegistryServer, hub: LocalHub) -> EngineSpec:
    return lab_spec(
        image=f"{server.name}/{VLLM}:nightly",
        insecure_registries=[server.name],
        hub_endpoint=hub.url,
        model=REPOSITORY,
        model_revision="main",
        speculative=False,
    )


@pytest.fixture
def lock(spec: EngineSpec) -> Lock:
    resolved = resolve(site(spec))
    old = NOW - timedelta(days=16)
    images = {name: image.model_copy(update={"locked": old}) for name, image in resolved.images.items()}
    return resolved.model_copy(update={"images": images, "created": old})


def site(*specs: EngineSpec) -> Site:
    return Site({spec.host: spec for spec in specs}, {}, "x.yaml")


def states(report: Report) -> list[str]:
    return [finding.state for finding in report.findings]


def test_up_to_date(spec: EngineSpec, lock: Lock, hub: LocalHub) -> None:
    hub.server.requests.clear()
    report = check(site(spec), lock, NOW)
    assert (states(report), report.status) == (["same", "same"], 0)
    image, weights = report.findings
    assert image.detail.endswith(", locked 16 days ago, built 48 h ago") or "built 2 days ago" in image.detail
    assert weights.detail == COMMIT
    assert hub.downloads() == []


def test_a_tag_that_moved(spec: EngineSpec, lock: Lock, server: RegistryServer) -> None:
    moved = server.image(VLLM, "nightly", b"another layer")
    report = check(site(spec), lock, NOW)
    assert (states(report), report.status) == (["moved", "same"], 1)
    (locked,) = lock.images.values()
    assert report.findings[0].detail.startswith(f"{locked.digest} -> {moved}, locked 16 days ago")
    assert "gone upstream" not in report.findings[0].detail


def test_a_tag_that_moved_and_whose_old_image_is_deleted(spec: EngineSpec, lock: Lock, server: RegistryServer) -> None:
    server.repositories.clear()
    server.image(VLLM, "nightly", b"another layer")
    report = check(site(spec), lock, NOW)
    assert (
        "the locked digest is gone upstream: only a mirror and hosts that have it still do" in report.findings[0].detail
    )


def test_a_tag_that_is_gone(spec: EngineSpec, lock: Lock, server: RegistryServer) -> None:
    server.repositories.clear()
    report = check(site(spec), lock, NOW)
    assert (states(report), report.status) == (["gone", "same"], 1)


def test_a_branch_that_moved_and_one_that_is_gone(spec: EngineSpec, lock: Lock) -> None:
    older = lock.weights[0].model_copy(update={"revision": "a" * 40})
    report = check(site(spec), lock.model_copy(update={"weights": [older]}), NOW)
    assert report.findings[1].detail == f"{'a' * 40} -> {COMMIT}"
    gone = lock.weights[0].model_copy(update={"requested": "v9"})
    there = spec.model_copy(update={"model_revision": "v9"})
    report = check(site(there), lock.model_copy(update={"weights": [gone]}), NOW)
    assert (states(report), report.status) == (["same", "gone"], 1)


def test_what_is_missing_and_what_nobody_needs(spec: EngineSpec, lock: Lock, server: RegistryServer) -> None:
    other = spec.model_copy(update={"image": f"{server.name}/{VLLM}:v1"})
    report = check(site(other), lock.model_copy(update={"weights": []}), NOW)
    assert (states(report), report.status) == (["missing", "missing", "unneeded"], 1)
    unneeded = check(
        site(spec), lock.model_copy(update={"images": lock.images | {"x:1": next(iter(lock.images.values()))}}), NOW
    )
    assert (states(unneeded), unneeded.status) == (["same", "same", "unneeded"], 0)


def test_one_that_cannot_be_asked_hides_nothing_of_the_others(
    spec: EngineSpec, lock: Lock, hub: LocalHub, server: RegistryServer
) -> None:
    hub.fault("/api/models/*", "status", status=500, times=1000)
    server.image(VLLM, "nightly", b"another layer")
    report = check(site(spec), lock, NOW)
    assert (states(report), report.status) == (["moved"], 2)
    assert "the hub did not answer" in report.unasked[0]


def test_a_check_costs_no_download(spec: EngineSpec, lock: Lock, server: RegistryServer) -> None:
    """Docker Hub counts GET requests of manifests against its limit, not HEAD."""
    server.asked.clear()
    check(site(spec), lock, NOW)
    assert [request.method for request in server.asked] == ["HEAD"]


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (None, "at an unknown time"),
        (NOW - timedelta(minutes=5), "0 h ago"),
        (NOW - timedelta(hours=47), "47 h ago"),
        (NOW - timedelta(days=16, hours=5), "16 days ago"),
        (NOW + timedelta(hours=5), "0 h ago"),
    ],
)
def test_an_age(since: datetime | None, words: str) -> None:
    assert age(since, NOW) == words
