"""Order between hosts."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation


@operation()
def barrier() -> Generator[str, None, None]:
    """Have every host that calls it come to this point before any of them goes on. It costs no SSH traffic.

    pyinfra interleaves operations of hosts that do not overlap: what must come after another host's step needs this.

    **Example:**

    .. code:: python

        barrier(name="Every engine answers")
    """
    host.noop("barrier")
    return
    yield  # an operation is a generator
