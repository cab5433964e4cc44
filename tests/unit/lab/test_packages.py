"""The lab's stand-ins for the vendors' repositories: names as in the catalog, relations as the real ones', valid files."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from barewind.catalog.docker import docker
from barewind.drivers.amd.packages import packages as amd_packages
from barewind.drivers.nvidia.packages import packages as nvidia_packages
from lab.hosts import hardware
from lab.packages import amd, distribution, docker_ce, nvidia, repository, toolkit
from lab.packages.deb import Deb, File, archive, entry
from lab.packages.repository import Repository


def versions(built: Repository) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for deb in built.packages:
        versions.setdefault(deb.name, []).append(deb.version)
    return versions


def package(built: Repository, name: str, version: str) -> Deb:
    return next(deb for deb in built.packages if deb.name == name and deb.version.startswith(version))


@pytest.mark.parametrize("system", [system.name for system in hardware.SYSTEMS.values()])
def test_every_nvidia_name_of_the_catalog_at_every_version(system: str) -> None:
    names = nvidia_packages().systems[system]
    (built,) = (cuda for cuda in nvidia.repositories() if cuda.folder == f"nvidia/{names.distribution}/x86_64")
    offered = versions(built)
    for version in nvidia.VERSIONS:
        for name in (*names.names(version, "open"), *names.names(version, "proprietary"), *names.fabric):
            assert any(full.startswith(f"{version}-") for full in offered[name]), f"{name} {version}"
    assert all(name in offered for name in names.fabric_loose)
    assert len({(deb.name, deb.version) for deb in built.packages}) == len(built.packages)


def test_every_other_name_of_the_catalog() -> None:
    offered = versions(toolkit.repository())
    assert sorted(offered) == sorted(nvidia_packages().toolkit)
    assert all(len(versions) == len(toolkit.VERSIONS) for versions in offered.values())
    for built in amd.repositories():
        names = versions(built)
        if built.folder.startswith("amdgpu/"):
            assert set(amd_packages().driver) <= set(names)
        if built.folder.startswith("rocm/"):
            assert set(amd_packages().tools) <= set(names)
    headers = versions(distribution.repository("6.1.0-41-amd64"))
    assert "linux-headers-6.1.0-41-amd64" in headers
    for system in (*nvidia_packages().systems.values(), *amd_packages().systems.values()):
        assert system.headers in headers


def test_what_packages_need_is_there_too() -> None:
    elsewhere = {"nvidia-installer-cleanup"}  # of Debian's component contrib
    base = {deb.name for deb in distribution.repository("6").packages}
    rocm = {deb.name for built in amd.repositories() for deb in built.packages}
    for built in (*nvidia.repositories(), toolkit.repository(), *amd.repositories()):
        provided = (
            {deb.name for deb in built.packages}
            | base
            | elsewhere
            | (rocm if built.folder.startswith("rocm") else set())
        )
        for deb in built.packages:
            needs = deb.relations.get("Depends", "")
            for alternatives in filter(None, needs.split(", ")):
                assert any(word.split(" (")[0] in provided for word in alternatives.split(" | ")), (
                    f"{deb.name}: {alternatives}"
                )


def test_open_and_proprietary_modules_exclude_each_other() -> None:
    debian, jammy, _ = nvidia.repositories()
    for name in ("nvidia-kernel-open-dkms", "nvidia-kernel-dkms"):
        deb = package(debian, name, "580.126.09")
        assert deb.relations["Conflicts"] == deb.relations["Provides"] == "nvidia-kernel-dkms-any"
    assert "nvidia-dkms-580-open" in package(jammy, "nvidia-dkms-580", "580.126.09").relations["Conflicts"]
    modules = {
        name: package(debian, name, "580.126.09").files["/usr/src/nvidia-580.126.09/modules/nvidia.ko"].content
        for name in ("nvidia-kernel-open-dkms", "nvidia-kernel-dkms")
    }
    assert "license=Dual MIT/GPL\n" in modules["nvidia-kernel-open-dkms"]
    assert "license=NVIDIA\n" in modules["nvidia-kernel-dkms"]


def test_only_the_last_versions_do_not_build() -> None:
    for built in (*nvidia.repositories(), *amd.repositories()):
        for deb in built.packages:
            broken = any(path.endswith("/build-fails") for path in deb.files)
            sources = any(path.endswith("/dkms.conf") for path in deb.files)
            assert broken == (sources and (deb.version.startswith(nvidia.BROKEN) or amd.BROKEN in built.folder)), (
                deb.name
            )


def test_amd_versions_carry_the_release() -> None:
    (built,) = (
        driver for driver in amd.repositories() if (driver.folder, driver.suite) == ("amdgpu/30.20.1/ubuntu", "noble")
    )
    assert versions(built)["amdgpu-dkms"] == ["1:6.16.6.30200100-2255209.24.04"]
    assert built.release_folder == "amdgpu/30.20.1/ubuntu/dists/noble"


def test_deb_is_what_dpkg_reads() -> None:
    deb = Deb(
        "tool",
        "1:2.0-1",
        "A tool",
        {"Depends": "libc6"},
        {
            "/usr/bin/tool": File("#!/bin/sh\n", 0o755),
            "/etc/tool.conf": File("a\n"),
            "/usr/bin/link": File(link="tool"),
        },
        {"postinst": "true\n"},
    )
    packed = deb.packed()
    assert packed == deb.packed()
    assert deb.file_name == "tool_2.0-1_amd64.deb"
    members = _members(packed)
    assert list(members) == ["debian-binary", "control.tar.gz", "data.tar.gz"]
    assert members["debian-binary"] == b"2.0\n"
    with tarfile.open(fileobj=io.BytesIO(members["control.tar.gz"])) as control:
        text = control.extractfile("./control")
        assert text is not None
        assert text.read().decode().startswith("Package: tool\nVersion: 1:2.0-1\nArchitecture: amd64\n")
        assert control.getmember("./postinst").mode == 0o755
        assert "./conffiles" in control.getnames()
    with tarfile.open(fileobj=io.BytesIO(members["data.tar.gz"])) as data:
        assert data.getmember("./usr/bin/tool").mode == 0o755
        assert data.getmember("./usr/bin/link").linkname == "tool"
        assert data.getmember("./usr/bin").isdir()


def _members(packed: bytes) -> dict[str, bytes]:
    members, at = {}, 8
    assert packed[:8] == b"!<arch>\n"
    while at < len(packed):
        name, size = packed[at : at + 16].decode().strip(), int(packed[at + 48 : at + 58])
        members[name] = packed[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return members


def test_archive_pads_odd_members() -> None:
    assert _members(archive({"a": b"1", "b": b"22"})) == {"a": b"1", "b": b"22"}


@pytest.mark.parametrize(
    ("suite", "folder", "index"),
    [("", "flat", "flat"), ("jammy", "deep/dists/jammy", "deep/dists/jammy/main/binary-amd64")],
)
def test_repository_on_disk(tmp_path: Path, suite: str, folder: str, index: str) -> None:
    deb = Deb("tool", "1.0", "A tool")
    built = Repository("deep" if suite else "flat", (deb,), suite, "main" if suite else "")
    release = repository.write(built, tmp_path)
    assert release == tmp_path / folder / "Release"
    packages = (tmp_path / index / "Packages").read_bytes()
    assert gzip.decompress((tmp_path / index / "Packages.gz").read_bytes()) == packages
    assert hashlib.sha256(packages).hexdigest() in release.read_text()
    fields = dict(line.split(": ", 1) for line in packages.decode().splitlines() if ": " in line)
    stored = tmp_path / built.folder / fields["Filename"]
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == fields["SHA256"]
    assert int(fields["Size"]) == stored.stat().st_size
    assert ("Suite: jammy" in release.read_text()) is bool(suite)


def test_index_entry_ends_with_the_description() -> None:
    deb = Deb("tool", "1.0", "A tool")
    assert entry(deb, b"", "./tool.deb").endswith("Description: A tool\n")


def test_docker_has_dockers_places_and_relations(tmp_path: Path) -> None:
    for name in (
        "dockerd",
        "docker-proxy",
        "tini-static",
        "docker",
        "containerd",
        "containerd-shim-runc-v2",
        "ctr",
        "runc",
    ):
        path = tmp_path / "usr" / ("sbin" if name in ("dockerd", "runc") else "bin") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    units = tmp_path / "lib" / "systemd" / "system"
    units.mkdir(parents=True)
    for name in ("docker.service", "docker.socket", "containerd.service"):
        (units / name).write_text("ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n")
    made = {deb.name: deb for deb in docker_ce.packages(tmp_path, "5:20.10.24-1~lab", "1.6.20-1~lab")}
    assert sorted(made) == sorted(docker().vendor)
    assert "docker.io" in made["docker-ce"].relations["Conflicts"]
    assert made["containerd.io"].relations["Conflicts"] == "containerd, runc"
    assert (
        made["docker-ce"].files["/usr/lib/systemd/system/docker.service"].content
        == "ExecStart=/usr/bin/dockerd -H fd://\n"
    )
    assert made["containerd.io"].files["/usr/bin/runc"].source == tmp_path / "usr" / "sbin" / "runc"
