"""What every host of this run is, read once before anything changes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gevent.pool import Pool
from pyinfra import state
from pyinfra.api import Host
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind import catalog, render
from barewind.drivers import PATHS, System
from barewind.facts.host import HostFacts
from barewind.plan import CONTAINER
from barewind.preflight import DOCKER_DIR
from tasks.fleet import fleet
from tasks.once import once


@dataclass(frozen=True)
class Seen:
    """Facts of one host, None where they cannot be read; `now` is the controller's clock then, seconds since the epoch."""

    facts: dict[str, Any] | None
    now: float


@once
def survey() -> dict[str, Seen]:
    """Facts of every host of this run, by name: one round trip each."""
    hosts = sorted(state.inventory.get_active_hosts(), key=lambda one: one.name)
    seen = Pool(state.config.PARALLEL).map(_look, hosts)
    return {host.name: one for host, one in zip(hosts, seen, strict=True)}


def system(facts: dict[str, Any]) -> System:
    """What a driver plan needs to know of a host."""
    kernel = facts["accelerators"]["kernel"]
    return System(name=facts["os"], cpu_vendor=kernel["cpu_vendor"], kernel=kernel["running"])


def _look(one: Host) -> Seen:
    plan = fleet().plans.get(one.name)
    if plan is not None:
        wanted = {
            "paths": [plan.spec.data_dir, DOCKER_DIR],
            "port": plan.spec.engine_port,
            "image": plan.pinned_image,
            "weights": list(plan.directories),
            "files": list(PATHS),
            "with_accelerators": catalog.accelerators()[plan.spec.accelerator].vendor != "none",
        }
    else:
        site = fleet().site
        mirror = site.mirrors.get(one.name)
        port = mirror.mirror_port if mirror else site.balancers[one.name].endpoint_port
        wanted = {"paths": [], "port": port, "image": "", "weights": [], "files": []}
    before = time.time()
    with ctx_host.use(one):
        seen = get_fact(
            state,
            one,
            HostFacts,
            kwargs=wanted | {"container": CONTAINER, "unit": render.UNIT},
            apply_failed_hosts=False,
        )
    return Seen(seen, (before + time.time()) / 2)  # the host read its clock somewhere in between
