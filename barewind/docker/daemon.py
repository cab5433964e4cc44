"""The Docker daemon of a host as the host tells it: where images are kept, and whose users its containers' are. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, TypedDict

ROOT = "/var/lib/docker"  # unless its settings say otherwise
CONTAINERD_ROOT = "/var/lib/containerd"

# The daemon's own word where it runs, else its settings; a daemon that starts a containerd of its own writes that one's settings
# to /run. The variables are there for the sections that follow.
SECTION = (
    r"""
docker_info=$(timeout -k 5 20 docker info -f '{{json .DockerRootDir}} {{json .DriverStatus}} {{json .SecurityOptions}}')
setting() {
  tr -d '\r' < /etc/docker/daemon.json | sed -nE 's/.*"('"$1"')"[[:space:]]*:[[:space:]]*"([^"]*)".*/\2/p' | head -n 1
}
docker_root=$(echo "$docker_info" | sed -nE 's/^"([^"]+)" .*/\1/p')
[ -n "$docker_root" ] || docker_root=$(setting 'data-root|graph')
[ -n "$docker_root" ] || docker_root="""
    + ROOT
    + r"""
root_of() { sed -nE "s/^root[[:space:]]*=[[:space:]]*[\"']([^\"']+)[\"'].*/\1/p" "$1" | head -n 1; }
containerd_root=
for file in /run/docker/containerd/containerd.toml /etc/containerd/config.toml; do
  [ -n "$containerd_root" ] || [ ! -f "$file" ] || containerd_root=$(root_of "$file")
done
[ -n "$containerd_root" ] || containerd_root="""
    + CONTAINERD_ROOT
    + r"""
echo "root=$docker_root"; echo "containerd=$containerd_root"; echo "userns=$(setting userns-remap)"; echo "info=$docker_info"
"""
)
PATHS = '"$docker_root" "$containerd_root"'  # for sections that follow


class DockerDaemon(TypedDict):
    """`root` and `containerd` are directories, `containerd_store` whether images lie in the latter (None: no daemon tells).

    `remapped` is what says that containers' users are mapped to others of the host ("" where they are not), `rootless`
    whether the daemon itself runs as a user without rights.
    """

    root: str
    containerd: str
    containerd_store: bool | None
    remapped: str
    rootless: bool


def read(lines: list[str]) -> DockerDaemon:
    """What that part of a host's script printed; the defaults where it printed nothing."""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    status, security = _info(values.get("info", ""))
    remapped = "userns" if "name=userns" in security else ""
    return {
        "root": _unmapped(values.get("root") or ROOT),
        "containerd": values.get("containerd") or CONTAINERD_ROOT,
        "containerd_store": None if status is None else "io.containerd.snapshotter" in json.dumps(status),
        "remapped": remapped or values.get("userns", ""),
        "rootless": "name=rootless" in security,
    }


def image_directory(daemon: DockerDaemon, *, newest: bool) -> str:
    """Where an image's layers will lie. `newest`: no daemon runs yet, and the vendor's newest will be installed.

    Docker 29 keeps images with containerd wherever it is installed anew (docs.docker.com/engine/storage/containerd).
    """
    store = daemon["containerd_store"]
    return daemon["containerd"] if store or (store is None and newest) else daemon["root"]


def _info(line: str) -> tuple[Any, str]:
    """The daemon's driver status (None: no daemon answered) and its security options as text."""
    decoder, documents, rest = json.JSONDecoder(), [], line.strip()
    try:
        while rest:
            document, end = decoder.raw_decode(rest)
            documents.append(document)
            rest = rest[end:].lstrip()
    except ValueError:
        return None, ""
    if len(documents) != 3:
        return None, ""
    return documents[1] or [], json.dumps(documents[2])


def _unmapped(root: str) -> str:
    """The directory without the part that names the users it is mapped to (`/var/lib/docker/231072.231072`)."""
    return re.sub(r"/\d+\.\d+$", "", root)
