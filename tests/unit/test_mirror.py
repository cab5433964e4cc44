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

from barewind import mirror, registry
from barewind.errors import BarewindError
from barewind.lock import Lock, LockedImage
from barewind.mirror import Mirror
from barewind.registry import client, repository
from barewind.site import Site
from barewind.transfers import Transfers
from tests.unit.factories import DIGEST, engine_spec, lab_spec
from tests.unit.registry_server import RegistryServer, running

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


class Said(Transfers):
    """What a person would have seen."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=1000))


def lock_of(upstream: RegistryServer, tag: str = "nightly") -> Lock:
    reference = f"{upstream.name}/{VLLM}:{tag}"
    return Lock(images={reference: registry.resolve(reference, insecure_registries=(upstream.name,))})


def one_mirror(upstream: RegistryServer, target: RegistryServer, held: Lock | None = None, keep: int = 3) -> Mirror:
    spec = lab_spec(
        image=f"{upstream.name}/{VLLM}:nightly",
        insecure_registries=[upstream.name],
        mirror=target.name,
        mirror_tls=False,
        keep_releases=keep,
    )
    (found,) = mirror.mirrors(Site({spec.host: spec}, {}, "x.yaml"), held or lock_of(upstream))
    return found


def fill(upstream: RegistryServer, target: RegistryServer, held: Lock | None = None, **more: object) -> str:
    """Fill the mirror once; what was said."""
    shown = Said()
    keep = int(str(more.get("keep", 3)))
    when = more.get("now", NOW)
    assert isinstance(when, datetime)
    with shown:
        mirror.fill(one_mirror(upstream, target, held, keep), "prod", when, shown)
    return shown.text.getvalue()


def name_in_mirror(upstream: RegistryServer) -> str:
    return f"{upstream.name.replace(':', '-')}/{VLLM}"


# --- Copying -----------------------------------------------------------------------------------------------------------


def test_our_platforms_image_comes_byte_for_byte_under_its_digest(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    (image,) = lock_of(upstream).images.values()

    said = fill(upstream, target)

    stored = target.repositories[name_in_mirror(upstream)]
    assert image.platform_digest is not None
    assert stored.manifests == {image.platform_digest: upstream.repositories[VLLM].manifests[image.platform_digest]}
    assert set(LAYERS) < set(stored.blobs.values())
    assert b"arm" not in stored.blobs.values()
    assert stored.tags == {f"prod.20261122T070402Z.{image.platform_digest[7:19]}": image.platform_digest}
    assert re.search(r"sent 976\.\d KiB", said)


def test_the_plan_pulls_what_the_mirror_has(upstream: RegistryServer, target: RegistryServer) -> None:
    from barewind.plan import plan_host

    held = lock_of(upstream)
    spec = lab_spec(image=f"{upstream.name}/{VLLM}:nightly", mirror=target.name, mirror_tls=False)
    fill(upstream, target)
    pinned = plan_host(spec, held).pinned_image
    digest = pinned.partition("@")[2]
    assert pinned == f"{target.name}/{name_in_mirror(upstream)}@{digest}"
    assert digest in target.repositories[name_in_mirror(upstream)].manifests


def test_a_second_run_sends_nothing_and_does_not_ask_upstream(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    fill(upstream, target, held)
    upstream.asked.clear()
    target.asked.clear()
    said = fill(upstream, target, held, now=NOW.replace(day=23))
    assert "is there" in said
    assert upstream.asked == []
    assert {one.method for one in target.asked} == {"GET", "HEAD"}


def test_upstream_may_have_deleted_what_the_mirror_has(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    fill(upstream, target, held)
    upstream.repositories.clear()
    assert "is there" in fill(upstream, target, held)


def test_what_nobody_has_any_more(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    upstream.repositories.clear()
    with pytest.raises(
        BarewindError, match=r"does not have sha256:\w+ any more, and the mirror never had it. Load it from a"
    ):
        fill(upstream, target, held)


def test_an_old_lock_without_our_platforms_digest_brings_the_whole_index(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    held = lock_of(upstream)
    ((reference, image),) = held.images.items()
    fill(upstream, target, Lock(images={reference: image.model_copy(update={"platform_digest": None})}))
    stored = target.repositories[name_in_mirror(upstream)]
    assert stored.manifests == upstream.repositories[VLLM].manifests
    assert list(stored.tags.values()) == [image.digest]


def test_only_what_is_missing_is_sent(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    fill(upstream, target, held)
    stored = target.repositories[name_in_mirror(upstream)]
    lost = next(digest for digest, content in stored.blobs.items() if content == LAYERS[2])
    del stored.blobs[lost]
    upstream.asked.clear()
    assert "sent 195.3 KiB" in fill(upstream, target, held)
    assert [one.path for one in upstream.said("GET", "*/blobs/*")] == [f"/v2/{VLLM}/blobs/{lost}"]


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
    held = lock_of(upstream)
    (upstream if method == "GET" else target).fault(method, path, kind, times=2)
    fill(upstream, target, held)
    assert set(LAYERS) < set(target.repositories[name_in_mirror(upstream)].blobs.values())


def test_a_registry_that_is_busy_is_waited_for(
    upstream: RegistryServer, target: RegistryServer, waits: list[float]
) -> None:
    held = lock_of(upstream)
    upstream.fault("GET", "*/blobs/*", "status", status=429, retry_after="11")
    target.fault("POST", "*", "status", status=503)
    fill(upstream, target, held)
    assert 11 in waits


def test_a_corrupted_layer_is_never_stored(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    upstream.fault("GET", "*/blobs/*", "corrupt", times=1)
    with pytest.raises(BarewindError, match=r"is damaged: \d+ bytes with another SHA-256"):
        fill(upstream, target, held)
    stored = target.repositories.get(name_in_mirror(upstream))
    for digest, content in (stored.blobs if stored else {}).items():
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert not (stored and stored.manifests), "an image that is not whole can be pulled"
    fill(upstream, target, held)  # what came right stays
    assert set(LAYERS) < set(target.repositories[name_in_mirror(upstream)].blobs.values())


def test_a_mirror_that_dies_mid_way_goes_on_in_the_next_run(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
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
        fill(upstream, target, held)
    there = len(target.repositories[name_in_mirror(upstream)].blobs)
    assert there > 0
    target.on_request = None
    target.faults.clear()
    upstream.asked.clear()
    fill(upstream, target, held)
    assert len({one.path for one in upstream.said("GET", "*/blobs/*")}) == 6 - there


def test_a_damaged_blob_in_the_mirror_is_found_and_sent_anew_once_it_is_gone(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    held = lock_of(upstream)
    fill(upstream, target, held)
    stored = target.repositories[name_in_mirror(upstream)]
    digest = next(one for one, content in stored.blobs.items() if content == LAYERS[1])

    stored.blobs[digest] = LAYERS[1][:-1] + b"?"
    (found,) = mirror.damaged(one_mirror(upstream, target, held), Said())
    assert digest in found

    stored.blobs[digest] = LAYERS[1][:100]  # the registry would take no other in its place
    with pytest.raises(
        BarewindError, match=r"is damaged: 100 bytes, 200000 wanted; on the mirror's host run: systemctl start"
    ):
        fill(upstream, target, held)

    del stored.blobs[digest]  # what barewind-mirror@check does
    (found,) = mirror.damaged(one_mirror(upstream, target, held), Said())
    assert "not at all or not whole; run: barewind mirror INVENTORY" in found
    fill(upstream, target, held)
    assert mirror.damaged(one_mirror(upstream, target, held), Said()) == []


def test_a_damaged_manifest_in_the_mirror_is_named(upstream: RegistryServer, target: RegistryServer) -> None:
    held = lock_of(upstream)
    fill(upstream, target, held)
    manifests = target.repositories[name_in_mirror(upstream)].manifests
    ((digest, (kind, body)),) = manifests.items()
    manifests[digest] = (kind, body.replace(b"200000", b"200001"))
    with pytest.raises(BarewindError, match="does not give it back whole; on the mirror's host run"):
        fill(upstream, target, held)


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
        Site({one.host: one for one in specs}, {}, "x"), Lock(images=dict.fromkeys(names, image))
    )
    assert (first.registry, first.keep, sorted(first.wanted)) == ("m1.example:5000", 5, sorted(names[:2]))
    assert (second.registry, second.wanted) == ("m2.example:5000", {})


# --- What a mirror keeps -----------------------------------------------------------------------------------------------


def test_older_images_go_when_they_are_out_of_the_window(upstream: RegistryServer, target: RegistryServer) -> None:
    digests = []
    said = ""
    for day in range(1, 5):
        digests.append(upstream.image(VLLM, "nightly", b"day %d" % day))
        said = fill(upstream, target, keep=3, now=NOW.replace(day=day))
    stored = target.repositories[name_in_mirror(upstream)]
    assert set(stored.manifests) == set(digests[1:])
    assert f"@{digests[0]}: forgotten, older than 3 releases" in said


def test_an_index_takes_its_platforms_along_but_not_one_that_is_wanted_itself(
    upstream: RegistryServer, target: RegistryServer
) -> None:
    held = lock_of(upstream)
    ((reference, image),) = held.images.items()
    fill(
        upstream,
        target,
        Lock(images={reference: image.model_copy(update={"platform_digest": None})}),
        now=NOW.replace(day=1),
    )
    fill(upstream, target, held, keep=1)
    assert list(target.repositories[name_in_mirror(upstream)].manifests) == [image.platform_digest]


def test_a_registry_that_allows_no_deletion_keeps_all(upstream: RegistryServer, target: RegistryServer) -> None:
    target.deletes = False
    fill(upstream, target, now=NOW.replace(day=1))
    upstream.image(VLLM, "nightly", b"new")
    said = fill(upstream, target, keep=1)
    assert "allows no deletion" in said
    assert len(target.repositories[name_in_mirror(upstream)].manifests) == 2
