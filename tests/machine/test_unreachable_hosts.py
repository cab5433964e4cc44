"""Hosts whose packets are dropped: behind a router that forwards nothing, in a namespace of the test's own. Needs root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.fake_fleet import PYINFRA, REPOSITORY, Clone

HOSTS = 300
TIME_OUT = 3  # seconds to connect
NETWORK = """set -e
ip link set lo up
ip link add near type veth peer name away
ip addr add 10.9.0.1/24 dev near; ip link set near up; ip link set away up
ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev near nud permanent
ip route add 10.9.0.0/16 via 10.9.0.2
exec "$@"
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command over hosts that drop packets; one after the other they would take three times as long as it may."""
    clone = Clone(folder)
    config = folder / "config.py"
    config.write_text(config.read_text() + f"\nconfig.CONNECT_TIMEOUT = {TIME_OUT}\n")
    addresses = {f"gpu{number}": f"10.9.{1 + number // 250}.{number % 250 + 1}" for number in range(1, HOSTS + 1)}
    common = {"accelerator": "h200", "accelerator_count": 8, "ssh_user": "root", "ssh_password": "none"}
    clone.inventory(
        engines=[(name, common | {"address": each, "ssh_hostname": each}) for name, each in addresses.items()]
    )
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", NETWORK, "sh", *command],
        cwd=folder,
        env=clone.environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=HOSTS * TIME_OUT / 3,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def test_many_that_drop_packets_are_told_together_within_one_time_out(tmp_path: Path) -> None:
    done = run(tmp_path, str(PYINFRA), "site.py", "deploy.py", "-y")
    assert done.returncode == 1
    assert "Could not connect (timed out): gpu1 to gpu300 (300 hosts)" in done.stderr
    assert "nothing was changed: 300 of 300 hosts cannot be connected to" in done.stderr
    assert sum("gpu" in line for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("status",), "does not answer: "),
        (("weights", "verify"), "unknown "),
    ],
)
def test_commands_tell_them_together(tmp_path: Path, command: tuple[str, ...], told: str) -> None:
    done = run(tmp_path, str(PYINFRA.with_name("barewind")), *command, "site.py")
    assert done.returncode == 2, done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "gpu" in line and "?" not in line]
    assert lines
    assert all(line.startswith(f"gpu1 to gpu300 (300 hosts): {told}") for line in lines)
    assert len(lines) <= 2  # directories
