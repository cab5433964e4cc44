"""The engine's image, by digest."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind.operations.docker import pulled
from tasks.fleet import engine_plan

_PULL = 2 * 3600  # seconds; images are 10 to 20 GB


@deploy("Image")
def pull() -> None:
    """Have it on every engine host."""
    plan = engine_plan()
    if plan is not None:
        pulled(name="By digest", reference=plan.pinned_image, _timeout=_PULL)
