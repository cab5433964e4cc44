"""A @fake host that is benched, and its balancer."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from barewind.plan.engine import EnginePlan
from tests.support.factories import engine_spec, plan
from tests.support.fake_fleet import LEASE, PYINFRA, Clone, balancer, rotation, sections, serving

NAME = "@fake/gpu1"
_OK = json.dumps({"choices": [{"message": {"role": "assistant"}}], "usage": {"completion_tokens": 1}})
_DRAINED = '{"at": "2026-11-30T08:00:00Z", "by": "ann@ws1", "why": null}'
_HELD = (
    '@@lease held 12 {"since": "2026-11-22T09:00:00Z", "token": "a", "by": "ann@ws1", "why": null, "command": "pyinfra", '
    '"pid": 1, "process": "1", "machine": "ws1/boot/pid:[1]"}'
)


def planned() -> EnginePlan:
    """What the host is to serve."""
    return plan(engine_spec(host=NAME, address="10.0.0.1", groups=("engines",)))


def generated(**changes: Any) -> list[str]:
    """What a generator's host prints."""
    result = {
        "duration": 10.0,
        "completed": 8,
        "total_input_tokens": 8192,
        "total_output_tokens": 8192,
        "mean_tpot_ms": 20.0,
        "p99_tpot_ms": 30.0,
        "mean_ttft_ms": 50.0,
        "p99_ttft_ms": 90.0,
        "failed": 0,
        "error": "",
    }
    return ["@@bench 0", f"@@bench {json.dumps(result | changes)}", "@@bench end"]


def fleet(
    clone: Clone,
    *,
    answer: str = _OK,
    status: str = "200",
    drained: bool = True,
    held: bool = False,
    load: list[str] | None = None,
    answers: dict[str, Any] | None = None,
) -> None:
    """Write the inventory of a host that serves what is planned, drained or not, and its balancer. `answers`: of the host's own,
    before all others."""
    release = str(planned().release)
    note = [_DRAINED] if drained else []
    mine = (answers or {}) | {
        "echo @@barewind:drained": sections(
            drained=note, state_0=["ActiveState=active"], release_0=[release], image_0=["present"]
        ),
        "echo @@barewind:answer; { up=1": sections(answer=[answer, status]),
        "barewind-bench-0": load or generated(),
    }
    others = {command: lines for command, lines in serving(release).items() if command not in mine}
    name, data = balancer()
    data["fake_responses"] |= {"show proc": rotation("drain" if drained else "ready", NAME)}
    data["fake_responses"] |= {LEASE["take"]: [_HELD]} if held else {}
    values = {"address": "10.0.0.1", "accelerator": "h200", "accelerator_count": 8, "fake_responses": mine | others}
    clone.inventory(engines=[(NAME, values)], balancers=[(name, data)])


def run(clone: Clone, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of `barewind` over it."""
    done = subprocess.run(
        [str(PYINFRA.with_name("barewind")), words[0], "site.py", *words[1:]],
        cwd=clone.path,
        env=clone.environment | {"COLUMNS": "220"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done
