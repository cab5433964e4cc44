"""The lab's hosts as tests see them: how large the lab is, what runs there, what its endpoint answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

import requests

from lab import state, topology, wait
from lab.hosts import hosts
from tests.support.commands import Site, command, json_of

LAB = Site("inventory/lab.py")
STANDIN = Site("tests/support/standin_inventory.py")
ENGINE_UNIT = "barewind-engine.service"
# "UP 1/3", while a health check is under way, is up too.
SERVERS = "echo 'show stat engines 4 -1' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"


@dataclass(frozen=True)
class Size:
    """How many hosts of each kind a suite needs; what an earlier one had beside goes."""

    engines: int = 0
    balancers: int = 1
    hopper: int = 0
    blackwell: int = 0
    mi300x: int = 0
    mirrors: int = 0
    sglang: int = 0
    light: int = 0
    system: str = topology.SYSTEMS[0]


class Server(NamedTuple):
    """What a balancer's HAProxy does with one engine: UP, DOWN, DRAIN, ...; 0 is the weight of one that stands by.

    `requests`: in flight there now.
    """

    state: str
    weight: int
    requests: int


def bring_up(size: Size, *, anew: Sequence[str] = ()) -> None:
    """A lab of this size. Hosts that are there already stay, but those to be made anew: they become fresh servers."""
    if state.load() is not None:
        for host in topology.layout(**asdict(size)):
            if host.name in anew:
                hosts.remove(host)
    options = [word for kind, number in asdict(size).items() for word in (f"--{kind}", str(number))]
    assert command("barewind", "lab", "up", *options).status == 0


def ask() -> requests.Response:
    """A chat completion through the balancer, from this machine."""
    port = (state.load() or state.Lab()).http_port
    question = {"model": topology.MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Who are you?"}]}
    return requests.post(f"http://{topology.HTTP_ADDRESS}:{port}/v1/chat/completions", json=question, timeout=120)


def servers(balancer: str) -> dict[str, Server]:
    """The engine hosts that a balancer's HAProxy knows."""
    rows = [line.split(",") for line in hosts.exec(balancer, SERVERS, check=False, timeout=30).stdout.splitlines()]
    return {row[1]: Server(row[17].split(" ")[0], int(row[18]), int(row[4])) for row in rows if row[0] == "engines"}


def await_no_server(balancer: str) -> None:
    """Wait until a balancer has noticed that no engine answers: its health checks are up to ten seconds apart."""

    def noticed() -> bool:
        return "UP" not in {server.state for server in servers(balancer).values()}

    wait.until(noticed, 120, f"{balancer} sends requests to engines that do not answer")


def started(host: str, unit: str = ENGINE_UNIT) -> str:
    """When a unit was started: changes with every restart."""
    return hosts.exec(host, f"systemctl show -P ExecMainStartTimestampMonotonic {unit}").stdout.strip()


def running_image(host: str) -> str:
    """The image by digest that a host's engine was started from."""
    return hosts.exec(host, "docker inspect -f '{{.Config.Image}}' barewind-engine").stdout.strip()


@cache
def plans(site: Site) -> dict[str, dict[str, Any]]:
    """What `barewind plan` says of each engine host. Read once: no suite changes its lock file under way and asks again."""
    plans = json_of("barewind", "plan", "--json", site.inventory, *site.keys)
    return {plan["host"]: plan for plan in plans}


def runs_as_planned(site: Site, host: str) -> None:
    """Compare a host's container with what `barewind plan` says of it."""
    plan = plans(site)[host]
    container = json.loads(hosts.exec(host, "docker inspect barewind-engine").stdout)[0]
    assert container["Config"]["Cmd"] == plan["argv"]
    environment = dict(variable.split("=", 1) for variable in container["Config"]["Env"])
    assert plan["env"].items() <= environment.items()
    assert container["Config"]["Labels"]["barewind.release"] == plan["release"]
    assert container["Config"]["Image"].endswith(plan["image"]["digest"])
    assert (container["HostConfig"]["NetworkMode"], container["HostConfig"]["IpcMode"]) == ("host", "private")


def weights_directory(site: Site, host: str, which: str = "model") -> str:
    """Where a host has the weights of its model or draft."""
    plan = plans(site)[host][which]
    return f"/var/lib/barewind/weights/{plan['id'].replace('/', '--')}/{plan['revision']}-{plan['layout']}"
