"""The main job: from bare machines to an answered request, and what stands after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import hosts, registry, topology
from tests.lab.conftest import INVENTORY, UNIT, Run, ask, command, deploy, plans, started
from tests.lab_accelerators.conftest import under_load

ENGINES = [host.name for host in topology.layout() if host.role == "engine"]


def test_a_request_is_answered_through_the_balancer(first_deploy: Run) -> None:
    assert first_deploy.status == 0
    answer = ask()
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] >= 1


def test_the_draft_head_is_used(fleet: None) -> None:
    ask()
    for host in ENGINES:
        address = topology.find(host).address
        metrics = hosts.exec(host, f"curl -s http://{address}:8000/metrics").stdout
        drafted = [line for line in metrics.splitlines() if line.startswith("vllm:spec_decode_num_drafts_total")]
        assert drafted, f"{host} has no metric of drafts"
        assert sum(float(line.rsplit(" ", 1)[1]) for line in drafted) > 0


def test_second_run_changes_nothing_and_restarts_nothing(fleet: None) -> None:
    before = [started(host, UNIT) for host in ENGINES] + [started("lb1", "haproxy.service")]
    run = deploy()
    assert run.status == 0
    assert run.changed == set()
    assert [started(host, UNIT) for host in ENGINES] + [started("lb1", "haproxy.service")] == before


def test_dry_run_finds_no_change(fleet: None) -> None:
    run = command("pyinfra", INVENTORY, "deploy.py", "--dry")
    assert run.status == 0
    table = run.output.split("Conditional Change")[1].split("Detected changes may not")[0]
    rows = [line.rsplit(maxsplit=2) for line in table.splitlines() if line.strip()]
    assert len(rows) >= 8
    assert {(change, conditional) for _, change, conditional in rows} == {("-", "-")}


@pytest.mark.parametrize("host", ENGINES)
def test_what_plan_prints_is_what_runs(fleet: None, host: str) -> None:
    plan = plans()[host]
    found = json.loads(hosts.exec(host, "docker inspect barewind-engine").stdout)[0]
    assert found["Config"]["Cmd"] == plan["argv"]
    assert plan["env"].items() <= dict(one.split("=", 1) for one in found["Config"]["Env"]).items()  # type: ignore[attr-defined]
    assert found["Config"]["Labels"]["barewind.release"] == plan["release"]
    assert found["Config"]["Image"].endswith(plan["image"]["digest"])  # type: ignore[index]
    assert found["HostConfig"]["NetworkMode"] == found["HostConfig"]["IpcMode"] == "host"


def test_engines_answer_the_balancer_and_nobody_else(fleet: None) -> None:
    url = f"http://{topology.find('engine1').address}:8000/health"
    ask_health = ["curl", "-s", "-o", "/dev/null", "-m", "3", "-w", "%{http_code}", url]
    assert hosts.exec("lb1", ask_health, check=False).stdout == "200"
    assert hosts.exec("engine2", ask_health, check=False).stdout == "000"


def test_verification_passes(fleet: None) -> None:
    run = command("pytest", "tests/verify", "--inventory", INVENTORY, "-p", "no:cacheprovider")
    assert run.status == 0


def test_verification_names_host_expectation_finding_and_next_step(mended: None) -> None:
    hosts.exec("engine2", f"systemctl stop {UNIT}")
    run = command("pytest", "tests/verify", "--inventory", INVENTORY, "-p", "no:cacheprovider", "-k", "engine")
    assert run.status == 1
    assert (
        "engine2: expected barewind-engine.service active and enabled; found ['inactive', 'enabled']. Next:"
        in run.output
    )
    assert "engine1: expected" not in run.output


def test_an_engine_that_was_stopped_is_started_again(fleet: None) -> None:
    before = started("engine1", UNIT)
    hosts.exec("engine2", f"systemctl stop {UNIT}")
    run = deploy()
    assert run.status == 0
    assert run.changed == {"engine2"}
    assert started("engine1", UNIT) == before


def test_a_killed_engine_comes_back_by_itself(fleet: None) -> None:
    before = started("engine2", UNIT)
    hosts.exec("engine2", "docker kill barewind-engine")
    run = command("pyinfra", INVENTORY, "tasks.gate.engines", "-y", "--limit", "engine2")
    assert run.status == 0
    assert started("engine2", UNIT) != before


def test_an_upgrade_of_the_real_engine_and_the_way_back_lose_no_request(fleet: None, tmp_path: Path) -> None:
    """Another image of it, two hosts, light load."""
    registry.derive("next")
    new = [f"image={topology.ENGINE_IMAGE.rpartition(':')[0]}:next", f"lock_file={tmp_path / 'next.lock.yaml'}"]
    options = [word for one in new for word in ("--data", one)]
    assert command("barewind", "lock", INVENTORY, *options).status == 0
    before = {host: _image(host) for host in ENGINES}
    with under_load(threads=2) as load:
        upgraded = command("pyinfra", INVENTORY, "deploy.py", "-y", *options)
        between = {host: _image(host) for host in ENGINES}
        back = command("pyinfra", INVENTORY, "tasks/rollback.py", "-y", *options)
    assert (upgraded.status, back.status) == (0, 0)
    assert load.failures == []
    assert load.answered >= 20
    assert load.fewest_up >= 1
    assert len(set(between.values())) == 1
    assert not set(between.values()) & set(before.values())
    assert {host: _image(host) for host in ENGINES} == before
    assert deploy().changed == set()


def _image(host: str) -> str:
    return hosts.exec(host, "docker inspect -f '{{.Config.Image}}' barewind-engine").stdout.strip()
