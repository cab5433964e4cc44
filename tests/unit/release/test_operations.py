"""An engine's unit and firewall on a host: only the difference becomes commands."""

from __future__ import annotations

from pathlib import Path

from barewind.hosts.operations import ManagedFile
from barewind.plan.names import engine_names, names_of
from barewind.release.operations import deployed, retired
from tests.support.data_files import operation_tests, settled_tests
from tests.support.operations import on_host, run

UNIT = ManagedFile("/etc/systemd/system/e.service", "[Unit]\n")
FIREWALL = ManagedFile("/etc/barewind/e.nft", "table\n")
DROP_IN = ManagedFile("/etc/systemd/system/e.service.d/barewind.conf", "[Service]\n")

TestDeployed = operation_tests(deployed, Path(__file__).parent)
TestDeployedSettled = settled_tests(
    deployed,
    {
        "unit": "e.service",
        "release": "0123456789ab",
        "container": "c",
        "unit_file": UNIT,
        "firewall": FIREWALL,
        "drop_in": DROP_IN,
        "others": [],
    },
    "facts.EngineUnit",
    {
        "files": on_host(UNIT, FIREWALL, DROP_IN),
        "active": True,
        "enabled": True,
        "needs_reload": False,
        "release": "0123456789ab",
    },
    subject="e.service",
)


def test_engines_that_leave_end_first_and_leave_nothing_behind() -> None:
    units = ["barewind-engine@0.service", "barewind-engine@1.service"]
    commands = run(retired, {"units": units, "leaving": [engine_names(1)]}, "", None)
    assert commands == [
        "systemctl stop barewind-engine@0.service barewind-engine@1.service",
        "systemctl disable barewind-engine@1.service && rm -rf /etc/systemd/system/barewind-engine@1.service "
        "/etc/systemd/system/barewind-engine@1.service.d /etc/barewind/engine-stopping-1.nft && "
        "nft 'table inet barewind_engine_stopping_1; delete table inet barewind_engine_stopping_1'",
        "systemctl daemon-reload",
    ]
    assert [names_of(unit) for unit in units] == [engine_names(0), engine_names(1)]
    assert names_of("barewind-engine.service") == engine_names(None)
