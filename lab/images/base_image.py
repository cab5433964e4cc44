"""The images of the lab's hosts: Debian 12 or 13 as on a fresh server, without Docker.

It differs from a real server in that the kernel is the machine's, dpkg does not flush to disk, and there are no manual
pages. A second image, of Debian 12, adds the registry, for `services`.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab import paths, proc, topology
from lab.machine import debian, docker

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "ca-certificates", "procps"),
    *("python3", "libnuma1", "libgomp1"),  # the engine image starts from the same files
)
SERVICES_PACKAGES = ("docker-registry",)
CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}  # of topology.SYSTEMS
FIRST = topology.SYSTEMS[0]
HERE = Path(__file__).parent

_INSTALL = "apt-get update -q && apt-get install -qy --no-install-recommends"

Step = tuple[str, str]  # a shell script to run in the container, and its input

SETUP = r"""
set -eu
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id
mkdir -p /run/sshd /etc/ssh/sshd_config.d
cat > /etc/ssh/sshd_config.d/lab.conf <<EOF
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UseDNS no
MaxStartups 100
EOF
id ops >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ops
echo 'ops ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/lab
systemctl mask systemd-udevd.service systemd-udev-trigger.service systemd-networkd.service systemd-resolved.service \
    systemd-logind.service getty.target console-getty.service sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer >/dev/null 2>&1
systemctl enable ssh >/dev/null 2>&1
systemctl set-default multi-user.target >/dev/null 2>&1
[ ! -f /etc/apt/sources.list.d/0000sources.list ] || mv /etc/apt/sources.list.d/0000sources.list /etc/apt/sources.list
rm -rf /etc/apt/apt.conf.d/99mmdebstrap /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""


def key(system: str = FIRST) -> str:
    """Digest of all that a system's image is made of: packages, set-up, the machine's certificates and apt settings."""
    bundle = debian.CA_BUNDLE.read_bytes() if debian.CA_BUNDLE.exists() else b""
    parts = [
        SETUP,
        repr(PACKAGES + SERVICES_PACKAGES),
        (HERE / "lab-init").read_text(),
        os.environ.get("LAB_BASE_IMAGE", ""),
        debian.apt_settings(),
        repr(debian.mirrors(CODENAMES[system])),
        *([] if system == FIRST else [system]),
    ]
    return hashlib.sha256("\0".join(parts).encode() + bundle).hexdigest()[:12]


def host_tag(system: str = FIRST) -> str:
    """Tag of the image of a fresh server."""
    return f"barewind-lab/host:{key(system)}"


def services_tag() -> str:
    """Tag of the image of `services`."""
    return f"barewind-lab/services:{key()}"


def saved(system: str = FIRST) -> Path:
    """File in the cache that holds a system's images."""
    return paths.cache() / f"{_prefix(system)}{key(system)}.tar"


def _prefix(system: str) -> str:
    return "hosts-" if system == FIRST else f"{system}-hosts-"


def _tags(system: str) -> list[str]:
    return [host_tag(system), *([services_tag()] if system == FIRST else [])]


def tag_with(packages: Sequence[str]) -> str:
    """Tag of the image of a fresh server with more Debian packages."""
    if not packages:
        return host_tag()
    return f"barewind-lab/host:{key()}-{hashlib.sha256(repr(packages).encode()).hexdigest()[:12]}"


def with_packages(packages: Sequence[str]) -> str:
    """Tag of the image of a fresh server with more Debian packages; built if it is not there."""
    tag = tag_with(packages)
    if not docker.has_image(tag):
        _layer(host_tag(), tag, [(f"{_INSTALL} {' '.join(packages)} >/dev/null", "")])
    return tag


def ensure(system: str = FIRST) -> str:
    """Put a system's images into the Docker Engine. Returns where they came from: kept, loaded or built."""
    if all(docker.has_image(tag) for tag in _tags(system)):
        return "kept"
    if saved(system).exists():
        if docker.docker("load", "--input", str(saved(system)), check=False).returncode == 0:
            return "loaded"
        saved(system).unlink()  # not readable: build again
    _build(system)
    return "built"


def _build(system: str) -> None:
    paths.cache().mkdir(parents=True, exist_ok=True)
    for old in paths.cache().glob(f"{_prefix(system)}*"):
        old.unlink()
    ready = os.environ.get("LAB_BASE_IMAGE") if system == FIRST else None
    with tempfile.TemporaryDirectory(dir=paths.cache()) as work:
        fresh = _from_image(ready) if ready else _from_archive(Path(work), CODENAMES[system])
        _layer(fresh, host_tag(system), _into_host())
        docker.docker("image", "rm", "--force", fresh, check=False)
        if system == FIRST:
            off = "systemctl disable docker-registry >/dev/null 2>&1; rm -rf /var/lib/apt/lists/*"
            _layer(host_tag(), services_tag(), [(f"{_INSTALL} {' '.join(SERVICES_PACKAGES)} >/dev/null; {off}", "")])
        partial = Path(work) / "images.tar"
        docker.docker("save", "--output", str(partial), *_tags(system))
        partial.rename(saved(system))


def _from_archive(work: Path, codename: str) -> str:
    """Import a root file system from the Debian archive; returns its tag."""
    archive, security = debian.mirrors(codename)
    (work / "apt.conf").write_text(debian.apt_settings())
    sources = work / "sources.list"
    sources.write_text(
        f"deb {archive} {codename} main\ndeb {archive} {codename}-updates main\ndeb {security} {codename}-security main\n"
    )
    root = work / "root.tar"
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", f"--aptopt={work}/apt.conf", *excludes]
    proc.run(["mmdebstrap", *options, f"--include={','.join(PACKAGES)}", codename, str(root), str(sources)])
    tag = "barewind-lab/fresh:latest"
    docker.docker("import", "--change", f"LABEL {docker.LABEL}", str(root), tag)
    return tag


def _from_image(name: str) -> str:
    """Install the packages on a given Debian image, for machines that reach a registry; returns the tag."""
    tag = "barewind-lab/fresh:latest"
    _layer(name, tag, [(f"{_INSTALL} {' '.join(PACKAGES)} >/dev/null", "")])
    return tag


def _into_host() -> list[Step]:
    init = ("cat > /usr/local/sbin/lab-init && chmod 0755 /usr/local/sbin/lab-init", (HERE / "lab-init").read_text())
    steps: list[Step] = [init, (SETUP, "")]
    if debian.CA_BUNDLE.exists():
        steps.append((f"cat > {debian.CA_BUNDLE}", debian.CA_BUNDLE.read_text()))
    if debian.apt_settings():
        steps.append(("cat > /etc/apt/apt.conf.d/90lab", debian.apt_settings()))
    return steps


def _layer(base: str, tag: str, steps: list[Step]) -> None:
    """Run steps in a container of the image `base` and commit it as `tag`."""
    name = f"barewind-lab-build-{os.getpid()}"
    docker.remove_container(name)
    options = ["--label", docker.LABEL, "--name", name, "--network", "host", "--security-opt", "seccomp=unconfined"]
    environment = ["--env", "DEBIAN_FRONTEND=noninteractive"]
    docker.docker("run", "--detach", *options, *environment, base, "sleep", "infinity")
    try:
        for script, text in steps:
            docker.docker("exec", "--interactive", name, "sh", "-ec", script, text=text)
        changes = [f"LABEL {topology.LABEL}=1", 'CMD ["/usr/local/sbin/lab-init"]']
        docker.docker("commit", *(part for change in changes for part in ("--change", change)), name, tag)
    finally:
        docker.remove_container(name)


def remove_old_cache() -> None:
    """Remove saved images of other recipes from the cache, and what interrupted builds left."""
    for system in topology.SYSTEMS:
        for old in paths.cache().glob(f"{_prefix(system)}*.tar"):
            if old != saved(system):
                old.unlink()
    for work in paths.cache().glob("tmp*"):
        shutil.rmtree(work, ignore_errors=True)
