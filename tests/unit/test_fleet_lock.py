"""The lock of the fleet: its commands run in a shell, one folder per host, and two runs that want it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
from pyinfra.api.exceptions import PyinfraError

from barewind import fleet_lock, pyinfra_hooks
from barewind.errors import BarewindError
from barewind.fleet_lock import LEASE, Answer, Owner
from barewind.operations import fleet_lock as holding
from barewind.operations.fleet_lock import Lease, LockLost, Watch
from barewind.operations.shell import Answer as Said
from tests.unit.conftest import Shell

ANN = Owner("a" * 32, "ann@ws1", 'it\'s a "nightly"', "pyinfra site.py deploy.py", 4711, "1", "ws1/boot/pid:[1]")
BOB = replace(ANN, token="b" * 32, by="bob@ws2", machine="ws2/boot/pid:[1]", why=None)


@dataclass
class Hosts:
    """Hosts of the test: each has its folder in place of /run, its own uptime, and may be silent."""

    shell: Shell
    folder: Path
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    uptime: int = 1000
    boots: dict[str, int] = field(default_factory=dict)

    def ask(self, commands: Mapping[str, str], _connect: bool) -> dict[str, Said]:
        return {name: self.one(name, command) for name, command in commands.items()}

    def one(self, name: str, command: str) -> Said:
        self.asked.append((name, re.findall(r"lock_action=(\w+)", command)[0]))
        if name in self.silent:
            return Said("", "no route to host")
        here = self.folder / name
        here.mkdir(exist_ok=True)
        (here / "uptime").write_text(f"{self.uptime}.55 1.0\n")
        (here / "boot_id").write_text(f"boot-{self.boots.get(name, 0)}\n")
        for real, own in (
            ("/run/barewind", "barewind"),
            ("/proc/uptime", "uptime"),
            ("/proc/sys/kernel/random/boot_id", "boot_id"),
        ):
            command = command.replace(real, str(here / own))
        done = self.shell(command)
        return Said(done.stdout, "" if done.returncode == 0 else done.stderr)

    def answer(self, name: str, command: str) -> Answer:
        return fleet_lock.read(self.one(name, command).output, name)

    def holder(self, name: str) -> str | None:
        owner = self.answer(name, fleet_lock.look()).owner
        return owner.by if owner else None

    def restart(self, name: str) -> None:
        self.boots[name] = self.boots.get(name, 0) + 1
        self.shell(f"rm -rf {self.folder / name / 'barewind'}")

    def lease(self, owner: Owner, *hosts: str) -> Lease:
        return Lease(owner, list(hosts), self.ask)


@pytest.fixture
def hosts(shell: Shell, tmp_path: Path) -> Hosts:
    return Hosts(shell, tmp_path)


# --- One host ----------------------------------------------------------------------------------------------------------


def test_one_has_it_the_other_is_told_who(hosts: Hosts) -> None:
    assert hosts.answer("lb1", fleet_lock.take(ANN)).outcome == "taken"
    hosts.uptime += 12
    answer = hosts.answer("lb1", fleet_lock.take(BOB))
    assert answer.owner
    assert (answer.outcome, answer.owner, answer.age) == ("held", ANN, 12)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.owner.since)


def test_it_is_for_root_alone(hosts: Hosts) -> None:
    hosts.one("lb1", fleet_lock.take(ANN))
    run = hosts.folder / "lb1" / "barewind"
    assert run.stat().st_mode & 0o777 == 0o755
    assert (run / "deploy.guard").stat().st_mode & 0o777 == 0o600  # a user who could lock it could stop deploys
    assert (run / "deploy.lock").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("silence", "outcome"), [(LEASE - 1, "held"), (LEASE, "taken")])
def test_one_that_is_not_renewed_may_be_taken_over(hosts: Hosts, silence: int, outcome: str) -> None:
    hosts.one("lb1", fleet_lock.take(ANN))
    hosts.uptime += 100
    hosts.answer("lb1", fleet_lock.renew(ANN, ""))
    hosts.uptime += silence
    assert hosts.answer("lb1", fleet_lock.take(BOB)).outcome == outcome


def test_an_overdue_one_that_nobody_wanted_is_kept(hosts: Hosts) -> None:
    run = hosts.answer("lb1", fleet_lock.take(ANN)).run
    hosts.uptime += 10 * LEASE
    assert hosts.answer("lb1", fleet_lock.renew(ANN, run)).outcome == "kept"
    assert hosts.answer("lb1", fleet_lock.take(BOB)).outcome == "held"


def test_only_the_one_named_is_taken_away(hosts: Hosts) -> None:
    hosts.one("lb1", fleet_lock.take(ANN))
    assert hosts.answer("lb1", fleet_lock.take(BOB, over=["c" * 32])).outcome == "held"
    assert hosts.answer("lb1", fleet_lock.give_back(BOB.token)).owner == ANN
    assert hosts.answer("lb1", fleet_lock.take(BOB, over=[ANN.token])).outcome == "taken"
    assert hosts.answer("lb1", fleet_lock.give_back(BOB.token)).outcome == "free"
    assert hosts.holder("lb1") is None


def test_a_restart_of_the_host_is_no_loss_but_a_removal_is(hosts: Hosts) -> None:
    run = hosts.answer("gpu1", fleet_lock.take(ANN)).run
    hosts.restart("gpu1")
    after = hosts.answer("gpu1", fleet_lock.renew(ANN, run))
    assert after.outcome == "taken"
    assert after.run != run
    hosts.one("gpu1", fleet_lock.give_back(ANN.token))
    assert hosts.answer("gpu1", fleet_lock.renew(ANN, after.run)).outcome == "free"


def test_a_command_that_finds_another_stuck_says_so(hosts: Hosts, shell: Shell) -> None:
    hosts.one("lb1", fleet_lock.look())
    guard = hosts.folder / "lb1" / "barewind" / "deploy.guard"
    command = fleet_lock.look().replace("flock -w 10 9", "flock -n 9").replace("/run/barewind", str(guard.parent))
    done = shell(f"exec 8> {guard}; flock 8; {command}")
    assert done.returncode == 1
    assert "deploy.lock: cannot be looked at" in done.stderr


@pytest.mark.parametrize("output", ["", "@@lock", "@@lock held 3 {", '@@lock held 3 {"by": "x"}', "sudo: no"])
def test_an_answer_that_is_none_is_no_permission(output: str) -> None:
    with pytest.raises(BarewindError, match=r"^lb1: the lock of the fleet is not understood"):
        fleet_lock.read(output, "lb1")


# --- This process and others -------------------------------------------------------------------------------------------


def test_a_process_tells_of_itself_what_is_no_secret() -> None:
    mine = fleet_lock.this_process(
        ["/x/pyinfra", "site.py", "deploy.py", "--data", "token=hf_x", "--ssh-password", "p"], "w"
    )
    assert (mine.command, mine.pid, mine.why) == ("pyinfra site.py deploy.py", os.getpid(), "w")
    assert not fleet_lock.dead(mine)
    assert fleet_lock.dead(replace(mine, process="1")), "another process has its number now"
    assert fleet_lock.dead(replace(mine, pid=2**22 + 1))
    assert not fleet_lock.dead(replace(mine, pid=2**22 + 1, machine="elsewhere/boot/pid:[1]")), "nobody here can know"
    assert set(mine.as_json()) == {"by", "why", "command", "pid", "since"}


# --- A run -------------------------------------------------------------------------------------------------------------


def test_a_run_has_it_everywhere_and_gives_it_back(hosts: Hosts) -> None:
    lease = hosts.lease(ANN, "lb1", "lb2", "gpu1")
    lease.take()
    assert [hosts.holder(name) for name in ("lb1", "lb2", "gpu1")] == ["ann@ws1"] * 3
    lease.give_back()
    assert [hosts.holder(name) for name in ("lb1", "lb2", "gpu1")] == [None] * 3


def test_runs_with_different_limits_meet_at_the_balancer_and_the_second_touches_nothing_else(hosts: Hosts) -> None:
    hosts.lease(ANN, "lb1", "lb2", "gpu1").take()
    hosts.asked.clear()
    with pytest.raises(BarewindError) as refused:
        hosts.lease(BOB, "lb1", "lb2", "gpu2").take()
    assert [name for name, _ in hosts.asked] == ["lb1"]
    said = str(refused.value)
    assert re.search(
        r"ann@ws1 since 20\S+Z \(it's a \"nightly\"\), process 4711: pyinfra site.py deploy.py; last", said
    )
    assert "barewind unlock INVENTORY" in said
    assert hosts.holder("lb2") == "ann@ws1"


def test_what_was_taken_is_given_back_when_not_all_can_be_had(hosts: Hosts) -> None:
    hosts.one("gpu1", fleet_lock.take(BOB))
    with pytest.raises(BarewindError, match=r"bob@ws2 .*\(on gpu1\)"):
        hosts.lease(ANN, "lb1", "gpu1", "gpu2").take()
    assert [hosts.holder(name) for name in ("lb1", "gpu1", "gpu2")] == [None, "bob@ws2", None]


def test_a_host_that_does_not_answer_is_named_and_nothing_kept(hosts: Hosts) -> None:
    hosts.silent.add("gpu1")
    with pytest.raises(
        BarewindError, match=r"^gpu1: the lock of the fleet cannot be taken \(no route to host\); mend it"
    ):
        hosts.lease(ANN, "lb1", "gpu1").take()
    assert hosts.holder("lb1") is None


def test_a_killed_run_of_this_controller_is_passed_over_at_once(hosts: Hosts) -> None:
    dead = replace(fleet_lock.this_process(["pyinfra"], None), pid=2**22 + 1)
    hosts.lease(dead, "lb1", "gpu1").take()
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    assert [hosts.holder(name) for name in ("lb1", "gpu1")] == ["ann@ws1", "ann@ws1"]


def test_a_run_of_this_controller_that_lives_is_not(hosts: Hosts) -> None:
    hosts.lease(fleet_lock.this_process(["pyinfra"], None), "lb1").take()
    with pytest.raises(BarewindError, match="another run has the lock"):
        hosts.lease(ANN, "lb1").take()


def test_renewals_keep_it_and_a_silent_host_is_asked_again(hosts: Hosts) -> None:
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    hosts.silent.add("gpu1")
    hosts.uptime += LEASE - 1
    lease.renew()
    hosts.silent.clear()
    hosts.restart("gpu1")
    hosts.uptime += LEASE - 1
    lease.renew()
    assert not lease.lost
    with pytest.raises(BarewindError):
        hosts.lease(BOB, "lb1", "gpu1").take()


@pytest.mark.parametrize(
    ("then", "said"), [("unlock", "somebody has removed it"), ("take", "it was taken over: bob@ws2")]
)
def test_a_run_that_has_lost_it_ends_before_its_next_step(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, then: str, said: str
) -> None:
    clock = [0.0]
    monkeypatch.setattr(holding, "_now", lambda: clock[0])
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    watch = Watch(lease)
    nothing: Any = None
    watch.operation_start(nothing, "op")
    hosts.one("lb1", fleet_lock.give_back(ANN.token))
    if then == "take":
        hosts.one("lb1", fleet_lock.take(BOB))
    watch.operation_start(nothing, "op")
    clock[0] = 300  # the user was asked, and took their time
    with pytest.raises(PyinfraError, match=f"the lock of the fleet is lost: lb1: {said}"):
        watch.operation_start(nothing, "op")


def test_the_time_that_this_machine_sleeps_counts(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(holding.time, "clock_gettime", lambda which: clock[0] * (which == holding.time.CLOCK_BOOTTIME))
    monkeypatch.setattr(holding.time, "monotonic", lambda: 0.0)
    lease = hosts.lease(ANN, "lb1")
    lease.take()
    hosts.one("lb1", fleet_lock.give_back(ANN.token))
    lease.check()
    clock[0] = 300
    with pytest.raises(LockLost):
        lease.check()


# --- The command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        ({}, True),
        ({"yes": True}, True),
        ({"yes": True, "json_output": True}, True),
        ({"json_output": True}, False),
        ({"dry": True, "yes": True}, False),
        ({"debug_facts": True}, False),
        ({"debug_operations": True}, False),
    ],
)
def test_which_commands_change_something(params: dict[str, bool], changes: bool) -> None:
    with click.Context(click.Command("pyinfra")) as context:
        context.params.update(params)
        assert pyinfra_hooks._to_change_hosts() is changes
