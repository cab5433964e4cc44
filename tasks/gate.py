"""Gates: a step counts only when a real request has been answered."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind import render
from barewind.operations.gate import answers
from tasks.fleet import EVERY, Hosts, balancer_spec, engine_plan, fleet

_ENDPOINT = 60  # seconds; the engines behind it have answered already


@deploy("Gate")
def engines(hosts: Hosts = EVERY) -> None:
    """Engines answer, each asked on its own host."""
    plan = engine_plan(hosts)
    if plan is not None:
        limit = plan.spec.startup_timeout
        answers(
            name="Engine answers",
            url=plan.url,
            model=plan.served_model_name,
            unit=render.UNIT,
            timeout=limit,
            _timeout=limit + 120,
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
