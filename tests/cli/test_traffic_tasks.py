"""Blue/green through the real `pyinfra` command: who is upgraded, who gets requests, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from barewind.balancer.names import server_name
from tests.support.fake_fleet import LEASE, Clone, balancer, engine, gate, rotation, sections, serving
from tests.support.fake_runs import by_host, started
from tests.support.histories import A, record

BLUE, GREEN = "@fake/gpu1", ["@fake/gpu2", "@fake/gpu3"]
EVERY = [BLUE, *GREEN]
TO = ("--data", "to=green")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The release that every host shall run."""
    clone = Clone(tmp_path_factory.mktemp("planned"))
    clone.inventory(engines=[host(1, "old")])
    dry = clone.pyinfra("site.py", "deploy.py", "--dry")
    return next(line.rsplit(" ", 1)[1] for line in dry.stderr.splitlines() if "release old -> " in line)


def host(number: int, release: str, answers: dict[str, Any] | None = None, **data: Any) -> tuple[str, dict[str, Any]]:
    own = answers or {}
    return engine(number, own | serving(release) | own, accelerator_drivers="external", **data)


def weighing(before: dict[str, int], *after: dict[str, int], **more: Any) -> tuple[str, dict[str, Any]]:
    """A balancer: what it answers at first, and once it was told certain weights."""
    name, data = balancer()
    told = {
        f"set server engines/{server_name(GREEN[0])} weight {weights[GREEN[0]]}": rotation(
            "ready", *EVERY, weights=weights
        )
        for weights in after
    }
    counters = ["# pxname,svname,stot,econ,eresp,hrsp_5xx,", *(f"engines,{one},9,0,0,0," for one in EVERY)]
    answers = {"UNIX-CONNECT:/run/haproxy/barewind.sock": counters} | {
        "state drain": rotation("drain", *EVERY, weights=before),
        "state ready": rotation("ready", *EVERY, weights=before),
        "show proc": rotation("ready", *EVERY, weights=before, **more),
    }
    return name, data | {"fake_responses": told | data["fake_responses"] | answers}


STANDBY = dict.fromkeys(GREEN, 0) | {BLUE: 100}
MOVED = {BLUE: 0} | dict.fromkeys(GREEN, 100)


def test_hosts_that_stand_by_are_upgraded_at_once_while_the_others_serve(clone: Clone) -> None:
    clone.inventory(
        blue=[host(1, "old")], green=[host(n, "old", standby=True) for n in (2, 3)], balancers=[weighing(STANDBY)]
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--limit", "green", "--limit", "balancers")
    assert done.returncode == 0, done.stderr
    assert "stand by, as their weight is 0: @fake/gpu2, @fake/gpu3" in done.stderr
    for name in GREEN:
        assert "Rotation | Batch 1 of 1: undrain" in by_host(done, name)
    assert by_host(done, BLUE) == []


def test_a_host_that_stands_by_has_no_reason_to_be_touched(clone: Clone, planned: str) -> None:
    clone.inventory(engines=[host(n, planned) for n in (1, 2, 3)], balancers=[weighing(STANDBY)])
    done = clone.pyinfra("site.py", "deploy.py", "--dry")
    assert done.returncode == 0, done.stderr
    assert "no host has to be taken out of service" in done.stderr


def test_traffic_moves_in_steps_past_the_gate(clone: Clone, planned: str) -> None:
    steps = [dict.fromkeys(GREEN, 50) | {BLUE: 100}, dict.fromkeys(GREEN, 100) | {BLUE: 0}]
    clone.inventory(
        blue=[host(1, planned)],
        green=[host(n, planned, standby=True) for n in (2, 3)],
        balancers=[weighing(STANDBY, *steps)],
    )
    wanted = (*TO, "--data", "share=50,100", "--data", "step_seconds=1")
    dry = clone.pyinfra("site.py", "tasks/traffic.py", "--dry", *wanted)
    assert dry.returncode == 0, dry.stderr
    assert "step 1 of 2: 50 % to green; weights: @fake/gpu2 50, @fake/gpu3 50, @fake/gpu1 100" in dry.stderr
    assert "step 2 of 2: 100 % to green; weights: @fake/gpu2 100, @fake/gpu3 100, @fake/gpu1 0" in dry.stderr

    done = clone.pyinfra("site.py", "tasks/traffic.py", "-y", *wanted, "--debug")
    assert done.returncode == 0, done.stderr
    shown = started(done)
    assert [step for step in shown if "Endpoint" not in step] == [
        "Gate | Engine answers",
        "Every host of the group answers",
        "Traffic | To green",
    ]
    assert by_host(done, GREEN[0])[-1] == "Traffic | To green"
    told = re.findall(r"set server engines/(\S+) weight (\d+)", done.stderr)
    blue = server_name(BLUE)
    assert told.index((blue, "100")) < told.index((blue, "0"))
    assert LEASE["take"] in done.stderr


def test_weights_that_are_there_are_left_alone(clone: Clone, planned: str) -> None:
    clone.inventory(
        blue=[host(1, planned)], green=[host(n, planned, standby=True) for n in (2, 3)], balancers=[weighing(MOVED)]
    )
    done = clone.pyinfra("site.py", "tasks/traffic.py", "-y", *TO, "--debug")
    assert done.returncode == 0, done.stderr
    assert "every balancer has these weights already" in done.stderr
    assert "@fake/lb1: 100 % to green (@fake/gpu2, @fake/gpu3)" in done.stderr
    assert "set server" not in done.stderr


def test_the_way_back_goes_by_the_record_of_what_runs_there(clone: Clone, planned: str) -> None:
    told = sections(records=[json.dumps(asdict(record(A)))], events=[], state=["ActiveState=active"], release=[A])
    back = {BLUE: 100} | dict.fromkeys(GREEN, 0)
    old = host(1, A, {'"model": "m"': gate(model="m"), "echo @@barewind:records": told})
    clone.inventory(
        blue=[old], green=[host(n, planned, standby=True) for n in (2, 3)], balancers=[weighing(MOVED, back)]
    )
    done = clone.pyinfra("site.py", "tasks/traffic.py", "-y", "--data", "to=blue", "--limit", "blue", "--debug")
    assert done.returncode == 0, done.stderr
    assert f"set server engines/{server_name(BLUE)} weight 100" in done.stderr
    assert '"model": "m"' in done.stderr  # asked by its record


def test_a_gate_that_fails_moves_nothing(clone: Clone, planned: str) -> None:
    bad = host(2, planned, {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")})
    clone.inventory(blue=[host(1, planned)], green=[bad, host(3, planned)], balancers=[weighing(STANDBY)])
    done = clone.pyinfra("site.py", "tasks/traffic.py", "-y", *TO, "--debug")
    assert done.returncode != 0
    assert "CUDA out of memory" in done.stderr
    assert "@fake/lb1: 100 % to" not in done.stderr
    assert "@fake/lb1: 0 % to green (@fake/gpu2, @fake/gpu3), 100 % to @fake/gpu1" in done.stderr
    assert "set server" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "to=gren"), "key 'to': no engine host is in group 'gren' (groups with engine hosts: "),
        (TO, "@fake/gpu3: @fake/lb1 does not know it; deploy first"),
    ],
)
def test_what_is_refused(clone: Clone, arguments: tuple[str, ...], said: str) -> None:
    name, lb = balancer()
    lb["fake_responses"]["show proc"] = rotation("ready", *EVERY[:2])
    clone.inventory(blue=[host(1, "old")], green=[host(2, "old"), host(3, "old")], balancers=[(name, lb)])
    done = clone.pyinfra("site.py", "tasks/traffic.py", "--dry", *arguments)
    assert done.returncode != 0
    assert f"nothing was changed\n{said}" in done.stderr
