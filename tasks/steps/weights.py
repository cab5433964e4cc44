"""The weights of model and draft, by revision, each file checked against its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.errors import BarewindError
from barewind.lock.file import read_token
from barewind.tasks.run import Hosts, engine_plan, engine_plans, fleet, once
from barewind.tasks.steps import drivers
from barewind.weights import operations
from barewind.weights.helpers import Helpers
from barewind.weights.plan import HostJob, host_jobs
from barewind.weights.read_ahead import LIMIT

_AHEAD = LIMIT + 180  # seconds: two looks beside
_COPY = 24 * 3600  # seconds; 134 GB at 20 Mbit/s take 15 hours


@deploy("Weights")
def download() -> None:
    """Have them on every engine host: one download for all, passed on from host to host."""
    plan = engine_plan()
    if plan is None:
        return
    try:
        token = read_token(plan.spec)
    except BarewindError as error:
        raise PyinfraError(str(error)) from error
    operations.copied(name="Of model and draft", jobs=_jobs(), helpers=_helpers(), token=token, _timeout=_COPY)


@deploy("Weights")
def read_ahead(engines: Hosts, directories: Mapping[str, tuple[str, ...]] | None = None) -> None:
    """Have what engines will load in their host's page cache while they still serve, so that they are drained for less long.

    `directories`: what that is, by the engine's name, where it is not what is planned, and drivers stay as they are.
    """
    if directories is None:
        if drivers.reasons(host.name):
            return  # they restart the host, whose page cache is empty then
        directories = {plan.name: plan.directories for plan in engine_plans(engines)}
    wanted = [directory for plan in engine_plans(engines) for directory in directories.get(plan.name, ())]
    if wanted:
        operations.read_ahead(name="Read ahead", directories=list(dict.fromkeys(wanted)), _timeout=_AHEAD)


@once
def _jobs() -> Mapping[str, HostJob]:
    return host_jobs(fleet().hosts)


@once
def _helpers() -> Helpers:
    return Helpers()
