"""A tuning of the real vLLM on a drained host: candidates, a proposal, and the way back, also where it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab import wait
from lab.hosts import hosts
from tests.support.commands import BackgroundRun, answer
from tests.support.lab import LAB, plans, runs_as_planned, started

pytestmark = pytest.mark.full  # each candidate is a start of vLLM on two cores, and three rungs

HOST = "engine1"
SMALL = ("--replica", HOST, "--ladder", "1,2,4", "--input", "64", "--output", "16", "--requests", "4")
DROP_INS = "ls /run/systemd/system/barewind-engine.service.d/ 2> /dev/null"
RELEASE = "docker inspect -f '{{index .Config.Labels \"barewind.release\"}}' barewind-engine"


def serves_as_before() -> None:
    """The engine has the unit of its release, and nothing is left of a tuning."""
    assert hosts.exec(HOST, DROP_INS, check=False).stdout == ""
    assert hosts.exec(HOST, "systemctl is-active barewind-tune", check=False).stdout.strip() == "inactive"
    assert hosts.exec(HOST, "docker ps -a --format '{{.Names}}'").stdout.split() == ["barewind-engine"]
    runs_as_planned(LAB, HOST)
    assert LAB.barewind("lease").status == 0


def test_a_host_that_nobody_has_drained_is_refused(fleet: tuple[str, ...]) -> None:
    before = started(HOST)
    run = LAB.barewind("tune", *SMALL)
    assert run.status == 1
    assert f"drain it first: pyinfra INVENTORY tasks/drain.py --limit {HOST}" in run.output
    assert started(HOST) == before


def test_candidates_are_started_and_measured_and_a_diff_is_proposed(drained: None, tmp_path: Path) -> None:
    file = tmp_path / "tuned.patch"
    done = answer("barewind", "tune", LAB.inventory, *SMALL, "--candidates", "3", "--json", "--diff", str(file))
    assert done.returncode == 0, done.stderr
    tuning: dict[str, Any] = json.loads(done.stdout)
    names = [attempt["name"] for attempt in tuning["attempts"]]
    assert names == ["as planned", "without draft", "max_num_batched_tokens 4096"]
    assert [attempt["failed"] for attempt in tuning["attempts"]] == [None] * 3
    assert all(len(attempt["bench"]["rungs"]) >= 2 for attempt in tuning["attempts"])
    assert len({attempt["release"] for attempt in tuning["attempts"]}) == 3
    assert tuning["no_constants"].startswith("nothing is known of how fast cpu is")
    best = next(attempt for attempt in tuning["attempts"] if attempt["name"] == tuning["best"])
    if best["changes"] == {"speculative": False}:
        assert "+speculative = False" in file.read_text()
    assert f"{HOST}: serves release {plans(LAB)[HOST]['release']} again" in done.stderr
    serves_as_before()


def tried() -> BackgroundRun:
    """A tuning whose second candidate, the first other than what is planned, has been started."""
    one = ("--replica", HOST, "--ladder", "1", "--input", "16", "--output", "4", "--requests", "1", "--candidates", "2")
    run = BackgroundRun("barewind", "tune", LAB.inventory, *one)
    assert run.prints("candidate 2 of 2", 300)
    planned = plans(LAB)[HOST]["release"]
    wait.until(
        lambda: hosts.exec(HOST, RELEASE, check=False).stdout.strip() not in ("", planned), 120, "it does not start"
    )
    return run


def test_one_that_is_interrupted_puts_the_engine_back(drained: None) -> None:
    run = tried().interrupt()
    assert run.status == 1
    assert f"{HOST}: serves release {plans(LAB)[HOST]['release']} again" in run.output
    serves_as_before()


def test_the_host_puts_the_engine_back_where_the_controller_is_gone(drained: None) -> None:
    tried().kill()
    wait.until(lambda: hosts.exec(HOST, DROP_INS, check=False).stdout == "", 200, "it is not put back")
    planned = plans(LAB)[HOST]["release"]
    wait.until(lambda: hosts.exec(HOST, RELEASE, check=False).stdout.strip() == planned, 120, "it does not start")
    assert LAB.barewind("lease", "release", "--yes").status in (0, 1)
    serves_as_before()
