"""What goes wrong on real hosts: said clearly, stopped early, nothing half-changed, nothing wrong served."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.hosts import hosts
from lab.hosts.keys import known_hosts_path
from tests.support.lab import ENGINE_UNIT, STANDIN, ask, started, weights_directory


@pytest.mark.full  # machine/test_unreachable_hosts has hosts that do not answer, lab_rollouts a host that is gone beside others
def test_unreachable_host(mended: None) -> None:
    before = started("engine1")
    hosts.stop("engine2")
    try:
        run = STANDIN.deploy("--data", "ssh_connect_retries=0")
        assert run.status != 0
        assert re.search(r"\[engine2\].*(rror|imed out|nable)", run.output)
        assert run.changed == set()
        assert started("engine1") == before
        assert ask().status_code == 200  # the balancer has the other engine
    finally:
        hosts.start("engine2")


def test_changed_host_key(fleet: None, tmp_path: Path) -> None:
    keys = {line.split()[0]: line for line in known_hosts_path().read_text().splitlines()}
    first, second = [name for name in keys if "engine" in name]
    mixed = [
        line if name != first else line.replace(line.split()[2], keys[second].split()[2]) for name, line in keys.items()
    ]
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(mixed) + "\n")
    run = STANDIN.deploy("--data", f"ssh_known_hosts_file={path}")
    assert run.status != 0
    assert "[engine1]" in run.output
    assert "host key" in run.output.lower()
    assert run.changed == set()


def test_accelerator_that_is_not_there(fleet: None) -> None:
    run = STANDIN.deploy("--data", "accelerator=h200", "--data", "accelerator_count=2")
    assert run.status != 0
    for host in ("engine1", "engine2"):
        assert re.search(rf"{host} .*has no accelerator on its PCI bus, the inventory says 2 x h200", run.output)
    assert "nothing was changed" in run.output
    assert run.changed == set()


def test_not_enough_disk(fleet: None) -> None:
    hosts.exec("engine1", "mkdir -p /mnt/small && mount -t tmpfs -o size=16m tmpfs /mnt/small")
    try:
        run = STANDIN.deploy("--data", "data_dir=/mnt/small")
        assert run.status != 0
        assert re.search(r"engine1 .*/mnt/small: 0\.0 GiB free, \S+ GiB wanted \(weights", run.output)
        assert "engine2" not in run.output.split("Preflight")[1].split("nothing was changed")[0]
        assert run.changed == set()
    finally:
        hosts.exec("engine1", "umount /mnt/small")


def test_port_that_is_taken(fleet: None) -> None:
    server = "import socket,time; s=socket.create_server(('0.0.0.0', 8123)); time.sleep(600)"
    hosts.exec("engine2", ["systemd-run", "--unit=squatter", "python3", "-c", server])
    hosts.exec("engine2", "until ss -Hltn 'sport = :8123' | grep -q LISTEN; do :; done", timeout=60)
    try:
        run = STANDIN.deploy("--data", "engine_port=8123")
        assert run.status != 0
        assert re.search(r"engine2 .*port 8123 is taken by 'python3'", run.output)
        assert run.changed == set()
    finally:
        hosts.exec("engine2", "systemctl stop squatter")


def test_image_that_the_registry_does_not_have(fleet: None, lock_copy: Callable[[str, str], str]) -> None:
    before = started("engine1")
    digest = re.search(r"sha256:[0-9a-f]{64}", Path(lock_copy("version", "version").split("=")[1]).read_text())
    assert digest
    run = STANDIN.deploy("--data", lock_copy(digest[0], "sha256:" + "0" * 64))
    assert run.status != 0
    assert "preflight: 1 problem(s)" in run.output
    assert re.search(r"engine1, engine2 .*image", run.output)
    assert run.changed == set()
    assert started("engine1") == before
    assert ask().status_code == 200


def test_an_engine_does_not_start_on_corrupted_weights(mended: None) -> None:
    file = f"{weights_directory(STANDIN, 'engine1')}/consolidated.safetensors"
    hosts.exec("engine1", f"systemctl stop {ENGINE_UNIT}; printf x | dd of={file} bs=1 seek=100000 conv=notrunc")
    assert hosts.exec("engine1", f"systemctl start {ENGINE_UNIT}", check=False).returncode != 0
    log = hosts.exec("engine1", f"journalctl -u {ENGINE_UNIT} -n 20 -o cat").stdout
    assert "changed since its SHA-256 was checked" in log


def test_no_host_left_is_an_error(fleet: None) -> None:
    run = STANDIN.deploy("--limit", "nothing-of-this-name")
    assert run.status != 0
    assert "--limit" in run.output
