"""A host with several engines: what really runs there, past SSH."""

from __future__ import annotations

from lab.hosts import hosts
from tests.support.lab import servers

BALANCER = "lb1"
HOST, COUNT = "hopper1", 4  # the host of simulated accelerators that has several engines, and how many
LABEL = '{{index .Config.Labels "barewind.release"}}'


def names(host: str, count: int) -> list[str]:
    """Names of a host's engines."""
    return [f"{host}-{number}" for number in range(count)]


def releases(host: str, count: int) -> list[str]:
    """The release that each engine's container bears; empty where none runs."""
    look = "; ".join(f"docker inspect -f '{LABEL}' barewind-engine-{number} || echo" for number in range(count))
    return [line.strip() for line in hosts.exec(host, f"{{ {look}; }} 2>/dev/null", timeout=60).stdout.splitlines()]


def cards(host: str, number: int) -> set[str]:
    """The accelerators that an engine's container sees."""
    look = f"docker exec barewind-engine-{number} sh -c 'for f in /dev/nvidia[0-9]*; do echo $f; done'"
    return set(hosts.exec(host, look, timeout=60).stdout.split())


def states(balancer: str = BALANCER) -> dict[str, str]:
    """What a balancer does with each engine: UP, DOWN, DRAIN, ..."""
    return {name: server.state for name, server in servers(balancer).items()}
