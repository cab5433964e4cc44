"""A server of the backend, and what one process of HAProxy says about each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from barewind.balancer.names import host_name

WEIGHT = 100  # of the servers of a fleet whose engines are alike; base_weights.py has the others'
MOST_WEIGHT = 256  # HAProxy's limit
STANDBY = "STANDBY"  # the state of a server that could have requests, and gets none by its weight

_NO_BACKEND = ("No such proxy.", "Can't find backend.")  # the answers to the three questions where there is no backend
# Its answer to `set server` where it does not have the server, or (the last) is an old process and takes nothing new anyway.
_NOT_SET = ("No such server.", "No such backend.", "Proxy is disabled.")


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


class Unreadable(Exception):
    """An answer of HAProxy's is not what was expected: why, and at which line."""

    def __init__(self, why: str, line: str) -> None:
        """`line` is as HAProxy sent it."""
        super().__init__(f"{why} at {line[:80]!r}")


@dataclass(frozen=True)
class Server:
    """A server of the backend in one process, or (see Rotation.servers) in all of them together."""

    name: str  # its host's
    admin: Admin
    health: Health
    sessions: int  # requests it works on
    queued: int  # requests that wait for it
    weight: int = WEIGHT  # its part of the new requests, relative to the others'; 0: none, it stands by

    @property
    def available(self) -> bool:
        """Whether HAProxy could send it new requests, if its weight lets it."""
        return self.admin is Admin.READY and self.health not in (Health.DOWN, Health.STOPPING)

    @property
    def in_rotation(self) -> bool:
        """Whether HAProxy sends it new requests."""
        return self.available and self.weight > 0

    @property
    def state(self) -> str:
        """Its state in capitals, as HAProxy's own pages have it; STANDBY if only its weight keeps requests away."""
        if self.available and not self.weight:
            return STANDBY
        return str(self.health if self.admin is Admin.READY else self.admin).upper()


def read(lines: list[str]) -> dict[str, Server]:
    """Servers by their hosts, from one process's answers to `show stat`, `show servers conn` and `show servers state`.

    Raises:
        Unreadable: a line is not HAProxy's, or one is missing.
    """
    requests: dict[str, tuple[int, int]] = {}
    connections: dict[str, tuple[int, int]] = {}
    states: dict[str, tuple[Admin, Health]] = {}
    weights: dict[str, int] = {}
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
                weights[row["srv_name"]] = _number(row["srv_uweight"])
        except (LookupError, ValueError):
            raise Unreadable("a line is not understood", line) from None
    if not requests:  # an old process of HAProxy 2.4 keeps them back; a request has a connection of its own (HTTP/1.1)
        requests = connections
    if answers != 3 or not requests.keys() == connections.keys() == states.keys():
        raise Unreadable("a part is missing", lines[-1] if lines else "nothing")
    return {(host := host_name(name)): Server(host, *states[name], *requests[name], weights[name]) for name in states}


def _row(columns: list[str], fields: list[str]) -> dict[str, str]:
    return dict(zip(columns, fields, strict=True))


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _admin(row: Mapping[str, str]) -> Admin:
    """What srv_admin_state says by its bits (HAProxy's management guide, `show servers state`)."""
    flags = _number(row["srv_admin_state"])
    if flags & 0x27:  # forced, inherited, by configuration, for want of an address
        return Admin.MAINT
    return Admin.DRAIN if flags & 0x18 else Admin.READY


def _health(row: Mapping[str, str]) -> Health:
    health = {"0": Health.DOWN, "1": Health.STARTING, "2": Health.UP, "3": Health.STOPPING}[row["srv_op_state"]]
    configured = _number(row["srv_check_state"]) & 0x02
    none = _number(row["srv_check_status"]) <= 1  # unknown, initializing; the result is unknown while any check runs
    return Health.UNCHECKED if health in (Health.UP, Health.STARTING) and configured and none else health
