"""What HAProxy calls hosts."""

from __future__ import annotations

import itertools
import re

import pytest

from barewind.balancer.commands import drain
from barewind.balancer.names import host_name, server_name
from barewind.spec.names import host_name_problem


@pytest.mark.parametrize("host", ["gpu1", "gpu-h1.example.org", "10.0.0.11", "fd00::6", "gpu_1", "GPU1"])
def test_ordinary_names_stay_what_they_are(host: str) -> None:
    assert server_name(host) == host


def test_a_connectors_name_is_one_that_haproxy_takes() -> None:
    assert server_name("@ssh/gpu1") == "_x40_ssh_x2F_gpu1"
    assert host_name("_x40_ssh_x2F_gpu1") == "@ssh/gpu1"


def test_no_two_hosts_have_one_name_and_each_is_found_again() -> None:
    pieces = ["_", "x", "40", "@", "_x40_", "/", "2F", "+"]
    hosts = {"".join(parts) for length in range(1, 5) for parts in itertools.product(pieces, repeat=length)}
    servers = {server_name(host) for host in hosts}
    assert len(servers) == len(hosts)
    assert all(re.fullmatch(r"[A-Za-z0-9_.:-]+", server) for server in servers)
    assert {host_name(server) for server in servers} == hosts


@pytest.mark.parametrize("host", ["@docker/a/b:1", "[fd00::6]", "a+b", "gpu_1.x-y"])
def test_whatever_the_plan_takes_for_a_host_can_be_drained(host: str) -> None:
    assert host_name_problem(host) is None
    assert server_name(host) in drain(host)
