"""Traffic by weights: which weights a share takes, who may get requests, in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
from barewind.rollout.traffic import Traffic, describe, directed, distribution, members, part, plan, weights
from barewind.site.read import read_site
from barewind.spec.values import parse_shares
from tests.support.factories import engine_entry, engine_spec

KINDS = {
    "up": (Admin.READY, Health.UP),
    "down": (Admin.READY, Health.DOWN),
    "drained": (Admin.DRAIN, Health.UP),
    "unchecked": (Admin.READY, Health.UNCHECKED),
}


def rotation(**servers: str) -> Rotation:
    """A balancer; each server has a kind and, if it is not 100, a weight."""
    made = {}
    for name, state in servers.items():
        kind, *weight = state.split()
        made[name] = Server(name, *KINDS[kind], 0, 0, int(*weight) if weight else 100)
    return Rotation((Worker(1, True, made),))


@pytest.mark.parametrize(
    ("hosts", "others", "share", "expected"),
    [
        (1, 1, 50, (100, 100)),
        (1, 1, 25, (33, 99)),
        (2, 2, 10, (11, 99)),
        (2, 3, 25, (50, 100)),
        (3, 2, 60, (100, 100)),
        (1, 8, 50, (96, 12)),
        (8, 1, 50, (12, 96)),
        (1, 3, 99, (237, 1)),  # 98.8: no weights come nearer
        (20, 1, 1, (1, 256)),  # 7.2
        (1, 1, 100, (100, 0)),
        (4, 0, 100, (100, 0)),
    ],
)
def test_weights(hosts: int, others: int, share: int, expected: tuple[int, int]) -> None:
    assert weights(hosts, others, share) == expected


def test_weights_meet_the_share_wherever_there_are_some_that_do() -> None:
    for hosts in range(1, 9):
        for others in range(1, 9):
            for share in range(5, 96, 5):
                own, rest = weights(hosts, others, share)
                assert min(own, rest) >= 1
                assert max(own, rest) <= 256
                assert abs(100 * hosts * own / (hosts * own + others * rest) - share) < 0.6, (hosts, others, share)


@pytest.mark.parametrize(
    ("value", "shares"),
    [(25, (25,)), ("25%", (25,)), ("10,50,100", (10, 50, 100)), ("10 , 50", (10, 50)), ([5, 100], (5, 100))],
)
def test_shares(value: object, shares: tuple[int, ...]) -> None:
    assert parse_shares(value) == shares


@pytest.mark.parametrize("value", [0, 101, "", "half", "50,20", "10,10", "10,,20", -5, 2.5, None, True])
def test_shares_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match="write a percent from 1 to 100"):
        parse_shares(value)


GROUPS = {
    "a": engine_spec(host="a", groups=("blue", "prod")),
    "c": engine_spec(host="c", groups=("green", "prod")),
    "d": engine_spec(host="d", groups=("green", "prod")),
}


@pytest.mark.parametrize(
    ("group", "selected", "hosts"),
    [
        ("green", "acd", (["c", "d"], [])),
        ("green", "ad", (["d"], ["c"])),
        ("prod", "acd", (["a", "c", "d"], [])),
        (None, "acd", "key 'to': not set; say which group shall get the requests: --data to=GROUP"),
        ("gren", "acd", "key 'to': no engine host is in group 'gren' .groups with engine hosts: blue, prod, green."),
        ("green", "a", "group 'green': none of its hosts is in this run; see --limit and --exclude"),
    ],
)
def test_who_gets_the_requests(group: str | None, selected: str, hosts: tuple[list[str], list[str]] | str) -> None:
    if isinstance(hosts, tuple):
        assert members(GROUPS, group, selected) == hosts
        return
    with pytest.raises(BarewindError, match=hosts):
        members(GROUPS, group, selected)


def planned(*shares: int, **rotations: Rotation) -> Traffic:
    return plan(rotations, "green", ["c", "d"], shares=shares or (100,), seconds=300)


GREEN = {"c": "up 0", "d": "up 0"}


def test_the_others_are_those_that_get_requests_hosts_that_stand_by_stay_so() -> None:
    traffic = planned(50, 100, lb1=rotation(a="up", b="drained", x="up 0", **GREEN), lb2=rotation(a="up", **GREEN))
    assert (traffic.others, traffic.counted) == (("a", "b"), 1)
    assert traffic.weights(50) == {"c": 50, "d": 50, "a": 100, "b": 100}
    assert traffic.weights(100) == {"c": 100, "d": 100, "a": 0, "b": 0}


@pytest.mark.parametrize(
    ("rotations", "message"),
    [
        ({"lb1": rotation(a="up", c="down 0", d="up 0")}, "c: down on lb1; undrain it first"),
        ({"lb1": rotation(a="up", **GREEN), "lb2": rotation(a="up", c="up", d="drained 0")}, "d: drain on lb2"),
        ({"lb1": rotation(a="up", c="unchecked 0", d="up")}, "c: its health is not checked yet on lb1; run again"),
        ({"lb1": rotation(a="up", c="up")}, "d: lb1 does not know it; deploy first"),
        ({"lb1": rotation(a="up", **GREEN), "lb2": Rotation(())}, "lb2: HAProxy does not run"),
        ({"lb1": rotation(a="up 0", **GREEN)}, "nobody else could take the other 75 %"),
        ({"lb1": rotation(a="down", **GREEN)}, "nobody else could take the other 75 %"),
    ],
)
def test_what_is_refused(rotations: dict[str, Rotation], message: str) -> None:
    with pytest.raises(BarewindError, match=message):
        planned(25, **rotations)


def test_all_of_it_may_move_from_nobody() -> None:
    assert planned(lb1=rotation(a="down", **GREEN)).weights(100) == {"c": 100, "d": 100, "a": 0}


def test_there_is_nothing_to_do_once_every_balancer_has_the_weights() -> None:
    here, there = rotation(a="up 0", c="up", d="up"), rotation(a="up", c="up", d="up")
    assert directed(planned(lb1=here), {"lb1": here})
    assert not directed(planned(lb1=here, lb2=there), {"lb1": here, "lb2": there})


def test_who_gets_what() -> None:
    now = {"lb1": rotation(a="up", b="down", c="up 25", d="up 75"), "lb2": rotation(c="up", d="up"), "lb3": rotation()}
    assert [part(now["lb1"], [name]) for name in "abcd"] == [50, 0, 12.5, 37.5]
    assert part(now["lb3"], ["a"]) is None
    assert distribution(planned(lb2=now["lb2"]), now) == [
        "lb1: 50 % to green (c, d), 50 % to a",
        "lb2: 100 % to green (c, d)",
        "lb3: nobody gets requests",
    ]
    assert describe(planned(25, 100, lb1=rotation(a="up", b="up", **GREEN))) == [
        "step 1 of 2: 25 % to green; weights: c 33, d 33, a 99, b 99",
        "  then its requests are looked at for 300 s",
        "step 2 of 2: 100 % to green; weights: c 100, d 100, a 0, b 0",
    ]


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"to": "green", "share": "10,100", "step_seconds": 5}
    site = read_site([engine_entry("10.0.0.1", standby=True, **keys), engine_entry("10.0.0.2", **keys)])
    assert [spec.standby for spec in site.engines.values()] == [True, False]
    assert (site.to, site.shares, site.step_seconds) == ("green", (10, 100), 5)
    with pytest.raises(BarewindError, match="key 'share': found '100,10'; write a percent"):
        read_site([engine_entry("10.0.0.1", share="100,10")])
    with pytest.raises(BarewindError, match="key 'standby': True on every engine host, so nobody would get requests"):
        read_site([engine_entry("10.0.0.1", standby=True)])
