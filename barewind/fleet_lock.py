"""The lock of the fleet: one run at a time. Pure: shell commands out, what hosts answer read back.

It is a directory on every balancer and on every engine host of a run, so that two runs with different --limit meet at the
balancers. Whoever holds it renews it; one that has not been renewed for `LEASE` seconds may be taken over, and one whose
process is dead at once by the controller it ran on. Hosts measure by their own uptime: a clock that is put right changes
nothing. A host that restarts forgets it (/run is memory), which its holder tells from having lost it.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from barewind.errors import BarewindError
from barewind.history import controller

DIRECTORY = "/run/barewind/deploy.lock"
LEASE = 120  # seconds without a renewal after which it may be taken over
RENEWAL = 20  # seconds between renewals

_MARK = "@@lock"
_WAIT = 10  # seconds for another command about the lock on the same host

# Every command runs alone on its host (flock), so that none sees another's half of a change.
_HEAD = f"""export LC_ALL=C; umask 077; lock_action=%s; d={DIRECTORY}
mkdir -p -m 755 "${{d%%/*}}" && exec 9> "${{d%%/*}}/deploy.guard" && flock -w {_WAIT} 9 || {{
  echo "$d: cannot be looked at; is another command stuck there?" >&2; exit 1; }}
now=$(cut -d. -f1 /proc/uptime)
run="$(cat /proc/sys/kernel/random/boot_id)/$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)"
age() {{ echo $((now - $(cat $d/renewed 2>/dev/null || echo 0))); }}
of() {{ grep -qF "\\"token\\": \\"$1\\"" $d/owner.json 2>/dev/null; }}
held() {{ echo "{_MARK} held $(age) $(cat $d/owner.json)"; exit 0; }}
"""
_PUT = """put() {
  rm -rf $d.new && mkdir $d.new && echo "$now" > $d.new/renewed &&
  printf '{"since": "%%s", %%s\\n' "$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)" %s > $d.new/owner.json &&
  rm -rf $d && mv -T $d.new $d || exit 1; }
"""


@dataclass(frozen=True)
class Owner:
    """Who holds it. `machine` and `process` tell whether the run still lives, on the controller that it runs on."""

    token: str
    by: str
    why: str | None
    command: str
    pid: int
    process: str  # when the process began, so that another of the same number is not taken for it
    machine: str
    since: str = field(default="", compare=False)  # ISO 8601, UTC, by the host's clock

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"{self.by} since {self.since or 'just now'}{why}, process {self.pid}: {self.command}"

    def as_json(self) -> dict[str, Any]:
        """What a person may want to know."""
        return {key: value for key, value in asdict(self).items() if key not in ("token", "process", "machine")}


@dataclass(frozen=True)
class Answer:
    """What a host says. `age` is seconds since the holder was last heard of, `run` names the time since the host's start."""

    outcome: Literal["taken", "kept", "held", "free"]
    owner: Owner | None = None
    age: int = 0
    run: str = ""


def this_process(arguments: list[str], why: str | None) -> Owner:
    """This process as an owner; of its arguments only names of files are shown, for others may be secrets."""
    files = [one for one in arguments[1:] if one.endswith(".py")]
    return Owner(
        token=secrets.token_hex(16),
        by=controller(),
        why=why,
        command=" ".join([Path(arguments[0]).name, *files]),
        pid=os.getpid(),
        process=_began(os.getpid()) or "",
        machine=_machine(),
    )


def dead(owner: Owner) -> bool:
    """Whether its run is known to have ended: it ran on this controller, and its process is gone."""
    if owner.machine != _machine():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        pass
    return _began(owner.pid) != (owner.process or None)


def take(owner: Owner, over: Iterable[str] = ()) -> str:
    """A command that takes it if it is free, was not renewed for too long, or belongs to one of the tokens `over`."""
    rest = shlex.quote(json.dumps({key: value for key, value in asdict(owner).items() if key != "since"})[1:])
    others = "".join(f" || of {shlex.quote(token)}" for token in (owner.token, *over))
    return (
        _HEAD % "take"
        + _PUT % rest
        + f'if [ -f $d/owner.json ] && ! {{ [ "$(age)" -ge {LEASE} ]{others}; }}; then held; fi\n'
        f'put; echo "{_MARK} taken $run"'
    )


def renew(owner: Owner, run: str) -> str:
    """A command that says to a host that the owner lives; taken again if the host has restarted since `run`."""
    rest = shlex.quote(json.dumps({key: value for key, value in asdict(owner).items() if key != "since"})[1:])
    return (
        _HEAD % "renew" + _PUT % rest + f"if of {shlex.quote(owner.token)}; then\n"
        f'  echo "$now" > $d/renewed.new && mv -f $d/renewed.new $d/renewed && echo "{_MARK} kept $run"; exit; fi\n'
        f"if [ -f $d/owner.json ]; then held; fi\n"
        f'if [ "$run" != {shlex.quote(run)} ]; then put; echo "{_MARK} taken $run"; exit 0; fi\n'
        f'echo "{_MARK} free"'
    )


def give_back(*tokens: str) -> str:
    """A command that removes it if it belongs to one of the tokens."""
    mine = " || ".join(f"of {shlex.quote(token)}" for token in tokens)
    return (
        _HEAD % "give_back"
        + f'if {mine}; then rm -rf $d; fi\nif [ -f $d/owner.json ]; then held; fi\necho "{_MARK} free"'
    )


def look() -> str:
    """A command that shows it."""
    return _HEAD % "look" + f'if [ -f $d/owner.json ]; then held; fi\necho "{_MARK} free"'


def read(output: str, host: str) -> Answer:
    """What a command of these printed.

    Raises:
        BarewindError: it is none of theirs; `host` is for the message.
    """
    for line in output.splitlines():
        words = line.split(" ", 3)
        if words[0] != _MARK:
            continue
        try:
            if words[1] in ("taken", "kept"):
                return Answer("taken" if words[1] == "taken" else "kept", run=words[2])
            if words[1] == "held":
                return Answer("held", Owner(**json.loads(words[3])), int(words[2]))
            if words[1] == "free":
                return Answer("free")
        except (ValueError, TypeError, LookupError):
            break
    raise BarewindError(
        f"{host}: the lock of the fleet is not understood ({output.strip()[:120]!r}); look at {DIRECTORY}/owner.json, and "
        "remove the directory if no deploy runs"
    )


def refused(held: Mapping[str, Answer]) -> str:
    """Why a run must not begin: who has the lock, by host."""
    hosts: dict[str, list[str]] = {}
    owners: dict[str, Answer] = {}
    for name, answer in held.items():
        if answer.owner is not None:
            hosts.setdefault(answer.owner.token, []).append(name)
            owners.setdefault(answer.owner.token, answer)
    lines = [
        f"another run has the lock of the fleet: {owners[token].owner}; last heard of {owners[token].age} s ago "
        f"(on {', '.join(names)})"
        for token, names in hosts.items()
    ]
    lines.append(
        f"Let it end, then run again. One that is dead is passed over after {LEASE} s, or: barewind unlock INVENTORY"
    )
    return "\n".join(lines)


def _machine() -> str:
    """Names a controller and what its process numbers mean: a container counts its own. Empty parts: not Linux."""
    try:
        boot, numbers = (
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        )
    except OSError:
        boot = numbers = ""
    return f"{socket.gethostname()}/{boot}/{numbers}"


def _began(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None where that cannot be told, or if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
