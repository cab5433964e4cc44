"""Ports: each has one owner on its host, and a program that may listen on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from barewind.errors import BarewindError
from barewind.site.read import read_site
from barewind.spec.site import Site
from tests.support.factories import engine_entry, entry

TLS = {"mirror_certificate": "tls/mirror.pem", "mirror_key": "tls/mirror.key"}


def site(role: str, **data: Any) -> Site:
    """A fleet of which one host has these keys."""
    hosts = [engine_entry("10.0.0.1", **data if role == "engine" else {})]
    hosts.append(entry("10.0.0.2", "balancers", **data if role == "balancer" else {}))
    hosts.append(entry("10.0.0.3", "mirrors", **TLS, **data if role == "mirror" else {}))
    return read_site(hosts)


def refused(role: str, **data: Any) -> str:
    with pytest.raises(BarewindError) as caught:
        site(role, **data)
    return str(caught.value)


def answer(role: str, **data: Any) -> str:
    """What is wrong; empty where nothing is."""
    try:
        site(role, **data)
    except BarewindError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("role", "data", "said"),
    [
        ("engine", {"engine_port": 22}, "key 'engine_port': 22 is sshd's port; choose another port"),
        ("engine", {"weights_port": 22}, "key 'weights_port': 22 is sshd's port; choose another port"),
        ("engine", {"ssh_port": 2222, "engine_port": 2222}, "key 'engine_port': 2222 is sshd's port (ssh_port)"),
        ("engine", {"ssh_port": "2222", "engine_port": 2222}, "key 'engine_port': 2222 is sshd's port (ssh_port)"),
        ("engine", {"ssh_port": 8010}, "key 'weights_port': 8010 is sshd's port (ssh_port)"),
        # a host's sshd may be reached through another port, and still answer on 22
        ("engine", {"ssh_port": 2222, "engine_port": 22}, "key 'engine_port': 22 is sshd's port"),
        ("engine", {"engine_port": 8010}, "key 'engine_port': engine_port and weights_port are both 8010"),
        ("engine", {"weights_port": 8000}, "key 'weights_port': engine_port and weights_port are both 8000"),
        ("engine", {"engine_port": 9000, "weights_port": 9000}, "key 'weights_port': engine_port and weights_port are"),
        (
            "engine",
            {"engine_port": 443},
            "key 'engine_port': 443: only root may listen below 1024, and the engine's container",
        ),
        ("engine", {"engine": "sglang", "engine_port": 29600}, "29600 is where SGLang's processes meet"),
        ("engine", {"engine": "sglang", "weights_port": 29600}, "29600 is where SGLang's processes meet"),
        ("engine", {"open_ports": ["8000-9000"]}, "key 'open_ports': 8000-9000 holds the engine's port"),
        ("engine", {"open_ports": [8010]}, "key 'open_ports': 8010 holds weights_port, which is for the fleet's hosts"),
        ("engine", {"engine": "sglang", "open_ports": ["29000-30000"]}, "holds 29600, where SGLang's processes meet"),
        (
            "engine",
            {"replicas": 4, "engine_port": 8008},
            "key 'engine_port': engine_port = 8008 and replicas = 4 take 8008 to 8011, and 8010 is weights_port",
        ),
        ("engine", {"replicas": 2, "ssh_port": 8001}, "take 8000 to 8001, and 8001 is sshd's port (ssh_port)"),
        ("engine", {"replicas": 2, "engine_port": 65535}, "take 65535 to 65536, and there is none above 65535"),
        ("engine", {"replicas": 2, "open_ports": [8001]}, "key 'open_ports': 8001 holds the engine's port"),
        (
            "engine",
            {"engine": "sglang", "replicas": 2, "weights_port": 29601},
            "29601 is where SGLang's processes meet",
        ),
        ("balancer", {"endpoint_port": 22}, "key 'endpoint_port': 22 is sshd's port; choose another port"),
        ("balancer", {"endpoint_port": 443, "ssh_port": 443}, "key 'endpoint_port': 443 is sshd's port (ssh_port)"),
        ("mirror", {"mirror_port": 22}, "key 'mirror_port': 22 is sshd's port; choose another port"),
        ("mirror", {"mirror_port": 5099}, "key 'mirror_port': 5099 is where the mirror is filled on its own host"),
        ("mirror", {"mirror_port": 443}, "key 'mirror_port': 443: only root may listen below 1024, and the registry's"),
        ("engine", {"ssh_port": "ssh"}, "key 'ssh_port': found 'ssh'; write sshd's port as a number from 1 to 65535"),
        ("balancer", {"ssh_port": 70000}, "key 'ssh_port': found 70000; write sshd's port as a number from 1 to 65535"),
        ("mirror", {"ssh_port": True}, "key 'ssh_port': found True; write sshd's port as a number from 1 to 65535"),
    ],
)
def test_a_port_that_is_taken_names_its_owner(role: str, data: dict[str, Any], said: str) -> None:
    assert said in refused(role, **data)


@pytest.mark.parametrize(
    ("role", "data"),
    [
        ("engine", {"ssh_port": 22022}),
        ("engine", {"engine_port": 443, "container_hardening": False}),
        ("engine", {"engine_port": 29600}),  # SGLang's alone
        ("engine", {"replicas": 4, "engine_port": 8011}),
        ("engine", {"replicas": 8, "engine_port": 8002, "accelerator": "b300"}),
        ("engine", {"open_ports": [22, "30000-31000"]}),
        ("balancer", {"endpoint_port": 443}),  # HAProxy begins as root
        ("balancer", {"endpoint_port": 8010}),
        ("mirror", {"mirror_port": 8000}),
    ],
)
def test_ports_of_their_own_are_taken(role: str, data: dict[str, Any]) -> None:
    assert site(role, **data).engines


PORTS = st.integers(1, 65535) | st.sampled_from([22, 443, 1023, 1024, 2222, 8000, 8010, 29600, 65535])


@given(engine=PORTS, weights=PORTS, ssh=PORTS, name=st.sampled_from(["vllm", "sglang"]))
@example(engine=8010, weights=8010, ssh=22, name="vllm")
@example(engine=2222, weights=8010, ssh=2222, name="vllm")
def test_any_three_ports_of_an_engine_host(engine: int, weights: int, ssh: int, name: str) -> None:
    others = {22, ssh} | ({29600} if name == "sglang" else set())
    right = engine != weights and not {engine, weights} & others and engine >= 1024
    problem = answer("engine", engine_port=engine, weights_port=weights, ssh_port=ssh, engine=name)
    assert right == (not problem), problem
    assert right or "_port'" in problem


@given(endpoint=PORTS, mirror=PORTS, ssh=PORTS)
def test_any_port_of_a_balancer_and_a_mirror(endpoint: int, mirror: int, ssh: int) -> None:
    for role, port, taken in (("balancer", endpoint, {22, ssh}), ("mirror", mirror, {22, ssh, 5099})):
        key = "endpoint_port" if role == "balancer" else "mirror_port"
        right = port not in taken and (role == "balancer" or port >= 1024)
        problem = answer(role, **{key: port}, ssh_port=ssh)
        assert right == (not problem), problem
        assert right or f"key '{key}': {port}" in problem


@given(
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.floats()
    | st.lists(st.integers(), max_size=2)
)
def test_whatever_ssh_port_is_no_traceback(value: Any) -> None:
    problem = answer("engine", ssh_port=value)
    assert not problem or "_port'" in problem
