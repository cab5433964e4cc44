"""`lab down` leaves the machine's network as `lab up` met it, in a network namespace with rules that a real Docker made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.wait import until

RECORDED = Path(__file__).parents[1] / "unit" / "lab" / "output" / "iptables-save-docker.txt"
FORWARD = "/proc/sys/net/ipv4/ip_forward"
FOREIGN = "-A FORWARD -s 10.8.0.0/16 -j DROP"

# Stands for dockerd: changes the network as the recorded Docker did, and takes nothing back.
DOCKERD = """\
#!{python}
import os, pathlib, signal, subprocess
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
subprocess.run(["iptables-restore", "--noflush"], stdin=open("{rules}"), check=True)
for bridge in ("docker0", "br-701fcecc3bf9"):
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], stderr=subprocess.DEVNULL)
pathlib.Path("{forward}").write_text("1")
pathlib.Path("{pid}.new").write_text(str(os.getpid()))
os.rename("{pid}.new", "{pid}")
signal.sigwait([signal.SIGTERM])
"""
DOCKER = """\
#!/bin/sh
case "$1" in
version) pid=$(cat {pid}) && grep -q . "/proc/$pid/cmdline" ;;  # of a dead process that nobody has waited for it is empty
network) exit 1 ;;
esac
"""

PRELUDE = "from lab.cli import lab; from lab.machine import engine_daemon, network; engine_daemon.PID_FILES = (); "
START = PRELUDE + "engine_daemon.ensure()"
RECORD = PRELUDE + "network.record()"
DOWN = PRELUDE + "lab(['down'])"

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run a command in a namespace of its own, with the stand-ins for Docker; forwarding is off."""
    name = f"barewind-test-{os.getpid()}"
    pid = tmp_path / "dockerd.pid"
    for program, text in (("dockerd", DOCKERD), ("docker", DOCKER)):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(python=sys.executable, rules=RECORDED, forward=FORWARD, pid=pid))
        path.chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "DOCKER_HOST"},
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(*argv: str) -> str:
        command = ["ip", "netns", "exec", name, *argv]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        run("sh", "-c", f"echo 0 > {FORWARD}")
        yield run
    finally:
        for process in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
            os.kill(int(process), 9)
        subprocess.run(["ip", "netns", "delete", name], check=True)


def python(run: Run, code: str) -> None:
    run(sys.executable, "-c", code)


def kill_dockerd(tmp_path: Path) -> None:
    pid = int((tmp_path / "dockerd.pid").read_text())
    os.kill(pid, 9)
    cmdline = Path(f"/proc/{pid}/cmdline")
    until(lambda: not cmdline.exists() or not cmdline.read_bytes(), 60, "dockerd does not end")


def seen(run: Run) -> tuple[str, str, str]:
    """Packet filter, bridges, forwarding."""
    rules = run("iptables-save") + run("ip6tables-save") + run("nft", "list", "tables")
    return re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", rules), run("ip", "-brief", "link"), run("cat", FORWARD)


def orderly(run: Run, _: Path) -> None:
    python(run, START)


def dockerd_killed(run: Run, tmp_path: Path) -> None:
    python(run, START)
    kill_dockerd(tmp_path)


def up_killed_before_the_engine_was_there(run: Run, _: Path) -> None:
    python(run, RECORD)


def killed_and_brought_up_again(run: Run, tmp_path: Path) -> None:
    python(run, START)
    kill_dockerd(tmp_path)
    python(run, START)


def test_down_leaves_a_clean_machine_clean(run: Run) -> None:
    before = seen(run)
    for _ in range(2):
        python(run, START)
        python(run, DOWN)
        assert seen(run) == before


@pytest.mark.parametrize(
    "bring_up", [orderly, dockerd_killed, up_killed_before_the_engine_was_there, killed_and_brought_up_again]
)
def test_down_leaves_the_network_as_up_met_it(run: Run, tmp_path: Path, bring_up: Callable[[Run, Path], None]) -> None:
    run("iptables", "-A", "FORWARD", "-s", "10.9.0.0/16", "-m", "comment", "--comment", 'a "b"', "-j", "ACCEPT")
    run("ip", "link", "add", "br-lan", "type", "bridge")
    before = seen(run)
    bring_up(run, tmp_path)
    python(run, DOWN)
    assert seen(run) == before


def test_rules_that_came_while_the_lab_ran_stay(run: Run) -> None:
    run("iptables", "-A", "INPUT", "-s", "10.9.0.0/16", "-j", "ACCEPT")
    rules, bridges, forwarding = seen(run)
    python(run, START)
    assert ":FORWARD DROP" in seen(run)[0]
    run("iptables", *FOREIGN.split())
    python(run, DOWN)
    assert run("iptables-save").count("-A ") == 2
    run("iptables", *FOREIGN.replace("-A", "-D").split())
    assert seen(run) == (rules, bridges, forwarding)


def test_a_docker_of_the_machines_own_is_left_alone(run: Run, tmp_path: Path) -> None:
    run("sh", "-c", "dockerd >/dev/null 2>&1 &")
    until((tmp_path / "dockerd.pid").exists, 60, "dockerd does not start")
    before = seen(run)
    python(run, START)
    python(run, DOWN)
    assert seen(run) == before


def test_so_is_one_that_was_started_after_the_labs_had_crashed(run: Run, tmp_path: Path) -> None:
    python(run, START)
    kill_dockerd(tmp_path)
    (tmp_path / "dockerd.pid").unlink()
    run("sh", "-c", "dockerd >/dev/null 2>&1 &")
    until((tmp_path / "dockerd.pid").exists, 60, "dockerd does not start")
    before = seen(run)
    python(run, DOWN)
    assert seen(run) == before
