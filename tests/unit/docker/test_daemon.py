"""Where a host's Docker keeps images, and whose users its containers have: the script in a real shell, and what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barewind.docker import daemon
from barewind.docker.daemon import DockerDaemon
from tests.support.shell import Programs, Shell, printed

pytestmark = pytest.mark.slow


CONTAINERD_STORE = [["driver-type", "io.containerd.snapshotter.v1"]]


def info(root: str, status: Any, *security: str) -> str:
    """A daemon's answer, as `docker info -f` prints it."""
    return f"echo '{json.dumps(root)} {json.dumps(status)} {json.dumps(list(security))}'"


DOWN = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"


@pytest.mark.parametrize(
    ("docker", "settings", "known"),
    [
        (DOWN, None, {}),
        (DOWN, '{"data-root": "/srv/docker"}', {"root": "/srv/docker"}),
        (DOWN, '{"graph" : "/old/docker"}\n', {"root": "/old/docker"}),
        (
            DOWN,
            '{\r\n  "data-root":"/srv/docker",\r\n  "userns-remap": "default"\r\n}',
            {"root": "/srv/docker", "remapped": "default"},
        ),
        (DOWN, '{"userns-remap": ""}', {}),
        (
            info("/srv/docker", [["Backing Filesystem", "xfs"]]),
            '{"data-root": "/not/yet"}',
            {"root": "/srv/docker", "containerd_store": False},
        ),
        (info("/var/lib/docker", None), None, {"containerd_store": False}),
        (info("/var/lib/docker", CONTAINERD_STORE), None, {"containerd_store": True}),
        (
            info("/var/lib/docker/231072.231072", [], "name=seccomp,profile=default", "name=userns"),
            None,
            {"containerd_store": False, "remapped": "userns"},
        ),
        (
            info("/home/ops/d", [], "name=rootless"),
            None,
            {"root": "/home/ops/d", "containerd_store": False, "rootless": True},
        ),
        ('echo \'"/srv/docker" [["x"\'', None, {"root": "/srv/docker"}),  # broken off
    ],
)
def test_where_images_are_kept_and_whose_users_containers_have(
    shell: Shell, programs: Programs, tmp_path: Path, docker: str, settings: str | None, known: dict[str, Any]
) -> None:
    programs(docker=docker)
    if settings is not None:
        (tmp_path / "daemon.json").write_text(settings)
    script = daemon.SECTION.replace("/etc/docker/daemon.json", str(tmp_path / "daemon.json"))
    script = script.replace("/run/docker/", f"{tmp_path}/run/").replace("/etc/containerd/", f"{tmp_path}/etc/")
    expected: DockerDaemon = {
        "root": daemon.ROOT,
        "containerd": daemon.CONTAINERD_ROOT,
        "containerd_store": None,
        "remapped": "",
        "rootless": False,
    }
    assert daemon.read(printed(shell, script)) == expected | known


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({}, "/var/lib/containerd"),
        ({"etc/config.toml": 'version = 2\nroot = "/srv/containerd"\nstate = "/run/containerd"\n'}, "/srv/containerd"),
        ({"etc/config.toml": "root='/srv/c'\n"}, "/srv/c"),
        ({"etc/config.toml": '#root = "/srv/containerd"\n'}, "/var/lib/containerd"),
        (
            {"run/containerd/containerd.toml": 'root = "/d/containerd/daemon"\n', "etc/config.toml": "root='/srv/c'\n"},
            "/d/containerd/daemon",
        ),
    ],
)
def test_where_containerd_keeps_them(
    shell: Shell, programs: Programs, tmp_path: Path, files: dict[str, str], root: str
) -> None:
    programs(docker=DOWN)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    script = daemon.SECTION.replace("/run/docker/", f"{tmp_path}/run/").replace("/etc/containerd/", f"{tmp_path}/etc/")
    assert daemon.read(printed(shell, script))["containerd"] == root
