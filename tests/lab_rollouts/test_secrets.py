"""Secrets of engines by file: whom they reach, where they cannot be read, how one is rotated and taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import topology
from lab.hosts import hosts
from tests.support.commands import data
from tests.support.fleet import ENGINES, Fleet, agreed
from tests.support.lab import ENGINE_UNIT
from tests.support.load import under_load
from tests.support.releases import Release, deploy, run

pytestmark = pytest.mark.full

_FIRST, _SECOND = "first 'key' $of \"lab\" 1234", "second-key-of-the-lab-5678"
_PLACES = (
    "ps -ewwo args",
    "docker inspect barewind-engine",
    "cat /etc/systemd/system/*.service",
    "journalctl -o cat --no-pager",
    "cat /etc/barewind/releases/*.json /etc/barewind/releases/*.jsonl",
)


def _keyed(fleet: Fleet, folder: Path, secret: str, name: str = "VLLM_API_KEY") -> Release:
    file = folder / f"{name}-of-engines"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    return fleet.release.but(engine_secrets={name: str(file)})


def _status(host: str, key: str) -> str:
    """The status of a list of models, asked on the host itself with a key; the key goes by standard input."""
    address = next(entry.address for entry in topology.current() if entry.name == host)
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' -H @- http://{address}:8000/v1/models"
    return hosts.exec(host, ask, text=f"Authorization: Bearer {key}\n").stdout.strip()


def _leaks(host: str, *keys: str) -> list[str]:
    return [place for place in _PLACES for key in keys if key in hosts.exec(host, place, check=False).stdout]


def test_a_key_reaches_the_engine_and_nobody_else_and_is_rotated_and_taken_back(fleet: Fleet, tmp_path: Path) -> None:
    first = _keyed(fleet, tmp_path, _FIRST)
    deployed = deploy(first)
    assert deployed.status == 0
    assert deploy(first).changed == set()
    for host in ENGINES:
        assert (_status(host, _FIRST), _status(host, "another")) == ("200", "401")
        assert _leaks(host, _FIRST) == []
        files = hosts.exec(host, "stat -c '%a %U %G' /etc/barewind/releases/*.secrets").stdout.split("\n")
        assert set(filter(None, files)) == {"600 root root"}
    assert _FIRST not in deployed.output

    second = _keyed(fleet, tmp_path, _SECOND)
    rotated = deploy(second)
    assert rotated.status == 0
    assert _SECOND not in rotated.output
    assert [_status(host, _SECOND) for host in ENGINES] == ["200"] * len(ENGINES)
    assert [_status(host, _FIRST) for host in ENGINES] == ["401"] * len(ENGINES)
    # A restart of the host's own reads it again.
    hosts.exec("engine1", f"systemctl restart {ENGINE_UNIT}")

    back = run("tasks/rollback.py", second, *data(allow_downtime=True))
    assert back.status == 0, "the gate of the earlier release shows the earlier key"
    assert [_status(host, _FIRST) for host in ENGINES] == ["200"] * len(ENGINES)
    assert _leaks("engine1", _FIRST, _SECOND) == []
    fleet.repair()


def test_a_rotation_loses_no_request(fleet: Fleet, tmp_path: Path) -> None:
    with under_load() as load:
        assert deploy(_keyed(fleet, tmp_path, _FIRST, "HF_TOKEN")).status == 0
        assert deploy(_keyed(fleet, tmp_path, _SECOND, "HF_TOKEN")).status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    shown = hosts.exec("engine1", "docker exec barewind-engine sh -c 'cat /proc/1/environ' | tr '\\0' '\\n'").stdout
    assert f"HF_TOKEN={_SECOND}" in shown.splitlines()
    fleet.repair()


def test_a_rollback_without_the_secrets_of_then_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    assert deploy(_keyed(fleet, tmp_path, _FIRST, "HF_TOKEN")).status == 0
    second = _keyed(fleet, tmp_path, _SECOND, "HF_TOKEN")
    first = next(
        iter(
            hosts.exec(
                "engine2", "docker inspect -f '{{index .Config.Labels \"barewind.release\"}}' barewind-engine"
            ).stdout.split()
        )
    )
    assert deploy(second).status == 0
    hosts.exec("engine2", f"rm /etc/barewind/releases/{first}.secrets")
    refused = run("tasks/rollback.py", second)
    assert refused.status != 0
    assert (
        f"engine2: release {first} needs /etc/barewind/releases/{first}.secrets, which is not there any more"
        in refused.output
    )
    assert agreed(second).all_serve(second)
    fleet.repair()
