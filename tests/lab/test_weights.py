"""Weights on real hosts: one download for all, passed on from host to host, whatever breaks on the way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import paths, topology, wait
from lab.hosts import hosts
from lab.services import hub_control
from lab.services.hub_control import Asked
from tests.support.lab import STANDIN, weights_directory

ENGINES = ("engine1", "engine2")
COPIER = "barewind-weights.service"
BIG = "consolidated.safetensors"
STATUS = "/var/lib/barewind/weights/.transfer.json"
SLOW = ("--data", "weights_rate_limit=5")  # MB/s: some 20 s for model and draft
BEGUN, HALF = 2 * 10**7, 5 * 10**7  # bytes, of 90 MB: the draft, 11 MB, is there already


def directory(name: str, which: str = "model") -> str:
    """Where a host has its weights."""
    return weights_directory(STANDIN, name, which)


def forget(*names: str, which: str = "model") -> None:
    """Take weights away from hosts, as if they were new; a unit that still passes them on would go on telling of them."""
    for name in names:
        hosts.exec(name, f"systemctl stop {COPIER}; rm -rf {directory(name, which)}* {STATUS}")


def right(name: str, which: str = "model") -> bool:
    """Whether a host's files are as its SHA256SUMS says, byte by byte."""
    return (
        hosts.exec(name, f"cd {directory(name, which)} && sha256sum --quiet -c SHA256SUMS", check=False).returncode == 0
    )


def sent() -> list[Asked]:
    """Parts of files that the hub has sent."""
    return [request for request in hub_control.requests() if request.method == "GET" and request.status == 206]


def hold_back() -> None:
    """Have the hub send nothing more of the weights, until it is mended: hosts ask again every two seconds."""
    hub_control.fault(f"*/resolve/*/{BIG}", "status", status=429, retry_after=2, times=100_000)


def copied(name: str) -> int:
    """Bytes that a host has of the job under way."""
    status = hosts.exec(name, f"cat {STATUS} 2>/dev/null || true").stdout
    return int(number[1]) if (number := re.search(r'"copied": (\d+)', status)) else 0


@pytest.fixture
def no_hub(fleet: None) -> Iterator[None]:
    """While the test runs, there is no hub."""
    hosts.exec(topology.SERVICES, "systemctl stop lab-hub")
    yield
    hosts.exec(topology.SERVICES, "systemctl start lab-hub")
    wait.until(hub_control.healthy, 120, "the hub does not answer")


def test_weights_leave_the_hub_once_for_all_hosts_and_nothing_is_left_of_the_transfer(fleet: None) -> None:
    forget(*ENGINES)
    forget(*ENGINES, which="draft")
    hub_control.reset()
    run = STANDIN.deploy()
    assert run.status == 0
    assert all(right(name, which) for name in ENGINES for which in ("model", "draft"))
    times = Counter((part.path, part.range) for part in sent())
    assert len(times) > 80
    assert set(times.values()) == {1}
    assert not [path for path, _ in times if path.endswith(("README.md", "config.json", "00001.safetensors"))]
    assert re.search(r"\[engine[12]\] has all \S+ MiB of weights, checked, none of them from the hub", run.output)
    for name in ENGINES:
        look = f"systemctl is-active {COPIER}; nft list tables; ls /run/barewind/weights; docker ps -a"
        wait.until(
            lambda name=name, look=look: (
                "weights" not in hosts.exec(name, f"{{ {look}; }} 2>&1", check=False).stdout
                and hosts.exec(name, f"systemctl is-active {COPIER}", check=False).stdout.strip() == "inactive"
            ),
            120,
            f"{name}: the transfer is not torn down",
        )


def test_hosts_that_have_their_weights_need_no_hub_and_a_new_one_neither(no_hub: None) -> None:
    run = STANDIN.deploy()
    assert run.status == 0
    assert run.changed == set()

    forget("engine2")
    run = STANDIN.deploy("--limit", "engine2")  # the host that has them is not of the run
    assert run.status == 0
    assert "engine1 passes on what is there" in run.output
    assert right("engine2")


def test_corrupted_weights_are_fetched_again_from_the_other_host(fleet: None) -> None:
    file = f"{directory('engine1')}/{BIG}"
    hosts.exec("engine1", f"chmod 644 {file}; printf x | dd of={file} bs=1 seek=100000 conv=notrunc")
    assert not right("engine1")

    hub_control.reset()
    run = STANDIN.deploy()
    assert run.status == 0
    assert run.changed == {"engine1"}
    assert right("engine1")
    assert sent() == []


def test_rot_that_leaves_no_trace_is_found_and_repaired(fleet: None) -> None:
    file = f"{directory('engine2')}/{BIG}"
    rot = f'm=$(stat -c %y {file}); printf x | dd of={file} bs=1 seek=100000 conv=notrunc; touch -d "$m" {file}'
    hosts.exec("engine2", rot)
    run = STANDIN.barewind("weights", "verify", "--repair")
    assert run.status == 1
    assert re.search(rf"engine2: wrong {directory('engine2')}: other SHA-256: {BIG}\.", run.output)
    assert "engine1: wrong" not in run.output
    assert STANDIN.deploy().status == 0
    assert STANDIN.barewind("weights", "verify").status == 0


def test_a_hub_that_throttles_breaks_off_and_sends_wrong_bytes_is_outlived(fleet: None) -> None:
    """One fault after the other; tests/machine has each alone."""
    forget(*ENGINES)
    hub_control.fault(f"*/resolve/*/{BIG}", "status", status=429, retry_after=5, times=10)
    hub_control.fault(f"*/resolve/*/{BIG}", "truncate", times=9)
    hub_control.fault(f"*/resolve/*/{BIG}", "corrupt", times=3)
    assert STANDIN.deploy().status == 0
    assert all(right(name) for name in ENGINES)
    throttled = [request for request in hub_control.requests() if request.status == 429]
    assert len(throttled) == 10  # not one attempt after another without a pause: there would be no end to them


def test_what_the_hub_always_sends_wrong_is_served_nowhere(mended: None) -> None:
    forget(*ENGINES)
    hub_control.fault(f"*/resolve/*/{BIG}", "corrupt", times=100000)
    run = STANDIN.deploy()
    assert run.status != 0
    assert re.search(rf"engine[12]: weights \S+: {BIG} from \S+ has SHA-256 \w+, the lock says", run.output)
    for name in ENGINES:
        assert hosts.exec(name, f"test -e {directory(name)}", check=False).returncode == 1


@pytest.mark.full  # hosts are patient for two minutes
def test_a_hub_that_is_down_is_named(mended: None, no_hub: None) -> None:
    forget(*ENGINES)
    run = STANDIN.deploy()
    assert run.status != 0
    assert re.search(rf"engine[12]: weights \S+: \S+ cannot be fetched from {topology.HUB}", run.output)


@pytest.mark.parametrize("token", ["hf_of_somebody_else", pytest.param(None, marks=pytest.mark.full)])
def test_a_gated_repository_without_the_right_token(mended: None, tmp_path: Path, token: str | None) -> None:
    forget(*ENGINES, which="draft")
    file = tmp_path / "token"
    file.write_text(token or "")
    file.chmod(0o600)
    run = STANDIN.deploy("--data", f"hub_token_file={file}" if token else "hub_token_file=null")
    assert run.status != 0
    reason = "does not open it" if token else "is needed, and none is set"
    assert re.search(rf"engine[12]: weights \S+-EAGLE@\S+: \S+ cannot be fetched .*A token {reason}", run.output)
    assert "hf_of_somebody_else" not in run.output

    if token:
        file.chmod(0o644)
        run = STANDIN.deploy("--data", f"hub_token_file={file}")
        assert run.status != 0
        assert f"chmod 600 {file}" in run.output
        assert run.changed == set()


def test_the_controller_is_killed_and_the_next_run_goes_on(fleet: None) -> None:
    forget(*ENGINES)
    hub_control.reset()
    deploy = STANDIN.begin_deploy(*SLOW)
    wait.until(lambda: all(copied(name) > BEGUN for name in ENGINES), 120, "the hosts do not copy")
    deploy.kill()
    before = copied("engine2")
    wait.until(lambda: copied("engine2") > before, 60, "engine2 stopped with the controller")  # they go on without it

    hold_back()  # the next run finds them at it
    again = STANDIN.begin_deploy("-v", *SLOW)  # every host's progress
    copying = again.prints("] copying ")
    hub_control.mend()
    run = again.end()

    assert run.status == 0
    assert copying
    assert re.search(r"\[engine[12]\] copying [1-9]\d* % of", run.output)
    assert all(right(name) for name in ENGINES)
    assert set(Counter((part.path, part.range) for part in sent()).values()) == {1}


def test_while_weights_are_copied_no_token_can_be_read_and_no_stranger_gets_any(fleet: None) -> None:
    forget(*ENGINES)
    secret = (paths.state() / "hub_token").read_text().strip()
    deploy = STANDIN.begin_deploy(*SLOW)
    try:
        wait.until(lambda: copied("engine1") > 10**6, 120, "engine1 does not copy")
        hold_back()
        assert hosts.exec("engine1", "stat -c '%a %U' /run/barewind/weights/*/job.json").stdout == "600 root\n"
        assert secret in hosts.exec("engine1", "cat /run/barewind/weights/*/job.json").stdout
        ask = f"curl -s -o /dev/null -m 3 -w '%{{http_code}}' http://{topology.find('engine1').address}:8010/news"
        assert hosts.exec("engine2", ask, check=False).stdout == "200"
        assert hosts.exec("lb1", ask, check=False).stdout == "000"
        places = (
            "ps -ewwo args",
            "docker inspect barewind-weights",
            f"systemctl show {COPIER}; cat /run/systemd/transient/{COPIER}",
            "journalctl -o cat --no-pager -n 20000",
            f"cat {STATUS}; find /var/lib/barewind /tmp /etc/barewind -xdev -type f -size -100k -exec cat {{}} +",
        )
        for place in places:
            assert secret not in hosts.exec("engine1", place, check=False).stdout, place
    finally:
        hub_control.mend()
        done = deploy.end(600)
    assert done.status == 0


@pytest.mark.full  # two minutes until engine2 has given up on the other and has all
def test_the_host_that_asks_the_hub_dies_and_the_other_goes_on(mended: None) -> None:
    forget(*ENGINES)
    deploy = STANDIN.begin_deploy(*SLOW)
    wait.until(lambda: all(copied(name) > HALF for name in ENGINES), 120, "the hosts do not copy")
    hosts.stop("engine1")
    try:
        wait.until(lambda: right("engine2"), 180, "engine2 does not go on without engine1")
    finally:
        deploy.kill()
        hosts.start("engine1")
    hub_control.reset()
    assert STANDIN.deploy().status == 0
    assert right("engine1")
    assert sent() == []  # what was missing came from engine2


def test_weights_that_a_host_has_already_are_checked_and_used(mended: None) -> None:
    for name in ENGINES:
        hosts.exec(
            name, "rm -rf /srv/models; cp -a /var/lib/barewind/weights /srv/models; rm -rf /var/lib/barewind/weights"
        )
    hub_control.reset()
    run = STANDIN.deploy("--data", "weights_source=path", "--data", "weights_path=/srv/models")
    assert run.status == 0
    assert hub_control.requests() == []
    assert hosts.exec("engine1", f"readlink {directory('engine1')}/{BIG}").stdout.startswith("/srv/models/")

    hosts.exec("engine1", f"printf x | dd of=$(readlink {directory('engine1')}/{BIG}) bs=1 seek=100000 conv=notrunc")
    run = STANDIN.deploy("--data", "weights_source=path", "--data", "weights_path=/srv/models")
    assert run.status != 0
    assert re.search(rf"engine1: weights \S+: /srv/models/\S+/{BIG} has SHA-256 \w+, the lock says", run.output)
    for name in ENGINES:
        hosts.exec(name, "rm -rf /srv/models")


def test_prune_keeps_what_is_needed(fleet: None) -> None:
    old = f"/var/lib/barewind/weights/org--old/{'e' * 40}-mistral"
    hosts.exec("engine1", f"mkdir -p {old} && echo x > {old}/params.json")
    run = STANDIN.barewind("weights", "prune", "--yes")
    assert run.status == 0
    # Beside it go compile caches of releases that other tests have left.
    assert re.findall(r"^(\S+): (/\S+/weights/\S+)", run.output, re.MULTILINE) == [("engine1", old)]
    assert hosts.exec("engine1", f"test -e {old}", check=False).returncode == 1
    assert all(right(name, which) for name in ENGINES for which in ("model", "draft"))
    assert STANDIN.deploy().changed == set()
