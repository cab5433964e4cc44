"""Specs, locks and plans for tests: right in every key, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from barewind.engines import image, sizing
from barewind.lock import file as lock
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest, WeightFile
from barewind.plan.engine import EnginePlan, plan_host
from barewind.registry.image import LockedImage
from barewind.spec.keys import BalancerSpec, EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import HostEntry, Site

GIB = 2**30
DIGEST = "sha256:" + "1a" * 32
REVISION = "c" * 40
DRAFT_REVISION = "d" * 40
SHA256 = "5e" * 32
FILES = {
    "mistral": ("params.json", "consolidated.safetensors"),
    "hf": ("config.json", "model-00001-of-00001.safetensors"),
}  # configuration and weights of each layout

# Environment of every engine whose container's user is not root
UNPRIVILEGED = {
    "HOME": "/tmp",
    "LOGNAME": "barewind",
    "USER": "barewind",
    "XDG_CACHE_HOME": "/tmp/.cache",
    "XDG_CONFIG_HOME": "/tmp/.config",
}

LAB_IMAGE = "172.30.77.2:5000/vllm/vllm-openai:nightly"
LAB_MODEL = "barewind-lab/Mistral-Tiny"
MEDIUM = "mistralai/Mistral-Medium-3.5-128B"


def engine_spec(**changes: Any) -> EngineSpec:
    """A host with 8 x H200."""
    values: dict[str, Any] = {
        "host": "gpu-h1",
        "groups": ("hopper", "prod"),
        "address": "192.0.2.11",
        "accelerator": "h200",
        "accelerator_count": 8,
    }
    return EngineSpec(**values | changes)


def lab_spec(**changes: Any) -> EngineSpec:
    """A host of the lab: no accelerator, a tiny model."""
    values: dict[str, Any] = {
        "host": "engine1",
        "groups": ("engines", "lab"),
        "address": "172.30.77.21",
        "accelerator": "cpu",
        "accelerator_count": 1,
        "image": LAB_IMAGE,
        "model": LAB_MODEL,
        "context_length": 2048,
        "shutdown_timeout": 30,
        "insecure_registries": ["172.30.77.2:5000"],
        "hub_endpoint": "http://172.30.77.2:8000",
    }
    return EngineSpec(**values | changes)


def balancer_spec(**changes: Any) -> BalancerSpec:
    """A balancer with the defaults, but for keys: whoever reaches it may ask."""
    values: dict[str, Any] = {"host": "lb1", "groups": ("balancers",), "address": "192.0.2.2", "endpoint_open": True}
    return BalancerSpec(**values | changes)


def monitor_spec(**changes: Any) -> MonitorSpec:
    """A monitor over plain HTTP, with the defaults otherwise."""
    values = {
        "host": "mon1",
        "groups": ("monitors",),
        "address": "10.0.0.7",
        "monitor_tls": False,
        "monitor_password_file": "/nowhere/password",
    }
    return MonitorSpec(**values | changes)


def watched_site(*engines: EngineSpec, monitors: Iterable[MonitorSpec] = ()) -> Site:
    """A site of these engines, a balancer and monitors."""
    watching = list(monitors) or [monitor_spec()]
    return Site(
        engines={engine.name: engine for engine in engines or (engine_spec(),)},
        balancers={"lb1": balancer_spec()},
        lock_file="barewind.lock.yaml",
        monitors={monitor.host: monitor for monitor in watching},
    )


def locked(
    *specs: EngineSpec,
    digest: str = DIGEST,
    revision: str = REVISION,
    draft_revision: str = DRAFT_REVISION,
    image_size: int = 10 * GIB,
    file_size: int = 60 * GIB,
    zstd: bool = False,
) -> Lock:
    """A lock that holds everything the given specs need: two files per model."""
    images: dict[str, LockedImage] = {}
    weights: dict[str, Manifest] = {}
    for spec in specs:
        images[image.reference(spec)] = LockedImage(digest=digest, size=image_size, zstd=zstd)
        for number, (model, requested, layout) in enumerate(lock.wanted_weights(spec, sizing.size(spec).draft)):
            weights[model] = Manifest(
                model=model,
                requested=requested,
                revision=draft_revision if number else revision,
                layout=layout,
                files=dict(
                    zip(
                        FILES[layout],
                        (WeightFile(size=1200, sha256=SHA256), WeightFile(size=file_size, sha256=SHA256)),
                        strict=True,
                    )
                ),
            )
    return Lock(images=images, weights=list(weights.values()))


def plan(spec: EngineSpec | None = None, **lock_changes: Any) -> EnginePlan:
    """The plan of a host whose lock is complete."""
    spec = spec or engine_spec()
    return plan_host(spec, locked(spec, **lock_changes))


def entry(name: str = "10.0.0.1", *groups: str, **data: Any) -> HostEntry:
    """A host as an inventory resolves it; every key comes from group_data/site.py."""
    return HostEntry(name=name, groups=groups, data=data, origins=dict.fromkeys(data, "group_data/site.py"))


def engine_entry(name: str = "10.0.0.1", **data: Any) -> HostEntry:
    """A right engine host but for what is given."""
    return entry(name, "hopper", **{"accelerator": "h200", "accelerator_count": 8} | data)
