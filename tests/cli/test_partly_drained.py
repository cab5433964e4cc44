"""Hosts that one balancer keeps out and another does not, through the real `pyinfra` command."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.balancer.names import server_name
from tests.support.fake_fleet import Clone, balancer, engine, rotation, serving
from tests.support.fake_runs import GPUS, by_host, started

MARK = ['{"at": "2026-11-22T09:00:00Z", "by": "ann@ws1", "why": "memory"}']


def fresh(number: int) -> tuple[str, dict[str, Any]]:
    """A balancer whose HAProxy does not run."""
    _, data = balancer()
    return f"@fake/lb{number}", data | {"address": f"10.0.1.{number}"}


def running(number: int, *names: str, out: str = "") -> tuple[str, dict[str, Any]]:
    """A balancer that sends requests to hosts, and keeps one of them out."""
    name, data = fresh(number)
    now = [line.replace(f" {server_name(out)} 2 0 ", f" {server_name(out)} 2 8 ") for line in rotation("ready", *names)]
    answers = {"state drain": rotation("drain", *names), "state ready": rotation("ready", *names), "show proc": now}
    return name, data | {"fake_responses": data["fake_responses"] | answers}


@pytest.fixture
def release(clone: Clone) -> str:
    """The release that is planned."""
    clone.inventory(engines=[engine(1, serving(), accelerator_drivers="external")])
    dry = clone.pyinfra("site.py", "deploy.py", "--dry")
    return next(line.rsplit(" ", 1)[1] for line in dry.stderr.splitlines() if "release old -> " in line)


def fleet(release: str, *marked: int) -> list[tuple[str, dict[str, Any]]]:
    """Hosts that serve what is planned."""
    return [
        engine(n, serving(release, drained=MARK if n in marked else []), accelerator_drivers="external")
        for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("task", ["deploy.py", "tasks/undrain.py"])
def test_a_host_that_one_balancer_keeps_out_returns_there_without_leaving_the_others(
    clone: Clone, release: str, task: str
) -> None:
    clone.inventory(engines=fleet(release), balancers=[running(1, *GPUS), running(2, *GPUS, out=GPUS[0])])
    done = clone.pyinfra("site.py", task, "-y", "--debug")
    assert done.returncode == 0, done.stderr
    steps = by_host(done, GPUS[0])
    assert [step for step in steps if "| Undrain" in step]
    assert not [step for step in started(done) if ": drain" in step]
    assert not [step for step in by_host(done, GPUS[1]) if "| Undrain" in step]
    if task == "deploy.py":
        assert f"{GPUS[0]}: drained on @fake/lb2; is undrained there when it has passed its gate" in done.stderr


def test_it_returns_after_the_batches_though_it_is_in_none(clone: Clone, release: str) -> None:
    old = [engine(n, serving(), accelerator_drivers="external") for n in (1, 2)]
    clone.inventory(engines=[*old, fleet(release)[2]], balancers=[running(1, *GPUS), running(2, *GPUS, out=GPUS[2])])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert "Rotation | Undrain on every balancer" in by_host(done, GPUS[2])
    steps = started(done)
    assert steps.index("Rotation | Undrain on every balancer") > steps.index("Rotation | Batch 2 of 2: undrain")
    assert not [step for step in by_host(done, GPUS[2]) if step.startswith("Rotation | Batch")]


def test_a_balancer_that_has_forgotten_is_told_again_what_is_drained_on_purpose(clone: Clone, release: str) -> None:
    clone.inventory(engines=fleet(release, 2), balancers=[running(1, *GPUS, out=GPUS[1]), running(2, *GPUS)])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--debug")
    assert done.returncode == 0, done.stderr
    assert by_host(done, GPUS[1])[-1] == "Rotation | Drain, for its maintenance"
    assert f"set server engines/{server_name(GPUS[1])} state ready" not in done.stderr


def test_a_fresh_balancer_is_not_deployed_without_the_hosts_that_others_keep_out(clone: Clone, release: str) -> None:
    clone.inventory(engines=fleet(release, 2), balancers=[running(1, *GPUS, out=GPUS[1]), fresh(2)])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--limit", "@fake/lb2")
    assert done.returncode != 0
    said = f"nothing was changed\n@fake/lb2: would send requests to {GPUS[1]}, which is drained on @fake/lb1"
    assert said in done.stderr
    assert started(done) == []
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--limit", "@fake/lb2", "--limit", GPUS[1])
    assert by_host(done, GPUS[1])[-1] == "Rotation | Drain, for its maintenance"
