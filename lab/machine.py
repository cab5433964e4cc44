"""What the machine itself must have: a few Debian packages, and its own way to the package archives."""

import os
import shutil
from pathlib import Path

from lab import proc
from lab.errors import LabError

# Program -> Debian package that brings it.
PROGRAMS = {"docker": "docker.io", "dockerd": "docker.io", "mmdebstrap": "mmdebstrap", "pigz": "pigz", "gpg": "gnupg"}
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# Settings of the machine's apt that its hosts need too: proxies, and what a mirror frozen in time asks for.
APT_SETTINGS = (
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
)


def missing(base_image: bool) -> list[str]:
    """Debian packages to install; a ready base image makes mmdebstrap needless."""
    needed = {program: package for program, package in PROGRAMS.items() if not (base_image and program == "mmdebstrap")}
    if os.environ.get("DOCKER_HOST"):
        needed.pop("dockerd")  # the engine is elsewhere
    return sorted({package for program, package in needed.items() if not shutil.which(program)})


def install(packages: list[str]) -> None:
    """Install Debian packages without starting their services: the lab starts its own Docker Engine."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LabError(f"install these packages and run `barewind lab up` again: {' '.join(packages)}")
    env = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    proc.run([*env, "apt-get", "update", "-q"])
    proc.run([*env, "apt-get", "install", "-q", "-y", "--no-install-recommends", *packages])


def apt_settings(dump: str | None = None) -> str:
    """The machine's apt settings that matter to hosts, as the text of a file for apt.conf.d."""
    if dump is None:
        if not shutil.which("apt-config"):
            return ""
        dump = proc.run(["apt-config", "dump", "Acquire"]).stdout
    lines = [line for line in dump.splitlines() if line.startswith(APT_SETTINGS) and not line.endswith('"";')]
    return "".join(f"{line}\n" for line in lines)


def debian_mirrors(sources: str | None = None) -> tuple[str, str]:
    """(archive, security archive) of Debian 12 that the machine uses itself, else Debian's own."""
    archive, security = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
    if sources is None:
        files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
        sources = "\n\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    for uri, suites in _entries(sources):
        if "bookworm" in suites:
            archive = uri
        elif "bookworm-security" in suites:
            security = uri
    return archive, security


def _entries(sources: str) -> list[tuple[str, list[str]]]:
    """(URI, suites) of each entry, in either of apt's two formats."""
    found: list[tuple[str, list[str]]] = []
    for paragraph in sources.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.splitlines():
            if line.startswith("deb "):
                words = [word for word in line.split()[1:] if not word.startswith("[") and not word.endswith("]")]
                if len(words) >= 2:
                    found.append((words[0], [words[1]]))
            elif ":" in line and not line.startswith("#"):
                key, value = line.split(":", 1)
                fields[key.strip()] = value.strip()
        if "deb" in fields.get("Types", "").split() and fields.get("URIs"):
            found.append((fields["URIs"].split()[0], fields.get("Suites", "").split()))
    return found
