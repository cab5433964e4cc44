"""The part that an engine has of its host, where it has not all of it: found on the host, at each start."""

from __future__ import annotations

from barewind.drivers.vendors import vendor_of
from barewind.engines import ENGINES
from barewind.plan.names import DIVIDE_PROGRAM, ENGINE_PORT, HOST_PART, engine_names
from barewind.spec.keys import EngineSpec
from barewind.templates import from_template, text_of

# For the memory of accelerators to become free: looks at it, a second apart, and in all; systemd gives a start 90 seconds.
_TRIES, _SECONDS = 30, 45


def divide_program(spec: EngineSpec) -> str | None:
    """The program that tells an engine its part of the host; None where one engine has all of it.

    Accelerators that are used are divided so that those of one socket go together; the processors and the memory of their sockets
    come with them. Without accelerators nothing but ports is divided: processors that a replica leaves idle serve its siblings.
    """
    if not spec.has_part:
        return None
    vendor = vendor_of(spec)
    return from_template(
        "release/divide-host.sh.j2",
        cards=text_of(vendor.cards) if vendor and vendor.cards else "",
        options_variable=HOST_PART,
        port_variable=ENGINE_PORT,
        tries=_TRIES,
        seconds=_SECONDS,
    )


def divide_command(spec: EngineSpec) -> str:
    """The command of a unit that has the program find an engine's part; the same for the engines of a host."""
    number = "0" if spec.replica is None else "%i"
    words = (
        engine_names(None if spec.replica is None else number).host_part_file,
        spec.host if spec.replica is None else f"{spec.host}-{number}",
        number,
        spec.replicas,
        spec.engine_port - (spec.replica or 0),
        spec.accelerator_count,
        "all" if spec.accelerators is None else ",".join(map(str, spec.accelerators)),
    )
    ports = [f"{name}={port}" for name, port in ENGINES[spec.engine].port_variables.items()]
    return " ".join([DIVIDE_PROGRAM, *map(str, words), *ports])
