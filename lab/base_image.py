"""The image that every host of the lab starts from: Debian 12 as a fresh server has it, without Docker.

It differs from a real server in its kernel (the machine's own), in dpkg not flushing to disk, and in having no manual
pages. A second image adds the registry, for `services`.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from lab import docker, machine, paths, proc, topology

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "ca-certificates", "procps"),
    *("python3", "libnuma1", "libgomp1"),  # the engine image starts from the same files
)
SERVICES_PACKAGES = ("docker-registry",)
HERE = Path(__file__).parent

Step = tuple[str, str]  # a shell script to run inside, and what it reads

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


def key() -> str:
    """Names one state of the image: changes with the recipe, the machine's certificates and its apt settings."""
    bundle = machine.CA_BUNDLE.read_bytes() if machine.CA_BUNDLE.exists() else b""
    parts = [
        SETUP,
        repr(PACKAGES + SERVICES_PACKAGES),
        (HERE / "lab-init").read_text(),
        os.environ.get("LAB_BASE_IMAGE", ""),
        machine.apt_settings(),
        repr(machine.debian_mirrors()),
    ]
    return hashlib.sha256("\0".join(parts).encode() + bundle).hexdigest()[:12]


def host_tag() -> str:
    """Image of a fresh server."""
    return f"barewind-lab/host:{key()}"


def services_tag() -> str:
    """Image of the machine that is registry and hub."""
    return f"barewind-lab/services:{key()}"


def saved() -> Path:
    """Both images as one file in the cache."""
    return paths.cache() / f"hosts-{key()}.tar"


def ensure() -> str:
    """Have both images in the Docker Engine. Returns where they came from: kept, loaded or built."""
    if docker.has_image(host_tag()) and docker.has_image(services_tag()):
        return "kept"
    if saved().exists():
        if docker.docker("load", "--input", str(saved()), check=False).returncode == 0:
            return "loaded"
        saved().unlink()  # not readable: make it again
    _build()
    return "built"


def _build() -> None:
    paths.cache().mkdir(parents=True, exist_ok=True)
    for old in paths.cache().glob("hosts-*"):
        old.unlink()
    ready = os.environ.get("LAB_BASE_IMAGE")
    with tempfile.TemporaryDirectory(dir=paths.cache()) as work:
        fresh = _from_image(ready) if ready else _from_archive(Path(work))
        _layer(fresh, host_tag(), _into_host())
        docker.docker("image", "rm", "--force", fresh, check=False)
        install = f"apt-get update -q && apt-get install -qy --no-install-recommends {' '.join(SERVICES_PACKAGES)}"
        off = "systemctl disable docker-registry >/dev/null 2>&1; rm -rf /var/lib/apt/lists/*"
        _layer(host_tag(), services_tag(), [(f"{install} >/dev/null; {off}", "")])
        partial = Path(work) / "images.tar"
        docker.docker("save", "--output", str(partial), host_tag(), services_tag())
        partial.rename(saved())


def _from_archive(work: Path) -> str:
    """A root file system out of the Debian archive."""
    archive, security = machine.debian_mirrors()
    (work / "apt.conf").write_text(machine.apt_settings())
    sources = work / "sources.list"
    sources.write_text(
        f"deb {archive} bookworm main\ndeb {archive} bookworm-updates main\ndeb {security} bookworm-security main\n"
    )
    root = work / "root.tar"
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", f"--aptopt={work}/apt.conf", *excludes]
    proc.run(["mmdebstrap", *options, f"--include={','.join(PACKAGES)}", "bookworm", str(root), str(sources)])
    tag = "barewind-lab/fresh:latest"
    docker.docker("import", "--change", f"LABEL {docker.LABEL}", str(root), tag)
    return tag


def _from_image(name: str) -> str:
    """The same out of a ready Debian image, for machines that reach a registry."""
    tag = "barewind-lab/fresh:latest"
    apt = "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && apt-get install -qy --no-install-recommends"
    _layer(name, tag, [(f"{apt} {' '.join(PACKAGES)} >/dev/null", "")])
    return tag


def _into_host() -> list[Step]:
    init = ("cat > /usr/local/sbin/lab-init && chmod 0755 /usr/local/sbin/lab-init", (HERE / "lab-init").read_text())
    steps: list[Step] = [init, (SETUP, "")]
    if machine.CA_BUNDLE.exists():
        steps.append((f"cat > {machine.CA_BUNDLE}", machine.CA_BUNDLE.read_text()))
    if machine.apt_settings():
        steps.append(("cat > /etc/apt/apt.conf.d/90lab", machine.apt_settings()))
    return steps


def _layer(base: str, tag: str, steps: list[Step]) -> None:
    """Run steps in a container of `base` and keep the result as `tag`."""
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
    """Forget saved images of other recipes."""
    for old in paths.cache().glob("hosts-*.tar"):
        if old != saved():
            old.unlink()
    for work in paths.cache().glob("tmp*"):
        shutil.rmtree(work, ignore_errors=True)
