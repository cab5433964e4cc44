"""Completing a lock: what is locked stays, what is missing comes, what nobody needs goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest, WeightFile
from barewind.lock.resolve import complete, resolve
from barewind.registry.image import LockedImage
from barewind.spec.site import Site
from tests.support.factories import DIGEST, MEDIUM, REVISION, SHA256, engine_spec, locked

NIGHTLY = "docker.io/vllm/vllm-openai:nightly"
ROCM = "docker.io/vllm/vllm-openai-rocm:nightly"
MOVED = "sha256:" + "2b" * 32


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were asked for; every tag has moved, and every branch."""
    names: list[str] = []

    def image(reference: str, **_: object) -> LockedImage:
        names.append(reference)
        return LockedImage(digest=MOVED, size=9)

    def weights(model: str, revision: str, layout: str, *_: object, **__: object) -> Manifest:
        names.append(f"{model}@{revision}")
        files = {"params.json": WeightFile(size=1, sha256=SHA256)}
        return Manifest(model=model, requested=revision, revision="e" * 40, layout=layout, files=files)

    monkeypatch.setattr("barewind.registry.lookup.resolve", image)
    monkeypatch.setattr("barewind.lock.hub.resolve", weights)
    return names


def site(*hosts: dict[str, object]) -> Site:
    specs = [
        engine_spec(host=f"h{number}", address=f"10.0.0.{number}", **changes) for number, changes in enumerate(hosts)
    ]
    return Site({spec.host: spec for spec in specs}, {}, "x.yaml")


def test_a_complete_lock_stays_as_it_is_and_nobody_is_asked(asked: list[str]) -> None:
    lock = locked(engine_spec())
    assert complete(site({}), lock) is lock
    assert asked == []


def test_a_new_host_moves_no_tag(asked: list[str]) -> None:
    lock = locked(engine_spec()).model_copy(update={"created": datetime(2026, 1, 2, tzinfo=UTC)})
    completed = complete(site({}, {"accelerator": "mi300x"}), lock)
    assert asked == [ROCM]
    assert completed.images[NIGHTLY] == lock.images[NIGHTLY]
    assert completed.images[ROCM].digest == MOVED
    assert completed.images[ROCM].locked is not None
    assert (completed.weights, completed.created) == (lock.weights, lock.created)


def test_what_no_host_needs_goes(asked: list[str]) -> None:
    lock = locked(engine_spec(), engine_spec(accelerator="mi300x"))
    completed = complete(site({"speculative": False}), lock)
    assert asked == []
    assert list(completed.images) == [NIGHTLY]
    assert [manifest.model for manifest in completed.weights] == [MEDIUM]


def test_a_locked_commit_serves_whoever_asks_for_it_by_its_own_name(asked: list[str]) -> None:
    lock = locked(engine_spec(model_revision="main"))
    completed = complete(site({"model_revision": "main"}, {"model_revision": REVISION}), lock)
    assert asked == []
    assert completed is lock


def test_resolving_anew_asks_everything(asked: list[str]) -> None:
    resolved = resolve(site({}))
    assert asked == [NIGHTLY, f"{MEDIUM}@c4be198050fb5789774a55b92ed697becfbf20ae", f"{MEDIUM}-EAGLE@main"]
    assert resolved.images[NIGHTLY].digest == MOVED != DIGEST
    assert resolved.created is not None
    assert resolved.images[NIGHTLY].locked == resolved.created


def test_one_that_cannot_be_asked_leaves_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> LockedImage:
        raise BarewindError("down")

    monkeypatch.setattr("barewind.registry.lookup.resolve", down)
    with pytest.raises(BarewindError, match="down"):
        complete(site({}), Lock())
