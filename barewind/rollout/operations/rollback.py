"""A host is rolled back to what it served before: at the end of a run that failed, outside of pyinfra's order."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pyinfra.api import Host, State
from pyinfra.api.exceptions import FactProcessError

from barewind.errors import BarewindError
from barewind.gate import evaluation
from barewind.gate import plan as gates
from barewind.gate.operations.gate import check
from barewind.hosts.ask import ask
from barewind.hosts.file import HostFile
from barewind.hosts.shell import run
from barewind.plan.engine import EnginePlan
from barewind.release import history
from barewind.release.commands import show_release
from barewind.release.facts import ReleaseHistory
from barewind.release.record import Record
from barewind.release.unit import stop_drop_in
from barewind.rollout import rollback
from barewind.rollout.rollback import HostHistory


def roll_back(state: State, host: Host, plan: EnginePlan, failed: str) -> str:
    """Have a host serve again what it served before `failed`, past its gate; the release that it serves now.

    Raises:
        BarewindError: it cannot, and nothing was touched, or the earlier release does not pass its gate either.
    """
    known = _history(state, host, plan)
    release = history.previous(known["events"], failed)
    if release is None:
        raise BarewindError(f"it has served nothing before {failed}, so there is nothing to go back to")
    problem = rollback.refusal(plan.name, known["records"], release, port=plan.first_port)
    if problem:
        raise BarewindError(problem)
    record: Record = known["records"][release]
    if known["release"] != release or not known["active"]:
        _replace(state, host, plan, record)
    problem = check(state, host, gates.of_record(record, plan))
    if problem:
        raise BarewindError(f"release {release} does not pass its gate either ({problem})")
    _do(
        state,
        host,
        history.rolled_back(release, why=f"{failed} failed", replica=plan.spec.replica),
        "its history cannot be written",
    )
    return release


def pass_gate(state: State, host: Host, plan: EnginePlan, *, why: str | None = None) -> None:
    """Wait until a host passes the gate of what it runs, and note that it serves.

    The planned release is evaluated if it is new there, as in a deploy.

    Raises:
        BarewindError: it does not pass, or that cannot be noted.
    """
    known = _history(state, host, plan)
    gate = gates.of_running(known["release"] or str(plan.release), known["records"], plan)
    problem = check(state, host, gate, evaluation.of(plan) if gate.release == plan.release else None, why=why)
    if problem:
        raise BarewindError(problem)
    if not history.serves(known["events"], gate.release):
        _do(
            state,
            host,
            history.serving(gate.release, why=why, replica=plan.spec.replica),
            "its history cannot be written",
        )


def is_serving(state: State, host: Host, plan: EnginePlan) -> bool:
    """Whether an engine runs what has passed its gate, with nothing known against it since; False if its host does not say."""
    try:
        known = _history(state, host, plan)
    except BarewindError:
        return False
    release = known["release"]
    return bool(known["active"] and release and history.serves(known["events"], release))


def running_release(state: State, host: Host, plan: EnginePlan) -> str:
    """The release that an engine's container bears, or in a word or two why there is none."""
    answer = run(state, host, f"{show_release(plan.names.container)} 2>/dev/null || :")
    return "does not answer" if answer.problem else answer.output.strip() or "none"


def usable_records(
    state: State, histories: Mapping[str, HostHistory], releases: Mapping[str, str], plans: Mapping[str, EnginePlan]
) -> dict[str, Record]:
    """The records that engines are rolled back to, by engine; `plans` tell the ports that balancers know of each.

    Raises:
        BarewindError: a host lacks its record, or weights that it needs; all problems.
    """
    refusals = rollback.refusals(histories, releases, {name: plans[name].first_port for name in releases})
    records = {name: histories[name].records[release] for name, release in releases.items() if name not in refusals}

    def missing(name: str) -> list[str]:
        command, problem = rollback.show_missing(records[name]), f"{name}: its weights cannot be looked at"
        return rollback.missing(
            name, records[name], _do(state, state.inventory.get_host(plans[name].spec.host), command, problem)
        )

    answers = ask(records, missing)
    lacking = [problem for problems in answers.answers.values() for problem in problems]
    if problems := [*refusals.values(), *answers.errors.values(), *lacking]:
        raise BarewindError("\n".join(problems))
    return records


def _history(state: State, host: Host, plan: EnginePlan) -> dict[str, Any]:
    fact, names = ReleaseHistory(), plan.names
    output = _do(state, host, fact.command(names.unit, names.container), "its history cannot be read")
    try:
        known = fact.process(output.splitlines())
        return known | {"events": history.of_replica(known["events"], plan.spec.replica)}
    except FactProcessError as error:
        raise BarewindError(f"its history cannot be read ({error})") from error


def _replace(state: State, host: Host, plan: EnginePlan, record: Record) -> None:
    """Nothing is touched unless image and weights are there."""
    missing = _do(state, host, rollback.show_missing(record), "its weights cannot be looked at").split()
    if missing:
        raise BarewindError(f"release {record.release} needs {', '.join(missing)}, which is not there any more")
    _do(state, host, rollback.has_image(record), f"image {record.image} is not there any more")
    names = plan.names
    drop_in = HostFile(names.drop_in_file, stop_drop_in(record.unit, plan.spec.replica))
    for file in (drop_in, record.unit_file(names.unit_file)):
        stdin = file.content if isinstance(file, HostFile) else None
        _do(state, host, file.write_command(), "the unit cannot be written", stdin=stdin)
    host.log(f"is rolled back to release {record.release}")
    restart = f"systemctl daemon-reload && systemctl restart {shlex.quote(names.unit)}"
    _do(state, host, restart, "its unit does not start", timeout=plan.spec.shutdown_timeout + 180)


def _do(state: State, host: Host, command: str, problem: str, *, timeout: int = 60, stdin: str | None = None) -> str:
    answer = run(state, host, command, timeout=timeout, stdin=stdin)
    if answer.problem:
        raise BarewindError(f"{problem} ({answer.problem})")
    return answer.output
