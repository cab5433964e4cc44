"""NVIDIA: driver with open kernel modules, fabric manager, persistence daemon, Container Toolkit."""

from __future__ import annotations

from pyinfra.api import deploy

from tasks.drivers import install_drivers
from tasks.fleet import EVERY, Hosts


@deploy("NVIDIA")
def install(hosts: Hosts = EVERY) -> None:
    """Have the planned drivers on hosts, restart those that need it, and look at the result."""
    install_drivers("nvidia", hosts)
