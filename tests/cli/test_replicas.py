"""A host with several engines, through the real `pyinfra` command: each takes its turn, and what befalls one is its own."""

from __future__ import annotations

from typing import Any

from barewind.balancer.names import server_name
from tests.support.fake_fleet import Clone, gate, rotation, serving
from tests.support.fake_runs import by_host, rows, up, upgrading

HOST = "@fake/gpu1"
NAMES = [f"{HOST}-{number}" for number in range(4)]
_OUT_OF_MEMORY = {"journalctl -u barewind-engine@1": gate("CUDA out of memory", state="failed")}


def four(**answers: Any) -> dict[str, Any]:
    """What a host answers whose four engines serve an older release; `answers` come first."""
    each = {"state": ["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled"], "release": ["old"]}
    beside = {f"{name}_{number}": lines for number in (1, 2, 3) for name, lines in each.items()}
    units = [f"barewind-engine@{number}.service" for number in range(4)]
    return answers | serving(engine_units=units, **beside)


def test_an_engine_that_fails_leaves_alone_and_its_siblings_serve(clone: Clone) -> None:
    host = upgrading(1, four(**_OUT_OF_MEMORY), replicas=4)
    clone.inventory(engines=[host], balancers=[up(*NAMES)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert [rows(done.stderr)[name][-1] for name in NAMES] == ["done", "failed, drained", "not touched", "not touched"]
    assert f"{NAMES[1]}: reason: out of memory" in done.stderr
    assert "more of its log: journalctl -u barewind-engine@1.service" in done.stderr


def test_an_engine_whose_requests_do_not_end_takes_no_other_with_it(clone: Clone) -> None:
    """What serves already goes on."""
    name, data = up(*NAMES)
    busy = {f"{server_name(NAMES[1])} state drain": rotation("drain", *NAMES, requests=3)}
    balancer = name, data | {"fake_responses": busy | data["fake_responses"]}
    clone.inventory(engines=[upgrading(1, four(), replicas=4, drain_timeout=1)], balancers=[balancer])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--debug")
    assert done.returncode != 0
    assert [rows(done.stderr)[name][-1] for name in NAMES] == ["done", "not touched", "not touched", "not touched"]
    assert f"{NAMES[1]}: " in done.stderr
    assert "raise 'drain_timeout'" in done.stderr


def test_a_restart_goes_engine_by_engine(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1, four(), replicas=4)], balancers=[up(*NAMES)])
    done = clone.pyinfra("site.py", "tasks/restart.py", "-y")
    assert done.returncode == 0, done.stderr
    assert [step for step in by_host(done, HOST) if step.startswith(("Rotation", "Engine"))] == [
        step
        for number in (1, 2, 3, 4)
        for step in (
            f"Rotation | Batch {number} of 4: drain",
            "Engine | Restart",
            f"Rotation | Batch {number} of 4: undrain",
        )
    ]


def test_nobody_drains_the_only_host_by_hand(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1, four(), replicas=4)], balancers=[up(*NAMES)])
    done = clone.pyinfra("site.py", "tasks/drain.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert "would have no server left" in done.stderr
