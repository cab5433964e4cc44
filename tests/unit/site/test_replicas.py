"""Hosts with several engines: what a site, a unit, balancers and histories make of them."""

from __future__ import annotations

import json

import pytest

from barewind.balancer.config import haproxy_config
from barewind.errors import BarewindError
from barewind.gate import plan as gates
from barewind.plan.engine import by_host, plan_site
from barewind.plan.names import engine_names
from barewind.release import history
from barewind.release.record import record_of
from barewind.release.unit import engine_firewall, engine_unit, stop_drop_in, stopping_rules
from barewind.site.read import read_site
from barewind.spec.site import Site, engines_of
from barewind.weights.plan import host_jobs
from tests.support.factories import balancer_spec, engine_entry, engine_spec, locked

SPEC = engine_spec(replicas=4)
ENGINES = engines_of(SPEC)
SITE = Site(engines={spec.name: spec for spec in ENGINES}, balancers={}, lock_file="lock.yaml")
PLANS = plan_site(SITE, locked(*ENGINES))


def test_a_site_has_every_engine() -> None:
    site = read_site([engine_entry("10.0.0.1", replicas=2), engine_entry("10.0.0.2")])
    assert {name: spec.engine_port for name, spec in site.engines.items()} == {
        "10.0.0.1-0": 8000,
        "10.0.0.1-1": 8001,
        "10.0.0.2": 8000,
    }
    assert {host: [spec.name for spec in specs] for host, specs in site.engine_hosts.items()} == {
        "10.0.0.1": ["10.0.0.1-0", "10.0.0.1-1"],
        "10.0.0.2": ["10.0.0.2"],
    }


def test_an_engine_has_no_name_of_another_host() -> None:
    hosts = [engine_entry("a", address="10.0.0.1", replicas=2), engine_entry("a-1", address="10.0.0.2")]
    with pytest.raises(BarewindError, match="key 'replicas': a-1 is the name of another host too"):
        read_site(hosts)


def test_engines_of_a_host_serve_one_release_by_one_unit_and_one_record() -> None:
    units = {engine_unit(plan) for plan in PLANS.values()}
    assert len(units) == 1
    (unit,) = units
    assert "--name=barewind-engine-%i" in unit
    assert "--port ${BAREWIND_ENGINE_PORT}" in unit
    assert len({record_of(plan, unit).text for plan in PLANS.values()}) == 1
    assert json.loads(record_of(PLANS["gpu-h1-3"], unit).text)["port"] == 8000


def test_each_has_names_of_its_own() -> None:
    names = [plan.names for plan in PLANS.values()]
    for kind in ("unit", "unit_file", "drop_in_file", "container", "stopping_file", "stopping_table", "admin_key_dir"):
        assert len({getattr(each, kind) for each in names}) == 4
    assert names[1].unit == "barewind-engine@1.service"
    assert engine_names(None).unit == "barewind-engine.service"


def test_each_is_asked_on_its_own_port_and_by_its_own_unit() -> None:
    gate = gates.of(PLANS["gpu-h1-2"])
    assert (gate.host, gate.url, gate.unit) == ("gpu-h1-2", "http://192.0.2.11:8002", "barewind-engine@2.service")
    record = record_of(PLANS["gpu-h1-2"], "[Unit]\n")
    assert gates.of_record(record, PLANS["gpu-h1-2"]) == gate


def test_the_balancer_has_a_server_for_each() -> None:
    lines = haproxy_config(balancer_spec(), list(ENGINES)).splitlines()
    servers = [line.split()[1:3] for line in lines if line.startswith("    server ")]
    assert servers == [[f"gpu-h1-{number}", f"192.0.2.11:{8000 + number}"] for number in range(4)]


def test_the_firewall_is_the_hosts_and_a_stop_closes_one_port() -> None:
    firewalls = {engine_firewall(spec, [balancer_spec()], {22}) for spec in ENGINES}
    assert len(firewalls) == 1
    assert "tcp dport 8000-8003 drop" in firewalls.pop()
    assert "tcp dport 8003 reject" in stopping_rules(ENGINES[3])
    assert "engine-stopping-3.nft" in stop_drop_in("ExecStop=/bin/true\n", 3)


def test_weights_are_the_hosts() -> None:
    jobs = host_jobs(by_host(PLANS))
    assert list(jobs) == ["gpu-h1"]


def test_the_events_of_each_are_its_own() -> None:
    lines = [
        json.dumps({"at": "2026-01-01", "release": release, "event": "serving", "by": "x"} | more)
        for release, more in (("a" * 12, {}), ("b" * 12, {"replica": 0}), ("c" * 12, {"replica": 1}))
    ]
    events = history.read_events(lines)
    assert [history.served(history.of_replica(events, replica)) for replica in (None, 0, 1)] == [
        {"a" * 12},
        {"b" * 12},
        {"c" * 12},
    ]
    assert '"replica": 1' in history.started("a" * 12, by="x", replica=1)
    assert "replica" not in history.started("a" * 12, by="x")
