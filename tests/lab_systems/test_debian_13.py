"""A fleet of Debian 13 hosts: deployed to, deployed to again, asked. docs/lab.md says what this proves."""

from __future__ import annotations

import pytest

from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support.commands import Run
from tests.support.lab import ENGINE_UNIT, STANDIN, Size, ask, bring_up, servers

pytestmark = pytest.mark.full  # an image to build, and hosts made anew for the suites that follow


@pytest.fixture(scope="module")
def first_deploy() -> Run:
    """The first deploy to fresh hosts, with the stand-in engine."""
    bring_up(Size(engines=2, system="debian-13"), anew=["lb1", "engine1", "engine2"])
    standin_engine.ensure(Steps())
    hub_control.reset()
    assert STANDIN.barewind("lock", "--update").status == 0
    return STANDIN.deploy()


def test_the_hosts_are_what_they_are_called(first_deploy: Run) -> None:
    for name in ("lb1", "engine1", "engine2"):
        assert hosts.exec(name, '. /etc/os-release; echo "$ID $VERSION_ID"').stdout == "debian 13\n"
    assert hosts.exec("engine1", "dpkg-query -W -f '${Package} ' docker-cli").stdout == "docker-cli "
    assert "version 3.0." in hosts.exec("lb1", "haproxy -v").stdout


def test_it_serves_and_a_second_run_changes_nothing(first_deploy: Run) -> None:
    assert first_deploy.status == 0
    assert hosts.exec("engine1", f"systemctl is-active {ENGINE_UNIT}").stdout == "active\n"
    assert ask().status_code == 200
    again = STANDIN.deploy()
    assert again.status == 0
    assert again.changed == set()


def test_a_host_that_was_shut_down_serves_again(first_deploy: Run) -> None:
    hosts.stop("engine2", gently=True)
    hosts.start("engine2")
    assert STANDIN.deploy().status == 0
    assert hosts.exec("engine2", f"systemctl is-active {ENGINE_UNIT}").stdout == "active\n"
    assert servers("lb1")["engine2"].state == "UP"
