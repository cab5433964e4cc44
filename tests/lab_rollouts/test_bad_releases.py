"""Releases that do not work, hosts and disks that fail: the rest goes on serving what it served."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from lab import topology
from lab.hosts import hosts
from lab.images import layers, standin_engine
from lab.services import registry
from tests.support.commands import Run, limit
from tests.support.fleet import ENGINES, Fleet, agreed, settled, status
from tests.support.lab import ENGINE_UNIT
from tests.support.load import under_load
from tests.support.releases import ENVIRONMENT, Release, begin, build, deploy, lock

pytestmark = pytest.mark.full

_REST = ("engine2", "engine3")


def _stopped(fleet: Fleet, bad: Release, reason: str) -> Run:
    """Deploy what does not work: the first host fails and stays out, nobody notices."""
    with under_load() as load:
        run = deploy(bad)
    assert run.status != 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert re.search(reason, run.output)
    assert "What is where" in run.output
    state = agreed(bad)
    assert state.all_serve(fleet.release, _REST)
    assert "UP" not in state.states_of("engine1")
    return run


def test_an_image_that_crashes(fleet: Fleet) -> None:
    _stopped(fleet, build("crash", fleet.folder, "STANDIN_FAIL=crash"), r"engine1: release \w+ does not pass its gate")


def test_an_engine_that_has_dropped_an_option(fleet: Fleet) -> None:
    """The recorded schema knows it; this build does not."""
    bad = build("dropped", fleet.folder, "STANDIN_DROPPED_OPTIONS=--enforce-eager")
    _stopped(fleet, bad, "reason: the engine does not know the option --enforce-eager")


def test_an_engine_that_runs_out_of_memory(fleet: Fleet) -> None:
    bad = fleet.other.env(STANDIN_FAIL="oom")
    _stopped(fleet, bad, "reason: out of memory: the accelerators' memory does not suffice; lower context_length")
    (row,) = [row for row in status(bad)["engines"] if row["host"] == "engine1"]
    assert any(f"times: journalctl -u {ENGINE_UNIT}" in finding for finding in row["findings"])


def test_an_engine_that_is_up_and_does_not_answer_as_it_must(fleet: Fleet) -> None:
    bad = build("closed", fleet.folder, "VLLM_API_KEY=nobody-knows")  # of the image's own: keys of group data refuse it
    _stopped(fleet, bad, "engine1: release .* /v1/models: HTTP 401")


def test_a_flag_that_the_engine_does_not_know_is_refused_before_anything_changes(fleet: Fleet) -> None:
    run = deploy(fleet.release.but(engine_args={"enforce-eager": True, "no-such-flag": 1}))
    assert run.status != 0
    assert "no-such-flag" in run.output
    assert "nothing was changed" in run.output
    assert agreed(fleet.release).all_serve(fleet.release)


@pytest.mark.parametrize(("dies", "returns"), [(hosts.stop, hosts.start), (hosts.unplug, hosts.plug)])
def test_a_host_that_dies_while_it_is_upgraded(
    fleet: Fleet, dies: Callable[[str], None], returns: Callable[[str], None]
) -> None:
    """Its power, or its network: then nobody is told that it is gone."""
    try:
        with under_load() as load:
            rollout = begin("deploy.py", fleet.other)
            assert rollout.prints("Starting operation: Engine | Unit")
            dies("engine1")
            run = rollout.end()
            state = agreed(fleet.other, off=["engine1"])
    finally:
        returns("engine1")
    assert run.status != 0
    assert load.lost == []
    assert state.all_serve(fleet.release, _REST)
    assert "UP" not in state.states_of("engine1")

    assert deploy(fleet.release).status == 0
    assert agreed(fleet.release).all_serve(fleet.release)


def test_with_a_balancer_that_is_down_nothing_begins(fleet: Fleet) -> None:
    hosts.stop("lb2")
    try:
        with under_load(balancers=["lb1"]) as load:
            run = deploy(fleet.other)
            state = agreed(fleet.release, off=["lb2"])
    finally:
        hosts.start("lb2")
    assert run.status != 0
    assert "lb2" in run.output
    assert run.changed == set()
    assert load.lost == []
    assert state.all_serve(fleet.release)
    settled()
    assert agreed(fleet.release).all_serve(fleet.release)


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
        rollout = begin("deploy.py", fleet.other, *limit("engine1", "lb1", "lb2"))
        assert rollout.prints("Starting operation: Engine | Unit")
        hosts.exec("lb2", "systemctl start haproxy")
        servers = hosts.exec(
            "lb2", "echo 'show servers state' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"
        ).stdout
        run = rollout.end()
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
    return lock("larger", fleet.folder)


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
    state = agreed(larger)
    assert state.all_serve(fleet.release)
