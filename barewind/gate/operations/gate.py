"""Gates: nothing counts as done before it has answered a real request."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.gate import explain
from barewind.gate import plan as gates
from barewind.gate.evaluation import Evaluation, due
from barewind.gate.facts import KEY_WANTED, Answers, GateObservation, request
from barewind.gate.operations.evaluation import evaluate
from barewind.gate.plan import Gate, Observation, Progress, Verdict
from barewind.hosts.operations import known
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run
from barewind.release import history

_PATIENCE = 25  # seconds that a host waits for the ready path before it answers
_OBSERVATION = 900  # seconds for an observation: every probe may take its time
_INTERVAL = 2.0  # seconds between observations
_LOG_INTERVAL = 60.0  # seconds between two lines about the same wait
_LOG_LINES = 40
_GOOD = shlex.quote(f'"completion_tokens": *[1-9]|^{KEY_WANTED}$')
_RESTARTS = 2  # after these many a unit that keeps dying is given up on


@operation()
def answered(
    url: str,
    model: str,
    unit: str,
    timeout: int,
    keyed: bool = False,
    probe: bool = False,
    through: Sequence[str] = (),
) -> Generator[StringCommand, None, None]:
    """Wait until an endpoint answers a chat completion of a single token; nothing is done where it does already.

    Gives up when the unit has failed, has been restarted twice, or the time is over, and shows the end of its log.

    + url: base URL
    + model: name of the model as clients write it
    + unit: unit behind it, whose log tells why when it does not answer
    + timeout: seconds
    + keyed: whether engines want a key of everybody: then that they want it is the answer
    + probe: whether the host is a balancer, which may want a key too: it makes one for the question
    + through: options of curl by which it gets there

    **Example:**

    .. code:: python

        answered(name="Engine answers", url="http://10.0.0.11:8000", model="mistral", unit="barewind-engine", timeout=1800)
    """
    asked = {"keyed": keyed, "probe": probe, "through": through}
    more = {name: value for name, value in asked.items() if value}
    if known(host.get_fact(Answers, url=url, model=model, **more), host.name, url):
        host.noop(f"{url} already answers for {model}")
        return
    name, ask = shlex.quote(unit), request(url, model, keyed=keyed, probe=probe, through=through)
    yield StringCommand(
        f"""end=$(($(date +%s) + {timeout})); why=; before=$(systemctl show -P NRestarts {name})
while ! {{ answer=$({ask} 2>&1) && echo "$answer" | grep -qE {_GOOD}; }}; do
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
    gate: Gate,
    evaluation: Evaluation | None = None,
    by: str | None = None,
    why: str | None = None,
    rollback: bool = False,
) -> Generator[FunctionCommand, None, None]:
    """Wait until an engine passes its gate: unit active, model named, every probe answered, metrics there.

    Nothing is done where the engine passes already; if its history says that it passed before, with no other release started
    since, a completion is enough to tell. A release that is new on the host is evaluated too. A failure is noted in the host's
    history and shown with the end of the unit's log and the reason in plain words.

    + gate: what the engine must show
    + evaluation: what a new release must reach besides
    + by: who deploys, user@controller
    + why: the reason they give
    + rollback: a person rolls back to the release instead of deploying it

    **Example:**

    .. code:: python

        passed(name="Engine answers", gate=gates.of(plan, "barewind-engine.service"))
    """
    observation = known(
        host.get_fact(GateObservation, gate=gate, events=evaluation is not None, quick=True), host.name, gate.url
    )
    passes = observation.healthy and not gates.findings(gate, observation)
    if passes and (evaluation is None or not due(history.of_replica(observation.events, gate.replica), gate.release)):
        host.noop(f"release {gate.release} already passes its gate")
        return
    note = {"by": by, "why": why, "rollback": rollback}
    yield FunctionCommand(_pass, (), {"gate": gate, "evaluation": evaluation, **note})


def check(
    state: State,
    host: Host,
    gate: Gate,
    evaluation: Evaluation | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
    rollback: bool = False,
) -> str:
    """Wait until an engine passes its gate, and evaluate it if its release is new there; returns what is wrong, or "".

    What is wrong has been shown, and noted in the host's history, when this returns.
    """
    verdict, observation = _wait(state, host, gate, events=evaluation is not None)
    findings = [] if verdict.outcome == "passed" else [verdict.message, *verdict.findings]
    reason = error = None
    if findings and observation is not None:
        log = explain.of_release(observation.log, gate.release)
        # What an engine that is up logs is no reason why an answer is wrong.
        reason = explain.explain(verdict.findings or log, gate.engine, killed=observation.killed)
        if reason is None and not verdict.findings:
            error = explain.last_error(explain.to_its_end(log), gate.engine)
        _show(host, (log if observation.healthy else explain.to_its_end(log))[-explain.SHOWN :])
    elif (
        observation is not None
        and evaluation is not None
        and due(history.of_replica(observation.events, gate.replica), gate.release)
    ):
        findings = evaluate(state, host, gate, evaluation, history.of_replica(observation.events, gate.replica))
    if not findings:
        return ""
    told = [str(reason)] if reason else [f"the last error in its log: {error}"] if error else []
    detail = "; ".join([*told, *findings])
    run(state, host, history.failed(gate.release, detail, by=by, why=why, rollback=rollback, replica=gate.replica))
    logger.error(
        f"{host.print_prefix}{gate.host}: release {gate.release} does not pass its gate: {'; '.join(findings)}"
    )
    if reason is not None:
        logger.error(f"{host.print_prefix}{gate.host}: reason: {reason}")
    elif error is not None:
        logger.error(f"{host.print_prefix}{gate.host}: the last error of the process that failed first: {error}")
    logger.error(f"{host.print_prefix}{gate.host}: more of its log: journalctl -u {gate.unit}")
    return detail


def _pass(
    state: State, host: Host, gate: Gate, evaluation: Evaluation | None, by: str | None, why: str | None, rollback: bool
) -> bool:
    return not check(state, host, gate, evaluation, by=by, why=why, rollback=rollback)


def _wait(state: State, host: Host, gate: Gate, *, events: bool) -> tuple[Verdict, Observation | None]:
    poll, progress = Poll(_INTERVAL, log=host.log, log_interval=_LOG_INTERVAL), Progress()
    last: Observation | None = None
    while True:
        observation = _observe(state, host, gate, events=events)
        last = observation or last
        waited = poll.waited
        verdict = gates.judge(gate, observation, progress, waited=waited)
        if verdict.outcome != "waiting":
            return verdict, last
        poll.log(f"{verdict.message} ({waited:.0f} s){_last_line(observation)}")
        poll.pause()


def _observe(state: State, host: Host, gate: Gate, *, events: bool) -> Observation | None:
    """How the engine stands; None if the host does not answer: a lost connection is no failed engine."""
    fact = GateObservation()
    answer = run(state, host, fact.command(gate, _PATIENCE, log=True, events=events), timeout=_OBSERVATION)
    try:
        return None if answer.problem else fact.process(answer.output.splitlines())
    except FactProcessError:
        return None


def _last_line(observation: Observation | None) -> str:
    """The last line of the engine's own log: it loads for minutes."""
    return f": {observation.log[-1].strip()[:160]}" if observation is not None and observation.log else ""


def _show(host: Host, lines: list[str]) -> None:
    if lines:
        logger.error(f"{host.print_prefix}the engine's log ends:\n" + "\n".join(f"    {line}" for line in lines))
