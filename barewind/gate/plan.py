"""What an engine must show before it gets requests: which probes a command line calls for, and when they have passed.

Pure: argument lists in, verdicts out. facts.py and operations/ do the asking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from barewind import catalog
from barewind.engines import ENGINES
from barewind.engines.base import Engine
from barewind.gate import probes
from barewind.gate.probes import Probe
from barewind.plan import secrets
from barewind.plan.engine import EnginePlan
from barewind.plan.names import CONTAINER
from barewind.release.history import Event
from barewind.release.record import Record

BASIC = "completion"  # the probe that even an engine which has passed before is asked
RESTARTS = 2  # after these many a unit that keeps dying is given up on
TRIES = 3  # observations in a row at which a probe may fail: an engine's very first requests can
_SILENT = 120  # seconds without an answer from the host itself


@dataclass(frozen=True)
class Gate:
    """All that an engine must show. The names of its metrics begin with `metrics`, None where it has none."""

    host: str  # the engine's name: of its host, with its number where the host has several
    engine: str
    url: str
    model: str
    release: str
    unit: str
    timeout: int  # seconds
    health: str  # path
    metrics: str | None
    probes: tuple[Probe, ...]
    header: str | None = None  # shell command that prints the HTTP header with the engine's key; None: it wants none
    container: str = CONTAINER
    replica: int | None = None  # the engine's number, where its host has several


@dataclass(frozen=True)
class Observation:
    """How an engine stood at one moment. `answers`: status and body by probe; `log`: the end of the unit's log.

    `quick`: it has passed before, with no other release started since, and was asked for a completion only.
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
    """What is remembered between observations."""

    fewest_restarts: int | None = None  # so far: systemd counts anew when a unit is started by hand
    refusals: int = 0  # observations in a row at which the engine was healthy and did not pass
    last_answer: float = 0.0  # of the host itself, in seconds from the beginning


@dataclass(frozen=True)
class Verdict:
    """Whether an engine has passed; `message` says what it waits for or why it failed, and is empty when it has passed."""

    outcome: Literal["passed", "waiting", "failed"]
    message: str = ""
    findings: tuple[str, ...] = field(default=())


def of(plan: EnginePlan) -> Gate:
    """The gate of a plan."""
    gate = of_command(
        host=plan.name,
        engine=plan.spec.engine,
        url=plan.url,
        model=plan.served_model_name,
        weights=plan.spec.model,
        release=str(plan.release),
        argv=plan.command.argv,
        unit=plan.names.unit,
        timeout=plan.spec.startup_timeout,
    )
    return _of_host(gate, plan, tuple(plan.secrets))


def at(plan: EnginePlan, url: str) -> Gate:
    """The gate of a plan, asked at another URL: through a balancer."""
    return replace(of(plan), url=url)


def of_record(record: Record, plan: EnginePlan) -> Gate:
    """The gate of a release that a host is rolled back to; address and time limit are those of its plan of today."""
    gate = of_command(
        host=plan.name,
        engine=record.engine,
        url=f"http://{plan.spec.url_host}:{record.port + (plan.spec.replica or 0)}",
        model=record.served_model_name,
        weights=record.model.rpartition("@")[0],
        release=record.release,
        argv=record.argv,
        unit=plan.names.unit,
        timeout=plan.spec.startup_timeout,
    )
    return _of_host(gate, plan, record.secrets)


def of_running(release: str, records: Mapping[str, Record], plan: EnginePlan) -> Gate:
    """The gate of what a host runs, planned or not: by the host's own record, by the plan where it has none."""
    record = None if release == plan.release else records.get(release)
    return replace(of(plan), release=release) if record is None else of_record(record, plan)


def _of_host(gate: Gate, plan: EnginePlan, secret_names: tuple[str, ...]) -> Gate:
    """The gate with what only the engine's place on its host tells."""
    header = secrets.header(gate.engine, secret_names, gate.release)
    return replace(gate, header=header, container=plan.names.container, replica=plan.spec.replica)


def of_command(
    *,
    host: str,
    engine: str,
    url: str,
    model: str,
    weights: str,
    release: str,
    argv: Sequence[str],
    unit: str,
    timeout: int,
) -> Gate:
    """The gate of an engine's command line.

    + engine: its name
    + weights: the model's repository; what is known of it decides how much is asked
    + timeout: seconds from the start to the first answer
    """
    known_engine, known_model = ENGINES[engine], catalog.models().get(weights)
    reasons = known_model is not None and "high" in known_model.reasoning_efforts
    strict, given = reasons, _options(argv)
    wanted = [probes.completion(model)]
    if _images(known_engine, given) > 0:
        wanted.append(probes.image(model))
    parser = known_engine.reasoning_option in given
    if known_engine.tool_option in given:
        wanted.append(probes.tool(model, strict=strict, effort="none" if parser and reasons else None))
    if parser:
        wanted.append(probes.reasoning_on(model, strict=strict, field=known_engine.reasoning_field))
        wanted.append(probes.reasoning_off(model, strict=strict, field=known_engine.reasoning_field))
    return Gate(
        host=host,
        engine=engine,
        url=url,
        model=model,
        release=release,
        unit=unit,
        timeout=timeout,
        health=known_engine.ready_path,
        metrics=known_engine.metrics.prefix if known_engine.metrics.are_served(given) else None,
        probes=tuple(wanted),
    )


def findings(gate: Gate, observation: Observation) -> list[str]:
    """What an engine that says it is ready still lacks."""
    lacking = []
    if observation.state != "active":
        lacking.append(f"{gate.unit} is {observation.state or 'not there'}, not active")
    if observation.release not in (None, gate.release):
        lacking.append(f"the container runs release {observation.release}, not {gate.release}")
    lacking += filter(None, [_models(gate, *observation.models)])
    for probe in (probe for probe in gate.probes if probe.name == BASIC or not observation.quick):
        status, text = observation.answers.get(probe.name, (0, ""))
        if status or text or not lacking:  # after a probe that takes too long the rest are not asked
            lacking += filter(None, [probes.problem(probe, status, text)])
    if gate.metrics is not None and not any(line.startswith(gate.metrics) for line in observation.metrics):
        lacking.append(f"{ENGINES[gate.engine].metrics.path} shows no figure that begins with {gate.metrics}")
    return lacking


def judge(gate: Gate, observation: Observation | None, progress: Progress, *, waited: float) -> Verdict:
    """The verdict after one more observation; None: the host itself did not answer. `waited` in seconds."""
    late = f"the time limit of {gate.timeout} s is over" if waited >= gate.timeout else ""
    if observation is None:
        gone = late or ("the host is out of reach" if waited - progress.last_answer >= _SILENT else "")
        return Verdict("failed" if gone else "waiting", gone or "the host does not answer")
    progress.last_answer = waited
    fewest = observation.restarts if progress.fewest_restarts is None else progress.fewest_restarts
    progress.fewest_restarts = min(fewest, observation.restarts)
    lacking = findings(gate, observation) if observation.healthy else []
    if observation.healthy and not lacking:
        return Verdict("passed")
    progress.refusals = progress.refusals + 1 if observation.healthy else 0
    restarts = observation.restarts - progress.fewest_restarts
    failure = ""
    if observation.state == "failed":
        failure = "its unit failed"
    elif restarts >= RESTARTS:
        failure = f"its unit was restarted {restarts} times"
    elif progress.refusals >= TRIES:
        failure = "it is up, but it does not answer as it must"
    elif late:
        failure = late
    waiting = (
        "it is up, but does not yet answer as it must" if observation.healthy else f"{gate.health} does not answer yet"
    )
    return Verdict("failed" if failure else "waiting", failure or waiting, tuple(lacking))


def _models(gate: Gate, status: int, text: str) -> str:
    path = ENGINES[gate.engine].models_path
    if status != 200:
        return f"{path}: HTTP {status}" if status else f"{path}: no answer"
    try:
        names = [str(entry["id"]) for entry in json.loads(text)["data"]]
    except (ValueError, LookupError, TypeError):
        return f"{path}: the answer is no list of models ({text.strip()[:200]})"
    return "" if gate.model in names else f"{path} names {', '.join(names) or 'no model'}, not {gate.model}"


def _options(argv: Sequence[str]) -> dict[str, str]:
    """The options of a command line, each with the word after it."""
    following = [*argv[1:], ""]
    options: dict[str, str] = {}
    for word, after in zip(argv, following, strict=True):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options[name] = value if equals else after
    return options


def _images(engine: Engine, given: Mapping[str, str]) -> int:
    """How many images a prompt may hold by the command line; 0 where the engine takes text only."""
    if engine.text_only_option in given:
        return 0
    text = given.get(engine.keys.name("images_per_prompt") or "")
    try:
        limits: Any = json.loads(text or "{}")
        value = limits.get("image", 0)
        return int(value["count"] if isinstance(value, dict) else value)
    except (ValueError, LookupError, AttributeError, TypeError):
        return 0
