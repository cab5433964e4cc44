"""The main job: what stands after a deploy, and what the next one changes."""

from __future__ import annotations

from lab import topology
from lab.hosts import hosts
from tests.support.commands import command
from tests.support.lab import ENGINE_UNIT, STANDIN, started

ENGINES = ("engine1", "engine2")


def test_second_run_changes_nothing_and_restarts_nothing(fleet: None) -> None:
    before = [started(host) for host in ENGINES] + [started("lb1", "haproxy.service")]
    run = STANDIN.deploy()
    assert run.status == 0
    assert run.changed == set()
    assert [started(host) for host in ENGINES] + [started("lb1", "haproxy.service")] == before


def test_dry_run_finds_no_change(fleet: None) -> None:
    run = command("pyinfra", "-v", STANDIN.inventory, "deploy.py", "--dry")
    assert run.status == 0
    table = run.output.split("Conditional Change")[1].split("Detected changes may not")[0]
    rows = [line.rsplit(maxsplit=2) for line in table.splitlines() if line.strip()]
    assert len(rows) >= 8
    assert {(change, conditional) for _, change, conditional in rows} == {("-", "-")}


def test_engines_answer_the_balancer_and_nobody_else(fleet: None) -> None:
    url = f"http://{topology.find('engine1').address}:8000/health"
    ask_health = ["curl", "-s", "-o", "/dev/null", "-m", "3", "-w", "%{http_code}", url]
    assert hosts.exec("lb1", ask_health, check=False).stdout == "200"
    assert hosts.exec("engine2", ask_health, check=False).stdout == "000"


def test_an_engine_that_was_stopped_is_named_by_verification_and_started_by_a_deploy(fleet: None) -> None:
    before = started("engine1")
    hosts.exec("engine2", f"systemctl stop {ENGINE_UNIT}")
    verified = STANDIN.verify("-k", "engine")
    run = STANDIN.deploy()
    assert verified.status == 1
    assert (
        "engine2: expected barewind-engine.service active and enabled; found ['inactive', 'enabled']. Next:"
        in verified.output
    )
    assert "engine1: expected" not in verified.output
    assert run.status == 0
    assert run.changed == {"engine2"}
    assert started("engine1") == before


def test_a_killed_engine_comes_back_by_itself(fleet: None) -> None:
    before = started("engine2")
    hosts.exec("engine2", "docker kill barewind-engine")
    run = STANDIN.pyinfra("barewind.tasks.steps.gate.engines", "--limit", "engine2")
    assert run.status == 0
    assert started("engine2") != before
