"""Commands that go through one shell for each SSH connection, against a real SSH server; its sessions are what it counts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import paramiko
import pytest
from pyinfra.api import Config, FactBase, Host, Inventory, State, facts
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from barewind.hosts import held, readings, shell
from lab import wait
from tests.support.ssh_server import serving

pytestmark = pytest.mark.slow


class Sshd:
    """A server, and a connection to it."""

    def __init__(self, port: int, log: Path) -> None:
        data = {"ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_user": "u", "ssh_password": "p"}
        checks = {"ssh_strict_host_key_checking": "no", "ssh_known_hosts_file": str(log.with_name("known"))}
        self.inventory = Inventory((["lb1"], data | checks | {"ssh_allow_agent": False, "ssh_look_for_keys": False}))
        self.state = State(self.inventory, Config())
        self.host: Host = self.inventory.get_host("lb1")
        self._log = log

    def run(self, command: str, **values: Any) -> shell.Answer:
        with ctx_config.use(self.state.config), ctx_state.use(self.state), ctx_inventory.use(self.inventory):
            return shell.run(self.state, self.host, command, **values)

    @property
    def sessions(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    log = tmp_path_factory.mktemp("sshd") / "log"
    with serving(log) as port:
        yield port, log


@pytest.fixture
def sshd(server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    monkeypatch.setattr(paramiko.SSHClient, "exec_command", paramiko.SSHClient.exec_command)  # undone afterwards
    held.install()
    server[1].write_text("")
    made = Sshd(*server)
    yield made
    made.host.disconnect()


HELD = "exec exec sh"


def test_what_is_asked_of_a_host_takes_one_session(sshd: Sshd) -> None:
    answers = [sshd.run(f"echo {number}; exit {number % 2}") for number in range(20)]
    assert [answer.output for answer in answers] == [str(number) for number in range(20)]
    assert [bool(answer.problem) for answer in answers] == [False, True] * 10
    assert sshd.sessions == [HELD]


@pytest.mark.parametrize(
    ("command", "output", "problem"),
    [
        ("true", "", ""),
        ("false", "", "the command failed"),
        ("printf 'a\\nb'", "a\nb", ""),
        ("printf 'a\\n\\n'", "a\n", ""),
        ("echo; echo a", "\na", ""),
        ("echo out; echo err >&2", "out", ""),
        ("printf err >&2; exit 3", "", "err"),
        ("cat", "", ""),  # it has no input
        ("exit 7 # a comment", "", "the command failed"),
        ("kill -9 $$", "", "Killed"),
        ("cd /; umask 0; x=1; pwd", "/", ""),
        ("""printf '%s|' "$x" "it's" '"\\'""", """|it's|"\\|""", ""),
        ("(echo ' | \" )", "", "Syntax error"),
        ("echo '@@held 0123456789abcdef 0'", "@@held 0123456789abcdef 0", ""),
        ("cat <<'E'\n) </dev/null; exit\nE", ") </dev/null; exit", ""),
        ("seq 20000 | tail -n 20000 | wc -l", "20000", ""),
        ("head -c 3000000 /dev/zero | tr '\\0' x | fold -w 1000 | wc -c; seq 3000 >&2", "3002999", ""),
    ],
)
def test_a_command_is_run_as_it_would_be_by_itself(sshd: Sshd, command: str, output: str, problem: str) -> None:
    sshd.run("true")
    answer = sshd.run(command)
    assert (answer.output, problem in answer.problem) == (output, True)
    assert sshd.run("echo then").output == "then"  # and leaves the shell as it was
    assert sshd.sessions == [HELD]


def test_a_large_output_and_a_large_command_arrive_whole(sshd: Sshd) -> None:
    words = " ".join(f"word{number}" for number in range(9000))
    assert sshd.run(f"echo {words}").output == words
    assert sshd.run("seq 300000").output.splitlines() == [str(number) for number in range(1, 300001)]
    assert sshd.sessions == [HELD]


def test_who_comes_while_a_command_is_in_the_shell_has_a_session_of_its_own(sshd: Sshd) -> None:
    asking = [gevent.spawn(sshd.run, f"sleep 0.3; echo {number}") for number in range(12)]
    assert [greenlet.get(timeout=60).output for greenlet in asking] == [str(number) for number in range(12)]
    assert sshd.sessions.count(HELD) == 1
    assert len(sshd.sessions) <= 12


def test_a_command_with_input_has_a_session_of_its_own(sshd: Sshd) -> None:
    assert sshd.run("cat", stdin="a secret\n").output == "a secret"
    assert HELD not in sshd.sessions


def test_a_command_that_takes_too_long_ends_and_the_next_gets_another_shell(sshd: Sshd) -> None:
    late = sshd.run("echo begun; sleep 30", timeout=1)
    assert late.problem
    assert sshd.run("echo again").output == "again"
    assert sshd.sessions == [HELD, HELD]


# Prints the process of the outermost shell around a command.
OUTERMOST = """p=$$
while up=$(ps -o ppid= -p $p | tr -d ' ') && [ "$(ps -o comm= -p $up)" = sh ]; do p=$up; done
echo $p"""


def test_a_shell_that_ends_with_a_command_in_it_is_begun_anew(sshd: Sshd) -> None:
    assert sshd.run(f"{OUTERMOST}; kill -9 $p").problem  # as of a command whose connection ends
    assert sshd.run("echo again").output == "again"
    assert sshd.sessions == [HELD, HELD]


def test_a_shell_that_the_host_ends_meanwhile_is_begun_anew(sshd: Sshd) -> None:
    os.kill(int(sshd.run(OUTERMOST).output), signal.SIGKILL)
    wait.until(lambda: sshd.run("echo again").output == "again", 60, "nothing answers any more")
    assert sshd.sessions == [HELD, HELD]


def test_a_connection_that_is_made_anew_has_a_shell_of_its_own(sshd: Sshd) -> None:
    sshd.run("true")
    sshd.host.disconnect()
    assert sshd.run("echo again").output == "again"
    assert sshd.sessions == [HELD, HELD]


class Text(FactBase[str]):
    """What a command prints."""

    abstract = False

    def command(self, command: str) -> str:
        return command


def test_what_a_host_does_by_its_own_steps_has_sessions_of_its_own(sshd: Sshd) -> None:
    sshd.run("true")
    done, output = sshd.host.run_shell_command("echo step")
    assert (done, output.stdout) == (True, "step")
    assert sshd.sessions == [HELD, "exec sh -c 'echo step'"]


def test_facts_and_what_is_asked_beside_them_share_the_shell(sshd: Sshd, installed: Callable[[], None]) -> None:
    installed()
    sshd.run("true")
    with ctx_config.use(sshd.state.config), ctx_state.use(sshd.state), ctx_host.use(sshd.host):
        for number in range(3):
            assert facts._get_fact(sshd.state, sshd.host, Text, kwargs={"command": f"echo {number}"}) == str(number)
    assert sshd.sessions == [HELD]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has facts read as in a run; pyinfra is as it was afterwards."""
    monkeypatch.setattr(facts, "_get_fact", facts._get_fact)
    for name in ("run_shell_command", "put_file", "disconnect", "noop"):
        monkeypatch.setattr(Host, name, getattr(Host, name))
    return readings.install
