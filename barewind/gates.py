"""What an engine must show before it gets requests: which probes a command line calls for, and when they have passed.

Pure: argument lists in, verdicts out. Asking is done by barewind/facts/gate.py and barewind/operations/gate.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from barewind import catalog, probes
from barewind.history import Event, Record
from barewind.plan import EnginePlan
from barewind.probes import Probe

BASIC = "completion"  # the probe that even an engine which has passed before is asked
RESTARTS = 2  # after these many a unit that keeps dying is given up on
TRIES = 3  # looks in a row that a probe may fail: an engine's very first requests can
_SILENT = 120  # seconds without an answer from the host itself


@dataclass(frozen=True)
class Gate:
    """All that one engine must show. `metrics` begins the names of its figures, None where it has none."""

    host: str
    url: str
    model: str
    release: str
    unit: str
    timeout: int  # seconds
    health: str  # path
    metrics: str | None
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Seen:
    """One look at an engine. `answers`: status and body by probe; `log`: the end of the unit's log.

    `quick`: it has passed before, with nothing begun since, and was asked for a completion only.
    """

    healthy: bool
    state: str  # systemd's ActiveState
    restarts: int  # systemd's NRestarts
    killed: bool  # for want of the host's memory
    release: str | None  # of the container
    models: tuple[int, str]
    metrics: tuple[str, ...]
    answers: Mapping[str, tuple[int, str]]
    events: tuple[Event, ...] = ()
    log: tuple[str, ...] = ()
    quick: bool = False


@dataclass
class Progress:
    """What is remembered between looks."""

    before: int | None = None  # restarts at the first look
    refused: int = 0  # looks in a row at which it was healthy and did not pass
    heard: float = 0.0  # seconds from the beginning to the last answer of the host


@dataclass(frozen=True)
class Verdict:
    """How it stands; `why` is empty when it has passed."""

    outcome: Literal["passed", "waiting", "failed"]
    why: str = ""
    findings: tuple[str, ...] = field(default=())


def of(plan: EnginePlan, unit: str) -> Gate:
    """The gate of a plan."""
    return of_command(
        host=plan.spec.host,
        url=plan.url,
        model=plan.served_model_name,
        weights=plan.spec.model,
        release=str(plan.release),
        argv=plan.command.argv,
        unit=unit,
        timeout=plan.spec.startup_timeout,
    )


def of_record(record: Record, plan: EnginePlan, unit: str) -> Gate:
    """The gate of a release that a host goes back to; address and time limit are those of its plan of today."""
    host = f"[{plan.spec.address}]" if ":" in plan.spec.address else plan.spec.address
    return of_command(
        host=plan.spec.host,
        url=f"http://{host}:{record.port}",
        model=record.served_model_name,
        weights=record.model.rpartition("@")[0],
        release=record.release,
        argv=record.argv,
        unit=unit,
        timeout=plan.spec.startup_timeout,
    )


def of_running(release: str, records: Mapping[str, Record], plan: EnginePlan, unit: str) -> Gate:
    """The gate of what a host runs, planned or not: by the host's own record, by the plan where it has none."""
    record = None if release == plan.release else records.get(release)
    return replace(of(plan, unit), release=release) if record is None else of_record(record, plan, unit)


def of_command(
    *, host: str, url: str, model: str, weights: str, release: str, argv: Sequence[str], unit: str, timeout: int
) -> Gate:
    """The gate of an engine's command line.

    + weights: the model's repository; what is known of it decides how much is asked
    + timeout: seconds from the start to the first answer
    """
    name = "sglang" if "sglang.launch_server" in argv else "vllm"
    engine = catalog.engines()[name]
    known = catalog.models().get(weights)
    reasons = known is not None and "high" in known.reasoning_efforts
    strict, given = reasons, _options(argv)
    wanted = [probes.completion(model)]
    if _images(name, given) > 0:
        wanted.append(probes.image(model))
    parser = "--reasoning-parser" in given
    if "--tool-call-parser" in given:
        wanted.append(probes.tool(model, strict=strict, effort="none" if parser and reasons else None))
    if parser:
        wanted.append(probes.reasoning_on(model, strict=strict, field=engine.reasoning_field))
        wanted.append(probes.reasoning_off(model, strict=strict, field=engine.reasoning_field))
    counted = "--enable-metrics" in given if name == "sglang" else "--disable-log-stats" not in given
    return Gate(
        host=host,
        url=url,
        model=model,
        release=release,
        unit=unit,
        timeout=timeout,
        health=engine.health_path,
        metrics=f"{name}:" if counted else None,
        probes=tuple(wanted),
    )


def findings(gate: Gate, seen: Seen) -> list[str]:
    """What an engine that answers /health still lacks."""
    found = []
    if seen.state != "active":
        found.append(f"{gate.unit} is {seen.state or 'not there'}, not active")
    if seen.release not in (None, gate.release):
        found.append(f"the container runs release {seen.release}, not {gate.release}")
    found += filter(None, [_models(gate, *seen.models)])
    for probe in (one for one in gate.probes if one.name == BASIC or not seen.quick):
        status, text = seen.answers.get(probe.name, (0, ""))
        if status or text or not found:  # after one that takes too long the rest are not asked
            found += filter(None, [probes.problem(probe, status, text)])
    if gate.metrics is not None and not any(line.startswith(gate.metrics) for line in seen.metrics):
        found.append(f"/metrics shows no figure that begins with {gate.metrics}")
    return found


def judge(gate: Gate, seen: Seen | None, progress: Progress, *, waited: float) -> Verdict:
    """How it stands after one more look; None: the host itself did not answer. `waited` in seconds."""
    late = f"the time limit of {gate.timeout} s is over" if waited >= gate.timeout else ""
    if seen is None:
        gone = late or ("the host is out of reach" if waited - progress.heard >= _SILENT else "")
        return Verdict("failed" if gone else "waiting", gone or "the host does not answer")
    progress.heard = waited
    progress.before = seen.restarts if progress.before is None else min(progress.before, seen.restarts)
    found = findings(gate, seen) if seen.healthy else []
    if seen.healthy and not found:
        return Verdict("passed")
    progress.refused = progress.refused + 1 if seen.healthy else 0
    restarts = seen.restarts - progress.before
    why = ""
    if seen.state == "failed":
        why = "its unit failed"
    elif restarts >= RESTARTS:
        why = f"its unit was restarted {restarts} times"
    elif progress.refused >= TRIES:
        why = "it is up, but it does not answer as it must"
    elif late:
        why = late
    waiting = "it is up, but does not yet answer as it must" if seen.healthy else f"{gate.health} does not answer yet"
    return Verdict("failed" if why else "waiting", why or waiting, tuple(found))


def _models(gate: Gate, status: int, text: str) -> str:
    if status != 200:
        return f"/v1/models: HTTP {status}" if status else "/v1/models: no answer"
    try:
        names = [str(one["id"]) for one in json.loads(text)["data"]]
    except (ValueError, LookupError, TypeError):
        return f"/v1/models: the answer is no list of models ({text.strip()[:200]})"
    return "" if gate.model in names else f"/v1/models names {', '.join(names) or 'no model'}, not {gate.model}"


def _options(argv: Sequence[str]) -> dict[str, str]:
    """Option -> the word after it."""
    following = [*argv[1:], ""]
    found: dict[str, str] = {}
    for word, after in zip(argv, following, strict=True):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found[name] = value if equals else after
    return found


def _images(engine: str, given: Mapping[str, str]) -> int:
    """Images that a prompt may hold, as the command line says it; 0 where it is made for text."""
    if "--language-model-only" in given:
        return 0
    text = given.get("--limit-mm-data-per-request" if engine == "sglang" else "--limit-mm-per-prompt")
    try:
        limits: Any = json.loads(text or "{}")
        value = limits.get("image", 0)
        return int(value["count"] if isinstance(value, dict) else value)
    except (ValueError, LookupError, AttributeError, TypeError):
        return 0
