"""What a host serves is written down there: before it is started, and when it serves."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import host
from pyinfra.api import deploy

from barewind import history, render
from barewind.gates import Gate
from barewind.history import Record
from barewind.operations.history import begun, serves
from barewind.plan import CONTAINER
from tasks.fleet import EVERY, Hosts, engine_plan, fleet


@deploy("History")
def begin(hosts: Hosts = EVERY) -> None:
    """Note what engine hosts are about to serve."""
    plan = engine_plan(hosts)
    if plan is not None:
        begin_record(history.record(plan, render.engine_unit(plan)), fleet().site.reason)


@deploy("History")
def serve(hosts: Hosts = EVERY) -> None:
    """Note that engine hosts serve their release."""
    plan = engine_plan(hosts)
    if plan is not None and plan.release is not None:
        serve_release(plan.release, fleet().site.reason)


@deploy("History")
def served(now: Mapping[str, Gate], hosts: Hosts = EVERY) -> None:
    """Note that engine hosts serve what they have run all along: after a failure that somebody has mended by hand."""
    if engine_plan(hosts) is not None and host.name in now:
        serve_release(now[host.name].release, fleet().site.reason)


def begin_record(record: Record, why: str | None) -> None:
    """Note what the host in hand is about to serve."""
    begun(name="On record", record=record, unit=render.UNIT, container=CONTAINER, by=history.controller(), why=why)


def serve_release(release: str, why: str | None) -> None:
    """Note that the host in hand serves a release."""
    serves(name="It serves", release=release, unit=render.UNIT, container=CONTAINER, by=history.controller(), why=why)
