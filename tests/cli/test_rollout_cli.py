"""Rolling through the real `pyinfra` command: order of batches, what happens when a host fails, who is told."""

from __future__ import annotations

import json
from typing import Any

from barewind.balancer.names import server_name
from tests.support.fake_fleet import Clone, balancer, gate, rotation, sections, serving
from tests.support.fake_runs import GPUS, by_host, started, up, upgrading
from tests.support.histories import A


def test_hosts_that_serve_are_upgraded_one_after_the_other(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2), upgrading(3)], balancers=[up(*GPUS)])

    done = clone.pyinfra("site.py", "deploy.py", "-y")

    assert done.returncode == 0, done.stderr
    steps = started(done)
    assert steps[steps.index("Everything is in place") :] == [
        "Everything is in place",
        *(
            step
            for number in (1, 2, 3)
            for step in (
                "Weights | Read ahead",  # while it still serves
                f"Rotation | Batch {number} of 3: drain",
                "Docker | Engine",
                "Compile cache | Of a host that has compiled it",
                "History | On record",
                "Engine | Unit",
                "Gate | Engine answers",
                "History | Phases of its start",
                "Compile cache | Packed for other hosts",
                "History | It serves",
                f"Rotation | Batch {number} of 3: undrain",
                "The batch serves",
            )
        ),
        "Balancer | HAProxy",
        "Image | Of earlier releases",
        *[step for step in steps if step.startswith("Gate | Endpoint")],
    ]
    for number, gpu in enumerate(GPUS, 1):
        assert f"Rotation | Batch {number} of 3: drain" in by_host(done, gpu)


def test_weights_are_read_ahead_before_the_drain_and_the_start_is_said(clone: Clone) -> None:
    pages = sections(
        files=["1073741824"],
        resident=["/usr/bin/fincore", "0"],
        memory=["MemTotal 1048576000", "MemAvailable 943718400"],
        system=["ext2/ext3"],
    )
    log = [
        "1764493050.0 gpu1 docker[7]: (APIServer pid=1) INFO 11-30 09:01:26 [api_utils.py:347]",
        "1764493080.0 gpu1 docker[7]: (Worker pid=30) INFO [default_loader.py:501] Loading weights took 25.0 seconds",
        "1764493100.0 gpu1 docker[7]: (APIServer pid=1) INFO:     Application startup complete.",
    ]
    before = {"at": "2025-11-30T08:00:00Z", "release": A, "event": "measured", "by": "ann@ws1"}
    start = sections(
        at=["1764493043.0"],
        begin=log[:1],
        phases=log[1:],
        events=[json.dumps(before | {"phases": {"weights": 5.0, "ready": 20.0}})],
    )
    answers = serving() | {"fincore": pages, "_SYSTEMD_INVOCATION_ID": start}
    clone.inventory(engines=[upgrading(1, answers), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    steps = by_host(done, GPUS[0])
    own = [steps.index(step) for step in ("Weights | Read ahead", "Rotation | Batch 1 of 2: drain", "Engine | Unit")]
    assert own == sorted(own)
    assert "Weights | Read ahead" not in by_host(done, GPUS[1])  # there is nothing to read
    assert "start: 57 s: first line 7.0 s, weights 25 s" in done.stderr
    assert (
        "the start took 57 s to be ready, the start before it 20 s: weights grew most, from 5.0 s to 25 s"
        in " ".join(done.stderr.split())
    )


def test_downloads_come_before_any_host_leaves(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[up(*GPUS[:2])])
    steps = started(clone.pyinfra("site.py", "deploy.py", "-y"))
    leave = steps.index("Rotation | Batch 1 of 2: drain")
    assert max(steps.index("Image | By digest"), steps.index("Weights | Of model and draft")) < leave


def test_a_share_of_the_group_goes_at_once(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(n, max_unavailable="67%") for n in (1, 2, 3)], balancers=[up(*GPUS)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert by_host(done, GPUS[0])[-4:] == by_host(done, GPUS[1])[-4:]
    assert "Rotation | Batch 2 of 2: drain" in by_host(done, GPUS[2])


def test_a_canary_goes_alone_and_is_watched_before_the_others_leave(clone: Clone) -> None:
    name, data = up(*GPUS)
    counters = ["# pxname,svname,stot,hrsp_5xx,econ,eresp", *(f"engines,{gpu},9,0,0,0" for gpu in GPUS)]
    data["fake_responses"] |= {"/run/haproxy/barewind.sock": counters}
    watched = {"systemctl show -p ActiveState -p NRestarts": ["ActiveState=active", "NRestarts=0"]}
    engines = [upgrading(n, serving() | watched, max_unavailable=2, canary=1) for n in (1, 2, 3)]
    clone.inventory(engines=engines, balancers=[(name, data)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert f"canary: {GPUS[0]}, 1 s under real traffic before the next" in done.stderr
    steps = started(done)
    at = steps.index("Rotation | Batch 1 of 2: canary")
    assert steps[at - 1 : at + 3] == [
        "Rotation | Batch 1 of 2: undrain",
        "Rotation | Batch 1 of 2: canary",
        "Gate | Engine answers",
        "The batch serves",
    ]
    assert "0 of 0 requests failed" in done.stderr
    for gpu in GPUS[1:]:
        assert "Rotation | Batch 2 of 2: drain" in by_host(done, gpu)


def test_the_first_host_that_fails_stops_the_run_and_the_others_are_not_touched(clone: Clone) -> None:
    broken = serving() | {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")}
    clone.inventory(engines=[upgrading(1, broken), upgrading(2), upgrading(3)], balancers=[up(*GPUS)])

    done = clone.pyinfra("site.py", "deploy.py", "-y", "--fail-percent", "90")

    assert done.returncode != 0
    assert started(done)[-1] == "Gate | Engine answers"
    assert "CUDA out of memory" in done.stderr
    for gpu in GPUS[1:]:
        assert not [step for step in by_host(done, gpu) if step.startswith(("Rotation", "Engine"))]


def test_what_is_about_to_happen_is_said_before_it_does(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "--dry")
    assert "batch 1 of 2, drained first:" in done.stderr
    assert f"{GPUS[0]}: release old -> " in done.stderr


def test_the_only_host_needs_a_word(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1)], balancers=[up(GPUS[0])])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert "allow_downtime = True" in done.stderr
    assert started(done) == []

    clone.inventory(engines=[upgrading(1, allow_downtime=True)], balancers=[up(GPUS[0])])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr


def test_balancers_outside_the_limit_are_told_too(clone: Clone) -> None:
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--limit", GPUS[0], "--debug")
    assert done.returncode == 0, done.stderr
    assert f"set server engines/{server_name(GPUS[0])} state drain" in done.stderr
    assert f"set server engines/{server_name(GPUS[0])} state ready" in done.stderr


def test_a_balancer_that_does_not_answer_stops_the_run_before_anything_changes(clone: Clone) -> None:
    name, data = up(*GPUS[:2])
    data["fake_responses"]["show proc"] = {"success": False, "stderr": "sudo: a password is required"}
    clone.inventory(engines=[upgrading(1), upgrading(2)], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert "the balancer does not answer (sudo: a password is required)" in done.stderr
    assert started(done) == []


def test_a_host_left_out_of_rotation_by_an_earlier_run_returns(clone: Clone) -> None:
    release = _release(clone)
    clone.inventory(engines=[upgrading(1, serving(release)), upgrading(2, serving(release))])
    name, data = balancer()
    data["fake_responses"]["show proc"] = [
        line.replace(f"{server_name(GPUS[1])} 2 0", f"{server_name(GPUS[1])} 2 8")
        for line in rotation("ready", *GPUS[:2])
    ]
    data["fake_responses"]["state ready"] = rotation("ready", *GPUS[:2])
    clone.inventory(engines=[upgrading(1, serving(release)), upgrading(2, serving(release))], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 0, done.stderr
    assert f"{GPUS[1]}: gets no requests" in done.stderr
    assert "Rotation | Batch 1 of 1: undrain" in by_host(done, GPUS[1])
    assert not [step for step in by_host(done, GPUS[0]) if step.startswith("Rotation")]


def _release(clone: Clone) -> str:
    clone.inventory(engines=[upgrading(1)])
    done = clone.pyinfra("site.py", "deploy.py", "--dry")
    return next(line.rsplit(" ", 1)[1] for line in done.stderr.splitlines() if "release old -> " in line)


def test_a_run_with_nothing_to_do_has_no_batches(clone: Clone) -> None:
    release = _release(clone)
    clone.inventory(engines=[upgrading(n, serving(release)) for n in (1, 2, 3)], balancers=[up(*GPUS)])
    done = clone.pyinfra("site.py", "deploy.py", "--dry", "--json")
    assert done.returncode == 0, done.stderr
    assert not [one["name"] for one in json.loads(done.stdout)["plan"] if one["name"].startswith("Rotation")]


def test_a_host_whose_engine_is_stopped_does_not_serve_whatever_the_balancer_believes(clone: Clone) -> None:
    stopped = serving("old", state=["ActiveState=inactive", "NeedDaemonReload=no", "UnitFileState=enabled"])
    clone.inventory(engines=[upgrading(1, stopped), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "--dry")
    assert "batch 1 of 2, no requests to wait for:\n" in done.stderr
    assert f"{GPUS[0]}: release none -> " in done.stderr


def test_other_accelerators_are_told_and_their_engine_is_drained_and_started_on_them(clone: Clone) -> None:
    def host(number: int, release: str) -> tuple[str, dict[str, Any]]:
        answers = serving(
            release,
            engine_units=["barewind-engine.service"],
            cards=[f"/run/barewind/engine-part @fake/gpu{number} 0 1 8000 8 0,1,2,3"],
        )
        return upgrading(number, answers, accelerators=[0, 1, 2, 3] if number > 1 else [4, 5, 6, 7])

    clone.inventory(engines=[host(1, "old")])
    dry = clone.pyinfra("site.py", "deploy.py", "--dry")
    planned = next(line.rsplit(" ", 1)[1].rstrip(",") for line in dry.stderr.splitlines() if "release old -> " in line)
    assert f"@fake/gpu1: accelerators 0,1,2,3 -> 4,5,6,7, release old -> {planned}" in dry.stderr

    clone.inventory(engines=[host(1, planned), host(2, planned)], balancers=[up(*GPUS[:2])])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--debug")
    assert done.returncode == 0, done.stderr
    assert "@fake/gpu1: accelerators 0,1,2,3 -> 4,5,6,7\n" in done.stderr
    steps = by_host(done, GPUS[0])
    turn = [step for step in steps if step.startswith(("Rotation", "Engine | Former"))]
    assert turn == ["Rotation | Batch 1 of 1: drain", "Engine | Former engines", "Rotation | Batch 1 of 1: undrain"]
    assert "systemctl stop barewind-engine.service" in done.stderr
    assert "systemctl disable" not in done.stderr
    assert "Rotation | Batch 1 of 1: drain" not in by_host(done, GPUS[1])
