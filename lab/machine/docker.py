"""The Docker commands that the lab needs. It touches only what carries its label."""

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
    """A container of the lab. `image`: the tag that it was made from; `recipe`: digest of its other options and files."""

    name: str
    running: bool
    image: str
    recipe: str = ""


def docker(*argv: str, text: str | None = None, check: bool = True, timeout: float | None = None) -> proc.Result:
    """Run the docker client; as proc.run."""
    return proc.run(["docker", *argv], text=text, check=check, timeout=timeout)


def answers() -> bool:
    """Whether a Docker Engine answers."""
    try:
        return docker("version", "--format", "{{.Server.Version}}", check=False, timeout=10).returncode == 0
    except LabError:
        return False


def containers() -> dict[str, Container]:
    """The lab's containers by name, those that do not run included."""
    names = docker("ps", "--all", "--quiet", *OURS).stdout.split()
    if not names:
        return {}
    # A container may vanish between the two commands; inspect then fails, but prints the others.
    descriptions = json.loads(docker("inspect", *names, check=False).stdout or "[]")
    containers = (
        Container(
            description["Name"].lstrip("/"),
            description["State"]["Running"],
            description["Config"]["Image"],
            (description["Config"]["Labels"] or {}).get(RECIPE_LABEL, ""),
        )
        for description in descriptions
    )
    return {container.name: container for container in containers}


def foreign_running() -> int:
    """Number of running containers that are not the lab's."""
    everything = docker("ps", "--quiet").stdout.split()
    return len(everything) - len(docker("ps", "--quiet", *OURS).stdout.split())


def images() -> list[str]:
    """Tags of the lab's images."""
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    return [name for name in docker("images", *OURS, *form).stdout.split() if "<none>" not in name]


def has_image(tag: str) -> bool:
    """Whether Docker has an image of this tag."""
    return docker("image", "inspect", tag, check=False).returncode == 0


Network = Literal["missing", "ours", "wrong"]


def network() -> Network:
    """State of the lab's bridge network; `wrong`: it has another subnet."""
    result = docker("network", "inspect", topology.NETWORK, check=False)
    if result.returncode != 0:
        return "missing"
    description: dict[str, Any] = json.loads(result.stdout)[0]
    if topology.LABEL not in (description.get("Labels") or {}):
        raise LabError(
            f"a Docker network {topology.NETWORK} exists that is not the lab's; "
            f"remove it with `docker network rm {topology.NETWORK}`"
        )
    subnets = [entry.get("Subnet") for entry in description["IPAM"]["Config"] or []]
    return "ours" if subnets == [topology.SUBNET] else "wrong"


def create_network() -> None:
    """Create the lab's bridge network."""
    argv = ["network", "create", "--label", LABEL, "--subnet", topology.SUBNET, "--gateway", topology.GATEWAY]
    result = docker(*argv, topology.NETWORK, check=False)
    if result.returncode != 0:
        raise LabError(
            f"cannot make network {topology.SUBNET}: {proc.last_words(result.stderr)}; "
            "if another network uses the range, find it with `ip route` and remove it"
        )


def copy_into(name: str, files: dict[str, tuple[str, int]]) -> None:
    """Write files (path -> content and mode) into a container, running or not; root owns them."""
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
    """Remove a container with its anonymous volumes, running or not; nothing happens where there is none."""
    result = docker("rm", "--force", "--volumes", name, check=False, timeout=180)
    if result.returncode != 0 and "No such container" not in result.stderr:
        raise LabError(f"cannot remove container {name}: {proc.last_words(result.stderr)}")
