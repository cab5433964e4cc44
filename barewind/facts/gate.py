"""One look at an engine, asked from its own host: unit, health, and the probes of its gate, in one round trip."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind import history
from barewind.facts import engine, script, split
from barewind.gates import BASIC, Gate, Seen
from barewind.plan import CONTAINER

_HEALTH = 60  # seconds; one that is loaded answers late
_ANSWER = 120  # seconds for the few tokens of a probe; a loaded 128B engine answers within a few
_PAUSE = 2  # seconds between two attempts
_EVENTS = 200  # lines
LOG_LINES = 300


class GateLook(FactBase[Seen]):
    """How an engine stands.

    + gate: what it must show
    + patience: seconds that the host itself waits for /health to answer
    + log: whether the end of the unit's log is wanted
    + events: whether the history of its releases is wanted
    + quick: whether a release that has passed, with nothing begun since, is asked for a completion only

    `Seen`: see barewind/gates.py.
    """

    abstract = False

    def command(
        self, gate: Gate, patience: int = 0, log: bool = False, events: bool = False, quick: bool = False
    ) -> str:
        return script(**sections(gate, patience=patience, log=log, events=events, quick=quick))

    def process(self, output: list[str]) -> Seen:
        return read(output)


def sections(gate: Gate, *, patience: int, log: bool, events: bool, quick: bool) -> dict[str, str]:
    """The parts of the script. Probes are left out unless /health answers, and after one that takes too long."""
    unit = shlex.quote(gate.unit)
    found = {
        # The braces of a section are no subshell: `up` is known to those that follow.
        "health": f"""end=$(($(date +%s) + {patience})); up=
while :; do
  if {_curl(gate.url + gate.health, _HEALTH)} -f -o /dev/null; then up=1; echo healthy; break; fi
  if [ "$(date +%s)" -ge "$end" ] || [ "$(systemctl show -P ActiveState {unit})" = failed ]; then break; fi
  sleep {_PAUSE}
done""",
        "unit": f"systemctl show -p ActiveState -p NRestarts -p Result {unit}",
        "release": engine.release(CONTAINER),
        "models": _ask(gate.url + "/v1/models", ""),
    }
    if quick:
        found["passed"] = _passed(gate.release)
    if gate.metrics is not None:
        pick = f"grep -m 1 {shlex.quote('^' + gate.metrics)}"
        found["metrics"] = f'[ -z "$up" ] || {_curl(gate.url + "/metrics", _HEALTH)} | {pick}'
    for probe in gate.probes:
        data = f"-H 'Content-Type: application/json' -d {shlex.quote(probe.body)}"
        asked = _ask(gate.url + "/v1/chat/completions", data)
        found[f"probe_{probe.name}"] = asked if probe.name == BASIC else f'[ -n "$passed" ] || {{ {asked}; }}'
    if events:
        found["events"] = f"tail -n {_EVENTS} {history.EVENTS_FILE}"
    if log:
        found["log"] = f"journalctl -u {unit} -n {LOG_LINES} --no-pager -o cat"
    return found


def read(output: list[str]) -> Seen:
    """What the script prints.

    Raises:
        FactProcessError: the output breaks off.
    """
    found = split(output)
    unit: dict[str, Any] = dict(line.split("=", 1) for line in found.get("unit", []) if "=" in line)
    restarts = unit.get("NRestarts", "")
    return Seen(
        healthy=found.get("health") == ["healthy"],
        quick=found.get("passed") == ["passed"],
        state=unit.get("ActiveState", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        killed=unit.get("Result") == "oom-kill",
        release=(found.get("release") or [""])[0] or None,
        models=_answer(found.get("models", [])),
        metrics=tuple(found.get("metrics", [])),
        answers={
            name.removeprefix("probe_"): _answer(lines) for name, lines in found.items() if name.startswith("probe_")
        },
        events=tuple(history.read_events(found.get("events", []))),
        log=tuple(found.get("log", [])),
    )


def _passed(release: str) -> str:
    """Whether the last thing that is known of the host is that this release serves; history.py writes these lines."""
    return f"""passed=; last=$(tail -n 50 {history.EVENTS_FILE} | grep -v '"event": "measured"' | tail -n 1)
case "$last" in *'"release": "{release}"'*'"event": "serving"'*|*'"release": "{release}"'*'"event": "restored"'*)
  passed=1; echo passed;; esac"""


def _curl(url: str, limit: int) -> str:
    return f"curl -sS --noproxy '*' -m {limit} {shlex.quote(url)}"


def _ask(url: str, data: str) -> str:
    """Body, or curl's complaint, and HTTP's status in a line of its own."""
    asked = f"{_curl(url, _ANSWER)} {data} -w '\\n%{{http_code}}\\n' 2>&1"
    return f'[ -z "$up" ] || {asked} || [ $? -ne 28 ] || up='


def _answer(lines: list[str]) -> tuple[int, str]:
    """curl prints its complaint after what it was told to write."""
    at = next((at for at in reversed(range(len(lines))) if len(lines[at]) == 3 and lines[at].isdigit()), None)
    if at is None:
        return 0, " ".join(lines)
    return int(lines[at]), "\n".join(lines[:at] + lines[at + 1 :]).strip()
