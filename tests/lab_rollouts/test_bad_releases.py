"""Releases that do not work, hosts and disks that fail: the rest goes on serving what it served."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from lab import hosts, layers, registry, standin_engine, topology
from tests.lab.conftest import Run
from tests.lab_rollouts.conftest import Fleet
from tests.lab_rollouts.fleet import (
    ENGINES,
    ENVIRONMENT,
    UNIT,
    Begun,
    Release,
    agreed,
    deploy,
    limit,
    locked,
    made,
    settled,
    status,
)
from tests.lab_rollouts.load import under_load

_REST = ("engine2", "engine3")


def _stopped(fleet: Fleet, bad: Release, said: str) -> Run:
    """Deploy what does not work: the first host fails and stays out, nobody notices."""
    with under_load() as load:
        run = deploy(bad)
    assert run.status != 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert re.search(said, run.output)
    assert "What is where" in run.output
    found = agreed(bad)
    assert all(found.serves(name, fleet.serves) for name in _REST)
    assert "UP" not in found.using("engine1")
    return run


def test_an_image_that_crashes(fleet: Fleet) -> None:
    _stopped(fleet, made("crash", fleet.folder, "STANDIN_FAIL=crash"), r"engine1: release \w+ does not pass its gate")


def test_an_engine_that_has_dropped_an_option(fleet: Fleet) -> None:
    """The recorded schema knows it; this build does not."""
    bad = made("dropped", fleet.folder, "STANDIN_DROPPED_OPTIONS=--enforce-eager")
    _stopped(fleet, bad, "reason: the engine does not know the option --enforce-eager")


def test_an_engine_that_runs_out_of_memory(fleet: Fleet) -> None:
    bad = fleet.other.env(STANDIN_FAIL="oom")
    _stopped(fleet, bad, "reason: out of memory: the accelerators' memory does not suffice; lower context_length")
    (row,) = [one for one in status(bad)["engines"] if one["host"] == "engine1"]
    assert any(f"times: journalctl -u {UNIT}.service" in finding for finding in row["findings"])


def test_an_engine_that_is_up_and_does_not_answer_as_it_must(fleet: Fleet) -> None:
    _stopped(fleet, fleet.other.env(VLLM_API_KEY="nobody-knows"), "engine1: release .* /v1/models: HTTP 401")


def test_a_flag_that_the_engine_does_not_know_is_refused_before_anything_changes(fleet: Fleet) -> None:
    run = deploy(fleet.serves.but(engine_args={"enforce-eager": True, "no-such-flag": 1}))
    assert run.status != 0
    assert "no-such-flag" in run.output
    assert "nothing was changed" in run.output
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


@pytest.mark.parametrize(("dies", "returns"), [(hosts.stop, hosts.start), (hosts.unplug, hosts.plug)])
def test_a_host_that_dies_while_it_is_upgraded(
    fleet: Fleet, dies: Callable[[str], None], returns: Callable[[str], None]
) -> None:
    """Its power, or its network: then nobody is told that it is gone."""
    try:
        with under_load() as load:
            begun = Begun("deploy.py", fleet.other)
            assert begun.says("Starting operation: Engine | Unit")
            dies("engine1")
            run = begun.end()
            found = agreed(fleet.other, off=["engine1"])
    finally:
        returns("engine1")
    assert run.status != 0
    assert load.lost == []
    assert all(found.serves(name, fleet.serves) for name in _REST)
    assert "UP" not in found.using("engine1")

    assert deploy(fleet.serves).status == 0
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


def test_with_a_balancer_that_is_down_nothing_begins(fleet: Fleet) -> None:
    hosts.stop("lb2")
    try:
        with under_load(balancers=["lb1"]) as load:
            run = deploy(fleet.other)
            found = agreed(fleet.serves, off=["lb2"])
    finally:
        hosts.start("lb2")
    assert run.status != 0
    assert "lb2" in run.output
    assert run.changed == set()
    assert load.lost == []
    assert all(found.serves(name, fleet.serves) for name in ENGINES)
    settled()
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


def test_a_balancer_whose_haproxy_is_stopped_does_not_hinder_and_is_started(fleet: Fleet) -> None:
    hosts.exec("lb2", "systemctl stop haproxy")
    with under_load(balancers=["lb1"]) as load:
        run = deploy(fleet.other, *limit("engine1", "lb1", "lb2"))
    assert run.status == 0
    assert load.lost == []
    assert load.fewest["lb1"] >= 2
    settled()
    assert agreed(fleet.other).serves("engine1", fleet.other)


def test_a_balancer_that_starts_during_an_upgrade_sends_the_host_nothing(fleet: Fleet) -> None:
    hosts.exec("lb2", "systemctl stop haproxy")
    with under_load(balancers=["lb1"]) as load:
        begun = Begun("deploy.py", fleet.other, *limit("engine1", "lb1", "lb2"))
        assert begun.says("Starting operation: Engine | Unit")
        hosts.exec("lb2", "systemctl start haproxy")
        servers = hosts.exec(
            "lb2", "echo 'show servers state' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"
        ).stdout
        run = begun.end()
    assert re.search(r" engine1 \S+ \d 8 ", servers)  # drained, as HAProxy's management guide has it
    assert run.status == 0
    assert load.lost == []
    settled()
    assert agreed(fleet.other).serves("engine1", fleet.other)


@pytest.fixture
def larger(fleet: Fleet, tmp_path: Path) -> Release:
    """An image with a layer of its own, so that hosts have something to download."""
    name = standin_engine.REPOSITORY
    standin_engine.variant("larger", env=ENVIRONMENT)
    manifest = registry.get_manifest("larger", name)
    blob = requests.get(f"http://{topology.REGISTRY}/v2/{name}/blobs/{manifest['config']['digest']}", timeout=30)
    config = blob.json()
    (tmp_path / "filling").write_bytes(os.urandom(8_000_000))
    layer = layers.push(layers.folder(tmp_path), name)
    config["rootfs"]["diff_ids"].append(layer.diff_id)
    config.pop("history", None)
    registry.push_manifest(config, [*manifest["layers"], layer.entry], "larger", name)
    return locked("larger", fleet.folder)


def test_a_disk_that_fills_during_prefetch(fleet: Fleet, larger: Release) -> None:
    hosts.exec("engine2", "mount -t tmpfs -o size=2m none /var/lib/docker/tmp")
    try:
        with under_load() as load:
            run = deploy(larger)
    finally:
        hosts.exec("engine2", "umount /var/lib/docker/tmp")
    assert run.status != 0
    assert re.search(r"engine2.*no space left on device", run.output)
    assert load.lost == []
    assert min(load.fewest.values()) == len(ENGINES)
    found = agreed(larger)
    assert all(found.serves(name, fleet.serves) for name in ENGINES)
