"""Verification of an inventory: `barewind verify inventory/prod.py`. Reads hosts, changes nothing.

What each host shall be comes from the same group data, catalog and lock as the deploy; what it is comes over SSH. In a checkout
`pytest tests/verify --inventory inventory/prod.py` is the same, with all options of pytest.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from barewind import catalog
from barewind.errors import BarewindError
from barewind.lock.file import read as read_lock
from barewind.plan.checks import require_locked
from barewind.plan.engine import plan_site
from barewind.site.read import read_site
from barewind.spec.site import SSH_PORT, HostEntry, Site
from barewind.verify.connection import connect
from barewind.verify.hosts import Balancer, Engine, Expected, Mirror


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default="inventory/prod.py", help="pyinfra inventory to verify")
    parser.addoption("--host", action="append", default=[], help="only this host of it")
    parser.addoption("--data", action="append", default=[], help="KEY=VALUE for every host, as pyinfra's")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "accelerators(vendor, ...): for hosts with accelerators of these vendors")


def pytest_sessionstart(session: pytest.Session) -> None:
    _of(session.config)  # an inventory that is not right is told once, as pytest tells of wrong use


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = {"engine", "balancer", "mirror"} & set(metafunc.fixturenames)
    if not wanted:
        return
    site = _of(metafunc.config).site
    by_kind: dict[str, list[str]] = {
        "engine": list(site.engines),
        "balancer": list(site.balancers),
        "mirror": list(site.mirrors),
    }
    only = metafunc.config.getoption("--host")
    hosts = [name for name in by_kind[min(wanted)] if not only or name in only or _host_of(site, name) in only]
    vendors = metafunc.definition.get_closest_marker("accelerators")
    if vendors is not None:  # only hosts of these vendors
        hosts = [
            name for name in hosts if catalog.accelerators()[site.engines[name].accelerator].vendor in vendors.args
        ]
    metafunc.parametrize(wanted.pop(), hosts, indirect=True, scope="session")


@pytest.fixture(scope="session")
def expected(request: pytest.FixtureRequest) -> Expected:
    return _of(request.config)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, expected: Expected) -> Engine:
    plan = expected.plans[request.param]
    data = expected.data[plan.spec.host]
    host = connect(plan.spec.host, data)
    return Engine(host, plan, expected.site, int(data.get("ssh_port") or SSH_PORT))


@pytest.fixture(scope="session")
def balancer(request: pytest.FixtureRequest, expected: Expected) -> Balancer:
    host = connect(request.param, expected.data[request.param])
    return Balancer(host, expected.site.balancers[request.param], expected.plans, expected.site)


@pytest.fixture(scope="session")
def mirror(request: pytest.FixtureRequest, expected: Expected) -> Mirror:
    host = connect(request.param, expected.data[request.param])
    return Mirror(host, expected.site.mirrors[request.param], expected.plans, expected.site)


def _of(config: pytest.Config) -> Expected:
    expected = _expected(config.getoption("--inventory"), tuple(config.getoption("--data")))
    if unknown := sorted(set(config.getoption("--host")) - set(expected.data)):
        raise pytest.UsageError(f"--host {unknown[0]}: is not in the inventory; there are: {', '.join(expected.data)}")
    return expected


def _host_of(site: Site, name: str) -> str:
    return site.engines[name].host if name in site.engines else name


@functools.cache
def _expected(inventory: str, data: tuple[str, ...]) -> Expected:
    command = [str(Path(sys.executable).with_name("pyinfra")), inventory, "debug-inventory", "--json"]
    command += [word for each in data for word in ("--data", each)]
    # A process of its own: pyinfra's command makes the process it runs in cooperative, which pytest should not be.
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise pytest.UsageError(answer.stderr.strip().splitlines()[-1])
    resolved = json.loads(answer.stdout)
    entries = [HostEntry(host["name"], tuple(host["groups"]), host["data"]) for host in resolved]
    try:
        site = read_site(entries)
        plans = plan_site(site, read_lock(Path(site.lock_file)))
        require_locked(plans, site.lock_file)
    except BarewindError as error:
        raise pytest.UsageError(str(error)) from error
    return Expected(site, plans, {host["name"]: host["data"] for host in resolved})
