"""Who gets which weights from where: plans of all hosts -> one job per host for the program that copies (weights/agent/)."""

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
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from barewind import checksums
from barewind.hosts.packet_filter import packet_filter
from barewind.registry.reference import PinnedImage

if TYPE_CHECKING:  # plans themselves are made with what is here
    from barewind.lock.manifest import Manifest
    from barewind.plan.engine import EnginePlan
    from barewind.spec.keys import EngineSpec

UNIT = "barewind-weights.service"
CONTAINER = "barewind-weights"
TABLE = "barewind_weights"
RUN_DIR = "/run/barewind/weights"  # in memory, root only: jobs with their tokens
STATUS_FILE = ".transfer.json"  # in the directory of all weights; remains after the transfer
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes from every controller


@dataclass(frozen=True)
class HostJob:
    """What one host is to copy. `data` is the job as the program reads it, without secrets and without who takes part."""

    host: str
    image: PinnedImage
    root: str  # the directory of all weights
    path: str | None  # a directory of the host's own that holds the files already
    data: dict[str, Any]
    firewall: str | None

    @property
    def id(self) -> str:
        """The same for jobs that are alike: a unit at work on one is left alone."""
        return str(self.data["id"])

    @property
    def peers(self) -> tuple[str, ...]:
        """The other hosts that want some of the same files."""
        return tuple(peer["name"] for peer in self.data["peers"] if peer["name"] != self.host)

    @property
    def directories(self) -> dict[str, str]:
        """Directory -> SHA-256 of its SHA256SUMS (`barewind.checksums`), as it shall be."""
        texts = {
            file_set["directory"]: checksums.sums({name: file["sha256"] for name, file in file_set["files"].items()})
            for file_set in self.data["sets"]
        }
        return {directory: hashlib.sha256(text.encode()).hexdigest() for directory, text in texts.items()}

    def only(self, directories: list[str]) -> HostJob:
        """A job of the same host for some of the directories: it has these, passes them on and asks for nothing."""
        sets = [file_set for file_set in self.data["sets"] if file_set["directory"] in directories]
        data = {key: value for key, value in self.data.items() if key not in ("endpoint", "source", "id")} | {
            "sets": sets
        }
        return HostJob(self.host, self.image, self.root, self.path, data | {"id": _id(data)}, self.firewall)


@dataclass(frozen=True)
class Members:
    """Hosts that want some of the same files. What all their jobs say of them is made once and shared: written out for each of a
    thousand hosts, a thousand peers would fill the memory."""

    specs: tuple[EngineSpec, ...]

    @cached_property
    def peers(self) -> list[dict[str, Any]]:
        """Where each of them passes files on, by name; nobody where there is only one."""
        peers = [{"name": spec.host, "address": spec.address, "port": spec.weights_port} for spec in self.specs]
        return sorted(peers, key=lambda peer: str(peer["name"])) if len(peers) > 1 else []

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Those that may ask."""
        return tuple(spec.address for spec in self.specs)

    @cached_property
    def names(self) -> list[str]:
        """Their names."""
        return [spec.host for spec in self.specs]


def host_jobs(plans: Mapping[str, EnginePlan]) -> dict[str, HostJob]:
    """The job of every engine host of a site, by name; `plans` has one of each host."""
    rings: dict[str, list[EngineSpec]] = {}
    for plan in plans.values():
        for manifest in plan.manifests:
            if plan.spec.weights_source == "swarm":
                rings.setdefault(_key(manifest), []).append(plan.spec)
    for members in rings.values():
        members.sort(key=lambda spec: (int(ipaddress.ip_address(spec.address)), spec.host))
    of_rings = {key: Members(tuple(members)) for key, members in rings.items()}
    together: dict[tuple[str, ...], Members] = {}  # by the rings that a host is in
    for plan in plans.values():
        keys = tuple(key for key in map(_key, plan.manifests) if key in of_rings)
        if keys not in together:
            specs = {spec.host: spec for key in keys for spec in of_rings[key].specs}
            together[keys] = of_rings[keys[0]] if len(keys) == 1 else Members(tuple(specs.values()))
    return {name: _host_job(plan, of_rings, together) for name, plan in plans.items()}


def _host_job(plan: EnginePlan, rings: Mapping[str, Members], together: Mapping[tuple[str, ...], Members]) -> HostJob:
    spec = plan.spec
    shared = spec.weights_source == "swarm"
    root = f"{spec.data_dir}/weights"
    sets = [
        {
            "key": _key(manifest),
            "model": manifest.model,
            "revision": manifest.revision,
            "directory": manifest.directory(spec.data_dir),
            "files": {name: file.model_dump() for name, file in sorted(manifest.files.items())},
            "ring": rings[_key(manifest)].names if shared else [spec.host],
            "path": f"{spec.weights_path}/{manifest.place}" if spec.weights_source == "path" else None,
        }
        for manifest in plan.manifests
    ]
    members = together[tuple(map(_key, plan.manifests))] if shared else Members(())
    path = spec.weights_path if spec.weights_source == "path" else None
    return host_job(spec, plan.pinned_image, root, sets, members, path=path, **_endpoint(spec))


def host_job(
    spec: EngineSpec,
    image: PinnedImage,
    root: str,
    sets: list[dict[str, Any]],
    members: Members,
    *,
    path: str | None = None,
    **endpoint: str,
) -> HostJob:
    """A job of one host.

    + image: by digest; it has Python and the hub's client
    + members: every host that takes part, this one included
    """
    data: dict[str, Any] = {
        "host": spec.host,
        "peers": members.peers,
        "sets": sets,
        "rate_limit": int(spec.weights_rate_limit * 10**6) if spec.weights_rate_limit else None,
        **endpoint,
    }
    firewall = _firewall(spec.weights_port, members.addresses) if data["peers"] else None
    return HostJob(spec.host, image, root, path, data | {"id": _id(data)}, firewall)


def _endpoint(spec: EngineSpec) -> dict[str, str]:
    if spec.weights_source == "path":
        return {}
    if spec.weights_source != "hub" and spec.weights_path is not None:
        return {"source": "mirror", "endpoint": spec.weights_path}
    return {"source": "hub", "endpoint": spec.hub_endpoint}


@lru_cache
def _firewall(port: int, addresses: tuple[str, ...]) -> str:
    """Rules for nft: the port answers the hosts that want the same files, nobody else."""
    return packet_filter(TABLE, port, addresses, comment=", for the time that weights are copied.")


def payload(job: HostJob, *, token: str | None, expected: list[str]) -> str:
    """What a host needs to begin, as text for standard input: a tar archive in base64; the token is in it alone."""
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
    """barewind/weights/agent/ as one file that Python runs, with what it imports."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), text, zipfile.ZIP_DEFLATED)

        add("__main__.py", "import sys\n\nfrom barewind.weights.agent.agent import main\n\nsys.exit(main())\n")
        for package in ("barewind", "barewind/weights"):
            add(f"{package}/__init__.py", "")
        add("barewind/checksums.py", resources.files("barewind").joinpath("checksums.py").read_text())
        for file in sorted(resources.files("barewind.weights.agent").iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                add(f"barewind/weights/agent/{file.name}", file.read_text())
    return packed.getvalue()


def _key(manifest: Manifest) -> str:
    return f"{manifest.model.replace('/', '--')}@{manifest.revision}-{manifest.layout}"


def _id(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode() + program()).hexdigest()[:12]
