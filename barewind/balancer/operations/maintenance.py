"""Maintenance of a host, noted on the host itself."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api import StringCommand, operation

from barewind.balancer import maintenance


@operation(is_idempotent=False)
def maintenance_begun(by: str, why: str | None = None) -> Generator[StringCommand, None, None]:
    """Have a host say who took it into maintenance, and why; one that says so already goes on saying what it did.

    + by: user@controller
    + why: the reason they give

    **Example:**

    .. code:: python

        maintenance_begun(name="Maintenance begins", by="ann@ws1", why="new memory")
    """
    yield StringCommand(maintenance.begin(by, why))


@operation(is_idempotent=False)
def maintenance_ended() -> Generator[StringCommand, None, None]:
    """Have a host no longer say that it is in maintenance.

    **Example:**

    .. code:: python

        maintenance_ended(name="Maintenance ends")
    """
    yield StringCommand(maintenance.END)
