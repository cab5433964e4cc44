"""Docker's repository: docker-ce, docker-ce-cli and containerd.io with the names, relations and paths of Docker's.

The programs are Debian's (docker.io, containerd, runc, tini), so the versions are Debian's too. All suites have the same
packages. What Docker's packages bring besides the engine (buildx, compose) is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from barewind.catalog.docker import docker as docker_catalog
from lab import paths, proc
from lab.errors import LabError
from lab.packages import repository
from lab.packages.deb import Deb, File, entry
from lab.packages.repository import Repository

SOURCES = ("docker.io", "containerd", "runc", "tini")
CONFLICTS = "docker (<< 1.5~), docker-engine, docker.io, lxc-docker"
_START = """\
[ "$1" = configure ] || exit 0
getent group docker >/dev/null || groupadd --system docker
systemctl daemon-reload
systemctl enable {units}
systemctl restart {units}
"""


def write(root: Path) -> list[Path]:
    """Write the repositories of all suites; returns the paths of their Release files."""
    folder = _built()
    releases = []
    for system in docker_catalog().systems.values():
        docker = Repository(f"docker/{system.distribution}", (), system.suite, "stable", "Docker")
        pool = root / docker.folder / "pool" / system.suite
        pool.mkdir(parents=True, exist_ok=True)
        entries = []
        for path in sorted(folder.glob("*.deb")):
            (pool / path.name).hardlink_to(path)
            entries.append(path.with_suffix(".entry").read_text().replace("@POOL@", f"pool/{system.suite}"))
        releases.append(repository.write_index(docker, root, entries))
    return releases


def _built() -> Path:
    """Folder in the cache with the packages, which are made if they are not there."""
    folder = paths.cache() / "docker-ce"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=paths.cache()) as work:
        tree, versions = _debian(Path(work))
        for deb in packages(tree, f"5:{versions['docker.io']}-1~lab", f"{versions['containerd']}-1~lab"):
            packed = deb.packed()
            (folder / deb.file_name).write_bytes(packed)
            (folder / deb.file_name).with_suffix(".entry").write_text(entry(deb, packed, f"@POOL@/{deb.file_name}"))
    (folder / "complete").touch()
    return folder


def _debian(work: Path) -> tuple[Path, dict[str, str]]:
    """Folder with Debian's packages unpacked, and the upstream version of each."""
    download = ["sh", "-c", f"cd {work} && apt-get download -q {' '.join(SOURCES)}"]
    if proc.run(download, check=False).returncode != 0:
        proc.run(["apt-get", "update", "-q"])
        proc.run(download)
    versions = {}
    for path in work.glob("*.deb"):
        proc.run(["dpkg-deb", "--extract", str(path), str(work / "tree")])
        name, version, _ = path.name.split("_")
        versions[name] = re.split(r"[-+~]", version)[0]
    return work / "tree", versions


def packages(tree: Path, version: str, containerd: str) -> list[Deb]:
    """Docker's three packages, out of the programs in a folder."""
    services = _units(tree)
    return [
        Deb(
            "docker-ce",
            version,
            "Docker Engine (stand-in of the lab: Debian's programs)",
            {
                "Depends": "containerd.io, docker-ce-cli, iptables, libc6, libdevmapper1.02.1, libsystemd0",
                "Conflicts": CONFLICTS,
                "Replaces": "docker-engine",
            },
            {
                "/usr/bin/dockerd": _program(tree, "dockerd"),
                "/usr/bin/docker-proxy": _program(tree, "docker-proxy"),
                "/usr/bin/docker-init": _program(tree, "tini-static"),
                "/usr/lib/systemd/system/docker.service": services["docker.service"],
                "/usr/lib/systemd/system/docker.socket": services["docker.socket"],
            },
            {
                "postinst": _START.format(units="docker.socket docker.service"),
                "prerm": '[ "$1" != remove ] || systemctl stop docker.socket docker.service || true\n',
            },
        ),
        Deb(
            "docker-ce-cli",
            version,
            "Docker's command (stand-in of the lab: Debian's program)",
            {"Conflicts": CONFLICTS, "Depends": "libc6"},
            {"/usr/bin/docker": _program(tree, "docker")},
        ),
        Deb(
            "containerd.io",
            containerd,
            "containerd and runc (stand-in of the lab: Debian's programs)",
            {
                "Depends": "libc6, libseccomp2",
                "Conflicts": "containerd, runc",
                "Provides": "containerd, runc",
                "Replaces": "containerd, runc",
            },
            {
                **{
                    f"/usr/bin/{name}": _program(tree, name)
                    for name in ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
                },
                "/usr/lib/systemd/system/containerd.service": services["containerd.service"],
                "/etc/containerd/config.toml": File('disabled_plugins = ["cri"]\n'),
            },
            {
                "postinst": _START.format(units="containerd.service"),
                "prerm": '[ "$1" != remove ] || systemctl stop containerd.service || true\n',
            },
        ),
    ]


def _program(tree: Path, name: str) -> File:
    for path in sorted(tree.glob(f"usr/*bin/{name}")):
        if not path.is_symlink() and os.access(path, os.X_OK):
            return File(mode=0o755, source=path)
    raise LabError(f"the distribution's packages {', '.join(SOURCES)} bring no program {name}")


def _units(tree: Path) -> dict[str, File]:
    """Debian's units with Docker's paths, by name."""
    units = {}
    for path in sorted(tree.glob("**/systemd/system/*")):
        text = path.read_text().replace("/usr/sbin/dockerd", "/usr/bin/dockerd").replace(" $DOCKER_OPTS", "")
        units[path.name] = File(text)
    return units
