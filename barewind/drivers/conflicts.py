"""Driver keys that are valid one by one and do not go together, or not with the accelerators: `(key, sentence)`."""

from __future__ import annotations

from collections.abc import Iterator

from barewind.drivers.vendors import vendor_of
from barewind.spec.keys import EngineSpec


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Every conflict of one host's drivers; a site that keeps its own drivers has none."""
    vendor = vendor_of(spec)
    if vendor is not None and spec.accelerator_drivers == "managed":
        yield from vendor.conflicts(spec)
