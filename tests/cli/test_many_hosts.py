"""What a rollout costs by the number of hosts and batches, counted; and that their order does not depend on who is in the run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.support.fake_fleet import PYINFRA, Clone, gate, serving
from tests.support.fake_runs import by_host, many, started, up, upgrading

BARRIER = "The batch serves"


@dataclass(frozen=True)
class Operation:
    name: str
    hosts: frozenset[str]


def operations(clone: Clone, *arguments: str) -> list[Operation]:
    """What a run would do, in its order, and on which hosts; those included that would change nothing."""
    done = clone.pyinfra("site.py", *arguments, "--dry", "--json", "--debug-operations")
    assert done.returncode == 0, done.stderr
    return [Operation(one["names"][0], frozenset(one["hosts"])) for one in json.loads(done.stdout)["op_order"]]


def per_host(planned: list[Operation]) -> Counter[str]:
    return Counter(host for one in planned for host in one.hosts)


def batches(planned: list[Operation]) -> list[list[Operation]]:
    """The operations between two barriers, batch by batch."""
    found: list[list[Operation]] = [[]]
    for one in planned[[one.name for one in planned].index("Everything is in place") + 1 :]:
        found[-1].append(one)
        if one.name == BARRIER:
            found.append([])
    return found[:-1]


@pytest.mark.parametrize(("limits", "status"), [((256, 256), 1), ((256, 4096), 0)])
def test_more_hosts_than_files_may_be_open_are_refused_before_anything(
    clone: Clone, limits: tuple[int, int], status: int
) -> None:
    """A soft limit is raised; a hard one that is too low is named with what is needed."""
    clone.inventory(many(90))
    done = subprocess.run(
        ["prlimit", f"--nofile={limits[0]}:{limits[1]}", PYINFRA, "site.py", "deploy.py", "--dry"],
        cwd=clone.path,
        env=clone.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    refused = "91 hosts need 282 open files, and this process may open 256 at most"
    assert (refused in " ".join(done.stderr.split())) is bool(status)
    assert "Traceback" not in done.stderr


_COUNTED = f"""
import atexit, runpy
import pyinfra_cli.main
from pyinfra.api import connectors
asked, entry_points = [], connectors.entry_points
connectors.entry_points = lambda **words: asked.append(words) or entry_points(**words)
atexit.register(lambda: print("looked for connectors:", len(asked)))
runpy.run_path({str(PYINFRA)!r}, run_name="__main__")
"""


def test_what_is_installed_on_this_machine_is_not_asked_for_each_host(clone: Clone) -> None:
    clone.inventory(many(20))
    command = [sys.executable, "-c", _COUNTED, "site.py", "deploy.py", "--dry"]
    done = subprocess.run(
        command, cwd=clone.path, env=clone.environment, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert "looked for connectors: 1" in done.stdout.splitlines()


def test_hosts_that_cannot_be_connected_to_are_told_together(clone: Clone) -> None:
    """Nothing answers at that port of this machine."""
    (clone.path / "known_hosts").touch()
    data = {"ssh_port": 9, "ssh_known_hosts_file": str(clone.path / "known_hosts")}
    clone.inventory(
        many(1)
        + f"""
engines += [
    (f"gpu{{n}}", _data | {data!r} | {{"ssh_hostname": f"127.0.1.{{n}}", "address": f"10.9.0.{{n}}"}}) for n in range(2, 32)
]
"""
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y", every_step=False)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "gpu" in line]
    assert len(told) == 1
    assert "Unable to connect to port 9 on its address" in told[0]
    assert "gpu2 to gpu31 (30 hosts)" in told[0]
    assert "nothing was changed: 30 of 32 hosts cannot be connected to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("task", ["deploy.py", "tasks/restart.py"])
def test_a_host_has_as_much_to_do_in_one_batch_of_sixty_as_in_one_of_six(clone: Clone, task: str) -> None:
    most = {}
    for hosts in (6, 60):
        clone.inventory(many(hosts))
        most[hosts] = per_host(operations(clone, task))
    assert max(most[60].values()) == max(most[6].values())
    assert most[60]["@fake/lb1"] == most[6]["@fake/lb1"]


def test_a_batch_has_its_own_hosts_alone_and_its_barrier_holds_back_the_next(clone: Clone) -> None:
    clone.inventory(many(60, max_unavailable=6))
    planned = batches(operations(clone, "deploy.py"))
    assert len(planned) == 10
    turns = [planned[number][0].hosts for number in range(10)]
    assert [len(hosts) for hosts in turns] == [6] * 10
    assert len(frozenset.union(*turns)) == 60
    for number, steps in enumerate(planned[:-1]):
        *own, barrier = steps
        assert {one.hosts for one in own} == {turns[number]}  # each step is one operation for the whole batch
        assert barrier.hosts == turns[number] | turns[number + 1]
    assert len(planned[-1][-1].hosts) == 61  # what comes after the batches comes after all of them, whoever it is for


def assert_in_order(done: subprocess.CompletedProcess[str], hosts: int) -> None:
    """Every batch is one host, and nothing of it begins before the one before has been undrained."""
    steps = [step for step in started(done) if re.match(r"Rotation \| Batch|Engine|Gate \| Engine|The batch", step)]
    assert steps[-5 * hosts :] == [
        step
        for number in range(1, hosts + 1)
        for step in (
            f"Rotation | Batch {number} of {hosts}: drain",
            "Engine | Unit",
            "Gate | Engine answers",
            f"Rotation | Batch {number} of {hosts}: undrain",
            BARRIER,
        )
    ]


def test_batches_run_one_after_the_other_and_each_step_starts_where_it_belongs(clone: Clone) -> None:
    clone.inventory(many(30))
    planned = operations(clone, "deploy.py")
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert_in_order(done, 30)
    assert "Skipped" not in done.stderr
    turns = re.findall(r"^ +\[(\S+)\] +(?:Success|No changes)$", done.stderr, re.MULTILINE)
    assert Counter(turns) == per_host(planned)


@pytest.mark.parametrize("limit", [("--limit", "engines"), ("--exclude", "@fake/lb1")])
def test_the_order_needs_no_balancer_in_the_run(clone: Clone, limit: tuple[str, ...]) -> None:
    clone.inventory(many(12))
    done = clone.pyinfra("site.py", "deploy.py", "-y", *limit)
    assert done.returncode == 0, done.stderr
    assert_in_order(done, 12)
    assert by_host(done, "@fake/lb1") == []


def test_a_failure_leaves_every_later_batch_untouched(clone: Clone) -> None:
    hosts, failing = [f"@fake/gpu{number}" for number in range(1, 61)], 20
    broken = serving() | {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")}
    engines = [upgrading(number, broken if number == failing else None) for number in range(1, 61)]
    engines = [(name, data | {"address": f"10.1.0.{number}"}) for number, (name, data) in enumerate(engines, 1)]
    clone.inventory(engines=engines, balancers=[up(*hosts)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert started(done)[-1] == "Gate | Engine answers"
    touched = {name for name in hosts if [step for step in by_host(done, name) if step.startswith("Rotation | Batch")]}
    assert touched == set(hosts[:failing])
