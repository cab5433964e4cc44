"""A host's restart: proven by another boot id, given up in time; no waiting, the clock is the test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from barewind.hosts import restart
from barewind.hosts.shell import Answer
from tests.support.clock import keep_time

REASONS = ["kernel module nvidia 580.95.05, installed is 580.126.09"]


@dataclass
class Machine:
    """A host whose kernel goes down and comes up at given seconds after it was asked to."""

    name: str = "gpu-h1"
    print_prefix: str = "[gpu-h1] "
    down_after: float = 3
    up_after: float = 60
    clock: float = 0
    asked_at: float | None = None
    refuses: bool = False
    said: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def log(self, text: str) -> None:
        self.said.append(text)

    def disconnect(self) -> None:
        pass

    def run(self, state: Any, host: Any, command: str, *, timeout: int = 60) -> Answer:  # noqa: ARG002 - as `shell.run`
        self.commands.append(command)
        since = None if self.asked_at is None else self.clock - self.asked_at
        if since is not None and self.down_after <= since < self.up_after:
            return Answer("", "connection refused")
        if "reboot" in command:
            if self.refuses:
                return Answer("", "Access denied")
            self.asked_at = self.clock
            return Answer("", "")
        if "boot_id" in command:
            return Answer("new" if since is not None and since >= self.up_after else "old", "")
        return Answer("running", "")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()

    def sleep(seconds: float) -> None:
        made.clock += seconds

    monkeypatch.setattr(restart, "run", made.run)
    keep_time(monkeypatch, lambda: made.clock, sleep)
    monkeypatch.setattr(restart.logger, "error", made.said.append)
    return made


def call(machine: Machine, timeout: int = 600) -> bool:
    return restart.restart(None, machine, timeout, REASONS)  # type: ignore[arg-type]


def test_a_host_that_comes_back_is_waited_for_until_its_units_have_started(machine: Machine) -> None:
    assert call(machine)
    assert 60 <= machine.clock < 65
    assert "is-system-running --wait" in machine.commands[-1]
    assert machine.said == [f"restarts: {REASONS[0]}"]


def test_the_old_kernel_that_still_answers_is_not_taken_for_the_new_one(machine: Machine) -> None:
    machine.down_after = 30
    assert call(machine)
    assert machine.clock >= 60


def test_a_host_that_does_not_come_back_is_named_with_what_to_do(machine: Machine) -> None:
    machine.up_after = 10_000
    assert not call(machine)
    assert 600 <= machine.clock < 605
    assert "gpu-h1: did not come back within 600 s after its restart" in machine.said[-1]
    assert "reboot_timeout" in machine.said[-1]
    assert "out of service" in machine.said[-1]


def test_a_host_that_refuses_to_restart_is_not_waited_for(machine: Machine) -> None:
    machine.refuses = True
    assert not call(machine)
    assert machine.clock == 0
    assert "cannot be restarted (Access denied)" in machine.said[-1]
