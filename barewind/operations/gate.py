"""Gates: nothing counts as done before it has answered a real request."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from time import monotonic

import gevent
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind import evaluation as evaluation_
from barewind import failure, gates, history
from barewind.evaluation import Evaluation
from barewind.facts.completion import Answers, request
from barewind.facts.gate import GateLook
from barewind.gates import Gate, Progress, Seen, Verdict
from barewind.operations import known
from barewind.operations.evaluation import evaluate
from barewind.operations.shell import run

_PATIENCE = 25  # seconds that a host waits for /health within one look
_LOOK = 900  # seconds for a look: every probe may take its time
_INTERVAL = 2.0  # seconds between looks
_SAY = 60.0  # seconds between two lines about the same wait
_LOG_LINES = 40
_RESTARTS = 2  # after these many a unit that keeps dying is given up on


@operation()
def answers(url: str, model: str, unit: str, timeout: int) -> Generator[StringCommand, None, None]:
    """Wait until an endpoint answers a one-token chat completion; one that does already is left in peace.

    Gives up when the unit has failed, has been restarted twice, or the time is over, and shows the end of its log.

    + url: base URL
    + model: name of the model as clients write it
    + unit: unit behind it, whose log tells why when it does not answer
    + timeout: seconds

    **Example:**

    .. code:: python

        answers(name="Engine answers", url="http://10.0.0.11:8000", model="mistral", unit="barewind-engine", timeout=1800)
    """
    if known(host.get_fact(Answers, url=url, model=model), host.name, url):
        return
    name = shlex.quote(unit)
    yield StringCommand(
        f"""end=$(($(date +%s) + {timeout})); why=; before=$(systemctl show -P NRestarts {name})
while ! {{ answer=$({request(url, model)} 2>&1) && echo "$answer" | grep -q '"completion_tokens": *[1-9]'; }}; do
  restarts=$(($(systemctl show -P NRestarts {name}) - before)); state=$(systemctl show -P ActiveState {name})
  if [ "$state" = failed ]; then why="its unit failed"; fi
  if [ "$restarts" -ge {_RESTARTS} ]; then why="its unit was restarted $restarts times"; fi
  if [ "$(date +%s)" -ge "$end" ]; then why="the time limit of {timeout} s is over"; fi
  if [ -n "$why" ]; then
    journalctl -u {name} -n {_LOG_LINES} --no-pager -o cat >&2
    echo {shlex.quote(f"{host.name}: {url} does not answer:")} "$why. Last answer: $answer" >&2
    echo {shlex.quote(f"{host.name}: the log above ends with the reason; more of it: journalctl -u {unit}")} >&2
    exit 1
  fi
  sleep 2
done"""
    )


@operation()
def passed(
    gate: Gate, evaluation: Evaluation | None = None, by: str | None = None, why: str | None = None
) -> Generator[FunctionCommand, None, None]:
    """Wait until an engine passes its gate: unit active, model named, every probe answered, metrics there.

    One that does already is left in peace; if its history says that it passed before, with nothing begun since, a completion is
    enough to tell. A release that is new on the host is evaluated too. A failure is noted in the
    host's history and shown with the end of the unit's log and the reason in plain words.

    + gate: what it must show
    + evaluation: what a new release must show beside
    + by: who deploys, user@controller
    + why: the reason they give

    **Example:**

    .. code:: python

        passed(name="Engine answers", gate=gates.of(plan, "barewind-engine.service"))
    """
    seen = known(host.get_fact(GateLook, gate=gate, events=evaluation is not None, quick=True), host.name, gate.url)
    passes = seen.healthy and not gates.findings(gate, seen)
    if not passes or (evaluation is not None and evaluation_.due(seen.events, gate.release)):
        yield FunctionCommand(_pass, (), {"gate": gate, "evaluation": evaluation, "by": by, "why": why})


def check(
    state: State,
    host: Host,
    gate: Gate,
    evaluation: Evaluation | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> str:
    """Wait until an engine passes its gate, and evaluate it if its release is new there; what is wrong, empty if nothing is.

    What is wrong has been shown, and noted in the host's history, when this returns.
    """
    verdict, seen = _wait(state, host, gate, events=evaluation is not None)
    found = [] if verdict.outcome == "passed" else [verdict.why, *verdict.findings]
    reason = None
    if found and seen is not None:
        log = failure.of_release(seen.log, gate.release)
        # What an engine that is up logs is no reason why an answer is wrong.
        reason = failure.explain(verdict.findings or log, killed=seen.killed)
        _show(host, log[-failure.SHOWN :])
    elif seen is not None and evaluation is not None and evaluation_.due(seen.events, gate.release):
        found = evaluate(state, host, gate, evaluation, seen.events)
    if not found:
        return ""
    detail = "; ".join([*([str(reason)] if reason else []), *found])
    run(state, host, history.failed(gate.release, detail, by=by, why=why))
    logger.error(f"{host.print_prefix}{host.name}: release {gate.release} does not pass its gate: {'; '.join(found)}")
    if reason is not None:
        logger.error(f"{host.print_prefix}{host.name}: reason: {reason}")
    logger.error(f"{host.print_prefix}{host.name}: more of its log: journalctl -u {gate.unit}")
    return detail


def _pass(state: State, host: Host, gate: Gate, evaluation: Evaluation | None, by: str | None, why: str | None) -> bool:
    return not check(state, host, gate, evaluation, by=by, why=why)


def _wait(state: State, host: Host, gate: Gate, *, events: bool) -> tuple[Verdict, Seen | None]:
    begun, said, progress = monotonic(), monotonic(), Progress()
    last: Seen | None = None
    while True:
        seen = _look(state, host, gate, events=events)
        last = seen or last
        waited = monotonic() - begun
        verdict = gates.judge(gate, seen, progress, waited=waited)
        if verdict.outcome != "waiting":
            return verdict, last
        if monotonic() - said > _SAY:
            said = monotonic()
            host.log(f"{verdict.why} ({waited:.0f} s){_at_work(seen)}")
        gevent.sleep(_INTERVAL)


def _look(state: State, host: Host, gate: Gate, *, events: bool) -> Seen | None:
    """One look, None if the host does not answer: a lost connection is no failed engine."""
    fact = GateLook()
    answer = run(state, host, fact.command(gate, _PATIENCE, log=True, events=events), timeout=_LOOK)
    try:
        return None if answer.problem else fact.process(answer.output.splitlines())
    except FactProcessError:
        return None


def _at_work(seen: Seen | None) -> str:
    """What the engine itself said last: it loads for minutes."""
    return f": {seen.log[-1].strip()[:160]}" if seen is not None and seen.log else ""


def _show(host: Host, lines: list[str]) -> None:
    if lines:
        logger.error(f"{host.print_prefix}the engine's log ends:\n" + "\n".join(f"    {line}" for line in lines))
