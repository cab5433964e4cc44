"""HAProxy over every engine host of the inventory."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from barewind.balancer import certificate, peers
from barewind.balancer.config import (
    HAPROXY_DROP_IN,
    HAPROXY_FILE,
    haproxy_config,
    haproxy_drop_in,
    haproxy_state_program,
    tokens_program,
)
from barewind.balancer.names import STATE_PROGRAM, TOKENS_PROGRAM
from barewind.balancer.operations.certificate import certified, uncertified
from barewind.balancer.operations.haproxy import configured
from barewind.hosts.operations import ManagedFile
from barewind.tasks.run import balancer_spec, fleet, host_facts

PACKAGES = ["haproxy", "curl", "socat"]
_INSTALL = 900  # seconds


@deploy("Balancer")
def balance() -> None:
    """Have every balancer send requests to every engine host."""
    spec, facts = balancer_spec(), host_facts()[host.name].facts
    if spec is not None and facts is not None:
        site = fleet().site
        balancers = site.balancers.values()
        config = haproxy_config(
            spec,
            list(site.engines.values()),
            ipv6=facts["ipv6"],
            monitors=site.monitors.values(),
            balancers=balancers,
        )
        firewall = peers.firewall(spec, balancers)
        shown = certificate.read(spec)
        if shown is not None:
            certified(name="Certificate", certificate=shown)  # before the configuration, which names its file
        configured(
            name="HAProxy",
            packages=[*PACKAGES, *(["nftables"] if firewall else [])],
            config=ManagedFile(HAPROXY_FILE, config),
            drop_in=ManagedFile(HAPROXY_DROP_IN, haproxy_drop_in(firewall.path if firewall else None)),
            others=[
                ManagedFile(STATE_PROGRAM, haproxy_state_program(), mode="755"),
                ManagedFile(TOKENS_PROGRAM, tokens_program()),
            ],
            firewall=ManagedFile(firewall.path, firewall.content) if firewall else None,
            table=peers.FIREWALL_TABLE if firewall else None,
            _timeout=_INSTALL,
        )
        if shown is None:
            uncertified(name="Certificate")
