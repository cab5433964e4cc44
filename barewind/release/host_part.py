"""The part that an engine has of its host, where it has not all of it: found on the host, at each start."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from barewind.drivers.vendors import vendor_of
from barewind.engines import ENGINES
from barewind.plan.names import DIVIDE_PROGRAM, ENGINE_PORT, HOST_PART, engine_names
from barewind.spec.keys import EngineSpec
from barewind.templates import from_template, text_of

# For the memory of accelerators to become free: looks at it, a second apart, and in all; systemd gives a start 90 seconds.
_TRIES, _SECONDS = 30, 45

_ALL, _PLACE = "all", 6  # how the program is told of all accelerators, and at which place of its arguments


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
        _cards(spec),
    )
    ports = [f"{name}={port}" for name, port in ENGINES[spec.engine].port_variables.items()]
    return " ".join([DIVIDE_PROGRAM, *map(str, words), *ports])


def show_cards(unit_file: str) -> str:
    """Shell command that prints which accelerators the engine of a unit uses, for `read_cards`."""
    return f"sed -n 's|^ExecStartPre={DIVIDE_PROGRAM} ||p' {shlex.quote(unit_file)}"


def read_cards(lines: Sequence[str]) -> str:
    """The numbers of the accelerators that an engine uses, as `accelerators` has them; "all" where its unit names none."""
    words = lines[0].split() if lines else []
    return words[_PLACE] if len(words) > _PLACE else _ALL


def cards_change(engines: Iterable[Mapping[str, Any]], spec: EngineSpec) -> list[str]:
    """The reason of a host whose engines are to use other accelerators than those that run do; none if they are the same.

    Its release is the same then. All its engines go together: one that starts on its new part would find another still there.

    + engines: how each stands: `active`, and the `cards` that it uses
    """
    used = dict.fromkeys(engine["cards"] for engine in engines if engine["active"])
    if all(_numbers(cards, spec) == _numbers(_cards(spec), spec) for cards in used):
        return []
    return [f"accelerators {' and '.join(used)} -> {_cards(spec)}"]


def _numbers(cards: str, spec: EngineSpec) -> set[str]:
    return set(map(str, range(spec.accelerator_count))) if cards == _ALL else set(cards.split(","))


def _cards(spec: EngineSpec) -> str:
    return _ALL if spec.accelerators is None else ",".join(map(str, spec.accelerators))
