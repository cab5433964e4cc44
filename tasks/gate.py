"""Gates: a step counts only when a real request has been answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyinfra import host, state
from pyinfra.api import Host, deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind import evaluation, gates, render
from barewind.evaluation import Evaluation
from barewind.facts.history import ReleaseHistory
from barewind.gates import Gate
from barewind.history import Record
from barewind.operations.gate import answers, passed
from barewind.plan import CONTAINER, EnginePlan
from tasks import rollout
from tasks.fleet import EVERY, Hosts, balancer_spec, engine_plan, fleet

_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs
_ENDPOINT = 60  # seconds; the engines behind it have answered already


@deploy("Gate")
def engines(hosts: Hosts = EVERY) -> None:
    """Engines pass their gates, each asked on its own host; a release that is new there is evaluated."""
    plan = engine_plan(hosts)
    if plan is not None:
        _pass(plan, gates.of(plan, render.UNIT), evaluation.of(plan))


def of_now(names: Iterable[str]) -> dict[str, Gate]:
    """The gates of what hosts of this run serve already, planned or not: by the host's own record, without one by the plan.

    Raises:
        PyinfraError: on one of them no engine runs.
    """
    hosts = list(names)
    stopped = [name for name in hosts if rollout.running(name) is None]
    if stopped:
        raise PyinfraError(f"nothing was changed\n{', '.join(stopped)}: no engine runs; deploy first")
    return {name: _of_now(name) for name in hosts}


@deploy("Gate")
def unchanged(now: Mapping[str, Gate], hosts: Hosts = EVERY) -> None:
    """Engines that go on with what they run pass its gates; what is planned is evaluated if it is new there."""
    plan = engine_plan(hosts)
    if plan is not None and host.name in now:
        wanted = now[host.name]
        _pass(plan, wanted, evaluation.of(plan) if wanted.release == plan.release else None)


@deploy("Gate")
def endpoint() -> None:
    """Every balancer answers for every model it stands for."""
    spec = balancer_spec()
    if spec is not None:
        for model in sorted({plan.served_model_name for plan in fleet().plans.values()}):
            answers(
                name=f"Endpoint answers for {model}",
                url=f"http://127.0.0.1:{spec.endpoint_port}",
                model=model,
                unit="haproxy.service",
                timeout=_ENDPOINT,
                _timeout=_ENDPOINT + 120,
            )


def _pass(plan: EnginePlan, gate: Gate, wanted: Evaluation | None) -> None:
    passed(
        name="Engine answers",
        gate=gate,
        evaluation=wanted,
        why=fleet().site.reason,
        _timeout=plan.spec.startup_timeout + (wanted.limit if wanted else 0) + _LOOKS,
    )


def _of_now(name: str) -> Gate:
    one, plan, running = state.inventory.get_host(name), fleet().plans[name], str(rollout.running(name))
    records = {} if running == plan.release else _records(one)
    return gates.of_running(running, records, plan, render.UNIT)


def _records(one: Host) -> Mapping[str, Record]:
    with ctx_host.use(one):
        found = get_fact(
            state, one, ReleaseHistory, kwargs={"unit": render.UNIT, "container": CONTAINER}, apply_failed_hosts=False
        )
    return {} if found is None else found["records"]
