"""Maintenance: what a host says of it, and which hosts a person's drain and undrain are about."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pyinfra_testing.operations import make_operation_tests

from barewind.balancer import maintenance
from barewind.balancer.commands import Admin, Health, Rotation, Worker
from barewind.balancer.drain import Drain
from tests.support.balancers import up
from tests.support.factories import engine_spec

TestMaintenanceEnded = make_operation_tests(
    "barewind.balancer.operations",
    "maintenance.maintenance_ended",
    Path(__file__).parent / "operations" / "maintenance_ended",
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "drained.json"
    monkeypatch.setattr(maintenance, "FILE", str(path))
    return path


def run(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True)


def test_who_when_and_why_whatever_characters_they_are_made_of(file: Path) -> None:
    reason = 'it\'s "100%" $(broken) \\n äöü'
    run(maintenance.begin("ann@ws1", reason))
    note = maintenance.read(file.read_text().splitlines())
    assert note is not None
    assert (note.by, note.why) == ("ann@ws1", reason)
    assert note.message.startswith("by ann@ws1 since 20")
    assert file.stat().st_mode & 0o777 == 0o644


def test_the_first_word_counts(file: Path) -> None:
    run(maintenance.begin("ann@ws1", "memory"))
    run(maintenance.begin("bob@ws2", None))
    assert "ann@ws1" in file.read_text()


def test_no_note_and_a_note_that_cannot_be_read() -> None:
    assert maintenance.read([]) is None
    for text in ('{"at": "x', "[]", '{"by": "x"}'):
        note = maintenance.read([text])
        assert note is not None
        assert "cannot be read" in note.message


ROTATIONS = {
    "lb1": Rotation(
        (
            Worker(
                1,
                True,
                {
                    "serves": up("serves"),
                    "drained here": up("drained here", admin=Admin.DRAIN),
                    "down": up("down", health=Health.DOWN),
                    "stands by": up("stands by", weight=0),
                    "in maintenance": up("in maintenance"),
                },
            ),
        )
    ),
    "lb2": Rotation((Worker(1, True, {"serves": up("serves"), "drained here": up("drained here")}),)),
}


@pytest.mark.parametrize(
    ("name", "undrained"),
    [
        ("serves", False),
        ("drained here", True),
        ("down", True),
        ("stands by", False),
        ("in maintenance", True),
        ("no balancer has it", False),
    ],
)
def test_who_is_undrained(name: str, undrained: bool) -> None:
    assert maintenance.to_undrain(ROTATIONS, [name], {"in maintenance"}) == ((name,) if undrained else ())


@pytest.mark.parametrize(
    ("allowing", "allowed"),
    [((True, True), True), ((True, False), False), ((False, False), False), ((), False)],
)
def test_downtime_needs_the_word_of_every_host(allowing: tuple[bool, ...], allowed: bool) -> None:
    together = {f"gpu{number}": engine_spec(allow_downtime=each) for number, each in enumerate(allowing)}
    drain = maintenance.drain_of(engine_spec(drain_timeout=60, drain_policy="wait"), together)
    assert drain == Drain(60, "wait", tuple(together), allow_downtime=allowed, shutdown=600)
