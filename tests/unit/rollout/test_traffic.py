"""Traffic by weights: which weights a share takes, who may get requests, in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
from barewind.rollout.traffic import Traffic, describe, directed, distribution, factors, members, part, plan, weight
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


def weights(hosts: int, others: int, share: int) -> tuple[int, int]:
    """The weight of each of some alike hosts, and that of each of the others."""
    own, rest = factors([100] * hosts, [100] * others, share, 100)
    return weight(100, own), weight(100, rest)


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
    return plan(rotations, "green", ["c", "d"], shares=shares or (100,), seconds=300, base={})


def given(bases: dict[str, int], share: int, **states: str) -> dict[str, int]:
    """The weights of servers, of which c and d are to get a share; `states` are of those that are not just up."""
    lb = rotation(**{name: states.get(name, "up") for name in bases})
    return plan({"lb1": lb}, "green", ["c", "d"], shares=(share,), seconds=300, base=bases).weights(share)


LARGE, SMALL = {"a": 100, "c": 50, "d": 50}, {"a": 50, "b": 50, "c": 100, "d": 50}


@pytest.mark.parametrize(
    ("bases", "share", "expected"),
    [
        (LARGE, 50, {"a": 100, "c": 50, "d": 50}),
        (LARGE, 30, {"a": 98, "c": 21, "d": 21}),
        (LARGE, 90, {"a": 22, "c": 99, "d": 99}),
        (LARGE, 100, {"a": 0, "c": 50, "d": 50}),  # as configured once the move is made permanent
        (SMALL, 60, {"a": 50, "b": 50, "c": 100, "d": 50}),
        (SMALL, 30, {"a": 98, "b": 98, "c": 56, "d": 28}),
        (SMALL, 100, {"a": 0, "b": 0, "c": 100, "d": 50}),
        ({"a": 100, "c": 12, "d": 100}, 1, {"a": 220, "c": 1, "d": 2}),  # no weights come nearer
    ],
)
def test_within_a_group_and_among_the_others_the_base_weights_go_on(
    bases: dict[str, int], share: int, expected: dict[str, int]
) -> None:
    assert given(bases, share) == expected


def test_a_group_of_different_engines_gets_its_share_and_each_engine_its_part_of_it() -> None:
    for share in range(5, 96, 5):
        for bases in (LARGE, SMALL, {"a": 100, "b": 12, "c": 25, "d": 75}):
            weights = given(bases, share)
            assert max(weights.values()) <= 256
            group, total = sum(bases[name] for name in "cd"), sum(bases.values())
            for name, found in weights.items():
                part = share * bases[name] / group if name in "cd" else (100 - share) * bases[name] / (total - group)
                assert abs(100 * found / sum(weights.values()) - part) < 0.5, (bases, share, name)


def test_what_cannot_take_requests_now_gets_its_weight_and_is_not_counted() -> None:
    weights = given({"a": 50, "b": 100, "c": 50, "d": 50}, 25, b="down")
    assert weights == {"a": 48, "b": 97, "c": 8, "d": 8}


def test_a_server_that_has_left_the_inventory_is_one_of_weight_100() -> None:
    lb = {"lb1": rotation(a="up", gone="up", **GREEN)}
    traffic = plan(lb, "green", ["c", "d"], shares=(50,), seconds=300, base=LARGE)
    assert traffic.weights(50) == {"a": 100, "gone": 100, "c": 100, "d": 100}


GREEN = {"c": "up 0", "d": "up 0"}


def test_the_others_are_those_that_get_requests_hosts_that_stand_by_stay_so() -> None:
    traffic = planned(50, 100, lb1=rotation(a="up", b="drained", x="up 0", **GREEN), lb2=rotation(a="up", **GREEN))
    assert (traffic.others, traffic.counted) == (("a", "b"), ("a",))
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
