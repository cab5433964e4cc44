"""Facts of a host before a deploy: what becomes of a host's output, and what the script prints in a real shell."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from barewind.preflight.facts import SSH_PORTS, HostFacts
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:No command set for test")]  # commands are run below

TestHostFacts = fact_tests(HostFacts, Path(__file__).parent)


@pytest.mark.parametrize(
    "lines",
    [
        ["memory", "lots"],
        ["clock", "noon"],
        ["disks", "/var/lib/barewind "],
        ["disks", "/var/lib/barewind 12 /mnt/my disk"],
        ["disks", "/var/lib/barewind - /"],
        ["pci", "lspci: not found"],
    ],
    ids=" ".join,
)
def test_damaged_output_does_not_raise(lines: list[str]) -> None:
    HostFacts().process([f"@@barewind:{lines[0]}", *lines[1:], "@@barewind:end"])


HOST_ARGUMENTS: dict[str, Any] = {
    "engines": [(None, 8000)],
    "image": "r/x@sha256:12",
}
BARE = {"docker": "exit 127", "ss": "", "dpkg_query": ""}


def host_facts(shell: Shell, tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    wanted = {"paths": [str(tmp_path / "not" / "there"), str(tmp_path)], "weights": []} | HOST_ARGUMENTS | arguments
    return HostFacts().process(printed(shell, HostFacts().command(**wanted)))


def test_host_facts_of_this_very_machine(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(**{name: text for name, text in BARE.items() if name != "docker"})
    facts = host_facts(shell, tmp_path)

    assert facts["machine"] == os.uname().machine
    assert facts["memory_kib"] > 0
    assert facts["clock"] > 1.7e9
    docker = facts["docker_daemon"]
    assert set(facts["disks"]) == {str(tmp_path / "not" / "there"), str(tmp_path), docker["root"], docker["containerd"]}
    nearest = facts["disks"][str(tmp_path / "not" / "there")]
    assert nearest["mount"] == facts["disks"][str(tmp_path)]["mount"]
    assert nearest["free"] == pytest.approx(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.1)
    assert (facts["listener"], facts["image_present"]) == (None, False)
    assert facts["accelerators"] is None
    assert host_facts(shell, tmp_path, with_accelerators=True)["accelerators"]["gpus"] == []


@pytest.mark.parametrize(
    ("haproxy", "apt", "version"),
    [
        ("echo 'HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/'; echo Status: x", "", "2.6.12"),
        ("echo 'HA-Proxy version 2.0.33-0ubuntu0.1 2023/10/31'", "", "2.0.33"),
        (
            "exit 127",
            "echo haproxy:; echo '  Installed: (none)'; echo '  Candidate: 2.4.24-0ubuntu0.22.04.2'",
            "2.4.24",
        ),
        ("exit 127", "echo '  Candidate: (none)'", None),
        ("exit 127", "exit 127", None),
    ],
)
def test_the_haproxy_of_a_balancer(
    shell: Shell, programs: Programs, tmp_path: Path, haproxy: str, apt: str, version: str | None
) -> None:
    programs(**BARE, haproxy=haproxy, apt_cache=apt)
    assert host_facts(shell, tmp_path, with_haproxy=True)["haproxy"] == version


def test_a_host_without_docker(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(**{name: text for name, text in BARE.items() if name != "docker"})
    command = HostFacts().command(paths=[], weights=[], **HOST_ARGUMENTS)
    found = printed(shell, command.replace("command -v docker", "command -v no-such-docker"))
    assert HostFacts().process(found)["docker"] is None


def test_host_facts_of_a_host_that_serves(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    weights = tmp_path / "weights dir"
    weights.mkdir()
    (weights / ".verified").write_text("")
    programs(
        docker='case "$*" in "--version") echo Docker version 28.1.1, build 4eba377;; '
        '"image inspect"*) echo present;; "inspect"*) echo 0badc0de;; esac',
        ss="echo 'LISTEN 0 4096 10.0.0.11:8000 0.0.0.0:* users:((\"vllm\",pid=1234,fd=3))'",
        grep='[ "$1" = -q ] && exit 0; exec /bin/grep "$@"',  # the container's id is in the process's cgroup
    )
    facts = host_facts(shell, tmp_path, weights=[str(weights), str(tmp_path / "none")])
    assert facts["docker"]["program"].endswith("/docker")
    assert facts["docker"]["version"] == "28.1.1"
    assert facts["image_present"] is True
    assert facts["weights_present"] == [str(weights)]
    assert facts["listener"] == "container"


@pytest.mark.parametrize(
    ("socket", "listener"),
    [
        ("10.0.0.11:8000", "stranger"),
        ("[::]:8000", "stranger"),
        ("*:8000", "stranger"),
        ("10.0.0.11:18000", None),
        ("10.0.0.11:80", None),
    ],
)
def test_who_listens_on_the_port(
    shell: Shell, programs: Programs, tmp_path: Path, socket: str, listener: str | None
) -> None:
    line = f'LISTEN 0 4096 {socket} 0.0.0.0:8000 users:(("x",pid={os.getpid()},fd=3))'
    programs(**BARE | {"ss": f"echo '{line}'", "cat": 'case "$1" in /proc/*/comm) echo stranger;; esac'})
    assert host_facts(shell, tmp_path)["listener"] == listener


@pytest.mark.parametrize("sudo", ["", "env -i "])  # which clears the environment
def test_where_this_very_connection_arrived(shell: Shell, programs: Programs, sudo: str) -> None:
    programs(ss="")
    path = 'PATH="$PATH" ' if sudo else ""
    command = f"{sudo}{path}sh -c {shlex.quote(SSH_PORTS)}; true"
    assert printed_with(shell, command, SSH_CONNECTION="10.0.0.9 50123 10.0.0.11 22022") == ["22022"]
    assert printed_with(shell, command, SSH_CONNECTION="fd00::9 50123 fd00::11 22") == ["22"]


def printed_with(shell: Shell, command: str, **env: str) -> list[str]:
    return shell(command, **env).stdout.splitlines()


def test_where_its_daemon_listens_and_not_what_a_session_forwards(shell: Shell, programs: Programs) -> None:
    lines = [
        'LISTEN 0 128 0.0.0.0:22022 0.0.0.0:* users:(("sshd",pid=1,fd=3))',
        'LISTEN 0 128 [::]:22023 [::]:* users:(("sshd",pid=2,fd=3),("systemd",pid=1,fd=50))',
        f'LISTEN 0 128 0.0.0.0:40000 0.0.0.0:* users:(("sshd",pid={os.getpid()},fd=9))',
        'LISTEN 0 128 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=9))',
    ]
    programs(
        ss="\n".join(f"echo '{line}'" for line in lines), grep='case "$3" in /proc/[12]/status) exit 0;; esac; exit 1'
    )
    assert printed_with(shell, SSH_PORTS) == ["22022", "22023"]


def test_what_else_listens_for_others(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    lines = [
        f'LISTEN 0 128 {address} 0.0.0.0:* users:(("x",pid={os.getpid()},fd=3))'
        for address in ("0.0.0.0:30080", "127.0.0.1:30081", "[::1]:30082", "[::]:9100", "[::ffff:127.0.0.1]:30083")
    ]
    cat = 'case "$1" in /proc/*/comm) echo kubelet;; *) exec /bin/cat "$@";; esac'
    programs(**BARE | {"ss": "\n".join(f"echo '{line}'" for line in lines), "cat": cat})
    assert host_facts(shell, tmp_path)["services"] == {30080: "kubelet", 9100: "kubelet"}
