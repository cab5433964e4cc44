"""The registry that a mirror runs, with a mirror's own configuration."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from rich.console import Console

from barewind import mirror, registry
from barewind.lock import Lock
from barewind.mirror import Mirror, host
from barewind.site import Site
from barewind.spec import MirrorSpec
from barewind.transfers import Transfers
from tests.unit.factories import lab_spec
from tests.unit.registry_server import RegistryServer, running

VLLM = "vllm/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(3))
NOW = datetime(2026, 11, 22, 7, 4, 2, tzinfo=UTC)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    """The registry that a mirror runs, on this machine, with a mirror's configuration."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = MirrorSpec(
        host="m",
        groups=("mirrors",),
        address="127.0.0.1",
        mirror_port=port,
        mirror_dir=f"{tmp_path}/images",
        mirror_tls=False,
    )
    (tmp_path / "mirror.yml").write_text(host.plan(spec, []).registry[0].content)
    process = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "mirror.yml")], stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            requests.get(f"http://127.0.0.1:{port}/v2/", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def upstream() -> Iterator[RegistryServer]:
    with running() as server:
        server.image(VLLM, "nightly", *LAYERS)
        yield server


def quiet() -> Transfers:
    return Transfers(Console(file=io.StringIO(), width=1000))


def lock_of(upstream: RegistryServer) -> Lock:
    reference = f"{upstream.name}/{VLLM}:nightly"
    return Lock(images={reference: registry.resolve(reference, insecure_registries=(upstream.name,))})


def test_a_real_registry_takes_keeps_and_frees(real: str, upstream: RegistryServer, tmp_path: Path) -> None:
    spec = lab_spec(
        image=f"{upstream.name}/{VLLM}:nightly",
        insecure_registries=[upstream.name],
        mirror=real,
        mirror_tls=False,
        keep_releases=1,
    )
    site = Site({spec.host: spec}, {}, "x.yaml")

    def again(day: int) -> Mirror:
        (found,) = mirror.mirrors(site, lock_of(upstream))
        mirror.fill(found, "prod", NOW.replace(day=day), quiet())
        assert mirror.damaged(found, quiet()) == []
        return found

    again(1)
    upstream.image(VLLM, "nightly", LAYERS[0], b"new")
    found = again(2)
    (one,) = found.wanted.values()
    assert found.repository(one.repository).tags() == [f"prod.20261102T070402Z.{one.digest[7:19]}"]

    def blobs() -> int:
        return sum(1 for _ in (tmp_path / "images").rglob("data"))

    before = blobs()
    config = str(tmp_path / "mirror.yml")
    subprocess.run(["docker-registry", "garbage-collect", config], check=True, capture_output=True)
    assert blobs() == 4 < before  # manifest, configuration, two layers
    again(3)
