"""Verification of an inventory: pytest tests/verify --inventory inventory/prod.py. Reads hosts, changes nothing.

What each host shall be comes from the same group data, catalog and lock as the deploy; what it is comes over SSH.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from barewind import catalog, lock
from barewind.errors import BarewindError
from barewind.plan import EnginePlan, plan_site, require_locked
from barewind.site import HostEntry, Site, read_site
from barewind.spec import BalancerSpec, MirrorSpec
from tests.verify.connection import connect

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Engine:
    """An engine host and what it shall serve."""

    host: Host
    plan: EnginePlan
    data: dict[str, Any]

    def expect(self, holds: bool, expectation: str, found: object, remedy: str) -> None:
        """Fail with host, expectation, finding and next step."""
        _expect(self.plan.spec.host, holds, expectation, found, remedy)


@dataclass(frozen=True)
class Balancer:
    """A balancer host, its spec, and the fleet behind it."""

    host: Host
    spec: BalancerSpec
    plans: dict[str, EnginePlan]
    data: dict[str, Any]

    def expect(self, holds: bool, expectation: str, found: object, remedy: str) -> None:
        """Fail with host, expectation, finding and next step."""
        _expect(self.spec.host, holds, expectation, found, remedy)


@dataclass(frozen=True)
class Mirror:
    """A mirror host, its spec, and the fleet that pulls from it."""

    host: Host
    spec: MirrorSpec
    plans: dict[str, EnginePlan]

    def expect(self, holds: bool, expectation: str, found: object, remedy: str) -> None:
        """Fail with host, expectation, finding and next step."""
        _expect(self.spec.host, holds, expectation, found, remedy)


@dataclass(frozen=True)
class Expected:
    """The whole inventory as it shall be."""

    site: Site
    plans: dict[str, EnginePlan]
    data: dict[str, dict[str, Any]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default="inventory/prod.py", help="pyinfra inventory to verify")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = {"engine", "balancer", "mirror"} & set(metafunc.fixturenames)
    if not wanted:
        return
    site = _expected(metafunc.config.getoption("--inventory")).site
    hosts = list({"engine": site.engines, "balancer": site.balancers, "mirror": site.mirrors}[min(wanted)])
    vendors = metafunc.definition.get_closest_marker("accelerators")
    if vendors is not None:  # only hosts of these vendors
        hosts = [
            name for name in hosts if catalog.accelerators()[site.engines[name].accelerator].vendor in vendors.args
        ]
    metafunc.parametrize(wanted.pop(), hosts, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    expected = _expected(request.config.getoption("--inventory"))
    data = expected.data[request.param]
    return Engine(connect(request.param, data), expected.plans[request.param], data)


@pytest.fixture(scope="session")
def balancer(request: pytest.FixtureRequest) -> Balancer:
    expected = _expected(request.config.getoption("--inventory"))
    data = expected.data[request.param]
    return Balancer(connect(request.param, data), expected.site.balancers[request.param], expected.plans, data)


@pytest.fixture(scope="session")
def mirror(request: pytest.FixtureRequest) -> Mirror:
    expected = _expected(request.config.getoption("--inventory"))
    host = connect(request.param, expected.data[request.param])
    return Mirror(host, expected.site.mirrors[request.param], expected.plans)


@functools.cache
def _expected(inventory: str) -> Expected:
    command = [str(Path(sys.executable).with_name("pyinfra")), inventory, "debug-inventory", "--json"]
    # A process of its own: pyinfra's command makes the process it runs in cooperative, which pytest should not be.
    answer = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise pytest.UsageError(f"--inventory {inventory}: {answer.stderr.strip().splitlines()[-1]}")
    resolved = json.loads(answer.stdout)
    entries = [HostEntry(host["name"], tuple(host["groups"]), host["data"]) for host in resolved]
    try:
        site = read_site(entries)
        plans = plan_site(site, lock.read(_ROOT / site.lock_file))
        require_locked(plans, site.lock_file)
    except BarewindError as error:
        raise pytest.UsageError(f"--inventory {inventory}: {error}") from error
    return Expected(site, plans, {host["name"]: host["data"] for host in resolved})


def _expect(host: str, holds: bool, expectation: str, found: object, remedy: str) -> None:
    if not holds:
        pytest.fail(f"{host}: expected {expectation}; found {found}. Next: {remedy}", pytrace=False)
