"""A mirror's host: only the difference becomes commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.hosts.operations import ManagedFile
from barewind.mirror.operations import serving
from barewind.mirror.plan import PACKAGES, PROGRAM, TIMERS, UNIT, plan
from barewind.spec.keys import MirrorSpec
from tests.support.data_files import operation_tests, settled_tests
from tests.support.operations import on_host, run

TestServing = operation_tests(serving, Path(__file__).parent)

SPEC = MirrorSpec(host="m1", groups=("mirrors",), address="10.0.0.5", mirror_tls=False)
MADE = plan(SPEC, ["10.0.0.11"])
FILES = {file.path: ManagedFile(file.path, file.content, file.mode) for file in MADE.files}
ARGUMENTS: dict[str, Any] = {
    "packages": list(PACKAGES),
    "firewall": FILES[MADE.firewall.path],
    "registry": [FILES[file.path] for file in MADE.registry],
    "units": [FILES[file.path] for file in MADE.units],
    "others": [FILES[file.path] for file in MADE.others],
    "unit": UNIT,
    "timers": list(TIMERS),
}


def facts(**changes: Any) -> dict[str, Any]:
    """A mirror as it shall be."""
    units = [UNIT, *TIMERS]
    return {
        "packages": {name: {"version": "1", "held": False} for name in PACKAGES},
        "files": on_host(*FILES.values()),
        "needs_reload": False,
        "enabled": units,
        "running": units,
        "firewall": True,
    } | changes


TestServingSettled = settled_tests(serving, ARGUMENTS, "facts.MirrorHost", facts(), subject="the mirror")


def commands(value: dict[str, Any]) -> list[str]:
    """What is run on the host, without the message for a failure."""
    made = run(serving, ARGUMENTS, "facts.MirrorHost", value, says_why=True)
    return [str(command["command"] if isinstance(command, dict) else command).split(" || ")[0] for command in made]


def test_a_mirror_that_is_right_is_left_alone() -> None:
    assert commands(facts()) == []


def without(*paths: str) -> dict[str, Any]:
    return {"files": {path: file for path, file in facts()["files"].items() if path not in paths}}


def test_a_bare_host_gets_its_files_before_the_package() -> None:
    made = commands(facts(packages={}, files={}, enabled=[], running=[], firewall=False))
    writes = [command for command in made if "cat >" in command]
    assert made[: len(writes)] == writes
    assert "/etc/barewind/mirror.nft" in writes[0]
    assert "apt-get" in made[len(writes)]
    assert made[-4:] == [
        "systemctl daemon-reload",
        f"systemctl enable --now {' '.join(TIMERS)}",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"firewall": False}, ["nft -f /etc/barewind/mirror.nft"]),
        ({"running": list(TIMERS)}, [f"systemctl restart {UNIT}"]),
        ({"running": [UNIT, TIMERS[1]]}, [f"systemctl enable --now {TIMERS[0]}"]),
        ({"enabled": list(TIMERS)}, [f"systemctl enable {UNIT}"]),
        ({"needs_reload": True}, ["systemctl daemon-reload"]),
        (without("/etc/barewind/mirror.nft"), ["WRITE", "nft -f /etc/barewind/mirror.nft"]),
        (without("/etc/barewind/mirror.yml"), ["WRITE", f"systemctl restart {UNIT}"]),
        (without(PROGRAM), ["WRITE"]),
        (without(f"/etc/systemd/system/{TIMERS[0]}"), ["WRITE", "systemctl daemon-reload"]),
        (
            without(f"/etc/systemd/system/{UNIT}.d/barewind.conf"),
            ["WRITE", "systemctl daemon-reload", f"systemctl restart {UNIT}"],
        ),
    ],
)
def test_only_the_difference_is_put_right(changes: dict[str, Any], expected: list[str]) -> None:
    assert ["WRITE" if "cat >" in command else command for command in commands(facts(**changes))] == expected
