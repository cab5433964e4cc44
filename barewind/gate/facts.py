"""How an engine stands, asked from its own host: unit, health, and the probes of its gate, in one round trip."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pyinfra.api import FactBase

from barewind.engines import ENGINES
from barewind.engines.base import CHAT_COMPLETIONS
from barewind.gate.plan import BASIC, Gate, Observation
from barewind.hosts.script import script, split
from barewind.keys import probe as probes
from barewind.release import history
from barewind.release.commands import show_release

_HEALTH = 60  # seconds; an engine under load answers late
_ANSWER = 120  # seconds for the few tokens of a probe; a loaded 128B engine answers within a few
_PAUSE = 2  # seconds between two attempts
_EVENTS = 200  # lines
LOG_LINES = 300
KEY_WANTED = "key-wanted"


class GateObservation(FactBase[Observation]):
    """How an engine stands.

    + gate: what it must show
    + patience: seconds that the host itself waits for the engine's ready path to answer
    + log: whether the end of the unit's log is wanted
    + events: whether the history of its releases is wanted
    + quick: whether a release that has passed, with no other started since, is asked for a completion only

    `Observation`: see gate/plan.py.
    """

    abstract = False
    fresh = True  # an answer of now, never of a minute ago

    def command(
        self, gate: Gate, patience: int = 0, log: bool = False, events: bool = False, quick: bool = False
    ) -> str:
        return script(**sections(gate, patience=patience, log=log, events=events, quick=quick))

    def process(self, output: list[str]) -> Observation:
        return read(output)


def sections(gate: Gate, *, patience: int, log: bool, events: bool, quick: bool) -> dict[str, str]:
    """The sections of the script. It asks no probe unless the ready path answers, nor after a probe that takes too long."""
    unit, engine = shlex.quote(gate.unit), ENGINES[gate.engine]
    parts = {
        # The braces of a section are no subshell: `up` is known to those that follow.
        "health": f"""end=$(($(date +%s) + {patience})); up=
while :; do
  if {_curl(gate.url + gate.health, _HEALTH)} -f -o /dev/null; then up=1; echo healthy; break; fi
  if [ "$(date +%s)" -ge "$end" ] || [ "$(systemctl show -P ActiveState {unit})" = failed ]; then break; fi
  sleep {_PAUSE}
done""",
        "unit": f"systemctl show -p ActiveState -p NRestarts -p Result {unit}",
        "release": show_release(gate.container),
        "models": question(gate, engine.models_path, ""),
    }
    if quick:
        parts["passed"] = _passed(gate.release, gate.replica)
    if gate.metrics is not None:
        first = f"grep -m 1 {shlex.quote('^' + gate.metrics)}"
        parts["metrics"] = (
            f'[ -z "$up" ] || {with_header(gate, _curl(gate.url + engine.metrics.path, _HEALTH))} | {first}'
        )
    for probe in gate.probes:
        data = f"-H 'Content-Type: application/json' -d {shlex.quote(probe.body)}"
        request = question(gate, engine.chat_path, data)
        parts[f"probe_{probe.name}"] = request if probe.name == BASIC else f'[ -n "$passed" ] || {{ {request}; }}'
    if events:
        parts["events"] = f"tail -n {_EVENTS} {history.EVENTS_FILE}"
    if log:
        parts["log"] = f"journalctl -u {unit} -n {LOG_LINES} --no-pager -o cat"
    return parts


def read(output: list[str]) -> Observation:
    """The observation by what the script prints.

    Raises:
        FactProcessError: the output breaks off.
    """
    parts = split(output)
    unit: dict[str, Any] = dict(line.split("=", 1) for line in parts.get("unit", []) if "=" in line)
    restarts = unit.get("NRestarts", "")
    return Observation(
        healthy=parts.get("health") == ["healthy"],
        quick=parts.get("passed") == ["passed"],
        state=unit.get("ActiveState", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        killed=unit.get("Result") == "oom-kill",
        release=(parts.get("release") or [""])[0] or None,
        models=read_answer(parts.get("models", [])),
        metrics=tuple(parts.get("metrics", [])),
        answers={
            name.removeprefix("probe_"): read_answer(lines)
            for name, lines in parts.items()
            if name.startswith("probe_")
        },
        events=tuple(history.read_events(parts.get("events", []))),
        log=tuple(parts.get("log", [])),
    )


def _passed(release: str, replica: int | None) -> str:
    """Shell command that prints `passed` where the last event is that this release serves (see release/history.py)."""
    own = "" if replica is None else f""" | grep '"replica": {replica}[,}}]'"""
    return f"""passed=; last=$(tail -n 50 {history.EVENTS_FILE}{own} | grep -v '"event": "measured"' | tail -n 1)
case "$last" in *'"release": "{release}"'*'"event": "serving"'*|*'"release": "{release}"'*'"event": "restored"'*)
  passed=1; echo passed;; esac"""


def _curl(url: str, limit: int) -> str:
    return f"curl -sS --noproxy '*' -m {limit} {shlex.quote(url)}"


def with_header(gate: Gate, curl: str) -> str:
    """A curl command that shows the engine's key, where it asks for one: by its input, which no process list shows."""
    return curl if gate.header is None else f"{gate.header} | {curl} -H @-"


def question(gate: Gate, path: str, data: str) -> str:
    """Shell command that prints a body, or curl's error, and HTTP's status in a line of its own; nothing unless `up` is set."""
    request = with_header(gate, f"{_curl(gate.url + path, _ANSWER)} {data} -w '\\n%{{http_code}}\\n' 2>&1")
    return f'[ -z "$up" ] || {request} || [ $? -ne 28 ] || up='


def read_answer(lines: list[str]) -> tuple[int, str]:
    """HTTP's status, 0 where none came, and the body; curl prints its error after what it was told to write."""
    at = next((at for at in reversed(range(len(lines))) if len(lines[at]) == 3 and lines[at].isdigit()), None)
    if at is None:
        return 0, " ".join(lines)
    return int(lines[at]), "\n".join(lines[:at] + lines[at + 1 :]).strip()


_TIMEOUT = 60  # seconds for one token; a loaded 128B engine answers within a few


def request(url: str, model: str, *, keyed: bool = False, probe: bool = False, through: Sequence[str] = ()) -> str:
    """Shell command that asks for a chat completion of a single token; it fails unless the answer is HTTP 200.

    Where engines want a key of everybody (`keyed`), it is not shown: that they want it is the answer, and it fails without.
    With `probe`, it shows the balancer that it runs on a key of its own.
    """
    body = json.dumps({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say hello."}]})
    curl = shlex.join(["curl", "-sS", "--noproxy", "*", *through])
    curl += f" -m {_TIMEOUT} -H 'Content-Type: application/json'"
    if keyed:
        curl += f" -o /dev/null -w '%{{http_code}}' -d '{{}}' {shlex.quote(url + CHAT_COMPLETIONS)}"
    else:
        curl += f" --fail-with-body -d {shlex.quote(body)} {shlex.quote(url + CHAT_COMPLETIONS)}"
    ask = f"{probes.HEADER} | {curl} -H @-" if probe else curl
    wanted = f'[ "$({ask})" = 401 ] && echo {KEY_WANTED}' if keyed else ask
    return f"( {probes.with_probe(wanted)} )" if probe else wanted


class Answers(FactBase[bool]):
    """Whether a chat completion of a single token succeeds, asked from the host itself.

    + url: base URL
    + model: name of the model as clients write it
    + keyed: whether engines want a key of everybody: then that they want it is the answer
    + probe: whether it is a balancer, which may want a key too
    + through: options of curl by which it gets there
    """

    abstract = False
    fresh = True  # an answer of now, never of a minute ago

    def command(
        self, url: str, model: str, keyed: bool = False, probe: bool = False, through: Sequence[str] = ()
    ) -> str:
        return script(answer=request(url, model, keyed=keyed, probe=probe, through=through))

    def process(self, output: list[str]) -> bool:
        answer = "\n".join(split(output).get("answer", []))
        return answer.strip() == KEY_WANTED or is_completion(answer)


def is_completion(text: str) -> bool:
    """Whether a response body is a chat completion that generated at least one token."""
    try:
        document = json.loads(text)
        return bool(document["choices"]) and document["usage"]["completion_tokens"] >= 1
    except (ValueError, KeyError, TypeError):
        return False
