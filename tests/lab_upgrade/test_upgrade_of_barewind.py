"""Barewind itself is upgraded: a fleet that an older one has deployed to moves over host by host, and its history with it.

By the command line alone, as a user does it: the older Barewind and this one share the inventory and the lock file, nothing else.
"""

from __future__ import annotations

import json
import runpy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support import older_barewind
from tests.support.commands import ROOT, Run, Site, answer, data
from tests.support.lab import LAB, Size, bring_up, servers
from tests.support.load import Load, under_load
from tests.support.releases import ENVIRONMENT, IMAGE

ENGINES = ("engine1", "engine2")
HOSTS = (*ENGINES, "lb1")
CONTAINER = (
    "docker inspect -f '{{.Id}} {{.State.StartedAt}} {{index .Config.Labels \"barewind.release\"}}' barewind-engine"
)

# What inventory/lab.py sets and the older Barewind does not know.
LATER_KEYS = ("endpoint_open", "trusted_clients")

USER = "docker inspect -f '{{.Config.User}}' barewind-engine"


@dataclass(frozen=True)
class Fleet:
    """Two sites that differ in the release, as the older Barewind deployed them one after the other."""

    first: Site
    second: Site

    @property
    def now(self) -> Site:
        """The second, in the hands of this Barewind."""
        return replace(self.second, root=ROOT)


@dataclass(frozen=True)
class TakenOver:
    """What there was before this Barewind's first deploy, the deploy, and the requests meanwhile."""

    fleet: Fleet
    containers: dict[str, str]
    history: dict[str, list[str]]
    run: Run
    load: Load
    log: list[str]


def containers() -> dict[str, str]:
    """By host, which container is its engine, when it was started, and its release."""
    return {name: hosts.exec(name, CONTAINER).stdout.strip() for name in ENGINES}


def users() -> dict[str, str]:
    """By host, whose processes its engine's are; empty: the image's own user, root."""
    return {name: hosts.exec(name, USER).stdout.strip() for name in ENGINES}


def status(site: Site) -> dict[str, Any]:
    """By engine host, what `barewind status` says of it."""
    report = json.loads(answer("barewind", "status", "--json", site.inventory, root=site.root).stdout)
    return {row["host"]: row for row in report["engines"]}


def history(site: Site) -> dict[str, list[str]]:
    """By host, the release of each event, oldest first."""
    return {name: [event["release"] for event in row["events"]] for name, row in status(site).items()}


def now_at(host: str) -> str:
    """A host's clock, as journalctl takes it."""
    return "@" + hosts.exec(host, "date +%s.%6N").stdout.strip()


def server_log(since: str) -> list[str]:
    """What HAProxy has logged of servers that left or returned."""
    lines = hosts.exec("lb1", f"journalctl -u haproxy -o cat --since {since}").stdout.splitlines()
    return [line for line in lines if line.startswith("Server engines/")]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Fresh servers, and two releases deployed by the older Barewind."""
    older = older_barewind.checkout()
    bring_up(Size(engines=2), anew=HOSTS)
    standin_engine.ensure(Steps())
    hub_control.reset()
    folder = tmp_path_factory.mktemp("site")
    sites = []
    for tag in ("first", "second"):
        standin_engine.variant(tag, env=ENVIRONMENT)
        site = Site(_inventory(folder, tag), root=older)
        assert site.barewind("lock").status == 0
        assert site.deploy().status == 0
        sites.append(site)
    return Fleet(*sites)


def _inventory(folder: Path, tag: str) -> str:
    """The lab's hosts and the keys of a release, as plain data that any Barewind reads."""
    lab = runpy.run_path(str(ROOT / LAB.inventory))
    keys = {
        "image": f"{IMAGE}:{tag}",
        "lock_file": str(folder / f"{tag}.lock.yaml"),
        "max_num_seqs": 32,
        "shutdown_timeout": 5,
    }
    groups = {
        group: [
            (name, {key: values[key] for key in values if key not in LATER_KEYS} | keys) for name, values in lab[group]
        ]
        for group in ("engines", "balancers")
    }
    file = folder / f"{tag}.py"
    file.write_text("".join(f"{group} = {hosts_of_group!r}\n" for group, hosts_of_group in groups.items()))
    return str(file)


@pytest.fixture(scope="module")
def taken_over(fleet: Fleet) -> TakenOver:
    """The first deploy by this Barewind of what runs already."""
    before = containers(), history(fleet.second)
    since = now_at("lb1")
    with under_load(least=60, streams=4, balancers=["lb1"]) as load:
        run = fleet.now.deploy()
    return TakenOver(fleet, *before, run, load, server_log(since))


def test_hosts_move_over_one_by_one_and_no_request_is_lost(taken_over: TakenOver) -> None:
    assert taken_over.run.status == 0
    assert taken_over.load.lost == []
    assert taken_over.load.fewest["lb1"] == len(ENGINES) - 1
    assert {name: server.state for name, server in servers("lb1").items()} == dict.fromkeys(ENGINES, "UP")
    assert taken_over.log != []


def test_it_is_announced_that_the_containers_rights_change(taken_over: TakenOver) -> None:
    for name in ENGINES:
        line = next(line for line in taken_over.run.output.splitlines() if f"{name}: release " in line)
        assert "the container's rights change: root -> uid 64000" in line


def test_engines_run_without_roots_rights(taken_over: TakenOver) -> None:
    assert users() == dict.fromkeys(ENGINES, "64000:64000")
    assert all(containers()[name] != before for name, before in taken_over.containers.items())


def test_a_second_run_changes_nothing(taken_over: TakenOver) -> None:
    run = taken_over.fleet.now.deploy()
    assert run.status == 0
    assert run.changed == set()


def test_histories_go_on(taken_over: TakenOver) -> None:
    released = {name: row["release"] for name, row in status(taken_over.fleet.now).items()}
    assert {name: row["planned"] for name, row in status(taken_over.fleet.now).items()} == released
    for name, releases in history(taken_over.fleet.now).items():
        before = taken_over.history[name]
        assert releases[: len(before)] == before
        assert set(releases[len(before) :]) == {released[name]}
        assert len(set(before)) == 2
        assert released[name] not in before


def test_verification_passes(taken_over: TakenOver) -> None:
    assert taken_over.fleet.now.verify().status == 0


def test_a_rollback_to_a_release_of_the_older_barewind_loses_no_request(taken_over: TakenOver) -> None:
    newer = status(taken_over.fleet.now)["engine1"]["release"]
    older = taken_over.history["engine1"][-1]
    since = now_at("lb1")
    with under_load(least=60, streams=4, balancers=["lb1"]) as load:
        run = taken_over.fleet.now.pyinfra("tasks/rollback.py")
    assert run.status == 0
    assert load.lost == []
    assert load.fewest["lb1"] == len(ENGINES) - 1
    assert [
        line for line in server_log(since) if "enters drain state" in line
    ] != []  # so the log would have told of it
    rows = status(taken_over.fleet.now)
    assert {name: (row["release"], row["planned"]) for name, row in rows.items()} == dict.fromkeys(
        ENGINES, (older, newer)
    )
    assert users() == dict.fromkeys(ENGINES, "")  # as it was
    for releases in history(taken_over.fleet.now).values():
        assert releases[-1] == older


@pytest.mark.full  # the way forward is that of the first takeover, the way back that of the test before
def test_from_there_it_goes_forward_again_and_back_to_the_oldest(taken_over: TakenOver) -> None:
    assert taken_over.fleet.now.deploy().status == 0
    assert users() == dict.fromkeys(ENGINES, "64000:64000")
    oldest = taken_over.history["engine1"][0]
    run = taken_over.fleet.now.pyinfra("tasks/rollback.py", *data(release=f'"{oldest}"'))
    assert run.status == 0
    assert {row["release"] for row in status(taken_over.fleet.now).values()} == {oldest}
