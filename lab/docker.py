"""The few Docker commands the lab needs. It sees only what carries its label; everything else is not its own."""

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from typing import Any, Literal

from lab import proc, topology
from lab.errors import LabError

LABEL = f"{topology.LABEL}=1"
RECIPE_LABEL = f"{topology.LABEL}.recipe"
OURS = ("--filter", f"label={topology.LABEL}")


@dataclass(frozen=True)
class Container:
    """What Docker knows of one of the lab's containers. `image` is the tag it was made from, `recipe` the rest of it."""

    name: str
    running: bool
    image: str
    recipe: str = ""


def docker(*argv: str, text: str | None = None, check: bool = True, timeout: float | None = None) -> proc.Result:
    """Run the docker client."""
    return proc.run(["docker", *argv], text=text, check=check, timeout=timeout)


def answers() -> bool:
    """Does a Docker Engine answer?"""
    try:
        return docker("version", "--format", "{{.Server.Version}}", check=False, timeout=10).returncode == 0
    except LabError:
        return False


def containers() -> dict[str, Container]:
    """The lab's containers by name, dead ones too."""
    names = docker("ps", "--all", "--quiet", *OURS).stdout.split()
    if not names:
        return {}
    # A container may vanish between the two commands: take what inspect still finds.
    found = json.loads(docker("inspect", *names, check=False).stdout or "[]")
    listed = (
        Container(
            c["Name"].lstrip("/"),
            c["State"]["Running"],
            c["Config"]["Image"],
            (c["Config"]["Labels"] or {}).get(RECIPE_LABEL, ""),
        )
        for c in found
    )
    return {container.name: container for container in listed}


def foreign_running() -> int:
    """How many running containers are not the lab's."""
    everything = docker("ps", "--quiet").stdout.split()
    return len(everything) - len(docker("ps", "--quiet", *OURS).stdout.split())


def images() -> list[str]:
    """Tags of the lab's images."""
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    return [name for name in docker("images", *OURS, *form).stdout.split() if "<none>" not in name]


def has_image(tag: str) -> bool:
    """Is there an image of that tag?"""
    return docker("image", "inspect", tag, check=False).returncode == 0


Network = Literal["missing", "ours", "wrong"]


def network() -> Network:
    """The state of the lab's bridge network; `wrong` is ours with another subnet."""
    result = docker("network", "inspect", topology.NETWORK, check=False)
    if result.returncode != 0:
        return "missing"
    found: dict[str, Any] = json.loads(result.stdout)[0]
    if topology.LABEL not in (found.get("Labels") or {}):
        raise LabError(
            f"a Docker network {topology.NETWORK} exists that is not the lab's; "
            f"remove it with `docker network rm {topology.NETWORK}`"
        )
    subnets = [entry.get("Subnet") for entry in found["IPAM"]["Config"] or []]
    return "ours" if subnets == [topology.SUBNET] else "wrong"


def create_network() -> None:
    """Make the bridge network with its fixed subnet."""
    argv = ["network", "create", "--label", LABEL, "--subnet", topology.SUBNET, "--gateway", topology.GATEWAY]
    result = docker(*argv, topology.NETWORK, check=False)
    if result.returncode != 0:
        raise LabError(
            f"cannot make network {topology.SUBNET}: {proc.last_words(result.stderr)}; "
            "if another network uses the range, find it with `ip route` and remove it"
        )


def copy_into(name: str, files: dict[str, tuple[str, int]]) -> None:
    """Write files (path -> content, mode), owned by root, into a container, running or not."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (content, mode) in files.items():
            data = content.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uname, entry.gname = len(data), mode, "root", "root"
            archive.addfile(entry, io.BytesIO(data))
    argv = ["docker", "cp", "-", f"{name}:/"]
    result = subprocess.run(argv, input=packed.getvalue(), capture_output=True, check=False)
    if result.returncode != 0:
        raise LabError(f"cannot write files into {name}: {proc.last_words(result.stderr.decode(errors='replace'))}")


def remove_container(name: str) -> None:
    """Remove a container with its anonymous volumes, dead or alive."""
    result = docker("rm", "--force", "--volumes", name, check=False, timeout=60)
    if result.returncode != 0 and "No such container" not in result.stderr:
        raise LabError(f"cannot remove container {name}: {proc.last_words(result.stderr)}")
