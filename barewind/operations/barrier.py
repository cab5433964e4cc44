"""Order between hosts."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation


@operation()
def barrier() -> Generator[str, None, None]:
    """Let every host come to this point before any goes on. Called on every host; costs no SSH traffic.

    pyinfra interleaves operations of hosts that do not overlap: what must come after another host's step needs this.

    **Example:**

    .. code:: python

        barrier(name="Every engine answers")
    """
    host.noop("barrier")
    return
    yield  # an operation is a generator
