"""Copying locked images into the fleet's registry, and what it keeps; registries in this process, with faults."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.mirror import contents as mirror
from barewind.mirror.contents import Mirror
from barewind.progress.transfers import Transfers
from barewind.registry import client, repository
from barewind.registry.image import LockedImage
from barewind.registry.lookup import resolve
from barewind.spec.site import Site
from tests.support.factories import DIGEST, engine_spec, lab_spec
from tests.support.registry_server import RegistryServer, running

pytestmark = pytest.mark.slow

VLLM = "vllm/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(5))
NOW = datetime(2026, 11, 22, 7, 4, 2, tzinfo=UTC)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(client, "sleep", waited.append)
    monkeypatch.setattr(repository, "CHUNK", 50_000)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return waited


@pytest.fixture
def upstream(waits: list[float]) -> Iterator[RegistryServer]:
    with running() as server:
        amd = server.image(VLLM, None, *LAYERS)
        arm = server.image(VLLM, None, b"arm")
        server.index(VLLM, "nightly", amd64=amd, arm64=arm)
        yield server


@pytest.fixture
def target(waits: list[float]) -> Iterator[RegistryServer]:
    with running() as server:
        yield server


class Shown(Transfers):
    """Progress of transfers, and what a person would have seen of it."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=1000))


def lock_of(upstream: RegistryServer, tag: str = "nightly") -> Lock:
    reference = f"{upstream.name}/{VLLM}:{tag}"
    return Lock(images={reference: resolve(reference, insecure_registries=(upstream.name,))})


def one_mirror(upstream: RegistryServer, target: RegistryServer, lock: Lock | None = None, keep: int = 3) -> Mirror:
    spec = lab_spec(
        image=f"{upstream.name}/{VLLM}:nightly",
        insecure_registries=[upstream.name],
        mirror=target.name,
        mirror_tls=False,
        keep_releases=keep,
    )
    (planned,) = mirror.mirrors(Site({spec.host: spec}, {}, "x.yaml"), lock or lock_of(upstream))
    return planned


def fill(upstream: RegistryServer, target: RegistryServer, lock: Lock | None = None, **more: object) -> str:
    """Fill the mirror once; what a person would have seen."""
    shown = Shown()
    keep = int(str(more.get("keep", 3)))
    when = more.get("now", NOW)
    assert isinstance(when, datetime)
    with shown:
        mirror.fill(one_mirror(upstream, target, lock, keep), "prod", when, shown)
    return shown.text.getvalue()


def name_in_mirror(upstream: RegistryServer) -> str:
    return f"{upstream.name.replace(':', '-')}/{VLLM}"


# --- Copying -----------------------------------------------------------------------------------------------------------


def test_our_platforms_image_comes_byte_for_byte_under_its_digest(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    (image,) = lock_of(upstream).images.values()

    output = fill(upstream, target)

    stored = target.repositories[name_in_mirror(upstream)]
    assert image.platform_digest is not None
    assert stored.manifests == {image.platform_digest: upstream.repositories[VLLM].manifests[image.platform_digest]}
    assert set(LAYERS) < set(stored.blobs.values())
    assert b"arm" not in stored.blobs.values()
    assert stored.tags == {f"prod.20261122T070402Z.{image.platform_digest[7:19]}": image.platform_digest}
    assert re.search(r"sent 976\.\d KiB", output)


def test_the_plan_pulls_what_the_mirror_has(upstream: RegistryServer, target: RegistryServer) -> None:
    from barewind.plan.engine import plan_host

    lock = lock_of(upstream)
    spec = lab_spec(image=f"{upstream.name}/{VLLM}:nightly", mirror=target.name, mirror_tls=False)
    fill(upstream, target)
    pinned = plan_host(spec, lock).pinned_image
    digest = pinned.partition("@")[2]
    assert pinned == f"{target.name}/{name_in_mirror(upstream)}@{digest}"
    assert digest in target.repositories[name_in_mirror(upstream)].manifests


def test_a_second_run_sends_nothing_and_does_not_ask_upstream(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    fill(upstream, target, lock)
    upstream.asked.clear()
    target.asked.clear()
    output = fill(upstream, target, lock, now=NOW.replace(day=23))
    assert "is there" in output
    assert upstream.asked == []
    assert {request.method for request in target.asked} == {"GET", "HEAD"}


def test_upstream_may_have_deleted_what_the_mirror_has(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    fill(upstream, target, lock)
    upstream.repositories.clear()
    assert "is there" in fill(upstream, target, lock)


def test_what_nobody_has_any_more(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    upstream.repositories.clear()
    with pytest.raises(
        BarewindError, match=r"does not have sha256:\w+ any more, and the mirror never had it. Load it from a"
    ):
        fill(upstream, target, lock)


def test_an_old_lock_without_our_platforms_digest_brings_the_whole_index(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    lock = lock_of(upstream)
    ((reference, image),) = lock.images.items()
    fill(upstream, target, Lock(images={reference: image.model_copy(update={"platform_digest": None})}))
    stored = target.repositories[name_in_mirror(upstream)]
    assert stored.manifests == upstream.repositories[VLLM].manifests
    assert list(stored.tags.values()) == [image.digest]


def test_only_what_is_missing_is_sent(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    fill(upstream, target, lock)
    stored = target.repositories[name_in_mirror(upstream)]
    lost = next(digest for digest, content in stored.blobs.items() if content == LAYERS[2])
    del stored.blobs[lost]
    upstream.asked.clear()
    assert "sent 195.3 KiB" in fill(upstream, target, lock)
    assert [request.path for request in upstream.requests("GET", "*/blobs/*")] == [f"/v2/{VLLM}/blobs/{lost}"]


def test_a_mirror_with_token_authentication(upstream: RegistryServer, target: RegistryServer) -> None:
    target.token = "push"  # noqa: S105
    fill(upstream, target)
    assert len(target.repositories[name_in_mirror(upstream)].blobs) == 6


# --- What goes wrong on the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "*/blobs/*", "truncate"),
        ("GET", "*/blobs/*", "close"),
        ("PUT", "*/blobs/uploads/*", "close"),
        ("POST", "*/blobs/uploads/", "close"),
    ],
)
def test_a_transfer_that_breaks_off_is_taken_up(
    upstream: RegistryServer, target: RegistryServer, method: str, path: str, kind: str
) -> None:
    lock = lock_of(upstream)
    (upstream if method == "GET" else target).fault(method, path, kind, times=2)
    fill(upstream, target, lock)
    assert set(LAYERS) < set(target.repositories[name_in_mirror(upstream)].blobs.values())


def test_a_registry_that_is_busy_is_waited_for(
    upstream: RegistryServer, target: RegistryServer, waits: list[float]
) -> None:
    lock = lock_of(upstream)
    upstream.fault("GET", "*/blobs/*", "status", status=429, retry_after="11")
    target.fault("POST", "*", "status", status=503)
    fill(upstream, target, lock)
    assert 11 in waits


def test_a_corrupted_layer_is_never_stored(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    upstream.fault("GET", "*/blobs/*", "corrupt", times=1)
    with pytest.raises(BarewindError, match=r"is damaged: \d+ bytes with another SHA-256"):
        fill(upstream, target, lock)
    stored = target.repositories.get(name_in_mirror(upstream))
    for digest, content in (stored.blobs if stored else {}).items():
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert not (stored and stored.manifests), "an image that is not whole can be pulled"
    fill(upstream, target, lock)  # what came right stays
    assert set(LAYERS) < set(target.repositories[name_in_mirror(upstream)].blobs.values())


def test_a_mirror_that_dies_mid_way_goes_on_in_the_next_run(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    dying = len(LAYERS) - 1

    def die(method: str, path: str) -> None:
        nonlocal dying
        if method == "PUT" and "/blobs/" in path:
            dying -= 1
            if dying < 0:
                target.fault("PUT", "*", "close", times=1000)
                target.fault("POST", "*", "close", times=1000)

    target.on_request = die
    with pytest.raises(BarewindError, match="the registry did not answer"):
        fill(upstream, target, lock)
    there = len(target.repositories[name_in_mirror(upstream)].blobs)
    assert there > 0
    target.on_request = None
    target.faults.clear()
    upstream.asked.clear()
    fill(upstream, target, lock)
    assert len({request.path for request in upstream.requests("GET", "*/blobs/*")}) == 6 - there


def test_a_damaged_blob_in_the_mirror_is_found_and_sent_anew_once_it_is_gone(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    lock = lock_of(upstream)
    fill(upstream, target, lock)
    stored = target.repositories[name_in_mirror(upstream)]
    digest = next(digest for digest, content in stored.blobs.items() if content == LAYERS[1])

    stored.blobs[digest] = LAYERS[1][:-1] + b"?"
    (message,) = mirror.damaged(one_mirror(upstream, target, lock), Shown())
    assert digest in message

    stored.blobs[digest] = LAYERS[1][:100]  # the registry would take no other in its place
    with pytest.raises(
        BarewindError, match=r"is damaged: 100 bytes, 200000 wanted; on the mirror's host run: systemctl start"
    ):
        fill(upstream, target, lock)

    del stored.blobs[digest]  # what barewind-mirror@check does
    (message,) = mirror.damaged(one_mirror(upstream, target, lock), Shown())
    assert "not at all or not whole; run: barewind mirror INVENTORY" in message
    fill(upstream, target, lock)
    assert mirror.damaged(one_mirror(upstream, target, lock), Shown()) == []


def test_a_damaged_manifest_in_the_mirror_is_named(upstream: RegistryServer, target: RegistryServer) -> None:
    lock = lock_of(upstream)
    fill(upstream, target, lock)
    manifests = target.repositories[name_in_mirror(upstream)].manifests
    ((digest, (kind, body)),) = manifests.items()
    manifests[digest] = (kind, body.replace(b"200000", b"200001"))
    with pytest.raises(BarewindError, match="does not give it back whole; on the mirror's host run"):
        fill(upstream, target, lock)


# --- Which mirrors, which images ---------------------------------------------------------------------------------------


def test_no_host_with_a_mirror() -> None:
    spec = engine_spec()
    with pytest.raises(BarewindError, match=r"key .mirror.: no host has one; set it in group_data/all\.py"):
        mirror.mirrors(Site({spec.host: spec}, {}, "x.yaml"), Lock())


def test_an_image_that_is_not_locked() -> None:
    spec = engine_spec(mirror="m.example:5000")
    with pytest.raises(
        BarewindError, match=r"x.yaml: does not hold image docker.io/vllm/vllm-openai:nightly; run: barewind"
    ):
        mirror.mirrors(Site({spec.host: spec}, {}, "x.yaml"), Lock())


def test_each_mirror_gets_what_its_own_hosts_need() -> None:
    image = LockedImage(digest=DIGEST, size=1)
    specs = [
        engine_spec(host="a", mirror="m1.example:5000", keep_releases=2),
        engine_spec(host="b", mirror="m1.example:5000", keep_releases=5, accelerator="mi300x"),
        engine_spec(host="c", mirror="m2.example:5000", image="m2.example:5000/own/vllm:1"),
        engine_spec(host="d"),
    ]
    names = [
        "docker.io/vllm/vllm-openai:nightly",
        "docker.io/vllm/vllm-openai-rocm:nightly",
        "m2.example:5000/own/vllm:1",
    ]
    first, second = mirror.mirrors(
        Site({spec.host: spec for spec in specs}, {}, "x"), Lock(images=dict.fromkeys(names, image))
    )
    assert (first.registry, first.keep, sorted(first.images)) == ("m1.example:5000", 5, sorted(names[:2]))
    assert (second.registry, second.images) == ("m2.example:5000", {})


# --- What a mirror keeps -----------------------------------------------------------------------------------------------


def test_older_images_go_when_they_are_out_of_the_window(upstream: RegistryServer, target: RegistryServer) -> None:
    digests = []
    output = ""
    for day in range(1, 5):
        digests.append(upstream.image(VLLM, "nightly", b"day %d" % day))
        output = fill(upstream, target, keep=3, now=NOW.replace(day=day))
    stored = target.repositories[name_in_mirror(upstream)]
    assert set(stored.manifests) == set(digests[1:])
    assert f"@{digests[0]}: forgotten, older than 3 releases" in output


def test_an_index_takes_its_platforms_along_but_not_one_that_is_wanted_itself(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    lock = lock_of(upstream)
    ((reference, image),) = lock.images.items()
    fill(
        upstream,
        target,
        Lock(images={reference: image.model_copy(update={"platform_digest": None})}),
        now=NOW.replace(day=1),
    )
    fill(upstream, target, lock, keep=1)
    assert list(target.repositories[name_in_mirror(upstream)].manifests) == [image.platform_digest]


def test_a_registry_that_allows_no_deletion_keeps_all(upstream: RegistryServer, target: RegistryServer) -> None:
    target.deletes = False
    fill(upstream, target, now=NOW.replace(day=1))
    upstream.image(VLLM, "nightly", b"new")
    output = fill(upstream, target, keep=1)
    assert "allows no deletion" in output
    assert len(target.repositories[name_in_mirror(upstream)].manifests) == 2
