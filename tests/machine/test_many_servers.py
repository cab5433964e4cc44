"""A HAProxy with a thousand servers: its configuration, reads of all and of some, a batch drained and returned in one command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from barewind.balancer import commands as balancer
from tests.support.haproxy import HAProxy, answering, engine_at

SERVERS, BATCH = 1000, 50


def test_a_batch_of_a_thousand_servers_is_drained_and_returned_in_one_command(haproxy: HAProxy, tmp_path: Path) -> None:
    names = [f"gpu-hall-{number}" for number in range(1, SERVERS + 1)]
    haproxy.local["inter 10s fastinter 2s downinter 5s"] = "inter 5s"
    with answering(tmp_path) as port:
        haproxy.use([engine_at(name, port) for name in names])
        checked = haproxy.shell(f"haproxy -c -f {tmp_path}/cfg")
        assert checked.returncode == 0, checked.stderr
        haproxy.start()
        rotation = haproxy.until(balancer.wait_checked)
        assert list(rotation.servers) == names
        assert {server.state for server in rotation.servers.values()} == {"UP"}

        drained = haproxy.drain(*names[:BATCH])
        assert list(drained.servers) == names[:BATCH]
        assert balancer.wait_drained({"lb1": drained}, names[0], waited=0, limit=1).outcome == "done"
        now = haproxy.look()
        assert {name for name, server in now.servers.items() if server.state == "DRAIN"} == set(names[:BATCH])
        assert Counter(server.state for server in now.servers.values()) == {"UP": SERVERS - BATCH, "DRAIN": BATCH}

        haproxy.hook("ExecReload")
        assert {name for name, server in haproxy.look().servers.items() if server.state == "DRAIN"} == set(
            names[:BATCH]
        )

        returned = haproxy.undrain(*names[:BATCH])
        waits = [balancer.wait_undrained({"lb1": returned}, name, waited=0, limit=1) for name in names[:BATCH]]
        assert {wait.outcome for wait in waits} <= {"done", "waiting"}
        for name in (names[0], names[BATCH - 1]):
            haproxy.until(lambda now, name=name, **limits: balancer.wait_undrained(now, name, **limits))
        assert {server.admin for server in haproxy.look().servers.values()} == {balancer.Admin.READY}


def test_all_of_a_thousand_servers_are_named_in_one_command(haproxy: HAProxy, tmp_path: Path) -> None:
    """The balancer's own limit is 16 kB a line: none of them may be lost at its end."""
    names = [f"gpu-{number}-of-a-hall-with-a-long-name" for number in range(1, SERVERS + 1)]
    assert len(balancer.divided(names)) == 1
    with answering(tmp_path) as port:
        haproxy.use([engine_at(name, port) for name in names])
        haproxy.start()
        assert {server.admin for server in haproxy.drain(*names).servers.values()} == {balancer.Admin.DRAIN}
        assert {server.admin for server in haproxy.undrain(*names).servers.values()} == {balancer.Admin.READY}
