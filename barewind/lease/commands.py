"""The lease of a fleet, which lets one run at a time change it: shell commands, and the answers of hosts to them.

It is a directory on every balancer and on every engine host of a run, so that two runs with different --limit meet at the
balancers. The run that holds the lease renews it. Another run may take it over when it has not been renewed for a term:
`TERM` seconds on a balancer, `ENGINE_TERM` on an engine host, where it is renewed as much more rarely; or at once when both run
on the same controller and the holder's process has ended, or when it has just been taken over on a balancer. Hosts measure time
by their uptime, so correcting a clock changes nothing. A host that restarts forgets the lease, because /run is memory; its holder
can tell that from a removal.
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

from barewind.controller import controller
from barewind.errors import BarewindError

DIRECTORY = "/run/barewind/deploy.lock"
TERM = 120  # seconds without a renewal after which another run may take it over
RENEWAL = 20  # seconds between renewals
# The same on engine hosts: runs meet at the balancers, and a thousand hosts would keep the controller busy.
ENGINE_TERM = 1800
ENGINE_RENEWAL = 600

_MARK = "@@lease"
_WAIT = 10  # seconds for another command about the lease on the same host

# Every command runs alone on its host (flock), so that none sees half of another's change.
_HEAD = f"""export LC_ALL=C; umask 077; d={DIRECTORY}
mkdir -p -m 755 "${{d%/*}}" && exec 9> "${{d%/*}}/deploy.guard" && flock -w {_WAIT} 9 || {{
  echo "$d: cannot be looked at; is another command stuck there?" >&2; exit 1; }}
now=$(cut -d. -f1 /proc/uptime)
run="$(cat /proc/sys/kernel/random/boot_id)/$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)"
age() {{ echo $((now - $(cat $d/renewed 2>/dev/null || echo 0))); }}
over() {{ [ "$(age)" -ge "$(cat $d/term 2>/dev/null || echo {TERM})" ]; }}
of() {{ grep -qF "\\"token\\": \\"$1\\"" $d/owner.json 2>/dev/null; }}
held() {{ echo "{_MARK} held $(age) $(cat $d/owner.json)"; exit 0; }}
"""
_PUT = """put() {
  old=$(sed -n 's/.*"token": "\\([0-9a-f]*\\)".*/\\1/p' $d/owner.json 2>/dev/null)
  rm -rf $d.new && mkdir $d.new && echo "$now" > $d.new/renewed &&%s
  printf '{"since": "%%s", %%s\\n' "$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)" %s > $d.new/owner.json &&
  rm -rf $d && mv -T $d.new $d || exit 1; }
"""


@dataclass(frozen=True)
class Holder:
    """The run that holds the lease. `machine` and `process` tell its own controller whether the run still lives."""

    token: str
    by: str
    why: str | None
    command: str
    pid: int
    process: str  # when the process began, so that another process of the same number is not taken for it
    machine: str
    since: str = field(default="", compare=False)  # ISO 8601, UTC, by the host's clock

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"{self.by} since {self.since or 'just now'}{why}, process {self.pid}: {self.command}"

    def as_json(self) -> dict[str, Any]:
        """The fields that a person may want to know."""
        return {key: value for key, value in asdict(self).items() if key not in ("token", "process", "machine")}


@dataclass(frozen=True)
class Answer:
    """A host's answer. `age` is seconds since the last renewal, `start` identifies the host's last start, `passed` is the token
    of the run whose lease was taken over."""

    outcome: Literal["taken", "kept", "held", "free"]
    holder: Holder | None = None
    age: int = 0
    start: str = ""
    passed: str = ""


def this_process(arguments: list[str], why: str | None) -> Holder:
    """This process as a holder. Of its arguments only names of files are shown, because others may be secrets."""
    files = [argument for argument in arguments[1:] if argument.endswith(".py")]
    return Holder(
        token=secrets.token_hex(16),
        by=controller(),
        why=why,
        command=" ".join([Path(arguments[0]).name, *files]),
        pid=os.getpid(),
        process=_process_start(os.getpid()) or "",
        machine=_machine(),
    )


def has_ended(holder: Holder) -> bool:
    """Whether the holder's process is known to have ended: it ran on this controller, and is not there any more."""
    if holder.machine != _machine():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's process
        pass
    return _process_start(holder.pid) != (holder.process or None)


def take(holder: Holder, over: Iterable[str] = (), *, term: int = TERM) -> str:
    """Shell command that takes the lease if it is free, has not been renewed for its term, or is held under a token in `over`.

    + term: seconds without a renewal after which another run may take it over
    """
    others = "".join(f" || of {shlex.quote(token)}" for token in (holder.token, *over))
    return (
        _HEAD
        + _put(holder, term)
        + f"if [ -f $d/owner.json ] && ! {{ over{others}; }}; then held; fi\n"
        + f'put; echo "{_MARK} taken $run $old"'
    )


def renew(holder: Holder, start: str, *, term: int = TERM) -> str:
    """Shell command that renews the lease; it takes the lease again, for a term, if the host has restarted since `start`."""
    return (
        _HEAD + _put(holder, term) + f"if of {shlex.quote(holder.token)}; then\n"
        f'  echo "$now" > $d/renewed.new && mv -f $d/renewed.new $d/renewed && echo "{_MARK} kept $run"; exit; fi\n'
        f"if [ -f $d/owner.json ]; then held; fi\n"
        f'if [ "$run" != {shlex.quote(start)} ]; then put; echo "{_MARK} taken $run $old"; exit 0; fi\n'
        f'echo "{_MARK} free"'
    )


def release(*tokens: str) -> str:
    """Shell command that removes the lease if it is held under one of the tokens."""
    mine = " || ".join(f"of {shlex.quote(token)}" for token in tokens)
    return _HEAD + f'if {mine}; then rm -rf $d; fi\nif [ -f $d/owner.json ]; then held; fi\necho "{_MARK} free"'


def look() -> str:
    """Shell command that prints who holds the lease."""
    return _HEAD + f'if [ -f $d/owner.json ]; then held; fi\necho "{_MARK} free"'


def read(output: str, host: str) -> Answer:
    """The answer that one of these commands printed.

    Raises:
        BarewindError: the output is not understood; the message names `host`.
    """
    for line in output.splitlines():
        words = line.split(" ", 3)
        if words[0] != _MARK:
            continue
        try:
            if words[1] in ("taken", "kept"):
                return Answer("taken" if words[1] == "taken" else "kept", start=words[2], passed="".join(words[3:]))
            if words[1] == "held":
                return Answer("held", Holder(**json.loads(words[3])), int(words[2]))
            if words[1] == "free":
                return Answer("free")
        except (ValueError, TypeError, LookupError):
            break
    raise BarewindError(
        f"{host}: the lease is not understood ({output.strip()[:120]!r}); look at {DIRECTORY}/owner.json, and remove the "
        "directory if no deploy runs"
    )


def by_holder(held: Mapping[str, Answer]) -> dict[Holder, list[str]]:
    """The hosts on which each run holds the lease."""
    hosts: dict[Holder, list[str]] = {}
    for name, answer in held.items():
        if answer.holder:
            hosts.setdefault(answer.holder, []).append(name)
    return hosts


def heard_of(answers: Iterable[Answer]) -> str:
    """When hosts have last heard of a run."""
    ages = sorted({answer.age for answer in answers})
    return f"last heard of {' to '.join(str(age) for age in dict.fromkeys([ages[0], ages[-1]]))} s ago"


def refusal(held: Mapping[str, Answer]) -> str:
    """Message for a run that must not begin, from the answers of the hosts whose lease another run holds."""
    hosts: dict[str, list[str]] = {}
    answers: dict[str, Answer] = {}
    for host, answer in held.items():
        if answer.holder is not None:
            hosts.setdefault(answer.holder.token, []).append(host)
            latest = answers.setdefault(answer.holder.token, answer)
            answers[answer.holder.token] = min(latest, answer, key=lambda each: each.age)
    lines = [
        f"another run holds the lease: {answers[token].holder}; last heard of {answers[token].age} s ago "
        f"(on {', '.join(names)})"
        for token, names in hosts.items()
    ]
    lines.append(
        f"Let it end, then run again. The lease of a run that is dead ends after {TERM} s, or with: "
        "barewind lease release INVENTORY"
    )
    return "\n".join(lines)


def _put(holder: Holder, term: int) -> str:
    """The shell function that puts the lease into a holder's hands; older Barewinds know no other term than theirs."""
    return _PUT % ("" if term == TERM else f" echo {term} > $d.new/term &&", _fields(holder))


def _fields(holder: Holder) -> str:
    """The holder as JSON without its opening brace: the host writes `since` in front."""
    return shlex.quote(json.dumps({key: value for key, value in asdict(holder).items() if key != "since"})[1:])


def _machine() -> str:
    """Identifies a controller and the namespace of its process numbers; a container has its own. Empty parts: not Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _process_start(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None if it has ended, or where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
