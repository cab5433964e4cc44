"""AMD: amdgpu-dkms, kernel parameters, NUMA balancing off. ROCm itself comes with the engine's image."""

from __future__ import annotations

from pyinfra.api import deploy

from tasks.drivers import install_drivers
from tasks.fleet import EVERY, Hosts


@deploy("ROCm")
def install(hosts: Hosts = EVERY) -> None:
    """Have the planned drivers on hosts, restart those that need it, and look at the result."""
    install_drivers("amd", hosts)
