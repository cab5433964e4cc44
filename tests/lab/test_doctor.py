"""The doctor on real hosts: a fleet that can be deployed to, and ways to hosts that are closed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.commands import answer
from tests.support.lab import STANDIN


def looked_at(*arguments: str) -> tuple[CompletedProcess[str], dict[str, dict[str, str]]]:
    done = answer("barewind", "doctor", "--json", STANDIN.inventory, *arguments)
    return done, {finding["subject"]: finding for finding in json.loads(done.stdout)}


def test_a_fleet_that_can_be_deployed_to_has_nothing_to_mend(fleet: None) -> None:
    done, findings = looked_at()
    assert done.returncode == 0
    assert [findings[host]["state"] for host in ("lb1", "engine1", "engine2")] == ["ok"] * 3


full = pytest.mark.full  # tests/unit/doctor has every way, and the others are made here in the same way


@pytest.mark.parametrize(
    ("override", "found", "remedy"),
    [
        ("ssh_user=nobody", "Authentication error", "correct ssh_user"),
        pytest.param("ssh_port=2299", "Unable to connect to port 2299 on its address", "sshd running", marks=full),
        pytest.param(
            "ssh_known_hosts_file=EMPTY", "No host key for its address", "compare its fingerprint", marks=full
        ),
        ("_sudo=False", "commands run as user 1000", "set _sudo = True"),
    ],
)
def test_a_way_that_is_closed_is_told_with_what_opens_it(
    fleet: None, tmp_path: Path, override: str, found: str, remedy: str
) -> None:
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    done, findings = looked_at("--data", override.replace("EMPTY", str(empty)))
    assert done.returncode == 1
    for host in ("lb1", "engine1", "engine2"):
        assert findings[host]["state"] == "wrong"
        assert found in findings[host]["found"]
        assert remedy in findings[host]["remedy"]


def test_a_key_with_a_passphrase_is_told_and_no_traceback(fleet: None, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "words", "-f", str(key)], check=True)
    done, findings = looked_at("--data", f"ssh_key={key}")
    assert done.returncode == 1
    assert "load it into an agent" in findings["engine1"]["remedy"]
    assert done.stderr == ""
