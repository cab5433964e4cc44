"""Every problem of every host in one table, before anything changes."""

from __future__ import annotations

import os

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError

from barewind.gate import evaluation
from barewind.monitoring.plan import disk_bytes
from barewind.output import tables
from barewind.output.names import told
from barewind.preflight.checks import (
    Problem,
    check_balancer,
    check_engine,
    check_mirror,
    check_monitor,
    closed_services,
)
from barewind.site.notes import notes
from barewind.tasks.run import fleet, host_facts, once
from barewind.tasks.steps import drivers, images, keys, release


@once
def check() -> None:
    """Look at every host of this run; the first host to come here does it for all.

    Raises:
        PyinfraError: there are problems; the table has been printed.
    """
    problems = _problems()
    if problems:
        rows = [(problem.host, problem.finding, problem.remedy) for problem in problems]
        tables.show("Preflight", ("host", "finding", "what to do"), rows)
        hosts = len({problem.host for problem in problems})
        raise PyinfraError(
            f"preflight: {len(problems)} problem(s) on {hosts} host(s), see the table; nothing was changed"
        )
    for note in notes(fleet().site):
        logger.warning(f"--> {note}")
    closed = (
        (name, note)
        for name, known in host_facts().items()
        if name in fleet().hosts and known.facts is not None
        for note in closed_services(fleet().hosts[name], known.facts, release.ssh_ports(name))
    )
    for line in told(closed):
        logger.warning(f"--> {line}")


def _problems() -> list[Problem]:
    plans, site = fleet().hosts, fleet().site
    problems: list[Problem] = []
    for name, known in host_facts().items():
        if known.facts is None:
            problems.append(Problem(name, "its state cannot be read (see above)", "log in, mend it, run again"))
        elif name in plans:
            problems += check_engine(plans[name], known.facts, now=known.now, ready=drivers.settled(name))
            if finding := evaluation.unset(plans[name].spec.evaluation_env, os.environ):
                problems.append(Problem(name, *finding.split("; ")))
        elif name in site.mirrors:
            problems += check_mirror(site.mirrors[name], known.facts, now=known.now)
        elif name in site.monitors:
            spec = site.monitors[name]
            problems += check_monitor(spec, disk_bytes(spec, site), known.facts, now=known.now)
        else:
            problems += check_balancer(site.balancers[name], known.facts, now=known.now)
    return problems + keys.problems() + images.unavailable()
