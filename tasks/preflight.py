"""Every problem of every host in one table, before anything changes."""

from __future__ import annotations

from pyinfra.api.exceptions import PyinfraError

from barewind.preflight import Problem, check_balancer, check_engine, check_mirror
from tasks import drivers, image
from tasks.fleet import fleet
from tasks.once import once
from tasks.survey import survey


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
    plans, site = fleet().plans, fleet().site
    found: list[Problem] = []
    for name, seen in survey().items():
        if seen.facts is None:
            found.append(Problem(name, "its state cannot be read (see above)", "log in, mend it, run again"))
        elif name in plans:
            found += check_engine(plans[name], seen.facts, now=seen.now, ready=drivers.settled(name))
        elif name in site.mirrors:
            found += check_mirror(site.mirrors[name], seen.facts, now=seen.now)
        else:
            found += check_balancer(name, site.balancers[name].endpoint_port, seen.facts, now=seen.now)
    found += image.unavailable()
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
