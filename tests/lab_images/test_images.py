"""Images on real hosts: the same digest everywhere, from a mirror that outlives upstream and never serves what is damaged."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from lab import hosts, registry, standin_engine, topology, wait
from tests.lab.conftest import BIN, INVENTORY, ROOT, ask, command
from tests.lab_images.conftest import ENGINES, MIRROR, STORE, TAG, Site, release, serves, upstream, without_image


def test_a_fleet_with_a_mirror_comes_up_and_a_second_run_changes_nothing(site: Site) -> None:
    assert {serves(name) for name in ENGINES} == {upstream()}
    run = site.deploy()
    assert run.status == 0
    assert run.changed == set()


def test_hosts_that_pull_a_moved_tag_get_the_same_digest(site: Site) -> None:
    locked = serves("engine1")
    moved = release("0.2.0")
    without_image("engine2")

    run = site.deploy()

    assert run.status == 0
    assert {serves(name) for name in ENGINES} == {locked}
    said = site.barewind("lock", "--check")
    assert said.status == 1
    assert re.search(rf"moved.*{locked} -> {moved}", said.output, re.DOTALL)


def test_upstream_deletes_everything_and_the_fleet_deploys_and_rolls_back(site: Site) -> None:
    before = serves("engine1")
    old_lock = site.lock_file.read_text()
    assert site.barewind("lock", "--update").status == 0
    run = site.deploy()
    assert run.status != 0  # the mirror was forgotten
    assert "barewind mirror INVENTORY" in run.output
    assert run.changed == set()
    assert site.barewind("mirror").status == 0
    new = upstream()
    registry.delete(TAG, standin_engine.REPOSITORY)
    assert upstream() is None
    without_image("engine2")

    assert site.deploy().status == 0
    assert {serves(name) for name in ENGINES} == {new}

    for name in ENGINES:
        hosts.exec(name, f"docker image rm -f $(docker image ls -q --filter 'before={_image(name)}') || true")
    site.lock_file.write_text(old_lock)
    assert site.deploy().status == 0
    assert {serves(name) for name in ENGINES} == {before}
    assert ask().status_code == 200


def test_a_damaged_blob_is_found_mended_and_never_served(site: Site) -> None:
    digest = release("0.3.0")
    assert site.barewind("lock", "--update").status == 0
    assert site.barewind("mirror").status == 0
    layer = registry.get_manifest(digest, standin_engine.REPOSITORY)["layers"][0]["digest"].removeprefix("sha256:")
    file = f"{STORE}/docker/registry/v2/blobs/sha256/{layer[:2]}/{layer}/data"
    hosts.exec(MIRROR, f"printf x | dd of={file} bs=1 seek=1000 conv=notrunc")
    for name in ENGINES:
        without_image(name)

    run = site.deploy()
    assert run.status != 0
    assert re.search(r"engine[12]: image \S+ cannot be pulled", run.output)
    for name in ENGINES:
        assert hosts.exec(name, "docker ps -q", check=False).stdout == ""
    assert site.barewind("mirror", "--verify").status != 0

    check = "systemctl start barewind-mirror@check"
    assert hosts.exec(MIRROR, check, check=False).returncode == 1  # a failed unit: monitoring shall see it
    assert hosts.exec(MIRROR, f"test -e {file}", check=False).returncode == 1
    run = site.deploy()
    assert run.status != 0
    assert "or not whole" in run.output
    assert site.barewind("mirror").status == 0
    assert site.barewind("mirror", "--verify").status == 0
    assert site.deploy().status == 0
    assert {serves(name) for name in ENGINES} == {digest}


def test_the_controller_is_killed_during_a_pull_and_the_next_run_finds_it(site: Site) -> None:
    without_image("engine1")
    begun = hosts.exec("engine1", "date +%s").stdout.strip()
    hosts.exec(MIRROR, "tc qdisc add dev eth0 root tbf rate 24mbit burst 64kb latency 200ms")  # some 10 s
    try:
        words = [str(BIN / "pyinfra"), INVENTORY, "deploy.py", "-y", *site.options]
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | {"PYINFRA_PROGRESS": "off"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait.until(lambda: _pull() != "", 120, "engine1 does not pull")
        process.send_signal(signal.SIGKILL)
        process.wait()
        unit = _pull()
        assert unit
        run = site.deploy()
        assert run.status == 0
        log = hosts.exec("engine1", f"journalctl -o cat -u {unit} --since @{begun}").stdout
        assert len(re.findall("^Started ", log, re.MULTILINE)) == 1
    finally:
        hosts.exec(MIRROR, "tc qdisc del dev eth0 root")


def test_a_host_takes_over_what_another_has_compiled(site: Site) -> None:
    options = hosts.exec("engine1", "docker inspect -f '{{json .HostConfig.Binds}}' barewind-engine").stdout
    cache = re.search(r"/var/lib/barewind/cache/\w{12}(?=:/cache)", options)
    assert cache
    hosts.exec("engine1", f"mkdir -p {cache[0]}/kernels; echo compiled > {cache[0]}/kernels/one")
    hosts.exec("engine2", f"systemctl stop barewind-engine; rm -rf {cache[0]}")

    run = site.deploy()

    assert run.status == 0
    assert "compile cache of engine1: taken over" in run.output
    assert hosts.exec("engine2", f"cat {cache[0]}/kernels/one").stdout == "compiled\n"
    for name in ENGINES:
        assert "seed-" not in hosts.exec(name, "ls /var/lib/barewind/cache").stdout


def test_a_bundle_serves_a_site_without_hub_and_registry(site: Site, services_back: None, tmp_path: Path) -> None:
    assert upstream() == serves("engine1")
    bundle = tmp_path / "bundle"
    saved = command("barewind", "bundle", "save", INVENTORY, str(bundle), *site.options)
    assert saved.status == 0
    identity = re.findall(r"bundle (\w{64})", saved.output)[-1]
    hosts.exec(topology.SERVICES, "systemctl stop lab-registry lab-hub")
    hosts.exec(MIRROR, f"systemctl stop docker-registry; rm -rf {STORE}/docker; systemctl start docker-registry")
    for name in ENGINES:
        without_image(name)
        hosts.exec(name, "rm -rf /var/lib/barewind/weights")
    assert site.deploy().status != 0

    load = ["barewind", "bundle", "load", str(bundle), "--to", INVENTORY, "--weights", str(tmp_path / "weights")]
    assert command(*load, "--expect", "0" * 64, *site.options).status != 0
    assert command(*load, "--expect", identity, *site.options).status == 0
    for name in ENGINES:  # a disk that was carried in
        tar = subprocess.Popen(["tar", "-C", str(tmp_path / "weights"), "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "exec", "-i", topology.find(name).container, "sh", "-c", "mkdir -p /srv/w; tar -C /srv/w -x"],
            stdin=tar.stdout,
            check=True,
        )
        tar.wait()
    run = site.deploy("--data", "weights_source=path", "--data", "weights_path=/srv/w")
    assert run.status == 0
    assert ask().status_code == 200


def _image(name: str) -> str:
    return hosts.exec(name, "docker inspect -f '{{.Image}}' barewind-engine").stdout.strip()


def _pull() -> str:
    """The unit that pulls on engine1, if one runs."""
    found = hosts.exec(
        "engine1", "systemctl list-units --plain --no-legend --state=active,activating 'barewind-pull-*'"
    ).stdout
    return found.split()[0] if found.strip() else ""
