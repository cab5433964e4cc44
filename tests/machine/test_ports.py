"""What of a host answers whom: the real packet filter and sockets, hosts as network namespaces, IPv4 and IPv6."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from barewind.balancer import peers
from barewind.release.unit import engine_firewall, stopping_rules
from barewind.spec.keys import EngineSpec
from tests.support.factories import balancer_spec, engine_spec

ENGINE, STORE, GROUP, SSHD, OWN, METRICS = 8000, 23456, 40001, 22022, 30001, 9100
PORTS = (ENGINE, STORE, GROUP, SSHD, OWN, METRICS)
HOST = {"balancer": ("10.77.1.1", "fd77:1::1"), "stranger": ("10.77.2.1", "fd77:2::1")}  # as each reaches it
HOST["host"] = HOST["stranger"]
BALANCERS = [balancer_spec(address="10.77.1.2"), balancer_spec(address="fd77:1::2")]

# Listens on every address, as torch's TCPStore does; answers each line with the same.
LISTEN = """
import asyncio, socket, sys
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
async def main():
    for port in map(int, sys.argv[1:]):
        await asyncio.start_server(echo, sock=socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
# What each port answers: "open", "refused", or "silent" for a second. The kernel knows, however late this program looks.
PROBE = """
import errno, json, select, socket, sys, time
address, *ports = sys.argv[1:]
tried = {port: socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for port in ports}
answers = {}
for port, connection in tried.items():
    connection.setblocking(False)
    answers[port] = connection.connect_ex((address, int(port)))
end = time.monotonic() + 1
while waiting := {port: tried[port] for port, answer in answers.items() if answer == errno.EINPROGRESS}:
    late = time.monotonic() > end
    for connection in select.select([], waiting.values(), [], 0 if late else 0.05)[1]:
        port = next(port for port, each in waiting.items() if each is connection)
        answers[port] = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if late:
        break
words = {0: "open", errno.ECONNREFUSED: "refused", errno.EINPROGRESS: "silent"}
print(json.dumps({port: words[answer] for port, answer in answers.items()}))
"""
# A connection that says a line whenever it is told to, and tells what comes back.
HOLD = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
print("open", flush=True)
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(100).decode().strip(), flush=True)
"""


class Net:
    """Three hosts: the engine's, a balancer, a stranger."""

    def __init__(self) -> None:
        self._prefix = f"bw-ports-{os.getpid()}"

    def name(self, of: str) -> str:
        """The namespace of a host."""
        return f"{self._prefix}-{of}"

    def build(self) -> None:
        """Make hosts and links."""
        for of in ("host", "balancer", "stranger"):
            _ip("netns", "add", self.name(of))
            self.run(of, "ip", "link", "set", "lo", "up")
        for number, of in enumerate(("balancer", "stranger"), 1):
            _ip("-n", self.name("host"), "link", "add", of, "type", "veth", "peer", "eth0", "netns", self.name(of))
            for where, link, last in (("host", of, 1), (of, "eth0", 2)):
                self.run(where, "ip", "address", "add", f"10.77.{number}.{last}/24", "dev", link)
                self.run(where, "ip", "address", "add", f"fd77:{number}::{last}/64", "dev", link, "nodad")
                self.run(where, "ip", "link", "set", link, "up")

    def remove(self) -> None:
        """Take them away with what runs on them."""
        for of in ("host", "balancer", "stranger"):
            for pid in subprocess.run(["ip", "netns", "pids", self.name(of)], capture_output=True).stdout.split():
                os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "delete", self.name(of)], check=False)

    def run(self, of: str, *argv: str, text: str = "") -> str:
        """What a command on a host prints."""
        command = ["ip", "netns", "exec", self.name(of), *argv]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, of: str, code: str, *words: str) -> subprocess.Popen[str]:
        """A Python program on a host, once it has printed its first line."""
        command = ["ip", "netns", "exec", self.name(of), sys.executable, "-c", code, *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    def load(self, rules: str, file: Path) -> None:
        """Load rules on the engine's host."""
        file.write_text(rules)
        self.run("host", "nft", "-f", str(file))

    def answers(self, of: str, family: int) -> dict[int, str]:
        """What each port of the engine's host answers a host over IPv4 (0) or IPv6 (1)."""
        output = self.run(of, sys.executable, "-c", PROBE, HOST[of][family], *map(str, PORTS))
        return {int(port): answer for port, answer in json.loads(output).items()}


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net()
    try:
        made.build()
        made.begin("host", LISTEN, *map(str, PORTS))
        yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def no_rules(net: Net) -> None:
    net.run("host", "nft", "flush", "ruleset")


def spec(**keys: object) -> EngineSpec:
    return engine_spec(engine_port=ENGINE, **keys)


both = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@both
def test_a_stranger_reaches_sshd_and_the_hosts_own_services_alone(net: Net, tmp_path: Path, family: int) -> None:
    assert set(net.answers("stranger", family).values()) == {"open"}  # without a filter
    net.load(engine_firewall(spec(open_ports=[OWN]), BALANCERS, [SSHD]), tmp_path / "rules")
    assert net.answers("stranger", family) == {
        ENGINE: "silent",
        STORE: "silent",
        GROUP: "silent",
        SSHD: "open",
        OWN: "open",
        METRICS: "open",
    }


@both
def test_a_balancer_reaches_the_engines_port_beside(net: Net, tmp_path: Path, family: int) -> None:
    net.load(engine_firewall(spec(), BALANCERS, [22]), tmp_path / "rules")
    answers = net.answers("balancer", family)
    assert {port for port, answer in answers.items() if answer == "open"} == {ENGINE, METRICS}


@both
def test_what_balancers_tell_each_other_is_taken_from_a_balancer_alone(net: Net, tmp_path: Path, family: int) -> None:
    others = [
        balancer_spec(host=one.address, address=one.address, endpoint_open=False, peers_port=METRICS)
        for one in BALANCERS
    ]
    rules = peers.firewall(balancer_spec(endpoint_open=False, peers_port=METRICS), others)
    assert rules is not None
    net.load(rules.content, tmp_path / "rules")
    assert net.answers("stranger", family) == dict.fromkeys(PORTS, "open") | {METRICS: "silent"}
    assert set(net.answers("balancer", family).values()) == {"open"}
    assert set(net.answers("host", family).values()) == {"open"}


@both
def test_the_host_itself_reaches_everything(net: Net, tmp_path: Path, family: int) -> None:
    net.load(engine_firewall(spec(), BALANCERS, [22]), tmp_path / "rules")
    net.load(stopping_rules(spec()), tmp_path / "stopping")
    assert set(net.answers("host", family).values()) == {"open"}


@both
def test_a_range_stays_open_and_an_engine_port_within_what_is_closed_answers_balancers(
    net: Net, tmp_path: Path, family: int
) -> None:
    keys = {"engine_port": STORE, "open_ports": ["30000-30010"]}
    net.load(engine_firewall(engine_spec(**keys), BALANCERS, [SSHD]), tmp_path / "rules")
    assert net.answers("stranger", family)[OWN] == "open"
    assert net.answers("stranger", family)[STORE] == "silent"
    assert net.answers("balancer", family)[STORE] == "open"


@both
def test_a_host_whose_engine_stops_refuses_what_is_new_and_keeps_what_is_there(
    net: Net, tmp_path: Path, family: int
) -> None:
    net.load(engine_firewall(spec(), BALANCERS, [SSHD]), tmp_path / "rules")
    stream = net.begin("balancer", HOLD, HOST["balancer"][family], str(ENGINE))
    assert stream.stdin is not None
    assert stream.stdout is not None
    net.load(stopping_rules(spec()), tmp_path / "stopping")
    net.load(stopping_rules(spec()), tmp_path / "stopping")  # a second stop
    assert net.answers("balancer", family)[ENGINE] == "refused"
    assert net.answers("balancer", family)[METRICS] == "open"
    assert net.answers("stranger", family)[ENGINE] == "silent"  # as at any time
    stream.stdin.write("token\n")
    stream.stdin.flush()
    assert stream.stdout.readline() == "token\n"
    delete = "table inet barewind_engine_stopping; delete table inet barewind_engine_stopping"
    for _ in range(2):  # each start of the engine does it, whether it was stopped or killed
        net.run("host", "nft", delete)
    assert net.answers("balancer", family)[ENGINE] == "open"


@both
def test_what_the_host_itself_begins_is_answered(net: Net, tmp_path: Path, family: int) -> None:
    """A port of its own is one of those that are closed to others, and no state says so."""
    net.load(engine_firewall(spec(), BALANCERS, [SSHD]), tmp_path / "rules")
    server = net.begin("stranger", LISTEN, "5000")
    try:
        address = ("10.77.2.2", "fd77:2::2")[family]
        assert json.loads(net.run("host", sys.executable, "-c", PROBE, address, "5000")) == {"5000": "open"}
    finally:
        server.kill()
        server.wait()
