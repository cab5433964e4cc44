"""What HAProxy calls its parts on a balancer."""

from __future__ import annotations

import re

from barewind.hosts.paths import PROGRAMS

BACKEND = "engines"
MASTER_SOCKET = "/run/haproxy-master.sock"  # of the packages' unit: Debian 12, Ubuntu 22.04 and 24.04
STATE_FILE = "/var/lib/haproxy/barewind.state"  # root's own directory
STATE_PROGRAM = f"{PROGRAMS}/haproxy-state"
TOKENS_PROGRAM = "/etc/haproxy/barewind/tokens.lua"
KEYS_MAP = "/etc/haproxy/barewind/keys.map"  # HAProxy knows the map by this path
ENDPOINT_PEM = "/etc/haproxy/barewind/endpoint.pem"  # certificate, chain and key; by this path too

# HAProxy's names are made of letters, digits and _ . : - (invalid_char, src/tools.c). What else a host's name has, such as the
# @ and / of pyinfra's connectors, is written as its number; so is a _ that would look like the beginning of one.
_FOREIGN = re.compile(r"_(?=x[0-9A-F]{2})|[^A-Za-z0-9_.:-]")
_NUMBER = re.compile(r"_x([0-9A-F]{2})_")


def server_name(host: str) -> str:
    """What HAProxy calls a host: its name, where that can be, as nearly always. No two hosts have the same."""
    return _FOREIGN.sub(lambda found: f"_x{ord(found[0]):02X}_", host)


def host_name(server: str) -> str:
    """The host that HAProxy calls so; the reverse of `server_name`."""
    return _NUMBER.sub(lambda found: chr(int(found[1], 16)), server)
