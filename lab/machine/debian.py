"""Debian packages that the lab needs on its machine, and the machine's settings for apt, which its hosts take over."""

import os
import platform
import shutil
from pathlib import Path

from lab import proc
from lab.errors import LabError

# Program -> Debian package that brings it.
PROGRAMS = {
    "docker": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "pigz": "pigz",
    "gpg": "gnupg",
}
# The same for a Docker Engine that the lab starts, with what takes back its changes of the network.
ENGINE_PROGRAMS = {"dockerd": "docker.io", "iptables-save": "iptables", "ip": "iproute2"}
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# apt settings that hosts need as the machine does: proxies, and what a snapshot of an archive asks for.
APT_SETTINGS = (
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
)


def missing(base_image: bool) -> list[str]:
    """Debian packages that the machine lacks. `base_image`: a base image is given, so that mmdebstrap is not needed."""
    needed = {program: package for program, package in PROGRAMS.items() if not (base_image and program == "mmdebstrap")}
    if not os.environ.get("DOCKER_HOST"):  # else the engine is elsewhere
        needed |= ENGINE_PROGRAMS
    return sorted({package for program, package in needed.items() if not shutil.which(program)})


def install(packages: list[str]) -> None:
    """Install Debian packages, their services not started: the lab starts its Docker Engine itself."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LabError(f"install these packages and run `barewind lab up` again: {' '.join(packages)}")
    env = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    proc.run([*env, "apt-get", "update", "-q"])
    proc.run([*env, "apt-get", "install", "-q", "-y", "--no-install-recommends", *packages])


def apt_settings(dump: str | None = None) -> str:
    """Text of a file for apt.conf.d with the machine's apt settings that its hosts need."""
    if dump is None:
        if not shutil.which("apt-config"):
            return ""
        dump = proc.run(["apt-config", "dump", "Acquire"]).stdout
    lines = [line for line in dump.splitlines() if line.startswith(APT_SETTINGS) and not line.endswith('"";')]
    return "".join(f"{line}\n" for line in lines)


def mirrors(codename: str, sources: str | None = None) -> tuple[str, str]:
    """URLs of the archive and the security archive of a Debian release: those that the machine uses, else Debian's own.

    A machine of another release uses the same archives: what it says of its own release is taken.
    """
    archive, security = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
    if sources is None:
        files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
        sources = "\n\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    for uri, suites in _entries(sources):
        for name in (_own_codename(), codename):
            if name in suites:
                archive = uri
            elif f"{name}-security" in suites:
                security = uri
    return archive, security


def _own_codename() -> str:
    """The machine's own release, if it is Debian; "" otherwise."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else ""


def _entries(sources: str) -> list[tuple[str, list[str]]]:
    """URI and suites of each entry, in either of apt's two formats."""
    entries: list[tuple[str, list[str]]] = []
    for paragraph in sources.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.splitlines():
            if line.startswith("deb "):
                words = [word for word in line.split()[1:] if not word.startswith("[") and not word.endswith("]")]
                if len(words) >= 2:
                    entries.append((words[0], [words[1]]))
            elif ":" in line and not line.startswith("#"):
                key, value = line.split(":", 1)
                fields[key.strip()] = value.strip()
        if "deb" in fields.get("Types", "").split() and fields.get("URIs"):
            entries.append((fields["URIs"].split()[0], fields.get("Suites", "").split()))
    return entries
