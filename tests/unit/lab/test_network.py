"""What Docker changed of the machine's packet filter goes; what anybody else put there stays."""

from pathlib import Path

import pytest

from lab.machine import network
from lab.machine.network import Network

RECORDED = (Path(__file__).parent / "output" / "iptables-save-docker.txt").read_text()
CLEAN = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
"""


def save(*rules: str, table: str = "filter", policy: str = "DROP", chains: tuple[str, ...] = ()) -> str:
    """What iptables-save writes of a table."""
    own = "".join(f":{chain} - [0:0]\n" for chain in chains)
    return f"*{table}\n:FORWARD {policy} [0:0]\n:POSTROUTING ACCEPT [0:0]\n{own}" + "\n".join([*rules, "COMMIT\n"])


def removed(before: str, now: str) -> list[str]:
    """The rules that are taken out."""
    commands = network.undo(before, now, forwarded=False).splitlines()
    return [line.replace("-D", "-A", 1) for line in commands if line.startswith("-D")]


def test_everything_of_a_recorded_docker_goes() -> None:
    commands = network.undo(CLEAN, RECORDED, forwarded=True)
    assert commands == (
        "*filter\n"
        ":FORWARD ACCEPT [0:0]\n"
        "-D FORWARD -j DOCKER-USER\n"
        "-D FORWARD -j DOCKER-ISOLATION-STAGE-1\n"
        "-D FORWARD -o br-701fcecc3bf9 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-D FORWARD -o br-701fcecc3bf9 -j DOCKER\n"
        "-D FORWARD -i br-701fcecc3bf9 ! -o br-701fcecc3bf9 -j ACCEPT\n"
        "-D FORWARD -i br-701fcecc3bf9 -o br-701fcecc3bf9 -j ACCEPT\n"
        "-D FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-D FORWARD -o docker0 -j DOCKER\n"
        "-D FORWARD -i docker0 ! -o docker0 -j ACCEPT\n"
        "-D FORWARD -i docker0 -o docker0 -j ACCEPT\n"
        "-F DOCKER\n"
        "-F DOCKER-ISOLATION-STAGE-1\n"
        "-F DOCKER-ISOLATION-STAGE-2\n"
        "-F DOCKER-USER\n"
        "-X DOCKER\n"
        "-X DOCKER-ISOLATION-STAGE-1\n"
        "-X DOCKER-ISOLATION-STAGE-2\n"
        "-X DOCKER-USER\n"
        "COMMIT\n"
        "*nat\n"
        "-D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-D POSTROUTING -s 172.30.77.0/24 ! -o br-701fcecc3bf9 -j MASQUERADE\n"
        "-D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"
        "-D POSTROUTING -s 172.30.77.10/32 -d 172.30.77.10/32 -p tcp -m tcp --dport 8000 -j MASQUERADE\n"
        "-F DOCKER\n"
        "-X DOCKER\n"
        "COMMIT\n"
    )


@pytest.mark.parametrize("now", [CLEAN, "", save("-A FORWARD -s 10.0.0.0/8 -j ACCEPT", policy="ACCEPT")])
def test_nothing_is_done_where_nothing_is_dockers(now: str) -> None:
    assert network.undo(CLEAN, now, forwarded=True) == ""


def test_what_was_there_before_stays() -> None:
    assert network.undo(RECORDED, RECORDED, forwarded=False) == ""


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("filter", "-A FORWARD -i docker0 -o eth1 -j ACCEPT"),
        ("filter", "-A FORWARD -s 172.17.0.0/16 -j DROP"),
        ("filter", "-A FORWARD -i br-lan ! -o br-lan -j ACCEPT"),
        ("filter", "-A FORWARD -i br-lan -o br-lan -j ACCEPT"),
        ("filter", "-A INPUT -i docker0 -p udp -m udp --dport 53 -j ACCEPT"),
        ("filter", '-A FORWARD -m comment --comment "see -j DOCKER" -j ACCEPT'),
        ("filter", "-A FORWARD -j DOCKERS-OWN"),
        ("nat", "-A POSTROUTING -s 10.0.0.0/8 ! -o eth0 -j MASQUERADE"),
        ("nat", "-A POSTROUTING -s 10.0.0.1/32 -d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j MASQUERADE"),
    ],
)
def test_rules_of_others_stay(table: str, rule: str) -> None:
    assert removed("", save(rule, table=table)) == []


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("filter", "-A FORWARD -j DOCKER-FORWARD"),
        ("filter", "-A FORWARD -i docker0 -o docker0 -j DROP"),
        (
            "filter",
            "-A FORWARD -m set --match-set docker-ext-bridges-v4 dst -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
        ("raw", "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP"),
        ("nat", "-A POSTROUTING -s fd00::/64 ! -o docker0 -j MASQUERADE"),
    ],
)
def test_rules_of_other_versions_and_families_go(table: str, rule: str) -> None:
    assert removed("", save(rule, table=table)) == [rule]


def test_a_chain_that_holds_an_administrators_rules_stays() -> None:
    rules = ("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -s 10.0.0.1/32 -j DROP", "-A DOCKER-USER -j RETURN")
    assert network.undo(CLEAN, save(*rules, chains=("DOCKER-USER",)), forwarded=False) == ""


def test_what_is_left_of_an_earlier_docker_stays_without_what_came_since() -> None:
    before = save("-A FORWARD -j DOCKER-ISOLATION-STAGE-1", chains=("DOCKER-ISOLATION-STAGE-1",))
    bridge = "br-0123456789ab"
    added = [
        f"-A FORWARD -i {bridge} -o {bridge} -j ACCEPT",
        f"-A DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2",
        f"-A DOCKER-ISOLATION-STAGE-1 -o {bridge} -j DROP",
    ]
    now = save("-A FORWARD -j DOCKER-ISOLATION-STAGE-1", *added, chains=("DOCKER-ISOLATION-STAGE-1",))
    assert removed(before, now) == added
    assert "-X" not in network.undo(before, now, forwarded=False)


@pytest.mark.parametrize(
    ("before", "forwarded", "restored"),
    [
        ("ACCEPT", True, True),
        ("ACCEPT", False, False),  # forwarding was on before: the policy is somebody else's doing
        ("DROP", True, False),
    ],
)
def test_the_policy_goes_back_only_where_docker_set_it(before: str, forwarded: bool, restored: bool) -> None:
    commands = network.undo(save(policy=before), save(policy="DROP"), forwarded=forwarded)
    assert (":FORWARD ACCEPT" in commands) is restored


def test_settings_and_bridges_go_back() -> None:
    forward = "/proc/sys/net/ipv4/ip_forward"
    before = Network({}, {forward: "0"}, ("br-lan", "br-000000000000"))
    now = Network({}, {forward: "1"}, ("br-000000000000", "br-701fcecc3bf9", "br-lan", "br-new", "docker0"))
    assert network.changed_settings(before, now) == {forward: "0"}
    assert network.added_bridges(before, now) == ["br-701fcecc3bf9", "docker0"]
    assert network.changed_settings(now, now) == {}


@pytest.mark.parametrize(
    ("before", "after", "deleted"),
    [
        ("", CLEAN + save(table="nat", policy="ACCEPT"), ["filter", "nat"]),
        (CLEAN, CLEAN + save(table="nat", policy="ACCEPT"), ["nat"]),
        ("", CLEAN + save(table="security", policy="ACCEPT"), ["filter"]),
        ("", save(policy="DROP"), []),
        (CLEAN, CLEAN + save("-A POSTROUTING -j ACCEPT", table="nat"), []),
    ],
)
def test_tables_that_came_with_docker_go_when_they_are_empty(before: str, after: str, deleted: list[str]) -> None:
    assert network.empty_tables(before, RECORDED, after) == deleted
    assert network.empty_tables(before, RECORDED.replace("(nf_tables)", "(legacy)"), after) == []
