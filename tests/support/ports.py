"""What of a lab host answers another host of the lab."""

from __future__ import annotations

import json

from lab import topology
from lab.hosts import hosts

_PROBE = """
import json, socket, sys
opened = []
for port in map(int, sys.argv[2:]):
    try:
        socket.create_connection((sys.argv[1], port), 1).close()
        opened.append(port)
    except OSError:
        pass
print(json.dumps(opened))
"""


def listeners(host: str) -> dict[int, set[str]]:
    """The addresses that each port of a host is listened on."""
    found: dict[int, set[str]] = {}
    for line in hosts.exec(host, "ss -Hltn").stdout.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        found.setdefault(int(port), set()).add(address)
    return found


def answering(host: str, asker: str) -> set[int]:
    """Of the ports that are listened on, those that answer another host."""
    ports = [str(port) for port in listeners(host)]
    address = topology.find(host).address
    return set(json.loads(hosts.exec(asker, ["python3", "-c", _PROBE, address, *ports]).stdout))


def beyond_loopback(host: str) -> set[int]:
    """The ports of a host that are listened on for more than the host itself."""
    local = ("127.", "[::1]", "[::ffff:127.")
    return {port for port, addresses in listeners(host).items() if not all(a.startswith(local) for a in addresses)}
