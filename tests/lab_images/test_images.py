"""Images on real hosts: the same digest everywhere, from a mirror that outlives upstream and never serves what is damaged."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

from lab import topology, wait
from lab.hosts import hosts, keys
from lab.images import standin_engine
from lab.services import registry
from tests.support.commands import command, data, json_of
from tests.support.lab import ask, await_no_server
from tests.support.mirror import MIRROR, STORE, TAG, MirroredSite, publish, published, remove_images, serves

ENGINES = ("engine1", "engine2")


def test_a_fleet_with_a_mirror_comes_up_and_a_second_run_changes_nothing(site: MirroredSite) -> None:
    assert {serves(name) for name in ENGINES} == {published()}
    run = site.deploy()
    assert run.status == 0
    assert run.changed == set()


def test_the_mirror_is_filled_over_ssh_and_takes_nothing_from_hosts_of_the_fleet(site: MirroredSite) -> None:
    assert site.barewind("mirror").status == 0
    registry_url = f"http://{topology.find(MIRROR).address}:{topology.MIRROR_PORT}/v2"
    for method, path in (("POST", "x/blobs/uploads/"), ("DELETE", f"x/manifests/sha256:{'0' * 64}")):
        asked = f"curl -s -o /dev/null -w '%{{http_code}}' -X {method} {registry_url}/{path}"
        assert hosts.exec("engine1", asked).stdout == "405"
    wait.until(lambda: not _filling(), 120, "the writable registry does not end")


def test_a_mirror_is_found_again_as_it_was_deployed(site: MirroredSite, tmp_path: Path) -> None:
    """Whoever reads it and is none of the hosts that were looked at is one of its clients."""
    way = ("--user", topology.USER, "--key", str(keys.private_path()), "--known-hosts", str(keys.known_hosts_path()))
    run = command("barewind", "discover", *way, "--output", str(tmp_path), "--yes", topology.find(MIRROR).address)
    assert run.status == 0
    assert runpy.run_path(str(tmp_path / "inventory/prod.py"))["mirrors"]
    written = runpy.run_path(str(tmp_path / "group_data/mirrors.py"))
    assert {key: value for key, value in written.items() if key.startswith("mirror_")} == {
        "mirror_port": topology.MIRROR_PORT,
        "mirror_dir": STORE,
        "mirror_tls": False,
        "mirror_clients": sorted([f"{topology.GATEWAY}/32", *(topology.find(name).address for name in ENGINES)]),
    }


def _filling() -> bool:
    return hosts.exec(MIRROR, "systemctl is-active barewind-mirror-fill", check=False).returncode == 0


def test_disk_is_freed_while_the_registry_goes_on(site: MirroredSite) -> None:
    before = hosts.exec(MIRROR, "systemctl show -P ActiveEnterTimestampMonotonic docker-registry").stdout
    wait.until(lambda: not _filling(), 120, "the writable registry does not end")
    hosts.exec(MIRROR, "systemctl start barewind-mirror@collect")
    assert hosts.exec(MIRROR, "systemctl show -P ActiveEnterTimestampMonotonic docker-registry").stdout == before


def test_hosts_that_pull_a_moved_tag_get_the_same_digest(site: MirroredSite) -> None:
    locked = serves("engine1")
    moved = publish("0.2.0")
    remove_images("engine2")

    run = site.deploy()

    assert run.status == 0
    assert {serves(name) for name in ENGINES} == {locked}
    check = site.barewind("lock", "--check")
    assert check.status == 1
    assert re.search(rf"moved.*{locked} -> {moved}", check.output, re.DOTALL)


def test_upstream_deletes_everything_and_the_fleet_deploys_and_rolls_back(site: MirroredSite) -> None:
    before = serves("engine1")
    old_lock = site.lock_file.read_text()
    assert site.barewind("lock", "--update").status == 0
    run = site.deploy()
    assert run.status != 0  # the mirror was forgotten
    assert "barewind mirror INVENTORY" in run.output
    assert run.changed == set()
    assert site.barewind("mirror").status == 0
    new = published()
    registry.delete(TAG, standin_engine.REPOSITORY)
    assert published() is None
    remove_images("engine2")

    assert site.deploy().status == 0
    assert {serves(name) for name in ENGINES} == {new}

    for name in ENGINES:
        hosts.exec(name, f"docker image rm -f $(docker image ls -q --filter 'before={_image(name)}') || true")
    site.lock_file.write_text(old_lock)
    assert site.deploy().status == 0
    assert {serves(name) for name in ENGINES} == {before}
    assert ask().status_code == 200


def test_a_damaged_blob_is_found_mended_and_never_served(site: MirroredSite) -> None:
    digest = publish("0.3.0")
    assert site.barewind("lock", "--update").status == 0
    assert site.barewind("mirror").status == 0
    layer = registry.get_manifest(digest, standin_engine.REPOSITORY)["layers"][0]["digest"].removeprefix("sha256:")
    file = f"{STORE}/docker/registry/v2/blobs/sha256/{layer[:2]}/{layer}/data"
    hosts.exec(MIRROR, f"printf x | dd of={file} bs=1 seek=1000 conv=notrunc")
    for name in ENGINES:
        remove_images(name)

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


def test_the_controller_is_killed_during_a_pull_and_the_next_run_finds_it(site: MirroredSite) -> None:
    remove_images("engine1")
    begun = hosts.exec("engine1", "date +%s").stdout.strip()
    hosts.exec(MIRROR, "tc qdisc add dev eth0 root tbf rate 24mbit burst 64kb latency 200ms")  # some 10 s
    try:
        deploy = site.begin_deploy()
        wait.until(lambda: _pull() != "", 120, "engine1 does not pull")
        deploy.kill()
        unit = _pull()
        assert unit
        run = site.deploy()
        assert run.status == 0
        log = hosts.exec("engine1", f"journalctl -o cat -u {unit} --since @{begun}").stdout
        assert len(re.findall("^Started ", log, re.MULTILINE)) == 1
    finally:
        hosts.exec(MIRROR, "tc qdisc del dev eth0 root")


def test_a_host_takes_over_what_another_compiled_before_it_served(site: MirroredSite) -> None:
    """And nothing that has come into that cache since: by then its engine has met strangers."""
    release = data(engine_env={"VLLM_CPU_KVCACHE_SPACE": "1", "LAB_TRY": "compiled"})
    plan = json_of("barewind", "plan", "--json", site.inventory, *site.keys, *release)[0]
    cache = re.search(r"/var/lib/barewind/cache/\w{12}(?=:/cache)", " ".join(plan["container_args"]))
    assert cache
    kernels = f"{cache[0]}/kernels"
    hosts.exec("engine1", f"mkdir -p {kernels}; echo compiled > {kernels}/one; chown -R 64000:64000 {cache[0]}")

    upgraded = site.deploy(*release)

    assert upgraded.status == 0
    assert "compile cache of engine1: taken over" in upgraded.output
    assert hosts.exec("engine2", f"cat {kernels}/one").stdout == "compiled\n"
    hosts.exec("engine1", f"echo later > {kernels}/two")
    hosts.exec("engine2", f"systemctl stop barewind-engine; rm -rf {cache[0]}")
    again = site.deploy(*release)
    assert again.status == 0
    assert "compile cache of engine1: taken over" in again.output
    assert hosts.exec("engine2", f"ls {kernels}").stdout == "one\n"
    for name in ENGINES:
        assert "seed-" not in hosts.exec(name, "ls /var/lib/barewind/cache").stdout


def test_a_bundle_serves_a_site_without_hub_and_registry(
    site: MirroredSite, services_back: None, tmp_path: Path
) -> None:
    assert published() == serves("engine1")
    bundle = tmp_path / "bundle"
    saved = command("barewind", "bundle", "save", site.inventory, str(bundle), *site.keys)
    assert saved.status == 0
    identity = re.findall(r"bundle (\w{64})", saved.output)[-1]
    hosts.exec(topology.SERVICES, "systemctl stop lab-registry lab-hub")
    hosts.exec(MIRROR, f"systemctl stop docker-registry; rm -rf {STORE}/docker; systemctl start docker-registry")
    for name in ENGINES:
        remove_images(name)
        hosts.exec(name, "rm -rf /var/lib/barewind/weights")
    assert site.deploy().status != 0
    await_no_server("lb1")  # one that sends requests to both still would not be left without any

    load = ["barewind", "bundle", "load", str(bundle), "--to", site.inventory, "--weights", str(tmp_path / "weights")]
    assert command(*load, "--expect", "0" * 64, *site.keys).status != 0
    assert command(*load, "--expect", identity, *site.keys).status == 0
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
    units = hosts.exec(
        "engine1", "systemctl list-units --plain --no-legend --state=active,activating 'barewind-pull-*'"
    ).stdout.split()
    return units[0] if units else ""
