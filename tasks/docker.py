"""Docker Engine on the engine hosts."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind.operations.docker import engine
from tasks.fleet import engine_plan

PACKAGES = ["docker.io", "ca-certificates", "curl", "nftables"]
_INSTALL = 1800  # seconds


@deploy("Docker")
def install() -> None:
    """Install and configure it."""
    plan = engine_plan()
    if plan is not None:
        engine(
            name="Engine",
            packages=PACKAGES,
            insecure_registries=plan.spec.insecure_registries,
            _timeout=_INSTALL,
        )
