"""What hosts answer to `barewind status` and `barewind lease`, and hosts that answer so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from barewind.plan.engine import plan_site
from barewind.spec.site import Site
from tests.support import fake_fleet
from tests.support.factories import balancer_spec, engine_spec, locked
from tests.support.fake_fleet import LEASE, sections

ONE, TWO = engine_spec(host="gpu1"), engine_spec(host="gpu2", address="192.0.2.12")
SITE = Site({"gpu1": ONE, "gpu2": TWO}, {"lb1": balancer_spec()}, "barewind.lock.yaml")
PLANS = plan_site(SITE, locked(ONE, TWO))
RELEASE = str(PLANS["gpu1"].release)
SERVED = json.dumps(
    {"at": "2026-11-22T09:00:00Z", "release": RELEASE, "event": "serving", "by": "ann@ws1", "why": "nightly"}
)
HELD = (
    '@@lease held 3 {"since": "2026-11-22T09:00:00Z", "token": "a", "by": "ann@ws1", "why": "nightly", '
    '"command": "pyinfra site.py deploy.py", "pid": 4711, "process": "1", "machine": "ws1"}'
)

Answers = dict[str, tuple[str, str]]


def engine(**changes: list[str]) -> tuple[str, str]:
    """What an engine host answers that serves the planned release."""
    seen = {
        "state": ["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled"],
        "since": ["2026-11-22T08:59:00Z"],
        "release": [RELEASE],
        "health": ["200"],
        "metrics": [
            'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
            'vllm:num_requests_running{engine="1",model_name="m"} 2.0',
            'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0',
        ],
        "drained": [],
        "events": [SERVED],
        "lease": ["@@lease free"],
    }
    return "\n".join(sections(**seen | changes)), ""


def balancer(*servers: str, admin: str = "ready", certificate: Sequence[str] = (), **more: Any) -> tuple[str, str]:
    """What a balancer answers."""
    found = fake_fleet.rotation(admin, *servers, **more)
    return "\n".join(sections(rotation=found, certificate=list(certificate), lease=["@@lease free"])), ""


def hosts(answers: Answers) -> type:
    """Stands for `barewind.hosts.reach.Hosts`: hosts answer so, whatever they are asked; a lease that is removed is gone."""

    class Hosts:
        def __init__(self, *_: Any) -> None:
            """Of no inventory."""

        def ask(self, commands: Mapping[str, str], *, timeout: int) -> Answers:
            assert timeout > 0  # nobody is waited for without an end
            return {
                name: _released(answers[name]) if LEASE["release"] in command else answers[name]
                for name, command in commands.items()
            }

    return Hosts


def _released(answer: tuple[str, str]) -> tuple[str, str]:
    """After the lease was removed."""
    return answer[0].replace(HELD, "@@lease free"), answer[1]
