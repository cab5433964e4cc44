"""Gates: a step counts only when a real request has been answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyinfra import host, logger
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.gate import evaluation
from barewind.gate import plan as gates
from barewind.gate.evaluation import Evaluation
from barewind.gate.operations.gate import answered, passed
from barewind.gate.plan import Gate
from barewind.plan.engine import EnginePlan
from barewind.tasks.run import EVERY, Hosts, balancer_spec, engine_plans, facts_of, fleet, once, running
from barewind.tasks.steps.release import history_of

_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs
_ENDPOINT = 60  # seconds; the engines behind it have answered already


@deploy("Gate")
def engines(names: Hosts = EVERY) -> None:
    """Engines pass their gates, each asked on its own host; a release that is new there is evaluated."""
    for plan in host.loop(engine_plans(names)):
        _pass(plan, gates.of(plan), evaluation.of(plan))


def planned(names: Hosts) -> dict[str, Gate]:
    """The gates of what engines of the host in hand shall run."""
    return {plan.name: gates.of(plan) for plan in engine_plans(names)}


def of_now(names: Iterable[str]) -> dict[str, Gate]:
    """The gates of what engines of this run serve already, planned or not: by the host's own record, without one by the plan.

    Raises:
        PyinfraError: an engine does not run.
    """
    engines = list(names)
    stopped = [name for name in engines if running(name) is None]
    if stopped:
        raise PyinfraError(f"nothing was changed\n{', '.join(stopped)}: no engine runs; deploy first")
    return {name: _of_now(name) for name in engines}


@deploy("Gate")
def unchanged(gates: Mapping[str, Gate], names: Hosts = EVERY) -> None:
    """Engines that go on with what they run pass its gates; what is planned is evaluated if it is new there."""
    for plan in host.loop(engine_plans(names)):
        if plan.name in gates:
            gate = gates[plan.name]
            _pass(plan, gate, evaluation.of(plan) if gate.release == plan.release else None)


@deploy("Gate")
def endpoint() -> None:
    """Every balancer answers for every model it stands for, at the address that clients use; unless nobody is to be there."""
    spec = balancer_spec()
    if spec is not None and not _all_in_maintenance():
        plans = fleet().plans.values()
        for model in sorted({plan.served_model_name for plan in plans}):
            answered(
                name=f"Endpoint answers for {model}",
                url=f"http://{spec.url_host}:{spec.endpoint_port}",  # where clients connect
                model=model,
                unit="haproxy.service",
                timeout=_ENDPOINT,
                keyed=any(gates.of(plan).header is not None for plan in plans),
                _timeout=_ENDPOINT + 120,
            )


@once
def _all_in_maintenance() -> bool:
    known = [facts_of(name) for name in fleet().plans]
    nobody = all(facts is not None and facts.maintenance is not None for facts in known)
    if nobody:
        logger.warning("--> every engine is in maintenance: nobody answers at the endpoint until tasks/undrain.py")
    return nobody


def _pass(plan: EnginePlan, gate: Gate, evaluation: Evaluation | None) -> None:
    passed(
        name="Engine answers",
        gate=gate,
        evaluation=evaluation,
        why=fleet().site.reason,
        _timeout=plan.spec.startup_timeout + (evaluation.limit if evaluation else 0) + _LOOKS,
    )


def _of_now(name: str) -> Gate:
    plan, release = fleet().plans[name], str(running(name))
    history = None if release == plan.release else history_of(name)
    return gates.of_running(release, history["records"] if history is not None else {}, plan)
