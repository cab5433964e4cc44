"""The bundle for a bug report, of real hosts: what happened is in it, what was planted as a secret is not."""

from __future__ import annotations

import tarfile
from pathlib import Path

from lab.hosts import hosts
from tests.support.lab import STANDIN

KNOWN = "planted-and-known-4f2a"  # from a file that a key names
NAMED = "planted-and-named-8c1f"


def test_logs_are_in_it_and_secrets_are_not(fleet: None, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{KNOWN}\n")
    log = f"echo the token is {KNOWN}; echo MY_PASSWORD={NAMED}; echo all else is well"
    hosts.exec("engine1", ["systemd-run", "--unit=barewind-planted", "--wait", "sh", "-c", log])
    hosts.exec("engine1", "journalctl --sync")
    path = tmp_path / "report.tar.gz"

    run = STANDIN.barewind(
        "support-bundle", "--output", str(path), "--data", f"hub_token_file={token}", "--lines", "300"
    )
    assert run.status == 0, run.output

    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    texts = {file.relative_to(tmp_path / "report"): file.read_text() for file in (tmp_path / "report").rglob("*.*")}
    assert {str(name) for name in texts} == {
        *("README.txt", "controller.txt", "versions.json", "keys.json", "plans.json", "status.json", "lock.yaml"),
        *("hosts/engine1.txt", "hosts/engine2.txt", "hosts/lb1.txt"),
    }
    engine = texts[Path("hosts/engine1.txt")]
    for told in ("all else is well", "barewind-engine", 'VERSION_ID="12"', "the token is ..."):
        assert told in engine
    assert "least" in texts[Path("hosts/lb1.txt")]  # its HAProxy's configuration
    for name, text in texts.items():
        assert KNOWN not in text, name
        assert NAMED not in text, name
