"""What a person sees of a run of the real `pyinfra` command: lines per host, what is whole, readers that go away."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.fake_fleet import PYINFRA, Clone, gate, serving
from tests.support.fake_runs import GPUS, up, upgrading

_FIXED = 45  # lines of a run that have nothing to do with how many hosts there are


def fleet(clone: Clone, number: int, **data: object) -> None:
    engines = [upgrading(n, address=f"10.0.1.{n}", **data) for n in range(1, number + 1)]
    clone.inventory(engines=engines, balancers=[up(*[name for name, _ in engines])])


@pytest.mark.parametrize("number", [10, 30])
def test_lines_per_host(clone: Clone, number: int) -> None:
    fleet(clone, number)
    done = clone.pyinfra("site.py", "deploy.py", "-y", every_step=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) <= _FIXED + 17 * number
    assert len(lines) <= 25 * number
    assert f"    {number + 1} hosts connected" in lines
    assert "Skipped" not in done.stderr
    assert [line for line in lines if line.startswith("    [@fake/gpu7] Success: Rotation | drain; ")]

    assert f"    Engine | Unit: {number} changed" in lines
    assert "    Balancer | HAProxy: 1 changed" in lines

    dry = clone.pyinfra("site.py", "deploy.py", "--dry")
    assert len(dry.stderr.splitlines()) <= _FIXED + 3 * number
    hosts = f"@fake/gpu1 to @fake/gpu{number}"
    assert f"    Engine | Unit: {number} hosts: {hosts}" in dry.stderr.splitlines()


def test_notes_that_many_hosts_share_are_one_line(clone: Clone) -> None:
    answers = serving(services=["30080 kubelet"])
    engines = [upgrading(n, answers, address=f"10.0.1.{n}") for n in range(1, 31)]
    clone.inventory(engines=engines, balancers=[up(*[name for name, _ in engines])])
    notes = [line for line in clone.pyinfra("site.py", "deploy.py", "--dry").stderr.splitlines() if "30080" in line]
    assert [line.partition(" is closed")[0] for line in notes] == [
        "--> @fake/gpu1 to @fake/gpu30 (30 hosts): port 30080 (kubelet)"
    ]


def test_a_failure_is_whole_and_names_its_step(clone: Clone) -> None:
    broken = serving() | {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")}
    clone.inventory(engines=[upgrading(1, broken), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "-y", every_step=False)
    assert done.returncode == 1
    after = done.stderr.partition("--> Starting operation: Gate | Engine answers")[2]
    for text in ("CUDA out of memory", "does not pass its gate", "journalctl -u barewind-engine", "What is where"):
        assert text in after


def test_v_and_json_are_pyinfras_own(clone: Clone) -> None:
    fleet(clone, 2)
    verbose = clone.pyinfra("site.py", "deploy.py", "-y").stderr
    assert "[@fake/gpu1] Connected" in verbose
    assert "noop: " in verbose
    answer = clone.pyinfra("site.py", "deploy.py", "-y", "--json", every_step=False)
    assert json.loads(answer.stdout)["results"]["failed_hosts"] == []


def test_who_reads_may_go_away(clone: Clone) -> None:
    """The run goes on to its end: the lease is released, which is the last thing that it does."""
    fleet(clone, 3)
    read, write = os.pipe()
    with subprocess.Popen(
        [PYINFRA, "site.py", "deploy.py", "-y"], cwd=clone.path, env=clone.environment, stdout=write, stderr=write
    ) as run:
        os.close(write)
        os.read(read, 10)
        os.close(read)
        assert run.wait(60) == 0
    assert not list(clone.path.glob("pyinfra-debug.log"))
