"""The lease of a fleet: its commands run in a shell, one folder per host, and two runs that want it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
from pyinfra.api.exceptions import PyinfraError

from barewind import pyinfra_hooks
from barewind.errors import BarewindError
from barewind.hosts.shell import Answer as Said
from barewind.lease import commands, operations
from barewind.lease.commands import ENGINE_RENEWAL, ENGINE_TERM, RENEWAL, TERM, Answer, Holder
from barewind.lease.operations import Lease, LeaseLost, Watch
from tests.support.fake_fleet import LEASE as COMMANDS
from tests.support.shell import Shell

pytestmark = pytest.mark.slow

ANN = Holder("a" * 32, "ann@ws1", 'it\'s a "nightly"', "pyinfra site.py deploy.py", 4711, "1", "ws1/boot/pid:[1]")
BOB = replace(ANN, token="b" * 32, by="bob@ws2", machine="ws2/boot/pid:[1]", why=None)


@dataclass
class Hosts:
    """Hosts of the test: each has its folder in place of /run, its own uptime, and may be silent."""

    shell: Shell
    folder: Path
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    uptime: int = 1000
    boots: dict[str, int] = field(default_factory=dict)

    def ask(self, commands: Mapping[str, str], _connect: bool) -> dict[str, Said]:
        return {name: self.one(name, command) for name, command in commands.items()}

    def one(self, name: str, command: str) -> Said:
        self.asked.append(name)
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
        return commands.read(self.one(name, command).output, name)

    def holder(self, name: str) -> str | None:
        holder = self.answer(name, commands.look()).holder
        return holder.by if holder else None

    def restart(self, name: str) -> None:
        self.boots[name] = self.boots.get(name, 0) + 1
        self.shell(f"rm -rf {self.folder / name / 'barewind'}")

    def lease(self, holder: Holder, *hosts: str) -> Lease:
        balancers = [name for name in hosts if name.startswith("lb")]
        return Lease(holder, balancers, [name for name in hosts if name not in balancers], self.ask)


@pytest.fixture
def hosts(shell: Shell, tmp_path: Path) -> Hosts:
    return Hosts(shell, tmp_path)


# --- One host ----------------------------------------------------------------------------------------------------------


def test_one_has_it_the_other_is_told_who(hosts: Hosts) -> None:
    assert hosts.answer("lb1", commands.take(ANN)).outcome == "taken"
    hosts.uptime += 12
    answer = hosts.answer("lb1", commands.take(BOB))
    assert answer.holder
    assert (answer.outcome, answer.holder, answer.age) == ("held", ANN, 12)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.holder.since)


def test_it_is_for_root_alone(hosts: Hosts) -> None:
    hosts.one("lb1", commands.take(ANN))
    run = hosts.folder / "lb1" / "barewind"
    assert run.stat().st_mode & 0o777 == 0o755
    assert (run / "deploy.guard").stat().st_mode & 0o777 == 0o600  # a user who could lock it could stop deploys
    assert (run / "deploy.lock").stat().st_mode & 0o777 == 0o700


def test_older_releases_of_barewind_find_it_where_they_look(hosts: Hosts) -> None:
    hosts.one("lb1", commands.take(ANN))
    folder = hosts.folder / "lb1" / "barewind" / "deploy.lock"
    assert {path.name for path in folder.iterdir()} == {"owner.json", "renewed"}
    held = json.loads((folder / "owner.json").read_text())
    assert set(held) == {"since", "token", "by", "why", "command", "pid", "process", "machine"}
    assert f'"token": "{ANN.token}"' in (folder / "owner.json").read_text(), "they look for exactly these bytes"
    assert (folder / "renewed").read_text() == "1000\n"


@pytest.mark.parametrize(("silence", "outcome"), [(TERM - 1, "held"), (TERM, "taken")])
def test_one_that_is_not_renewed_may_be_taken_over(hosts: Hosts, silence: int, outcome: str) -> None:
    hosts.one("lb1", commands.take(ANN))
    hosts.uptime += 100
    hosts.answer("lb1", commands.renew(ANN, ""))
    hosts.uptime += silence
    assert hosts.answer("lb1", commands.take(BOB)).outcome == outcome


def test_an_overdue_one_that_nobody_wanted_is_kept(hosts: Hosts) -> None:
    start = hosts.answer("lb1", commands.take(ANN)).start
    hosts.uptime += 10 * TERM
    assert hosts.answer("lb1", commands.renew(ANN, start)).outcome == "kept"
    assert hosts.answer("lb1", commands.take(BOB)).outcome == "held"


def test_only_the_one_named_is_taken_away(hosts: Hosts) -> None:
    hosts.one("lb1", commands.take(ANN))
    assert hosts.answer("lb1", commands.take(BOB, over=["c" * 32])).outcome == "held"
    assert hosts.answer("lb1", commands.release(BOB.token)).holder == ANN
    assert hosts.answer("lb1", commands.take(BOB, over=[ANN.token])).outcome == "taken"
    assert hosts.answer("lb1", commands.release(BOB.token)).outcome == "free"
    assert hosts.holder("lb1") is None


def test_a_restart_of_the_host_is_no_loss_but_a_removal_is(hosts: Hosts) -> None:
    start = hosts.answer("gpu1", commands.take(ANN)).start
    hosts.restart("gpu1")
    after = hosts.answer("gpu1", commands.renew(ANN, start))
    assert after.outcome == "taken"
    assert after.start != start
    hosts.one("gpu1", commands.release(ANN.token))
    assert hosts.answer("gpu1", commands.renew(ANN, after.start)).outcome == "free"


def test_a_command_that_finds_another_stuck_says_so(hosts: Hosts, shell: Shell) -> None:
    hosts.one("lb1", commands.look())
    guard = hosts.folder / "lb1" / "barewind" / "deploy.guard"
    command = commands.look().replace("flock -w 10 9", "flock -n 9").replace("/run/barewind", str(guard.parent))
    done = shell(f"exec 8> {guard}; flock 8; {command}")
    assert done.returncode == 1
    assert "deploy.lock: cannot be looked at" in done.stderr


@pytest.mark.parametrize("output", ["", "@@lease", "@@lease held 3 {", '@@lease held 3 {"by": "x"}', "sudo: no"])
def test_an_answer_that_is_none_is_no_permission(output: str) -> None:
    with pytest.raises(BarewindError, match=r"^lb1: the lease is not understood"):
        commands.read(output, "lb1")


EVERY = {
    "take": commands.take(ANN, over=[BOB.token]),
    "renew": commands.renew(ANN, "boot/1"),
    "release": commands.release(ANN.token),
    "look": commands.look(),
}


def test_the_commands_set_no_variable_that_none_of_them_uses() -> None:
    text = "\n".join(EVERY.values())
    variables = set(re.findall(r"(?:^ *|[;&|{] *)(\w+)=", text, re.MULTILINE))
    assert variables == {"d", "now", "run", "old"}
    assert [name for name in variables if not re.search(rf"\${{?{name}\b|\(\({name}\b", text)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fake_host_can_tell_the_commands_apart(name: str) -> None:
    assert [other for other, command in EVERY.items() if COMMANDS[name] in command] == [name]


# --- This process and others -------------------------------------------------------------------------------------------


def test_a_process_tells_of_itself_what_is_no_secret() -> None:
    mine = commands.this_process(
        ["/x/pyinfra", "site.py", "deploy.py", "--data", "token=hf_x", "--ssh-password", "p"], "w"
    )
    assert (mine.command, mine.pid, mine.why) == ("pyinfra site.py deploy.py", os.getpid(), "w")
    assert not commands.has_ended(mine)
    assert commands.has_ended(replace(mine, process="1")), "another process has its number now"
    assert commands.has_ended(replace(mine, pid=2**22 + 1))
    assert not commands.has_ended(replace(mine, pid=2**22 + 1, machine="elsewhere/boot/pid:[1]")), (
        "nobody here can know"
    )
    assert set(mine.as_json()) == {"by", "why", "command", "pid", "since"}


# --- A run -------------------------------------------------------------------------------------------------------------


def test_a_run_has_it_everywhere_and_gives_it_back(hosts: Hosts) -> None:
    lease = hosts.lease(ANN, "lb1", "lb2", "gpu1")
    lease.take()
    assert [hosts.holder(name) for name in ("lb1", "lb2", "gpu1")] == ["ann@ws1"] * 3
    lease.release()
    assert [hosts.holder(name) for name in ("lb1", "lb2", "gpu1")] == [None] * 3


def test_runs_with_different_limits_meet_at_the_balancer_and_the_second_touches_nothing_else(hosts: Hosts) -> None:
    hosts.lease(ANN, "lb1", "lb2", "gpu1").take()
    hosts.asked.clear()
    with pytest.raises(BarewindError) as refused:
        hosts.lease(BOB, "lb1", "lb2", "gpu2").take()
    assert hosts.asked == ["lb1"]
    said = str(refused.value)
    assert re.search(
        r"ann@ws1 since 20\S+Z \(it's a \"nightly\"\), process 4711: pyinfra site.py deploy.py; last", said
    )
    assert "barewind lease release INVENTORY" in said
    assert hosts.holder("lb2") == "ann@ws1"


def test_what_was_taken_is_given_back_when_not_all_can_be_had(hosts: Hosts) -> None:
    hosts.one("gpu1", commands.take(BOB))
    with pytest.raises(BarewindError, match=r"bob@ws2 .*\(on gpu1\)"):
        hosts.lease(ANN, "lb1", "gpu1", "gpu2").take()
    assert [hosts.holder(name) for name in ("lb1", "gpu1", "gpu2")] == [None, "bob@ws2", None]


def test_a_host_that_does_not_answer_is_named_and_nothing_kept(hosts: Hosts) -> None:
    hosts.silent.add("gpu1")
    with pytest.raises(BarewindError, match=r"^gpu1: the lease cannot be taken \(no route to host\); mend it"):
        hosts.lease(ANN, "lb1", "gpu1").take()
    assert hosts.holder("lb1") is None


def test_a_killed_run_of_this_controller_is_passed_over_at_once(hosts: Hosts) -> None:
    dead = replace(commands.this_process(["pyinfra"], None), pid=2**22 + 1)
    hosts.lease(dead, "lb1", "gpu1").take()
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    assert [hosts.holder(name) for name in ("lb1", "gpu1")] == ["ann@ws1", "ann@ws1"]


def test_a_run_of_this_controller_that_lives_is_not(hosts: Hosts) -> None:
    hosts.lease(commands.this_process(["pyinfra"], None), "lb1").take()
    with pytest.raises(BarewindError, match="another run holds the lease"):
        hosts.lease(ANN, "lb1").take()


def test_renewals_keep_it_and_a_silent_host_is_asked_again(hosts: Hosts) -> None:
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    hosts.silent.add("gpu1")
    hosts.uptime += TERM - 1
    lease.renew()
    hosts.silent.clear()
    hosts.restart("gpu1")
    hosts.uptime += TERM - 1
    lease.renew()
    assert not lease.lost
    with pytest.raises(BarewindError):
        hosts.lease(BOB, "lb1", "gpu1").take()


def test_a_renewal_asks_the_balancers_and_each_engine_host_in_its_turn() -> None:
    asked: list[str] = []

    def ask(wanted: Mapping[str, str], _connect: bool) -> dict[str, Said]:
        asked.extend(wanted)
        return dict.fromkeys(wanted, Said("@@lease taken boot/1\n", ""))

    engines = [f"gpu{number}" for number in range(1000)]
    lease = Lease(ANN, ["lb1", "lb2"], engines, ask)
    lease.take()
    asked.clear()
    times = ENGINE_RENEWAL // RENEWAL
    for _ in range(times):
        lease.renew()
    assert asked.count("lb1") == asked.count("lb2") == times
    assert set(asked) == {"lb1", "lb2", *engines}
    assert len(asked) <= times * (2 + len(engines) / times + 1)


def test_an_engine_host_is_held_for_longer_than_its_turn_takes_to_come(hosts: Hosts) -> None:
    assert ENGINE_TERM > 2 * ENGINE_RENEWAL, "one renewal may fail"
    hosts.lease(ANN, "lb1", "gpu1").take()
    hosts.uptime += 2 * ENGINE_RENEWAL
    assert hosts.answer("gpu1", commands.take(BOB)).outcome == "held"


def test_a_step_asks_the_balancers_alone(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(operations, "_now", lambda: clock[0])
    lease = hosts.lease(ANN, "lb1", "lb2", "gpu1", "gpu2")
    lease.take()
    hosts.asked.clear()
    clock[0] = 10
    lease.check()
    assert hosts.asked == ["lb1", "lb2"]


def test_who_takes_a_silent_run_over_on_a_balancer_has_its_engine_hosts_too(hosts: Hosts) -> None:
    hosts.lease(ANN, "lb1", "lb2", "gpu1").take()
    hosts.uptime += TERM
    hosts.restart("lb1")
    hosts.lease(BOB, "lb1", "lb2", "gpu1").take()
    assert [hosts.holder(name) for name in ("lb1", "lb2", "gpu1")] == ["bob@ws2"] * 3


def test_an_engine_host_alone_is_left_to_a_run_that_may_live(hosts: Hosts) -> None:
    hosts.lease(ANN, "lb1", "gpu1").take()
    hosts.uptime += ENGINE_TERM - 1
    with pytest.raises(BarewindError, match="another run holds the lease"):
        hosts.lease(BOB, "lb9", "gpu1").take()
    hosts.uptime += 1
    hosts.lease(BOB, "lb9", "gpu1").take()


def test_without_balancers_the_first_engine_host_is_renewed_as_one(hosts: Hosts) -> None:
    lease = hosts.lease(ANN, "gpu1", "gpu2")
    lease.take()
    hosts.uptime += TERM
    hosts.lease(BOB, "gpu1", "gpu2").take()
    lease.renew()
    assert "it was taken over: bob@ws2" in lease.lost


@pytest.mark.parametrize(
    ("then", "said"), [("release", "somebody has removed it"), ("take", "it was taken over: bob@ws2")]
)
def test_a_run_that_has_lost_it_ends_before_its_next_step(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, then: str, said: str
) -> None:
    clock = [0.0]
    monkeypatch.setattr(operations, "_now", lambda: clock[0])
    lease = hosts.lease(ANN, "lb1", "gpu1")
    lease.take()
    watch = Watch(lease)
    nothing: Any = None
    watch.operation_start(nothing, "op")
    hosts.one("lb1", commands.release(ANN.token))
    if then == "take":
        hosts.one("lb1", commands.take(BOB))
    watch.operation_start(nothing, "op")
    clock[0] = 300  # the user was asked, and took their time
    with pytest.raises(PyinfraError, match=f"the lease is lost: lb1: {said}"):
        watch.operation_start(nothing, "op")


def test_the_time_that_this_machine_sleeps_counts(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        operations.time, "clock_gettime", lambda which: clock[0] * (which == operations.time.CLOCK_BOOTTIME)
    )
    monkeypatch.setattr(operations.time, "monotonic", lambda: 0.0)
    lease = hosts.lease(ANN, "lb1")
    lease.take()
    hosts.one("lb1", commands.release(ANN.token))
    lease.check()
    clock[0] = 300
    with pytest.raises(LeaseLost):
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
