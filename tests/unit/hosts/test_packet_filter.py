"""The packet filter tables of hosts: byte for byte what they were, for a host's file must not change without a reason."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.mirror.plan import plan as mirror_plan
from barewind.plan.engine import plan_host
from barewind.release.unit import engine_firewall
from barewind.spec.keys import MirrorSpec
from barewind.weights import plan as weights
from tests.support.factories import balancer_spec, engine_spec, locked

TABLE = """\
table inet {0}
delete table inet {0}
table inet {0} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iif lo accept
{1}  }}
}}
"""


def engine(*addresses: str, **keys: Any) -> str:
    return engine_firewall(engine_spec(**keys), [balancer_spec(address=address) for address in addresses], [22])


def mirror() -> str:
    clients = ["10.9.0.0/16", "fd00::9/128"]
    spec = MirrorSpec(host="m1", groups=("mirrors",), address="10.0.0.5", mirror_tls=False, mirror_clients=clients)
    return mirror_plan(spec, ["10.0.0.12", "10.0.0.11", "10.0.0.5"]).firewall.content


def weights_of_three() -> str:
    addresses = ["192.0.2.11", "192.0.2.9", "fd00::11"]
    specs = [engine_spec(host=f"gpu{number}", address=address) for number, address in enumerate(addresses)]
    return str(weights.host_jobs({spec.host: plan_host(spec, locked(spec)) for spec in specs})["gpu1"].firewall)


CLOSED = [
    "tcp dport 22 accept",
    "tcp dport 8010 accept",
    "tcp flags & (fin | syn | rst | ack) == syn tcp dport 20000-65535 drop",
]
ENGINE = "# Written by Barewind. The engine's port answers the balancers and the host itself, nobody else.\n"
MIRROR = (
    "# Written by Barewind. The mirror answers the fleet's hosts, its own clients and the host itself, nobody else.\n"
)
WEIGHTS = "# Written by Barewind, for the time that weights are copied.\n"


@pytest.mark.parametrize(
    ("text", "comment", "table", "rules"),
    [
        (
            engine("192.0.2.2", "192.0.2.10", "fd00::2"),
            ENGINE,
            "barewind_engine",
            [
                "ip saddr 192.0.2.10 tcp dport 8000 accept",
                "ip saddr 192.0.2.2 tcp dport 8000 accept",
                "ip6 saddr fd00::2 tcp dport 8000 accept",
                "tcp dport 8000 drop",
                *CLOSED,
            ],
        ),
        (engine(engine_port=9000), ENGINE, "barewind_engine", ["tcp dport 9000 drop", *CLOSED]),
        (
            mirror(),
            MIRROR,
            "barewind_mirror",
            [
                "ip saddr 10.0.0.11 tcp dport 5000 accept",
                "ip saddr 10.0.0.12 tcp dport 5000 accept",
                "ip saddr 10.0.0.5 tcp dport 5000 accept",
                "ip saddr 10.9.0.0/16 tcp dport 5000 accept",
                "ip6 saddr fd00::9/128 tcp dport 5000 accept",
                "tcp dport 5000 drop",
            ],
        ),
        (
            weights_of_three(),
            WEIGHTS,
            "barewind_weights",
            [
                "ip saddr 192.0.2.11 tcp dport 8010 accept",
                "ip saddr 192.0.2.9 tcp dport 8010 accept",
                "ip6 saddr fd00::11 tcp dport 8010 accept",
                "tcp dport 8010 drop",
            ],
        ),
    ],
    ids=["engine", "no balancer", "mirror", "weights"],
)
def test_a_table(text: str, comment: str, table: str, rules: list[str]) -> None:
    assert text == comment + TABLE.format(table, "".join(f"    {rule}\n" for rule in rules))
