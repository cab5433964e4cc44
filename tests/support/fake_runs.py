"""Runs of the `pyinfra` command on @fake hosts that are upgraded: the hosts, and what the output says of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import Any

from tests.support.fake_fleet import balancer, engine, gate, rotation, sections, serving
from tests.support.histories import A, B, record, served

GPUS = [f"@fake/gpu{number}" for number in (1, 2, 3)]


def up(*names: str, **drained: str) -> tuple[str, dict[str, Any]]:
    """A balancer on which hosts are in rotation."""
    name, data = balancer()
    answers = {
        "state drain": rotation("drain", *names),
        "state ready": rotation("ready", *names),
        "show proc": rotation("ready", *names),
    }
    return name, data | {"fake_responses": data["fake_responses"] | answers}


def upgrading(number: int, answers: dict[str, Any] | None = None, **data: Any) -> tuple[str, dict[str, Any]]:
    """An engine host that serves an older release than its plan says."""
    return engine(number, answers or serving(), accelerator_drivers="external", **data)


def many(count: int, **data: Any) -> str:
    """The text of an inventory of that many engine hosts, which serve an older release, and a balancer. Hosts that answer alike
    share their answers: written out, those of a thousand would be ten megabytes."""
    names = [f"@fake/gpu{number}" for number in range(1, count + 1)]
    _, engine_data = upgrading(1, **data)
    return f"""_data = {engine_data!r}
engines = [
    (f"@fake/gpu{{n}}", _data | {{"address": f"10.{{1 + n // 65536}}.{{n // 256 % 256}}.{{n % 256}}"}})
    for n in range(1, {count + 1})
]
balancers = [{up(*names)!r}]
"""


def started(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Operations in the order in which they ran."""
    return [line.split(": ", 1)[1].strip() for line in done.stderr.splitlines() if "Starting operation: " in line]


def by_host(done: subprocess.CompletedProcess[str], name: str) -> list[str]:
    """What became of one host, operation by operation."""
    found, operation = [], ""
    for line in done.stderr.splitlines():
        if "Starting operation: " in line:
            operation = line.split(": ", 1)[1].strip()
        elif line.strip().startswith(f"[{name}]") and line.strip().endswith(("Success", "Error")):
            found.append(operation)
    return found


def history(running: str, *releases: str, fails: bool = False) -> dict[str, Any]:
    """What a host answers that has served releases, oldest first, and runs one."""
    events = [one for minute, release in enumerate(releases) for one in served(minute, release, "started", "serving")]
    records = [json.dumps(asdict(record(release, unit=f"# {release}\n"))) for release in (A, B)]
    state = ["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled"]
    told = sections(records=records, events=[json.dumps(asdict(one)) for one in events], state=state, release=[running])
    asks = {'"model": "m"': gate(model="m")}  # the gate of a record; that of the plan asks for another model
    plan = {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")} if fails else {}
    return asks | {"echo @@barewind:records": told} | serving(running) | plan


def rows(text: str) -> dict[str, list[str]]:
    """The table at the end of a run that failed."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return {one[0]: one[1:] for one in cells}
