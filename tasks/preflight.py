"""Every problem of every host in one table, before anything changes."""

from __future__ import annotations

import time
from typing import Any

from gevent.pool import Pool
from pyinfra import state
from pyinfra.api import Host
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind.facts.host import HostFacts
from barewind.plan import CONTAINER
from barewind.preflight import DOCKER_DIR, Problem, check_balancer, check_engine
from tasks.fleet import fleet
from tasks.once import once


def check() -> None:
    """Look at every host of this run; the first host to come here does it for all.

    Raises:
        PyinfraError: there are problems; the table has been printed.
    """
    problems = _problems()
    if problems:
        hosts = len({problem.host for problem in problems})
        raise PyinfraError(
            f"preflight: {len(problems)} problem(s) on {hosts} host(s), see the table; nothing was changed"
        )


@once
def _problems() -> tuple[Problem, ...]:
    plans, balancers = fleet().plans, fleet().site.balancers
    hosts = sorted(state.inventory.get_active_hosts(), key=lambda one: one.name)
    facts = Pool(state.config.PARALLEL).map(_facts, hosts)
    found: list[Problem] = []
    for one, (seen, now) in zip(hosts, facts, strict=True):
        if seen is None:
            found.append(Problem(one.name, "its state cannot be read (see above)", "log in, mend it, run again"))
        elif one.name in plans:
            found += check_engine(plans[one.name], seen, now=now)
        else:
            found += check_balancer(one.name, balancers[one.name].endpoint_port, seen, now=now)
    if found:
        _print(found)
    return tuple(found)


def _print(found: list[Problem]) -> None:
    from rich.console import Console  # slow to import, and rarely needed
    from rich.table import Table

    table = Table("host", "finding", "what to do", title="Preflight")
    for problem in found:
        table.add_row(problem.host, problem.finding, problem.remedy)
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # columns: a log has no screen to fit
    console.print(table)


def _facts(one: Host) -> tuple[dict[str, Any] | None, float]:
    plan = fleet().plans.get(one.name)
    if plan is not None:
        wanted = {
            "paths": [plan.spec.data_dir, DOCKER_DIR],
            "port": plan.spec.engine_port,
            "image": plan.pinned_image,
            "weights": list(plan.directories),
        }
    else:
        port = fleet().site.balancers[one.name].endpoint_port
        wanted = {"paths": [], "port": port, "image": "", "weights": []}
    before = time.time()
    with ctx_host.use(one):
        seen = get_fact(state, one, HostFacts, kwargs={"container": CONTAINER, **wanted}, apply_failed_hosts=False)
    return seen, (before + time.time()) / 2  # the host read its clock somewhere in between
