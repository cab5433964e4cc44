"""Failing, going back, draining on purpose and restarting, through the real `pyinfra` command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict
from typing import Any

from barewind.balancer.names import server_name
from tests.support.fake_fleet import PYINFRA, Clone, balancer, engine, gate, rotation, serving
from tests.support.fake_runs import GPUS, by_host, history, rows, started, up, upgrading
from tests.support.histories import BACK, A, B


def test_a_host_that_fails_leaves_and_what_is_where_is_said(clone: Clone) -> None:
    clone.inventory(
        engines=[upgrading(1), upgrading(2, history(A, A, fails=True)), upgrading(3)], balancers=[up(*GPUS)]
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    said = rows(done.stderr)
    assert said[GPUS[0]][-1] == "done"
    assert said[GPUS[1]][-1].startswith("failed, drained")
    assert said[GPUS[2]][1:] == ["up on @fake/lb1", "not touched"]


def test_the_group_of_a_host_that_fails_goes_back_and_the_run_still_fails(clone: Clone) -> None:
    key = {"on_failure": "rollback_group"}
    clone.inventory(
        engines=[
            upgrading(1, history(A, A), **key),
            upgrading(2, history(A, A, fails=True), **key),
            upgrading(3, history(A, A), **key),
        ],
        balancers=[up(*GPUS)],
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--debug")
    assert done.returncode != 0
    said = rows(done.stderr)
    assert [said[gpu][-1] for gpu in GPUS] == [
        f"done, rolled back to {A}",
        f"failed, rolled back to {A}",
        "not touched",
    ]
    assert "CUDA out of memory" in done.stderr
    assert '"event": "restored"' in done.stderr


def test_ctrl_c_says_what_is_where_and_is_no_success(clone: Clone) -> None:
    loading = serving() | {"journalctl -u barewind-engine": gate("loading", state="activating")}
    clone.inventory(engines=[upgrading(1, loading), upgrading(2)], balancers=[up(*GPUS[:2])])
    command = [PYINFRA, "site.py", "deploy.py", "-y"]
    env = os.environ | {"PYINFRA_FAKE_DELAY": "0", "PYINFRA_FAKE_DELAY_JITTER": "0"}
    with subprocess.Popen(command, cwd=clone.path, env=env, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        while "Starting operation: Engine | Unit" not in (line := run.stderr.readline()):
            assert line, "it ended early"
        while "Starting operation: Gate" not in (line := run.stderr.readline()):
            assert line, "it ended early"
        run.send_signal(signal.SIGINT)
        said = rows(run.stderr.read())
    assert run.returncode == 130
    assert [said[gpu][-1] for gpu in GPUS[:2]] == ["drained", "not touched"]


def test_rollback(clone: Clone) -> None:
    clone.inventory(
        engines=[upgrading(1, history(B, A, B)), upgrading(2, history(B, A, B)), upgrading(3, history(A, A))],
        balancers=[up(*GPUS)],
    )
    done = clone.pyinfra("site.py", "tasks/rollback.py", "-y")
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        assert f"{GPUS[number - 1]}: release {B} -> {A} (rollback)" in done.stderr
        assert by_host(done, GPUS[number - 1]) == [
            "Image | By digest",
            f"Rotation | Batch {number} of 2: drain",
            "History | On record",
            "Engine | Unit",
            "History | It serves",  # its gate has nothing to wait for
            f"Rotation | Batch {number} of 2: undrain",
        ]
    assert f"{GPUS[2]}: left as it is, with {A} already" in done.stderr
    assert by_host(done, GPUS[2]) == []
    assert "the next deploy goes forward again" in done.stderr


def test_a_rollback_to_what_nobody_knows_changes_nothing(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1, history(B, A, B)), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "tasks/rollback.py", "-y", "--data", "release=cccccccccccc")
    assert done.returncode != 0
    assert "nothing was changed\nrelease cccccccccccc: no host of this run has served it" in done.stderr
    assert started(done) == []


def test_drain(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[up(*GPUS[:2])])
    data = ("--data", "reason=new memory")
    done = clone.pyinfra("site.py", "tasks/drain.py", "-y", "--limit", GPUS[0], *data, "--debug")
    assert done.returncode == 0, done.stderr
    assert by_host(done, GPUS[0]) == ["Rotation | Maintenance begins", "Rotation | Drain"]
    assert "new memory" in done.stderr
    assert f"set server engines/{server_name(GPUS[0])} state drain" in done.stderr


def test_a_drain_that_would_leave_nobody_is_refused(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "tasks/drain.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed\n@fake/lb1: sends requests to" in done.stderr
    assert started(done) == []


DRAINED = ['{"at": "2026-11-22T09:00:00Z", "by": "ann@ws1", "why": "memory"}']


def out(*names: str) -> tuple[str, dict[str, Any]]:
    """A balancer on which gpu2 is drained."""
    name, data = balancer()
    drained = [
        line.replace(f"{server_name(GPUS[1])} 2 0", f"{server_name(GPUS[1])} 2 8") for line in rotation("ready", *names)
    ]
    answers = {"state drain": rotation("drain", *names), "state ready": rotation("ready", *names), "show proc": drained}
    return name, data | {"fake_responses": data["fake_responses"] | answers}


def test_a_deploy_upgrades_what_is_drained_on_purpose_lists_it_and_leaves_it_there(clone: Clone) -> None:
    marked = serving("old", drained=DRAINED)
    clone.inventory(
        engines=[upgrading(n, marked if n == 2 else None, max_unavailable=2) for n in (1, 2, 3)], balancers=[out(*GPUS)]
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert f"in maintenance: {GPUS[1]} (by ann@ws1 since 2026-11-22T09:00:00Z: memory)" in done.stderr
    assert "Engine | Unit" in by_host(done, GPUS[1])
    assert not [step for step in by_host(done, GPUS[1]) if ": undrain" in step]
    assert [step for step in by_host(done, GPUS[0]) if ": undrain" in step]


def test_a_balancer_that_is_new_is_told_what_is_drained_on_purpose(clone: Clone) -> None:
    clone.inventory(
        engines=[upgrading(1), upgrading(2, serving("old", drained=DRAINED), max_unavailable=2)], balancers=[balancer()]
    )
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    steps = started(done)
    assert steps.index("Balancer | HAProxy") < steps.index("Rotation | Drain, for its maintenance")
    assert by_host(done, GPUS[1])[-1] == "Rotation | Drain, for its maintenance"
    assert "Rotation | Drain, for its maintenance" not in by_host(done, GPUS[0])


def test_undrain_and_restart(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1)])
    dry = clone.pyinfra("site.py", "deploy.py", "--dry")
    release = next(line.rsplit(" ", 1)[1] for line in dry.stderr.splitlines() if "release old -> " in line)
    engines = [
        engine(n, serving(release, drained=DRAINED if n == 2 else []), accelerator_drivers="external") for n in (1, 2)
    ]

    clone.inventory(engines=engines, balancers=[out(*GPUS[:2])])
    done = clone.pyinfra("site.py", "tasks/undrain.py", "-y")
    assert done.returncode == 0, done.stderr
    assert by_host(done, GPUS[0]) == []
    assert by_host(done, GPUS[1]) == [
        "Gate | Engine answers",
        "History | It serves",
        "Rotation | Undrain",
        "Rotation | Maintenance ends",
    ]

    clone.inventory(engines=[engines[0], upgrading(2, serving(release))], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "tasks/restart.py", "-y")
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        assert by_host(done, GPUS[number - 1]) == [
            f"Rotation | Batch {number} of 2: drain",
            "Engine | Restart",
            "Gate | Engine answers",
            "History | It serves",
            f"Rotation | Batch {number} of 2: undrain",
        ]


def test_undrain_and_restart_go_by_what_runs(clone: Clone) -> None:
    """After a rollback the plan says otherwise, and is not asked."""
    rolled_back = history(A, B, A)
    clone.inventory(
        engines=[upgrading(1, rolled_back), upgrading(2, rolled_back | serving(A, drained=DRAINED))],
        balancers=[out(*GPUS[:2])],
    )
    done = clone.pyinfra("site.py", "tasks/undrain.py", "-y")
    assert done.returncode == 0, done.stderr
    assert by_host(done, GPUS[1])[-1] == "Rotation | Maintenance ends"

    clone.inventory(engines=[upgrading(n, rolled_back) for n in (1, 2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "tasks/restart.py", "-y")
    assert done.returncode == 0, done.stderr
    assert [by_host(done, gpu).count("Engine | Restart") for gpu in GPUS[:2]] == [1, 1]


def test_what_has_no_engine_is_not_restarted(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), engine(2, accelerator_drivers="external")], balancers=[up(GPUS[0])])
    done = clone.pyinfra("site.py", "tasks/restart.py", "-y")
    assert done.returncode != 0
    assert f"nothing was changed\n{GPUS[1]}: no engine runs; deploy first" in done.stderr
    assert started(done) == []


def test_a_rollback_goes_on_past_the_gate_of_what_runs(clone: Clone) -> None:
    """It was killed when gpu2 had begun the earlier release and not yet returned; the gate of the plan asks for another model."""
    killed = history(A, A, B, fails=True)
    told = killed["echo @@barewind:records"]
    told.insert(told.index("@@barewind:state"), json.dumps(asdict(BACK[0])))
    answers = [history(B, A, B), killed, history(A, A)]
    clone.inventory(
        # two may be out: this balancer says for ever that gpu2 is
        engines=[upgrading(number, one, max_unavailable=2) for number, one in enumerate(answers, 1)],
        balancers=[out(*GPUS)],
    )
    done = clone.pyinfra("site.py", "tasks/rollback.py", "-y")
    assert done.returncode == 0, done.stderr
    assert f"{GPUS[1]}: gets no requests" in done.stderr
    assert by_host(done, GPUS[1]) == [
        "Rotation | Batch 1 of 2: drain",
        "History | It serves",
        "Rotation | Batch 1 of 2: undrain",
    ]
    assert f"{GPUS[0]}: release {B} -> {A} (rollback)" in done.stderr
    assert by_host(done, GPUS[0])[-1] == "Rotation | Batch 2 of 2: undrain"
    assert by_host(done, GPUS[2]) == []
