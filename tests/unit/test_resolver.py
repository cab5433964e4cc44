"""Completing a lock: what is locked stays, what is missing comes, what nobody needs goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from barewind import resolver
from barewind.errors import BarewindError
from barewind.lock import Lock, LockedImage
from barewind.site import Site
from barewind.weights import Manifest, WeightFile
from tests.unit.factories import DIGEST, MEDIUM, REVISION, SHA256, engine_spec, locked

NIGHTLY = "docker.io/vllm/vllm-openai:nightly"
ROCM = "docker.io/vllm/vllm-openai-rocm:nightly"
MOVED = "sha256:" + "2b" * 32


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked; every tag has moved, and every branch."""
    names: list[str] = []

    def image(reference: str, **_: object) -> LockedImage:
        names.append(reference)
        return LockedImage(digest=MOVED, size=9)

    def weights(model: str, revision: str, layout: str, *_: object, **__: object) -> Manifest:
        names.append(f"{model}@{revision}")
        files = {"params.json": WeightFile(size=1, sha256=SHA256)}
        return Manifest(model=model, requested=revision, revision="e" * 40, layout=layout, files=files)

    monkeypatch.setattr("barewind.registry.resolve", image)
    monkeypatch.setattr("barewind.hub.resolve", weights)
    return names


def site(*hosts: dict[str, object]) -> Site:
    specs = [
        engine_spec(host=f"h{number}", address=f"10.0.0.{number}", **changes) for number, changes in enumerate(hosts)
    ]
    return Site({one.host: one for one in specs}, {}, "x.yaml")


def test_a_complete_lock_stays_as_it_is_and_nobody_is_asked(asked: list[str]) -> None:
    held = locked(engine_spec())
    assert resolver.complete(site({}), held) is held
    assert asked == []


def test_a_new_host_moves_no_tag(asked: list[str]) -> None:
    held = locked(engine_spec()).model_copy(update={"created": datetime(2026, 1, 2, tzinfo=UTC)})
    made = resolver.complete(site({}, {"accelerator": "mi300x"}), held)
    assert asked == [ROCM]
    assert made.images[NIGHTLY] == held.images[NIGHTLY]
    assert made.images[ROCM].digest == MOVED
    assert made.images[ROCM].locked is not None
    assert (made.weights, made.created) == (held.weights, held.created)


def test_what_no_host_needs_goes(asked: list[str]) -> None:
    held = locked(engine_spec(), engine_spec(accelerator="mi300x"))
    made = resolver.complete(site({"speculative": False}), held)
    assert asked == []
    assert list(made.images) == [NIGHTLY]
    assert [one.model for one in made.weights] == [MEDIUM]


def test_a_locked_commit_serves_whoever_asks_for_it_by_its_own_name(asked: list[str]) -> None:
    held = locked(engine_spec(model_revision="main"))
    made = resolver.complete(site({"model_revision": "main"}, {"model_revision": REVISION}), held)
    assert asked == []
    assert made is held


def test_resolving_anew_asks_everything(asked: list[str]) -> None:
    made = resolver.resolve(site({}))
    assert asked == [NIGHTLY, f"{MEDIUM}@c4be198050fb5789774a55b92ed697becfbf20ae", f"{MEDIUM}-EAGLE@main"]
    assert made.images[NIGHTLY].digest == MOVED != DIGEST
    assert made.created is not None
    assert made.images[NIGHTLY].locked == made.created


def test_one_that_cannot_be_asked_leaves_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> LockedImage:
        raise BarewindError("down")

    monkeypatch.setattr("barewind.registry.resolve", down)
    with pytest.raises(BarewindError, match="down"):
        resolver.complete(site({}), Lock())
