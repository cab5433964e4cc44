"""What watches on a host: only the difference becomes commands, and nothing listens before its firewall."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api import OperationError

from barewind.hosts.operations import ManagedFile
from barewind.monitoring.names import drop_in
from barewind.monitoring.operations import Service, watching
from tests.support.data_files import settled_tests
from tests.support.operations import on_host, run

UNIT = "prometheus.service"
DROP_IN = ManagedFile(drop_in(UNIT), "[Service]\n")
SECRET = ManagedFile("/etc/barewind/monitoring/secrets/web.yml", "secret\n", "600")
CONFIG = ManagedFile("/etc/barewind/monitoring/prometheus.yml", "global:\n")
FIREWALL = ManagedFile("/etc/barewind/monitor.nft", "table\n")
TARGETS = ManagedFile("/etc/barewind/monitoring/targets/node.json", "[]\n")
TIMER = "barewind-figures.timer"
FILES = (FIREWALL, TARGETS, SECRET, DROP_IN, CONFIG)
ARGUMENTS: dict[str, Any] = {
    "packages": ["prometheus", "nftables"],
    "firewall": FIREWALL,
    "table": "barewind_monitor",
    "services": [Service(UNIT, (SECRET, DROP_IN), (CONFIG,), "promtool check config x")],
    "others": [TARGETS],
    "timers": [TIMER],
}


def facts(**changes: Any) -> dict[str, Any]:
    """A monitor as it shall be."""
    return {
        "packages": {name: {"version": "1", "held": False} for name in ARGUMENTS["packages"]},
        "files": on_host(*FILES),
        "needs_reload": False,
        "enabled": [UNIT, TIMER],
        "running": [UNIT, TIMER],
        "firewall": True,
    } | changes


def commands(value: dict[str, Any]) -> list[str]:
    """What is run on the host, in short."""
    made = run(watching, ARGUMENTS, "facts.WatchingHost", value, says_why=True)
    texts = [str(command["command"] if isinstance(command, dict) else command) for command in made]
    return [
        f"WRITE {text.split('&& cat > ')[1].split('.new')[0]}"
        if "&& cat > " in text
        else "INSTALL"
        if " install " in text
        else "UPDATE"
        if "apt-get -q -y update" in text
        else "CHECK"
        if "promtool" in text
        else text.split(" && ")[0]
        for text in texts
    ]


def without(*files: ManagedFile) -> dict[str, Any]:
    return {"files": on_host(*(file for file in FILES if file not in files))}


TestWatchingSettled = settled_tests(watching, ARGUMENTS, "facts.WatchingHost", facts(), subject="monitoring")


def test_on_a_bare_host_firewall_and_drop_in_come_before_the_package() -> None:
    made = commands(facts(packages={}, files={}, enabled=[], running=[], firewall=False))
    assert made == [
        *(f"WRITE {file.path}" for file in FILES),
        "UPDATE",
        "INSTALL",
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        "CHECK",
        f"systemctl restart {UNIT}",
        f"systemctl enable --now {TIMER}",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (without(CONFIG), [f"WRITE {CONFIG.path}", "CHECK", f"systemctl reload {UNIT}"]),
        (without(SECRET), [f"WRITE {SECRET.path}", "CHECK", f"systemctl restart {UNIT}"]),
        (without(TARGETS), [f"WRITE {TARGETS.path}"]),  # Prometheus sees it by itself
        (without(FIREWALL), [f"WRITE {FIREWALL.path}", f"nft -f {FIREWALL.path}"]),
        ({"firewall": False}, [f"nft -f {FIREWALL.path}"]),
        ({"running": [TIMER]}, ["CHECK", f"systemctl restart {UNIT}"]),
        ({"enabled": [TIMER]}, [f"systemctl enable {UNIT}"]),
        ({"running": [UNIT]}, [f"systemctl enable --now {TIMER}"]),
        ({"needs_reload": True}, ["systemctl daemon-reload"]),
    ],
)
def test_only_the_difference_is_put_right(changes: dict[str, Any], expected: list[str]) -> None:
    assert commands(facts(**changes)) == expected


def test_a_prometheus_of_somebody_elses_is_left_alone() -> None:
    with pytest.raises(OperationError, match=r"prometheus.service already runs here, and Barewind has not set it up"):
        commands(facts(**without(DROP_IN)))


def test_no_secret_is_in_a_command() -> None:
    made = run(watching, ARGUMENTS, "facts.WatchingHost", facts(**without(SECRET)))
    assert "secret\n" not in "".join(
        str(command["command"] if isinstance(command, dict) else command) for command in made
    )
