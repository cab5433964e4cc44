"""Gates: a step counts only when a real request has been answered."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind import evaluation, gates, render
from barewind.operations.gate import answers, passed
from tasks.fleet import EVERY, Hosts, balancer_spec, engine_plan, fleet

_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs
_ENDPOINT = 60  # seconds; the engines behind it have answered already


@deploy("Gate")
def engines(hosts: Hosts = EVERY) -> None:
    """Engines pass their gates, each asked on its own host; a release that is new there is evaluated."""
    plan = engine_plan(hosts)
    if plan is not None:
        wanted = evaluation.of(plan)
        passed(
            name="Engine answers",
            gate=gates.of(plan, render.UNIT),
            evaluation=wanted,
            why=fleet().site.reason,
            _timeout=plan.spec.startup_timeout + (wanted.limit if wanted else 0) + _LOOKS,
        )


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
