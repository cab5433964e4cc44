"""HAProxy's runtime API: what to run on a balancer (as root), and what its answer means. Pure: the caller has the transport.

After a reload the old process lives until its last stream has ended. It answers on the master's socket only, and counts its
own requests: every command here goes to every process, and every figure is the sum over all of them. A command is one
shell script, for one round trip; it looks at the list of processes again at its end and starts anew if a reload or an
exit changed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from barewind.errors import BarewindError

BACKEND = "engines"
MASTER_SOCKET = "/run/haproxy-master.sock"  # of the packages' unit: Debian 12, Ubuntu 22.04 and 24.04
STATE_FILE = "/var/lib/haproxy/barewind.state"  # root's own directory
STATE_PROGRAM = "/usr/local/lib/barewind/haproxy-state"

# How a server leaves. With stick tables or cookies it must be "maint": sessions that stick keep coming to a draining
# server. There are none, and `drain` keeps the health checks going, so that a return is quicker.
_LEAVE: Literal["drain", "maint"] = "drain"

_MARK = "@@balancer:"
_NO_BACKEND = ("No such proxy.", "Can't find backend.")  # what a process says to each of the three questions
# What it says to `set server`: it does not have it, or (the last) it is an old one and takes nothing new anyway.
_NOT_SET = ("No such server.", "No such backend.", "Proxy is disabled.")
_TRIES, _PAUSE = 25, 0.2  # a reload takes HAProxy well under a second; seconds

_SCRIPT = """export LC_ALL=C
say() { printf '%s\\n' "$1" | socat -t 10 -T 10 - UNIX-CONNECT:SOCKET; }
workers() { say 'show proc' | awk '
  /^# workers/ { age = "current"; next } /^# old workers/ { age = "old"; next } /^#/ { age = ""; next }
  age && NF { print $1, age }'; }
case $(systemctl is-active haproxy.service) in
inactive | failed | unknown) echo MARKabsent; echo MARKend; exit 0 ;;
esac
tries=0
while :; do
  before=$(workers)
  answers=$(printf '%s\\n' "$before" | while read -r pid age; do
    [ -n "$pid" ] && echo "MARKworker $pid $age" || continue
    for command in COMMANDS'show stat BACKEND 4 -1' 'show servers conn BACKEND' 'show servers state BACKEND'; do
      say "@!$pid $command" | awk 'BEGIN { FS = OFS = "," } { last = $0; if (NF > 18) NF = 18; print }
        END { if (NR == 0 || last != "") print "(cut off)" }'
    done
  done)
  SAVE
  if [ -n "$before" ] && [ "$before" = "$(workers)" ]; then break; fi
  tries=$((tries + 1))
  if [ $tries -ge TRIES ]; then
    echo 'HAProxy runs, but SOCKET does not tell its processes; processes it told last:' "${before:-none}" >&2
    exit 1
  fi
  sleep PAUSE
done
printf '%s\\n' "$answers"
echo MARKend"""

# A server's new state must outlive a crash of HAProxy too. Between set and the last look at the processes: a process that
# a reload starts meanwhile either finds it in the file or is seen there.
_SAVE = f"""if [ -x {STATE_PROGRAM} ]; then {STATE_PROGRAM} save || exit 1; fi"""


class Admin(StrEnum):
    """What people decided about a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Health(StrEnum):
    """What health checks found."""

    UP = "up"
    STARTING = "starting"  # up, its share growing (slowstart)
    STOPPING = "stopping"  # answers checks with a refusal
    DOWN = "down"
    UNCHECKED = "not checked yet"  # HAProxy takes it for up until the first check has ended


@dataclass(frozen=True)
class Server:
    """A server of the backend in one process, or (see Rotation.servers) in all of them together."""

    name: str
    admin: Admin
    health: Health
    sessions: int  # requests it works on
    queued: int  # requests that wait for it

    @property
    def in_rotation(self) -> bool:
        """Whether HAProxy sends it new requests."""
        return self.admin is Admin.READY and self.health not in (Health.DOWN, Health.STOPPING)

    @property
    def state(self) -> str:
        """One word or two for a person."""
        return str(self.health if self.admin is Admin.READY else self.admin).upper()


@dataclass(frozen=True)
class Worker:
    """One process: the current one takes new connections, old ones end their streams."""

    pid: int
    current: bool
    servers: Mapping[str, Server]


@dataclass(frozen=True)
class Rotation:
    """What a balancer does with each server. Without workers: HAProxy is not installed or does not run."""

    workers: tuple[Worker, ...]

    @property
    def running(self) -> bool:
        """Whether HAProxy runs."""
        return bool(self.workers)

    @property
    def servers(self) -> dict[str, Server]:
        """The servers of the current configuration, with the requests of every process."""
        return {
            name: Server(name, one.admin, one.health, *self._requests(name))
            for worker in self.workers
            if worker.current
            for name, one in worker.servers.items()
        }

    def knowing(self, server: str) -> list[tuple[Worker, Server]]:
        """The processes that know a server."""
        return [(worker, worker.servers[server]) for worker in self.workers if server in worker.servers]

    def _requests(self, server: str) -> tuple[int, int]:
        known = [one for _, one in self.knowing(server)]
        return sum(one.sessions for one in known), sum(one.queued for one in known)


def rotation() -> str:
    """Shell command that reads the state of every server in every process; `read` reads its output."""
    return _script()


def drain(*servers: str) -> str:
    """Shell command that sends servers no new requests, in every process that knows them, and reads what `rotation` does.

    Run it again to poll: a server that something else has put back meanwhile is taken out again.

    Raises:
        BarewindError: that is no server's name.
    """
    return _script(*(f"set server {BACKEND}/{_name(server)} state {_LEAVE}" for server in servers))


def ready(*servers: str) -> str:
    """Shell command that lets servers have requests again once their health checks pass, and reads what `rotation` does.

    Raises:
        BarewindError: that is no server's name.
    """
    return _script(*(f"set server {BACKEND}/{_name(server)} state ready" for server in servers))


def read(output: str, balancer: str) -> Rotation:
    """The output of `rotation`.

    Raises:
        BarewindError: it is cut off or not HAProxy's; `balancer` is the host's name, for the message.
    """
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_MARK)]
    if not starts or lines[starts[-1]] != f"{_MARK}end":
        raise _unreadable(balancer, "it breaks off", lines[-1] if lines else "nothing")
    workers = []
    for start, end in pairwise(starts):
        if lines[start] == f"{_MARK}absent":
            return Rotation(())
        worker = re.fullmatch(_MARK + r"worker ([0-9]+) (current|old)", lines[start])
        if not worker:
            raise _unreadable(balancer, "a line is not understood", lines[start])
        servers = _servers(lines[start + 1 : end], balancer)
        workers.append(Worker(int(worker[1]), worker[2] == "current", servers))
    if not any(worker.current for worker in workers):
        raise _unreadable(balancer, "it has no current process", lines[0])
    return Rotation(tuple(workers))


def read_drained(output: str, balancer: str, *servers: str) -> Rotation:
    """The output of `drain`.

    Raises:
        BarewindError: it is cut off, not HAProxy's, or a process still sends one of the servers requests.
    """
    return _verified(read(output, balancer), balancer, servers, Admin(_LEAVE))


def read_ready(output: str, balancer: str, *servers: str) -> Rotation:
    """The output of `ready`.

    Raises:
        BarewindError: it is cut off, not HAProxy's, or a process still keeps one of the servers out.
    """
    return _verified(read(output, balancer), balancer, servers, Admin.READY)


def in_flight(found: Rotation, server: str) -> int:
    """Requests a server works on or that wait for it, over every process."""
    return sum(one.sessions + one.queued for _, one in found.knowing(server))


def known(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer has it as a server."""
    return any(server in one.servers for one in rotations)


def serving(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer sends it requests.

    Some, not every: a balancer that has lost sight of all engines must not make them look free to take.
    """
    return any(server in one.servers and one.servers[server].in_rotation for one in rotations)


def busy(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether it still works on requests: one that is drained may."""
    return any(in_flight(one, server) for one in rotations)


def emptied(rotations: Mapping[str, Rotation], servers: Iterable[str]) -> list[str]:
    """The balancers that send requests somewhere now, and nowhere once these servers have left."""
    leaving = set(servers)
    in_rotation = {
        balancer: {name for name, one in found.servers.items() if one.in_rotation}
        for balancer, found in rotations.items()
    }
    return [balancer for balancer, names in in_rotation.items() if names and names <= leaving]


@dataclass(frozen=True)
class Wait:
    """Where a wait stands: `left` is how many requests, servers or balancers it still waits for."""

    outcome: Literal["done", "waiting", "gave up"]
    left: int
    said: str  # a line for a person


def drained(rotations: Mapping[str, Rotation], server: str, *, waited: float, limit: float) -> Wait:
    """Whether no balancer has a request on a server any more, nor sends it new ones; `waited` and `limit` in seconds."""
    still = [balancer for balancer, found in rotations.items() if serving([found], server)]
    if still:
        return _wait(len(still), waited, limit, f"{server}: still in rotation on {', '.join(still)}")
    left = {balancer: in_flight(found, server) for balancer, found in rotations.items()}
    return _wait(sum(left.values()), waited, limit, f"{server}: requests in flight: {_counts(left)}")


def returned(rotations: Mapping[str, Rotation], server: str, *, waited: float, limit: float) -> Wait:
    """Whether every running balancer that has a server sends it requests, its health checked."""
    states = {balancer: found.servers[server] for balancer, found in rotations.items() if server in found.servers}
    out = {
        balancer: one.state for balancer, one in states.items() if not one.in_rotation or one.health is Health.UNCHECKED
    }
    said = ", ".join(f"{state} on {balancer}" for balancer, state in out.items()) or "in rotation everywhere"
    return _wait(len(out), waited, limit, f"{server}: {said}")


def settled(rotations: Mapping[str, Rotation], *, waited: float, limit: float) -> Wait:
    """Whether the first health check of every server has ended: before it, HAProxy takes a dead one for up."""
    left = {
        balancer: sum(one.health is Health.UNCHECKED for one in found.servers.values())
        for balancer, found in rotations.items()
    }
    return _wait(sum(left.values()), waited, limit, f"servers not checked yet: {_counts(left)}")


def _servers(lines: list[str], balancer: str) -> dict[str, Server]:
    """One process's answers to `show stat`, `show servers conn` and `show servers state`."""
    requests: dict[str, tuple[int, int]] = {}
    connections: dict[str, tuple[int, int]] = {}
    states: dict[str, tuple[Admin, Health]] = {}
    columns: list[str] = []
    answers = 0
    for line in lines:
        if line.startswith(("# pxname,", "# bkname/svname ", "# be_id ")):
            columns = line.removeprefix("# ").split("," if "," in line else " ")
            answers += 1
            continue
        if line in _NO_BACKEND:
            answers += 1
            continue
        if line in ("", "1", *_NOT_SET):  # 1: the version of the format of `show servers state`
            continue
        try:
            if columns[0] == "pxname":
                row = _row(columns, line.split(","))
                requests[row["svname"]] = _number(row["scur"]), _number(row["qcur"])
            elif columns[0] == "bkname/svname":
                row = _row(columns, line.split()[: len(columns)])  # the last column has a number per thread
                connections[row["bkname/svname"].partition("/")[2]] = _number(row["used_cur"]), 0
            else:
                row = _row(columns, line.split())
                states[row["srv_name"]] = _admin(row), _health(row)
        except (LookupError, ValueError):
            raise _unreadable(balancer, "a line is not understood", line) from None
    if not requests:  # an old process of HAProxy 2.4 keeps them back; a request has a connection of its own (HTTP/1.1)
        requests = connections
    if answers != 3 or not requests.keys() == connections.keys() == states.keys():
        raise _unreadable(balancer, "a part is missing", lines[-1] if lines else "nothing")
    return {name: Server(name, *states[name], *requests[name]) for name in states}


def _row(columns: list[str], fields: list[str]) -> dict[str, str]:
    return dict(zip(columns, fields, strict=True))


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _admin(row: Mapping[str, str]) -> Admin:
    """From the bits of srv_admin_state (HAProxy's management guide, `show servers state`)."""
    flags = _number(row["srv_admin_state"])
    if flags & 0x27:  # forced, inherited, by configuration, for want of an address
        return Admin.MAINT
    return Admin.DRAIN if flags & 0x18 else Admin.READY


def _health(row: Mapping[str, str]) -> Health:
    found = {"0": Health.DOWN, "1": Health.STARTING, "2": Health.UP, "3": Health.STOPPING}[row["srv_op_state"]]
    configured = _number(row["srv_check_state"]) & 0x02
    none = _number(row["srv_check_status"]) <= 1  # unknown, initializing; the result is unknown while any check runs
    return Health.UNCHECKED if found is Health.UP and configured and none else found


def _verified(found: Rotation, balancer: str, servers: Iterable[str], wanted: Admin) -> Rotation:
    for name in servers:
        for worker, one in found.knowing(name):
            if worker.current and one.admin is not wanted:
                raise BarewindError(
                    f"{balancer}: HAProxy's process {worker.pid} has {name} in state {one.admin}, not {wanted}, right after "
                    "it was told; something else sets states too: find it, then run again"
                )
    return found


def _unreadable(balancer: str, why: str, line: str) -> BarewindError:
    return BarewindError(
        f"{balancer}: HAProxy's answer is not what was expected: {why} at {line[:80]!r}; "
        f"look at: echo 'show proc' | socat - UNIX-CONNECT:{MASTER_SOCKET}"
    )


def _wait(left: int, waited: float, limit: float, said: str) -> Wait:
    if not left:
        return Wait("done", 0, said)
    if waited < limit:
        return Wait("waiting", left, said)
    return Wait("gave up", left, f"{said}, after {waited:.0f} s")


def _counts(left: Mapping[str, int]) -> str:
    return ", ".join(f"{number} on {balancer}" for balancer, number in left.items() if number) or "none"


def _script(*commands: str) -> str:
    values = {
        "SOCKET": MASTER_SOCKET,
        "BACKEND": BACKEND,
        "MARK": _MARK,
        "TRIES": str(_TRIES),
        "PAUSE": str(_PAUSE),
        "SAVE": _SAVE if commands else ":",
        "COMMANDS": "".join(f"'{command}' " for command in commands),
    }
    return re.sub("|".join(values), lambda found: values[found[0]], _SCRIPT)


def _name(server: str) -> str:
    """A server's name goes through a shell and HAProxy's command line: nothing that ends a word or a command."""
    if not re.fullmatch(r"[\w.:@/+-]+", server, re.ASCII):
        raise BarewindError(f"'{server}': no name for a server of a balancer; rename the host in the inventory")
    return server
