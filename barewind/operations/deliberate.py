"""The mark of a host that is drained on purpose."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api import StringCommand, operation

from barewind import deliberate


@operation(is_idempotent=False)
def marked(by: str, why: str | None = None) -> Generator[StringCommand, None, None]:
    """Have a host say who drained it, and why; one that says so already goes on saying what it did.

    + by: user@controller
    + why: the reason they give

    **Example:**

    .. code:: python

        marked(name="Mark", by="ann@ws1", why="new memory")
    """
    yield StringCommand(deliberate.write(by, why))


@operation(is_idempotent=False)
def unmarked() -> Generator[StringCommand, None, None]:
    """Have a host no longer say so.

    **Example:**

    .. code:: python

        unmarked(name="No mark")
    """
    yield StringCommand(deliberate.ABSENT)
