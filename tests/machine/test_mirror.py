"""The registry that a mirror runs, with a mirror's own configuration."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from rich.console import Console

from barewind.lock.file import Lock
from barewind.mirror import contents as mirror
from barewind.mirror import plan as host
from barewind.mirror.contents import Mirror
from barewind.progress.transfers import Transfers
from barewind.registry.client import RegistryError
from barewind.registry.lookup import resolve
from barewind.registry.repository import MANIFEST_TYPES
from barewind.spec.keys import MirrorSpec
from barewind.spec.site import Site
from lab import wait
from tests.support.factories import lab_spec
from tests.support.free_port import free_port
from tests.support.registry_server import RegistryServer, running

VLLM = "vllm/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(3))
NOW = datetime(2026, 11, 22, 7, 4, 2, tzinfo=UTC)


class Registries:
    """Both registries of a mirror on this machine, with a mirror's configurations: the fleet's, and the writable one."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        spec = MirrorSpec(
            host="m",
            groups=("mirrors",),
            address="127.0.0.1",
            mirror_port=self.port,
            mirror_dir=f"{folder}/images",
            mirror_tls=False,
        )
        self.name = f"127.0.0.1:{self.port}"
        self.fill_port = free_port()
        self.folder = folder
        for file in host.plan(spec, []).files:
            content = file.content.replace(host.SETTINGS, str(folder)).replace(str(host.FILL_PORT), str(self.fill_port))
            (folder / Path(file.path).name).write_text(content)

    def program(self, *words: str, systemd_notify: str = ":") -> subprocess.Popen[bytes]:
        """The maintenance program; the registry runs as whoever runs the tests."""
        bin_dir = self.folder / "bin"
        bin_dir.mkdir(exist_ok=True)
        (bin_dir / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
        (bin_dir / "runuser").chmod(0o755)
        (bin_dir / "systemd-notify").write_text(f"#!/bin/sh\n{systemd_notify}\n")
        (bin_dir / "systemd-notify").chmod(0o755)
        path = f"{bin_dir}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["sh", str(self.folder / Path(host.PROGRAM).name), *words],
            env={"PATH": path, "BAREWIND_LOCK": str(self.folder / "lock")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def connect(self) -> socket.socket:
        """A connection to the writable registry, as SSH would open it."""
        return socket.create_connection(("127.0.0.1", self.fill_port), timeout=60)


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=20).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Registries]:
    """A mirror's registries; the writable one is not started."""
    both = Registries(tmp_path)
    process = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "mirror.yml")], stderr=subprocess.DEVNULL)
    wait.until(lambda: answers(both.port), 60, "the registry does not answer")
    yield both
    process.terminate()
    process.wait(60)


@pytest.fixture
def filled(registries: Registries) -> Iterator[Registries]:
    """The same while it is filled."""
    program = registries.program("fill")
    wait.until(lambda: answers(registries.fill_port), 60, "the writable registry does not answer")
    with registries.connect():  # as whoever fills does, so that it does not end by itself
        yield registries
    program.terminate()
    program.wait(60)


@pytest.fixture
def upstream() -> Iterator[RegistryServer]:
    with running() as server:
        server.image(VLLM, "nightly", *LAYERS)
        yield server


@pytest.fixture
def squatter(registries: Registries, tmp_path: Path) -> Iterator[None]:
    """Another user's program on the port of the writable registry, under the registry's name."""
    named = tmp_path / "docker-registry"
    shutil.copy2(os.path.realpath(sys.executable), named)
    code = (
        "import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
        f"s.bind(('127.0.0.1', {registries.fill_port})); s.listen(); print(flush=True); s.accept()"
    )
    other = subprocess.Popen([named, "-c", code], stdout=subprocess.PIPE, env={"PYTHONHOME": sys.base_prefix})
    assert other.stdout is not None
    other.stdout.readline()
    yield
    other.kill()
    other.wait(60)


@pytest.mark.usefixtures("squatter")
def test_what_else_listens_is_not_taken_for_the_writable_registry(registries: Registries, tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = registries.program("fill", systemd_notify=f"touch {told}")
    output = ended(program)
    assert program.returncode == 1
    assert b"the writable registry ended; is port" in output
    assert not told.exists()


def quiet() -> Transfers:
    return Transfers(Console(file=io.StringIO(), width=1000))


def lock_of(upstream: RegistryServer) -> Lock:
    reference = f"{upstream.name}/{VLLM}:nightly"
    return Lock(images={reference: resolve(reference, insecure_registries=(upstream.name,))})


def test_a_real_registry_takes_keeps_and_frees(filled: Registries, upstream: RegistryServer, tmp_path: Path) -> None:
    spec = lab_spec(
        image=f"{upstream.name}/{VLLM}:nightly",
        insecure_registries=[upstream.name],
        mirror=filled.name,
        mirror_tls=False,
        keep_releases=1,
    )
    site = Site({spec.host: spec}, {}, "x.yaml")

    def again(day: int) -> Mirror:
        (found,) = mirror.mirrors(site, lock_of(upstream))
        mirror.fill(replace(found, dial=filled.connect), "prod", NOW.replace(day=day), quiet())
        assert mirror.damaged(found, quiet()) == []  # as the fleet sees it
        return found

    again(1)
    upstream.image(VLLM, "nightly", LAYERS[0], b"new")
    found = again(2)
    (one,) = found.images.values()
    reading = found.repository(one.repository)
    assert reading.tags() == [f"prod.20261102T070402Z.{one.digest[7:19]}"]

    def blobs() -> int:
        return sum(1 for _ in (tmp_path / "images").rglob("data"))

    before = blobs()
    assert b"is being filled: later" in ended(filled.program("collect"))
    assert blobs() == before
    subprocess.run(
        ["docker-registry", "garbage-collect", str(tmp_path / "mirror.yml")], check=True, capture_output=True
    )
    assert blobs() == 4 < before  # manifest, configuration, two layers
    again(3)


def test_the_port_of_the_fleet_can_only_be_read(filled: Registries, upstream: RegistryServer) -> None:
    """Of a stranger whom the packet filter lets in: an engine's container, say."""
    reference = f"{upstream.name}/{VLLM}:nightly"
    image = mirror.mirrored_image(reference, lock_of(upstream).images[reference], (upstream.name,))
    writable = Mirror(filled.name, True, None, 3, {reference: image}, dial=filled.connect)
    mirror.fill(writable, "prod", NOW, quiet())
    base = f"http://{filled.name}/v2/{image.repository}"
    accepted = {"Accept": ", ".join(MANIFEST_TYPES)}
    before = requests.get(f"{base}/manifests/{image.digest}", headers=accepted, timeout=60)
    blob = f"{base}/blobs/{before.json()['layers'][0]['digest']}"
    kind = {"Content-Type": before.headers["Content-Type"]}

    refused = [
        requests.post(f"{base}/blobs/uploads/", timeout=60),
        requests.post(f"{base}/blobs/uploads/?mount={image.digest}&from=x", timeout=60),
        requests.put(f"{base}/manifests/evil", data=before.content, headers=kind, timeout=60),
        requests.put(f"{base}/manifests/{image.digest}", data=before.content, headers=kind, timeout=60),
        requests.delete(f"{base}/manifests/{image.digest}", timeout=60),
        requests.delete(blob, timeout=60),
    ]

    assert [answer.status_code for answer in refused] == [405] * len(refused)
    assert requests.put(f"{base}/blobs/uploads/{uuid.uuid4()}", data=b"x", timeout=60).status_code in (404, 405)
    assert (before.status_code, requests.get(blob, timeout=60).status_code) == (200, 200)
    assert requests.get(f"{base}/tags/list", timeout=60).json()["tags"] == [
        "prod.20261122T070402Z." + image.digest[7:19]
    ]
    with pytest.raises(RegistryError, match="only be read at this address"):
        mirror.fill(replace(writable, dial=None), "other", NOW, quiet())


def test_the_writable_registry_runs_as_long_as_somebody_fills_and_ends_by_itself(registries: Registries) -> None:
    assert not answers(registries.fill_port)
    program = registries.program("fill")
    wait.until(lambda: answers(registries.fill_port), 60, "the writable registry does not answer")
    with registries.connect():  # its run is killed with this connection
        listeners = subprocess.check_output(["ss", "-Hltn", f"sport = :{registries.fill_port}"], text=True)
        assert listeners.split()[3] == f"127.0.0.1:{registries.fill_port}"
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(host.PATIENCE + 3)
        assert answers(registries.port)
    assert program.wait(host.PATIENCE + 60) == 0
    assert not answers(registries.fill_port)


def test_disk_is_freed_while_the_fleet_reads_on(registries: Registries) -> None:
    unnamed = registries.folder / "images/docker/registry/v2/blobs/sha256/ab" / ("ab" * 32) / "data"
    unnamed.parent.mkdir(parents=True)
    unnamed.write_bytes(b"x")
    repositories = registries.folder / "images/docker/registry/v2/repositories"
    repositories.mkdir()
    assert ended(registries.program("collect")) == b"1\n"
    assert not unnamed.exists()
    assert answers(registries.port)


def test_of_the_hosts_users_only_root_and_who_fills_reach_the_writable_registry(registries: Registries) -> None:
    """In a network of its own, with a listener in the registry's place."""
    port = registries.fill_port
    script = f"""
        ip link set lo up && nft -f {registries.folder}/mirror-fill.nft || exit 9
        {sys.executable} -m http.server --bind 127.0.0.1 -d /var/empty {port} >/dev/null 2>&1 & server=$!
        until ss -Hltn | grep -q :{port}; do sleep 0.1; done
        reach() {{ setpriv --reuid "$1" --clear-groups curl -s -m 5 -o /dev/null http://127.0.0.1:{port}/; echo $?; }}
        reach 0; reach 1234; sh {registries.folder}/mirror-maintenance admit 1234; reach 1234; reach 1235
        kill $server
    """
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout.split() == ["0", "7", "0", "7"], done.stderr  # 7: refused


def ended(program: subprocess.Popen[bytes]) -> bytes:
    output, _ = program.communicate(timeout=180)
    return output
