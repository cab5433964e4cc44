"""Who gets which weights from where: plans of all hosts -> one job per host for the program that copies (barewind/remote/)."""

from __future__ import annotations

import base64
import hashlib
import io
import ipaddress
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # plans themselves are made with what is here
    from barewind.plan import EnginePlan
    from barewind.spec import EngineSpec
    from barewind.weights import Manifest

UNIT = "barewind-weights.service"
CONTAINER = "barewind-weights"
TABLE = "barewind_weights"
RUN_DIR = "/run/barewind/weights"  # in memory, root only: jobs with their tokens
STATUS = ".transfer.json"  # in the directory of all weights; remains after the transfer
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes from every controller


@dataclass(frozen=True)
class HostJob:
    """What one host is to copy. `data` is the job as the program reads it, without secrets and without who takes part."""

    host: str
    image: str
    root: str  # the directory of all weights
    path: str | None  # a directory of the host's own that holds the files already
    data: dict[str, Any]
    firewall: str | None

    @property
    def id(self) -> str:
        """Alike jobs have the same; a running one is then left alone."""
        return str(self.data["id"])

    @property
    def peers(self) -> tuple[str, ...]:
        """The other hosts that want some of the same files."""
        return tuple(one["name"] for one in self.data["peers"] if one["name"] != self.host)

    @property
    def directories(self) -> dict[str, str]:
        """Directory -> SHA-256 of its SHA256SUMS, as it shall be."""
        return {one["directory"]: hashlib.sha256(_sums(one["files"]).encode()).hexdigest() for one in self.data["sets"]}

    def only(self, directories: list[str]) -> HostJob:
        """The same for some directories: a host that has these passes them on and asks for nothing."""
        sets = [one for one in self.data["sets"] if one["directory"] in directories]
        data = {key: value for key, value in self.data.items() if key not in ("endpoint", "source", "id")} | {
            "sets": sets
        }
        return HostJob(self.host, self.image, self.root, self.path, data | {"id": _id(data)}, self.firewall)


def jobs(plans: Mapping[str, EnginePlan]) -> dict[str, HostJob]:
    """The job of every engine host of a site."""
    rings: dict[str, list[EngineSpec]] = {}
    for plan in plans.values():
        for manifest in plan.manifests:
            if plan.spec.weights_source == "swarm":
                rings.setdefault(_key(manifest), []).append(plan.spec)
    for members in rings.values():
        members.sort(key=lambda spec: (int(ipaddress.ip_address(spec.address)), spec.host))
    return {name: _job(plan, rings) for name, plan in plans.items()}


def _job(plan: EnginePlan, rings: Mapping[str, list[EngineSpec]]) -> HostJob:
    spec = plan.spec
    swarm = spec.weights_source == "swarm"
    root = f"{spec.data_dir}/weights"
    sets = [
        {
            "key": _key(manifest),
            "model": manifest.model,
            "revision": manifest.revision,
            "directory": manifest.directory(spec.data_dir),
            "files": {name: file.model_dump() for name, file in sorted(manifest.files.items())},
            "ring": [one.host for one in rings[_key(manifest)]] if swarm else [spec.host],
            "path": f"{spec.weights_path}/{manifest.place}" if spec.weights_source == "path" else None,
        }
        for manifest in plan.manifests
    ]
    members = {one.host: one for manifest in plan.manifests for one in (rings[_key(manifest)] if swarm else ())}
    path = spec.weights_path if spec.weights_source == "path" else None
    return job(spec, plan.pinned_image, root, sets, list(members.values()), path=path, **_endpoint(spec))


def job(
    spec: EngineSpec,
    image: str,
    root: str,
    sets: list[dict[str, Any]],
    members: list[EngineSpec],
    *,
    path: str | None = None,
    **endpoint: str,
) -> HostJob:
    """A job of one host. `members`: every host that takes part, this one included; the image has Python and the hub's client."""
    peers = [{"name": one.host, "address": one.address, "port": one.weights_port} for one in members]
    data: dict[str, Any] = {
        "host": spec.host,
        "peers": sorted(peers, key=lambda one: str(one["name"])) if len(peers) > 1 else [],
        "sets": sets,
        "rate_limit": int(spec.weights_rate_limit * 10**6) if spec.weights_rate_limit else None,
        **endpoint,
    }
    firewall = _firewall(spec, [one.address for one in members]) if data["peers"] else None
    return HostJob(spec.host, image, root, path, data | {"id": _id(data)}, firewall)


def _endpoint(spec: EngineSpec) -> dict[str, str]:
    if spec.weights_source == "path":
        return {}
    if spec.weights_source != "hub" and spec.weights_path is not None:
        return {"source": "mirror", "endpoint": spec.weights_path}
    return {"source": "hub", "endpoint": spec.hub_endpoint}


def _firewall(spec: EngineSpec, addresses: list[str]) -> str:
    """Rules for nft: the port answers the hosts that want the same files, nobody else."""
    accept = "\n".join(
        f"    {'ip6' if ':' in address else 'ip'} saddr {address} tcp dport {spec.weights_port} accept"
        for address in sorted(addresses)
    )
    return (
        f"# Written by Barewind, for the time that weights are copied.\n"
        f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n  chain input {{\n"
        f"    type filter hook input priority filter; policy accept;\n    iif lo accept\n{accept}\n"
        f"    tcp dport {spec.weights_port} drop\n  }}\n}}\n"
    )


def payload(job: HostJob, *, token: str | None, expected: list[str]) -> str:
    """What a host needs to begin, as text for standard input: a tar archive in base64, which holds the token."""
    data = job.data | {"expected": sorted(expected)} | ({"token": token} if token else {})
    files = {"job.json": json.dumps(data).encode(), "agent.pyz": program()}
    if job.firewall is not None:
        files["firewall.nft"] = job.firewall.encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return base64.encodebytes(packed.getvalue()).decode()


@lru_cache(maxsize=1)
def program() -> bytes:
    """barewind/remote/ as one file that Python runs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), text, zipfile.ZIP_DEFLATED)

        add("__main__.py", "import sys\n\nfrom barewind.remote.agent import main\n\nsys.exit(main())\n")
        add("barewind/__init__.py", "")
        for file in sorted(resources.files("barewind.remote").iterdir(), key=lambda one: one.name):
            if file.name.endswith(".py"):
                add(f"barewind/remote/{file.name}", file.read_text())
    return packed.getvalue()


def _key(manifest: Manifest) -> str:
    return f"{manifest.model.replace('/', '--')}@{manifest.revision}-{manifest.layout}"


def _sums(files: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(f"{file['sha256']}  {name}\n" for name, file in sorted(files.items()))


def _id(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode() + program()).hexdigest()[:12]
