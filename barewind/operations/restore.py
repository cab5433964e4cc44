"""A host that failed goes back to what it served before: at the end of a run that failed, outside of pyinfra's order."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import Host, State
from pyinfra.api.exceptions import FactProcessError

from barewind import evaluation, gates, going_back, history
from barewind.errors import BarewindError
from barewind.facts import engine
from barewind.facts.history import ReleaseHistory
from barewind.history import Record
from barewind.operations import ManagedFile
from barewind.operations.gate import check
from barewind.operations.shell import run
from barewind.plan import CONTAINER, EnginePlan
from barewind.render import UNIT, UNIT_FILE


def restore(state: State, host: Host, plan: EnginePlan, failed: str) -> str:
    """Have a host serve again what it served before `failed`, gated; the release that it serves now.

    Raises:
        BarewindError: it cannot, and nothing was touched, or the earlier release does not pass its gate either.
    """
    known = _history(state, host)
    release = history.previous(known["events"], failed)
    if release is None:
        raise BarewindError(f"it has served nothing before {failed}, so there is nothing to go back to")
    problem = going_back.refused(host.name, known["records"], release, port=plan.spec.engine_port)
    if problem:
        raise BarewindError(problem)
    record: Record = known["records"][release]
    if known["release"] != release or not known["active"]:
        _replace(state, host, record, plan.spec.shutdown_timeout)
    problem = check(state, host, gates.of_record(record, plan, UNIT))
    if problem:
        raise BarewindError(f"release {release} does not pass its gate either ({problem})")
    _do(state, host, history.restored(release, why=f"{failed} failed"), "its history cannot be written")
    return release


def gated(state: State, host: Host, plan: EnginePlan, *, why: str | None = None) -> None:
    """Wait until a host passes the gate of what it runs, and note that it serves.

    The planned release is evaluated if it is new there, as in a deploy.

    Raises:
        BarewindError: it does not, or that cannot be noted.
    """
    known = _history(state, host)
    gate = gates.of_running(known["release"] or str(plan.release), known["records"], plan, UNIT)
    problem = check(state, host, gate, evaluation.of(plan) if gate.release == plan.release else None, why=why)
    if problem:
        raise BarewindError(problem)
    if not history.serves(known["events"], gate.release):
        _do(state, host, history.serving(gate.release, why=why), "its history cannot be written")


def running(state: State, host: Host) -> str:
    """The release that a host's container bears, in a word or two for a person."""
    answer = run(state, host, f"{engine.release(CONTAINER)} 2>/dev/null || :")
    return "does not answer" if answer.problem else answer.output.strip() or "none"


def _history(state: State, host: Host) -> dict[str, Any]:
    fact = ReleaseHistory()
    output = _do(state, host, fact.command(UNIT, CONTAINER), "its history cannot be read")
    try:
        return fact.process(output.splitlines())
    except FactProcessError as error:
        raise BarewindError(f"its history cannot be read ({error})") from error


def _replace(state: State, host: Host, record: Record, shutdown_timeout: int) -> None:
    """Nothing is touched unless image and weights are there."""
    missing = _do(state, host, going_back.lacking(record), "its weights cannot be looked at").split()
    if missing:
        raise BarewindError(f"release {record.release} needs {', '.join(missing)}, which is not there any more")
    _do(state, host, going_back.has_image(record), f"image {record.image} is not there any more")
    _do(
        state,
        host,
        ManagedFile(UNIT_FILE, record.unit).write_command(),
        "the unit cannot be written",
        stdin=record.unit,
    )
    host.log(f"goes back to release {record.release}")
    restart = f"systemctl daemon-reload && systemctl restart {shlex.quote(UNIT)}"
    _do(state, host, restart, "its unit does not start", timeout=shutdown_timeout + 180)


def _do(state: State, host: Host, command: str, problem: str, *, timeout: int = 60, stdin: str | None = None) -> str:
    answer = run(state, host, command, timeout=timeout, stdin=stdin)
    if answer.problem:
        raise BarewindError(f"{problem} ({answer.problem})")
    return answer.output
