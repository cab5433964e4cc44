"""Whom a monitor asks: targets by job, out of the whole site, whatever part of it a run is about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from barewind.balancer.names import server_name
from barewind.engines import ENGINES
from barewind.spec.host import HostSpec
from barewind.spec.keys import EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import Site

JOBS = ("engine", "node", "balancer")
_USUAL_PATH = "/metrics"

Target = dict[str, Any]


def targets(site: Site, monitor: MonitorSpec) -> dict[str, list[Target]]:
    """The targets of each job, with the labels that say whose figures they are.

    An engine's `server` is its name on balancers, so that the figures of both meet; `replica` is there where a host has several.
    """
    return {
        "engine": [_engine(spec) for spec in site.engines.values()],
        "node": [
            _target(spec, monitor.node_exporter_port, _labels(spec, role) | own) for role, own, spec in _hosts(site)
        ],
        "balancer": [
            _target(spec, monitor.balancer_metrics_port, _labels(spec, "balancer")) for spec in site.balancers.values()
        ],
    }


def targets_file(found: Iterable[Target]) -> str:
    """A file of targets, as Prometheus reads it."""
    return json.dumps(list(found), indent=1, sort_keys=True) + "\n"


def series(site: Site) -> int:
    """About how many series the site's targets have, measured in the lab but for GPU hosts: 378 of an engine, 327 and 16 for each
    processor of a host (128 of one with accelerators, 16 of another), 10 of an accelerator, 180 and 60 for each server of a
    balancer, 635 of a monitor."""
    accelerated = sum(327 + 16 * 128 + 10 * specs[0].accelerator_count for specs in site.engine_hosts.values())
    others = len(site.balancers) + len(site.mirrors) + len(site.monitors)
    return (
        378 * len(site.engines)
        + accelerated
        + (327 + 16 * 16) * others
        + (180 + 60 * len(site.engines)) * len(site.balancers)
        + 635 * len(site.monitors)
    )


def _hosts(site: Site) -> Iterator[tuple[str, dict[str, str], HostSpec]]:
    for specs in site.engine_hosts.values():
        yield "engine", {"accelerator": specs[0].accelerator}, specs[0]
    for role, others in (("balancer", site.balancers), ("mirror", site.mirrors), ("monitor", site.monitors)):
        for spec in others.values():
            yield role, {}, spec


def _engine(spec: EngineSpec) -> Target:
    labels = _labels(spec, "engine") | {
        "server": server_name(spec.name),
        "runtime": spec.engine,
        "accelerator": spec.accelerator,
    }
    if spec.replica is not None:
        labels["replica"] = str(spec.replica)
    path = ENGINES[spec.engine].metrics.path
    if path != _USUAL_PATH:
        labels["__metrics_path__"] = path
    return _target(spec, spec.engine_port, labels)


def _labels(spec: HostSpec, role: str) -> dict[str, str]:
    group = spec.groups[0] if role == "engine" and spec.groups else role  # of engines the one that rollouts go by
    return {"host": spec.host, "role": role, "group": group}


def _target(spec: HostSpec, port: int, labels: dict[str, str]) -> Target:
    return {"targets": [f"{spec.url_host}:{port}"], "labels": labels}
