"""The way to fill a mirror: over SSH where a host of the group `mirrors` runs it, otherwise as it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.hosts.tunnel import dialer
from barewind.mirror import contents, filling
from barewind.mirror.contents import Mirror
from barewind.registry import dialed
from barewind.registry.client import Connection, Unreachable
from barewind.spec.keys import MirrorSpec
from barewind.spec.site import Site
from tests.support.factories import lab_spec, locked
from tests.support.registry_server import RegistryServer, running

MIRROR = MirrorSpec(host="m1", groups=("mirrors",), address="127.0.0.1", mirror_tls=False)


@pytest.mark.parametrize(
    ("registry", "host"),
    [
        ("127.0.0.1:5000", "m1"),
        ("m1:5000", "m1"),
        ("localhost:5000", "m1"),
        ("127.0.0.1:5001", None),
        ("10.0.0.5:5000", None),
        ("registry.invalid:5000", None),
    ],
    ids=["its address", "its name", "a name of its address", "another port", "another address", "no such name"],
)
def test_which_host_runs_a_mirror(registry: str, host: str | None) -> None:
    spec = lab_spec(mirror=registry)
    lock = locked(spec)
    (found,) = contents.mirrors(Site({spec.host: spec}, {}, "x", {"m1": MIRROR}), lock)
    assert found.host == host


class Hosts:
    """A mirror's host; its writable registry listens on a port of this machine."""

    def __init__(self, port: int, problem: str = "", refusals: int = 0) -> None:
        self.port, self.problem, self.refusals = port, problem, refusals
        self.asked: list[str] = []

    def ask(self, commands: Mapping[str, str], *, timeout: int) -> dict[str, tuple[str, str]]:
        assert timeout > 600
        self.asked += commands.values()
        return dict.fromkeys(commands, ("", self.problem))

    def dialer(self, name: str, address: tuple[str, int]) -> dialed.Dial:
        assert (name, address) == ("m1", ("127.0.0.1", 5099))

        def dial() -> socket.socket:
            self.refusals -= 1
            if self.refusals >= 0:
                raise ConnectionRefusedError("m1 does not connect")
            return socket.create_connection(("127.0.0.1", self.port), timeout=20)

        return dial


@pytest.fixture
def writable() -> Iterator[RegistryServer]:
    with running() as server:
        yield server


def mirror() -> Mirror:
    return Mirror("10.0.0.5:5000", False, None, 3, host="m1")


def use(monkeypatch: pytest.MonkeyPatch, hosts: Hosts) -> None:
    monkeypatch.setattr(filling, "Hosts", lambda *_: hosts)


def test_a_registry_of_somebody_else_is_used_as_it_is() -> None:
    other = Mirror("10.0.0.9:5000", True, None, 3)
    with filling.filling(other, "nowhere.py") as found:
        assert found is other


def test_what_is_sent_goes_through_the_host_whatever_the_proxy(
    monkeypatch: pytest.MonkeyPatch, writable: RegistryServer
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    hosts = Hosts(int(writable.name.rpartition(":")[2]))
    use(monkeypatch, hosts)
    with filling.filling(mirror(), "site.py") as found:
        assert found.repository("a/b").tags() == []
        assert found.registry == "10.0.0.5:5000"
    (command,) = hosts.asked
    assert "systemctl start barewind-mirror-fill.service" in command
    assert command.endswith('/usr/local/lib/barewind/mirror-maintenance admit "${SUDO_UID:-0}"')


def test_a_registry_that_ends_just_then_is_started_again(
    monkeypatch: pytest.MonkeyPatch, writable: RegistryServer
) -> None:
    hosts = Hosts(int(writable.name.rpartition(":")[2]), refusals=1)
    use(monkeypatch, hosts)
    with filling.filling(mirror(), "site.py"):
        assert len(hosts.asked) == 2


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (Hosts(1, problem="not set up for this"), "m1: the mirror cannot be filled: not set up for this"),
        (
            Hosts(1, refusals=9),
            "m1: the mirror cannot be filled: m1 does not connect; sshd must allow it (AllowTcpForw",
        ),
    ],
    ids=["set up by older code", "no forwarding"],
)
def test_a_host_that_does_not_let_us(monkeypatch: pytest.MonkeyPatch, hosts: Hosts, message: str) -> None:
    use(monkeypatch, hosts)
    with pytest.raises(BarewindError) as caught, filling.filling(mirror(), "site.py"):
        pass
    assert str(caught.value).startswith(message)


def test_a_connection_that_is_not_opened_is_an_error_with_its_reason() -> None:
    def dial() -> socket.socket:
        raise ConnectionRefusedError

    connection = Connection("10.0.0.5:5000", plain=True, dial=dial, subject="mirror", hint="look there")
    with pytest.raises(Unreachable, match=r"mirror: the registry did not answer .*look there"):
        connection.send("GET", "/v2/")


# --- Connections through a host ----------------------------------------------------------------------------------------


class Channel:
    """An SSH channel, as far as a connection needs it: it answers what it gets."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self.recv, self.close = self._near.recv, self._near.close
        self.shutdown = self._near.shutdown

    def sendall(self, data: bytes) -> None:
        self._far.sendall(data.upper())


def host_with(answer: Any) -> Any:
    def open_channel(kind: str, address: tuple[str, int], _: Any, timeout: float) -> Any:
        assert (kind, address, timeout) == ("direct-tcpip", ("127.0.0.1", 5099), 30)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = SimpleNamespace(open_channel=open_channel)
    return SimpleNamespace(
        name="m1", connector=SimpleNamespace(client=SimpleNamespace(get_transport=lambda: transport))
    )


def test_a_connection_through_the_host_needs_no_port_of_this_machine() -> None:
    import gevent
    from gevent import socket as cooperative

    channel = Channel()
    channel._near.setblocking(True)
    channel.recv = cooperative.socket(fileno=channel._near.detach()).recv
    with dialer(host_with(channel), ("127.0.0.1", 5099))() as connection:
        connection.sendall(b"hello")
        gevent.sleep(0)
        assert connection.family == socket.AF_UNIX


def test_a_host_that_forwards_nothing_refuses() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"m1 does not connect to 127.0.0.1:5099 \(prohibited\)"):
        dialer(host_with(OSError("prohibited")), ("127.0.0.1", 5099))()
    other: Any = SimpleNamespace(name="@docker/x", connector=SimpleNamespace())
    with pytest.raises(BarewindError, match="@docker/x: is reached by other means than SSH"):
        dialer(other, ("127.0.0.1", 5099))
