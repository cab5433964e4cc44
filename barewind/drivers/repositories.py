"""Which apt repositories a host uses, and whether their keys can be had."""

from __future__ import annotations

from collections.abc import Iterable

from barewind.docker import plan as docker
from barewind.drivers.vendors import vendor_of
from barewind.errors import BarewindError
from barewind.hosts.apt_sources import key
from barewind.spec.keys import EngineSpec


def needed(spec: EngineSpec) -> tuple[str, ...]:
    """Names of the repositories a host uses."""
    vendor = vendor_of(spec)
    if vendor is None or spec.accelerator_drivers == "external":
        return docker.repositories(spec)
    return (*docker.repositories(spec), *vendor.repositories(spec))


def check_keys(specs: Iterable[EngineSpec]) -> None:
    """Read every key that hosts may need, before anything changes.

    Raises:
        BarewindError: every problem, with the host that has it.
    """
    problems: dict[str, str] = {}
    for spec in specs:
        for name in needed(spec):
            try:
                key(spec, name)
            except BarewindError as error:
                problems.setdefault(str(error), spec.host)
    if problems:
        raise BarewindError("\n".join(f"{host}: {problem}" for problem, host in problems.items()))
