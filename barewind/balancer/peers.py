"""What balancers tell each other of how often each key asks, and who may tell it: the protocol knows no password. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from barewind.balancer.names import server_name
from barewind.hosts.file import HostFile
from barewind.hosts.packet_filter import packet_filter
from barewind.spec.keys import BalancerSpec

TABLE = "keys"
FIREWALL_TABLE = "barewind_balancer"
FIREWALL_FILE = "/etc/haproxy/barewind/peers.nft"


def others(balancer: BalancerSpec, balancers: Iterable[BalancerSpec]) -> list[BalancerSpec]:
    """The balancers whose requests count for a key's limits beside this one's own: those that ask for keys too."""
    if balancer.endpoint_open:
        return []
    return [other for other in balancers if other.host != balancer.host and not other.endpoint_open]


def table(balancer: BalancerSpec, balancers: Iterable[BalancerSpec]) -> str:
    """Where a balancer counts requests by the id of keys. Each of several has a table of its own, which the others only read: in
    a common one HAProxy would take what it was told last for the sum."""
    return f"{TABLE}.{server_name(balancer.host)}" if others(balancer, balancers) else TABLE


def firewall(balancer: BalancerSpec, balancers: Iterable[BalancerSpec]) -> HostFile | None:
    """The nft rules that let in nobody but the other balancers; None where there is none, as HAProxy is then on loopback."""
    sources = [other.address for other in others(balancer, balancers)]
    if not sources:
        return None
    text = packet_filter(
        FIREWALL_TABLE,
        balancer.peers_port,
        sources,
        comment=". What keys have asked for is told by the other balancers and the host itself, nobody else.",
    )
    return HostFile(FIREWALL_FILE, text)
