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
from itertools import pairwise
from typing import Literal

from barewind.errors import BarewindError
from barewind.servers import MOST_WEIGHT as MOST_WEIGHT
from barewind.servers import STANDBY as STANDBY
from barewind.servers import WEIGHT as WEIGHT
from barewind.servers import Admin as Admin
from barewind.servers import Health as Health
from barewind.servers import Server as Server
from barewind.servers import Unreadable
from barewind.servers import read as read_servers

BACKEND = "engines"
MASTER_SOCKET = "/run/haproxy-master.sock"  # of the packages' unit: Debian 12, Ubuntu 22.04 and 24.04
STATE_FILE = "/var/lib/haproxy/barewind.state"  # root's own directory
STATE_PROGRAM = "/usr/local/lib/barewind/haproxy-state"

# How a server leaves. With stick tables or cookies it must be "maint": sessions that stick keep coming to a draining
# server. There are none, and `drain` keeps the health checks going, so that a return is quicker.
_LEAVE: Literal["drain", "maint"] = "drain"

_MARK = "@@balancer:"
_TRIES, _PAUSE = 25, 0.2  # a reload takes HAProxy well under a second; seconds

_SCRIPT = """export LC_ALL=C
say() { printf '%s\\n' "$1" | socat -t 10 -T 10 - UNIX-CONNECT:SOCKET; }
workers() { say 'show proc' | awk '
  /^# workers/ { age = "current"; next } /^# old workers/ { age = "old"; next } /^#/ { age = ""; next }
  age && NF { print $1, age }'; }
running() { case $(systemctl is-active haproxy.service) in inactive | failed | unknown) return 1 ;; esac; }
if ! running; then
  STOPPED
  running || { echo MARKabsent; echo MARKend; exit 0; }
fi
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
            name: Server(name, one.admin, one.health, *self._requests(name), one.weight)
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
    A HAProxy that does not run begins with them drained, whoever starts it.

    Run it again to poll: a server that something else has put back meanwhile is taken out again.

    Raises:
        BarewindError: that is no server's name.
    """
    names = [_name(server) for server in servers]
    return _script(*(f"set server {BACKEND}/{name} state {_LEAVE}" for name in names), stopped=f"out {' '.join(names)}")


def ready(*servers: str) -> str:
    """Shell command that lets servers have requests again once their health checks pass, and reads what `rotation` does.

    Raises:
        BarewindError: that is no server's name.
    """
    names = [_name(server) for server in servers]
    return _script(*(f"set server {BACKEND}/{name} state ready" for name in names), stopped=f"in {' '.join(names)}")


def weigh(weights: Mapping[str, int]) -> str:
    """Shell command that gives servers their parts of the new requests, in every process, and reads what `rotation` does.

    Raises:
        BarewindError: that is no server's name, or no weight (0 to 256).
    """
    wrong = [f"{server}: {weight}" for server, weight in weights.items() if not 0 <= weight <= MOST_WEIGHT]
    if wrong:
        raise BarewindError(f"{', '.join(wrong)}: no weight of HAProxy's, which are 0 to {MOST_WEIGHT}")
    return _script(*(f"set server {BACKEND}/{_name(server)} weight {weight}" for server, weight in weights.items()))


def read(output: str, balancer: str) -> Rotation:
    """The output of `rotation`.

    Raises:
        BarewindError: it is cut off or not HAProxy's; `balancer` is the host's name, for the message.
    """
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_MARK)]
    if not starts or lines[starts[-1]] != f"{_MARK}end":
        raise _unreadable(balancer, Unreadable("it breaks off", lines[-1] if lines else "nothing"))
    workers = []
    for start, end in pairwise(starts):
        if lines[start] == f"{_MARK}absent":
            return Rotation(())
        worker = re.fullmatch(_MARK + r"worker ([0-9]+) (current|old)", lines[start])
        if not worker:
            raise _unreadable(balancer, Unreadable("a line is not understood", lines[start]))
        try:
            found = read_servers(lines[start + 1 : end])
        except Unreadable as error:
            raise _unreadable(balancer, error) from None
        workers.append(Worker(int(worker[1]), worker[2] == "current", found))
    if not any(worker.current for worker in workers):
        raise _unreadable(balancer, Unreadable("it has no current process", lines[0]))
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


def read_weighed(output: str, balancer: str, weights: Mapping[str, int]) -> Rotation:
    """The output of `weigh`.

    Raises:
        BarewindError: it is cut off, not HAProxy's, or a server has another weight.
    """
    found = read(output, balancer)
    for name, weight in weights.items():
        for worker, one in found.knowing(name):
            if worker.current and one.weight != weight:
                raise BarewindError(
                    f"{balancer}: HAProxy's process {worker.pid} has {name} at weight {one.weight}, not {weight}, right after "
                    "it was told; something else sets weights too: find it, then run again"
                )
    return found


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


def standby(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether every balancer that has a server gives it weight 0: nobody misses it, whatever its health."""
    weights = [one.servers[server].weight for one in rotations if server in one.servers]
    return bool(weights) and not any(weights)


def available(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer would send it requests if its weight let it."""
    return any(server in one.servers and one.servers[server].available for one in rotations)


def kept_out(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer was told to send it nothing."""
    return any(server in one.servers and one.servers[server].admin is not Admin.READY for one in rotations)


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
    """Whether every running balancer that has a server sends it requests, its health checked; those of weight 0 stand by."""
    states = {balancer: found.servers[server] for balancer, found in rotations.items() if server in found.servers}
    out = {
        balancer: one.state for balancer, one in states.items() if not one.available or one.health is Health.UNCHECKED
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


def _verified(found: Rotation, balancer: str, servers: Iterable[str], wanted: Admin) -> Rotation:
    for name in servers:
        for worker, one in found.knowing(name):
            if worker.current and one.admin is not wanted:
                raise BarewindError(
                    f"{balancer}: HAProxy's process {worker.pid} has {name} in state {one.admin}, not {wanted}, right after "
                    "it was told; something else sets states too: find it, then run again"
                )
    return found


def _unreadable(balancer: str, why: Unreadable) -> BarewindError:
    return BarewindError(
        f"{balancer}: HAProxy's answer is not what was expected: {why}; "
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


def _script(*commands: str, stopped: str = "") -> str:
    """`stopped`: what the state program is told where HAProxy does not run."""
    values = {
        "STOPPED": f"if [ -x {STATE_PROGRAM} ]; then {STATE_PROGRAM} {stopped} || exit 1; fi" if stopped else ":",
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
