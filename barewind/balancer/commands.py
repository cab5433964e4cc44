"""HAProxy's runtime API: what to run on a balancer (as root), and what its answer means. Pure: the caller has the transport.

After a reload the old process lives until its last stream has ended. It answers on the master's socket only, and counts its
own requests: every command here goes to every process, and every figure is the sum over all of them. A command is one
shell script, for one round trip; it looks at the list of processes again at its end and starts anew if a reload or an
exit changed it.

Callers name hosts; HAProxy's own names for them (names.py) are used here and in servers.py alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

from barewind.balancer.names import BACKEND, MASTER_SOCKET, server_name
from barewind.balancer.runtime import MARK, script
from barewind.balancer.servers import MOST_WEIGHT as MOST_WEIGHT
from barewind.balancer.servers import STANDBY as STANDBY
from barewind.balancer.servers import WEIGHT as WEIGHT
from barewind.balancer.servers import Admin as Admin
from barewind.balancer.servers import Health as Health
from barewind.balancer.servers import Server as Server
from barewind.balancer.servers import Unreadable
from barewind.balancer.servers import read as read_servers
from barewind.errors import BarewindError

# How a server is drained. With stick tables or cookies it must be "maint": sessions that stick keep coming to a draining
# server. There are none, and HAProxy's "drain" keeps the health checks going, so that a server is undrained faster.
_DRAINED: Literal["drain", "maint"] = "drain"

# Bytes of orders in one command: a program's argument may have 128 KiB, of which quotes and the script itself take a part.
_LENGTH = 90_000


@dataclass(frozen=True)
class Worker:
    """One process of HAProxy: the current one takes new connections, old ones end their streams."""

    pid: int
    current: bool
    servers: Mapping[str, Server]


@dataclass(frozen=True)
class Rotation:
    """What a balancer does with each server. Without workers: HAProxy is not installed or does not run.

    + fingerprint: of all of it but the requests; empty where only some servers were asked about
    """

    workers: tuple[Worker, ...]
    fingerprint: str = field(default="", compare=False)

    @property
    def running(self) -> bool:
        """Whether HAProxy runs."""
        return bool(self.workers)

    @cached_property  # of a thousand servers it is asked a thousand times
    def servers(self) -> dict[str, Server]:
        """The servers of the current configuration, with the requests of every process."""
        return {
            name: Server(name, server.admin, server.health, *self._requests(name), server.weight)
            for worker in self.workers
            if worker.current
            for name, server in worker.servers.items()
        }

    @cached_property
    def in_rotation(self) -> frozenset[str]:
        """The servers that get new requests."""
        return frozenset(name for name, server in self.servers.items() if server.in_rotation)

    def knowing(self, server: str) -> list[tuple[Worker, Server]]:
        """The processes that know a server, each with what it says of it."""
        return [(worker, worker.servers[server]) for worker in self.workers if server in worker.servers]

    def _requests(self, server: str) -> tuple[int, int]:
        servers = [known for _, known in self.knowing(server)]
        return sum(known.sessions for known in servers), sum(known.queued for known in servers)


def show_servers(unless: str = "") -> str:
    """Shell command that prints the state of every server in every process; `read` reads its output.

    + unless: the fingerprint of an earlier answer; while it is the same, all that is printed is that nothing has changed
    """
    return script(unless=unless)


def drain(*servers: str) -> str:
    """Shell command that drains servers in every process that knows them, and prints what `show_servers` prints of them. A
    HAProxy that does not run starts with them drained, whoever starts it.

    Each run of it drains again what something else has undrained meanwhile, so it serves to poll as well.

    Raises:
        BarewindError: a name is not fit for a server.
    """
    return script([_order(server, f"state {_DRAINED}") for server in servers], stopped="out")


def undrain(*servers: str) -> str:
    """Shell command that lets servers have requests again once their health checks pass, and prints what `show_servers` prints of
    them.

    Raises:
        BarewindError: a name is not fit for a server.
    """
    return script([_order(server, "state ready") for server in servers], stopped="in")


def weigh(weights: Mapping[str, int]) -> str:
    """Shell command that sets weights of servers in every process, and prints what `show_servers` prints of them.

    Raises:
        BarewindError: a name is not fit for a server, or a weight is not one of HAProxy's (0 to 256).
    """
    wrong = [f"{server}: {weight}" for server, weight in weights.items() if not 0 <= weight <= MOST_WEIGHT]
    if wrong:
        raise BarewindError(f"{', '.join(wrong)}: not a weight of HAProxy's, which are 0 to {MOST_WEIGHT}")
    return script([_order(server, f"weight {weight}") for server, weight in weights.items()])


def divided(servers: Iterable[str]) -> list[tuple[str, ...]]:
    """Servers, as many together as one command can name: a thousand with names of forty characters."""
    parts: list[list[str]] = [[]]
    left = _LENGTH
    for server in servers:
        left -= len(_order(server, f"state {_DRAINED}")) + 1
        if left < 0 and parts[-1]:
            parts.append([])
            left = _LENGTH - len(server)
        parts[-1].append(server)
    return [tuple(part) for part in parts]


def read(output: str, balancer: str, last: Rotation | None = None) -> Rotation:
    """What a balancer does with its servers, from the output of `show_servers`; `balancer` is the host's name, for messages.

    + last: the answer whose fingerprint was named: it is the answer again if nothing but requests has changed since

    Raises:
        BarewindError: the output is cut off or not HAProxy's.
    """
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(MARK)]
    if not starts or lines[starts[-1]] != f"{MARK}end":
        raise _unreadable(balancer, Unreadable("it breaks off", lines[-1] if lines else "nothing"))
    workers, fingerprint = [], ""
    for start, end in pairwise(starts):
        if lines[start] == f"{MARK}absent":
            return Rotation(())
        if lines[start] == f"{MARK}unchanged" and last is not None:
            return last
        if found := re.fullmatch(MARK + "fingerprint ([0-9a-f]{64})", lines[start]):
            fingerprint = found[1]
            continue
        worker = re.fullmatch(MARK + r"worker ([0-9]+) (current|old)", lines[start])
        if not worker:
            raise _unreadable(balancer, Unreadable("a line is not understood", lines[start]))
        try:
            servers = read_servers(lines[start + 1 : end])
        except Unreadable as error:
            raise _unreadable(balancer, error) from None
        workers.append(Worker(int(worker[1]), worker[2] == "current", servers))
    if not any(worker.current for worker in workers):
        raise _unreadable(balancer, Unreadable("it has no current process", lines[0]))
    return Rotation(tuple(workers), fingerprint)


def check_drained(rotations: Mapping[str, Rotation], server: str) -> None:
    """Make sure that `drain` has drained a server, from what each balancer answered.

    Raises:
        BarewindError: balancers have not; the message names them.
    """
    _check(rotations, server, Admin(_DRAINED))


def check_undrained(rotations: Mapping[str, Rotation], server: str) -> None:
    """Make sure that `undrain` has undrained a server, from what each balancer answered.

    Raises:
        BarewindError: balancers have not; the message names them.
    """
    _check(rotations, server, Admin.READY)


def read_weighed(output: str, balancer: str, weights: Mapping[str, int]) -> Rotation:
    """What a balancer does with servers, from the output of `weigh`.

    Raises:
        BarewindError: the output is cut off or not HAProxy's, or a server has another weight.
    """
    rotation = read(output, balancer)
    for name, weight in weights.items():
        for worker, server in rotation.knowing(name):
            if worker.current and server.weight != weight:
                raise BarewindError(
                    f"{balancer}: HAProxy's process {worker.pid} has {name} at weight {server.weight}, not {weight}, right "
                    "after it was told; something else sets weights too: find it, then run again"
                )
    return rotation


def in_flight(rotation: Rotation, server: str) -> int:
    """Requests that a server works on or that wait for it, over every process of a balancer."""
    return sum(known.sessions + known.queued for _, known in rotation.knowing(server))


def known(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer has a host as its server."""
    return any(server in rotation.servers for rotation in rotations)


def serving(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer sends a server requests.

    Some, not every: a balancer that has lost sight of all engines must not make them look unaffected by a drain.
    """
    return any(server in rotation.in_rotation for rotation in rotations)


def standby(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether every balancer that has a server gives it weight 0: nobody misses it, whatever its health."""
    weights = [rotation.servers[server].weight for rotation in rotations if server in rotation.servers]
    return bool(weights) and not any(weights)


def available(rotations: Iterable[Rotation], server: str) -> bool:
    """Whether some balancer would send a server requests if its weight let it."""
    return any(server in rotation.servers and rotation.servers[server].available for rotation in rotations)


def drained_on(rotations: Mapping[str, Rotation], server: str) -> list[str]:
    """The balancers that were told to send a server nothing."""
    return [
        balancer
        for balancer, rotation in rotations.items()
        if server in rotation.servers and rotation.servers[server].admin is not Admin.READY
    ]


def without_server(rotations: Mapping[str, Rotation], drained: Iterable[str]) -> list[str]:
    """The balancers that send requests somewhere now, and nowhere once these servers are drained."""
    gone = set(drained)
    return [name for name, rotation in rotations.items() if rotation.in_rotation and rotation.in_rotation <= gone]


@dataclass(frozen=True)
class Wait:
    """Where a wait stands: `left` is how many requests, servers or balancers it still waits for; `message` says so."""

    outcome: Literal["done", "waiting", "gave up"]
    left: int
    message: str


def wait_drained(rotations: Mapping[str, Rotation], server: str, *, waited: float, limit: float) -> Wait:
    """How far a drain is: whether some balancer still sends a server requests or has some in flight. Times in seconds."""
    still = [balancer for balancer, rotation in rotations.items() if serving([rotation], server)]
    if still:
        return _wait(len(still), waited, limit, f"{server}: still in rotation on {', '.join(still)}")
    requests = {balancer: in_flight(rotation, server) for balancer, rotation in rotations.items()}
    left = sum(requests.values())
    message = f"{server}: {left} request{'' if left == 1 else 's'} in flight: {_counts(requests)}"
    return _wait(left, waited, limit, message)


def wait_undrained(rotations: Mapping[str, Rotation], server: str, *, waited: float, limit: float) -> Wait:
    """How far an undrain is: whether every balancer that has a server has checked its health and can send it requests. One of
    weight 0 stands by, which is enough. Times in seconds."""
    servers = {
        balancer: rotation.servers[server] for balancer, rotation in rotations.items() if server in rotation.servers
    }
    missing = {
        balancer: known.state
        for balancer, known in servers.items()
        if not known.available or known.health is Health.UNCHECKED
    }
    message = ", ".join(f"{state} on {balancer}" for balancer, state in missing.items()) or "in rotation everywhere"
    return _wait(len(missing), waited, limit, f"{server}: {message}")


def wait_checked(rotations: Mapping[str, Rotation], *, waited: float, limit: float) -> Wait:
    """Whether the first health check of every server has ended: before it, HAProxy takes a dead one for up. Times in seconds."""
    unchecked = {
        balancer: sum(server.health is Health.UNCHECKED for server in rotation.servers.values())
        for balancer, rotation in rotations.items()
    }
    return _wait(sum(unchecked.values()), waited, limit, f"servers not checked yet: {_counts(unchecked)}")


def _check(rotations: Mapping[str, Rotation], name: str, wanted: Admin) -> None:
    problems = [
        f"{balancer}: HAProxy's process {worker.pid} has {name} in state {server.admin}, not {wanted}, right after it was told; "
        "something else sets states too: find it, then run again"
        for balancer, rotation in rotations.items()
        for worker, server in rotation.knowing(name)
        if worker.current and server.admin is not wanted
    ]
    if problems:
        raise BarewindError("; ".join(problems))


def _unreadable(balancer: str, why: Unreadable) -> BarewindError:
    return BarewindError(
        f"{balancer}: HAProxy's answer is not what was expected: {why}; "
        f"look at: echo 'show proc' | socat - UNIX-CONNECT:{MASTER_SOCKET}"
    )


def _wait(left: int, waited: float, limit: float, message: str) -> Wait:
    if not left:
        return Wait("done", 0, message)
    if waited < limit:
        return Wait("waiting", left, message)
    return Wait("gave up", left, f"{message}, after {waited:.0f} s")


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} on {balancer}" for balancer, number in numbers.items() if number) or "none"


def _order(server: str, words: str) -> str:
    return f"set server {BACKEND}/{_name(server)} {words}"


def _name(server: str) -> str:
    """A server's name goes through a shell and HAProxy's command line: nothing that ends a word or a command."""
    if not re.fullmatch(r"[\w.:@/+\[\]-]+", server, re.ASCII):
        raise BarewindError(f"'{server}': not a name for a server of a balancer; rename the host in the inventory")
    return server_name(server)
