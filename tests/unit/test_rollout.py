"""Batches: who is taken out when, and what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.rollout import LEFT_OUT, Batch, HostState, batches, describe, parse_max_unavailable


def host(name: str, kind: str = "serves", group: str = "hopper", **values: Any) -> HostState:
    """A host of a run; `kind`: serves, idle (known, out of rotation), busy (idle with requests), fresh (no balancer has it),
    standby (weight 0)."""
    given = {
        "host": name,
        "group": group,
        "reasons": ("release a -> b",),
        "serving": kind == "serves",
        "known": kind != "fresh",
        "selected": True,
        "max_unavailable": 1,
        "allow_downtime": False,
        "busy": kind == "busy",
        "standby": kind == "standby",
    }
    return HostState(**given | values)


def planned(*states: HostState) -> list[tuple[str, bool]]:
    found = batches(list(states))
    assert [(one.number, one.of) for one in found] == [(number + 1, len(found)) for number in range(len(found))]
    return [(" ".join(one.hosts), one.serving) for one in found]


def refused(*states: HostState) -> str:
    with pytest.raises(BarewindError) as error:
        batches(list(states))
    return str(error.value)


NOTHING: dict[str, Any] = {"reasons": ()}
OTHERS: dict[str, Any] = {"selected": False}

PLANS: list[tuple[str, list[HostState], list[tuple[str, bool]]]] = [
    ("no hosts", [], []),
    ("nothing to do", [host("a", **NOTHING), host("b", "idle", **NOTHING)], []),
    ("not in this run", [host("a", **OTHERS), host("b")], [("b", True)]),
    ("a first deploy: all at once", [host("a", "fresh"), host("b", "fresh")], [("a b", False)]),
    ("one at a time, in the inventory's order", [host("b"), host("a"), host("c")], [("b", True), ("a", True), ("c", True)]),
    (
        "two at a time",
        [host(name, max_unavailable=2) for name in "abcde"],
        [("a b", True), ("c d", True), ("e", True)],
    ),
    ("a share", [host(name, max_unavailable="50%") for name in "abcde"], [("a b", True), ("c d", True), ("e", True)]),
    ("never all at once", [host(name, max_unavailable="100%") for name in "abc"], [("a b", True), ("c", True)]),
    ("a group's smallest number", [host("a", max_unavailable=2), host("b"), host("c")], [(one, True) for one in "abc"]),
    ("hosts that serve nobody first", [host("a"), host("b", "idle"), host("c", "fresh")], [("b c", False), ("a", True)]),
    (
        "those still at work are waited for",
        [host("a"), host("b", "busy"), host("c", "idle")],
        [("c", False), ("b", True), ("a", True)],
    ),
    ("a mended host serves while the other leaves", [host("a"), host("b", "idle")], [("b", False), ("a", True)]),
    (
        "group by group",
        [host("a"), host("x", group="mi300x"), host("b"), host("y", group="mi300x")],
        [("a", True), ("b", True), ("x", True), ("y", True)],
    ),
    (
        "groups serve for each other",
        [host("a"), host("x", group="mi300x")],
        [("a", True), ("x", True)],
    ),
    (
        "a host that stays out counts",
        [host("a", "idle", **OTHERS, max_unavailable=2), *(host(name, max_unavailable=2) for name in "bcd")],
        [("b", True), ("c", True), ("d", True)],
    ),
    (
        "a host that stays out counts, though in this run",
        [host("a", "idle", **NOTHING, max_unavailable=2), *(host(name, max_unavailable=2) for name in "bcd")],
        [("b", True), ("c", True), ("d", True)],
    ),
    (
        "a host that never served is missed by nobody",
        [host("a", "fresh", **OTHERS), host("b"), host("c")],
        [("b", True), ("c", True)],
    ),
    (
        "hosts that stand by go first, all at once, whatever the budget",
        [host("a"), host("b"), *(host(name, "standby") for name in "xyz")],
        [("x y z", False), ("a", True), ("b", True)],
    ),
    (
        "hosts that stand by are missed by nobody",
        [host("a", "standby", **OTHERS), host("b", "standby", **NOTHING), host("c"), host("d")],
        [("c", True), ("d", True)],
    ),
    (
        "hosts that stand by are no part of what a share is of",
        [*(host(name, max_unavailable="50%") for name in "ab"), *(host(name, "standby", **NOTHING) for name in "wxyz")],
        [("a", True), ("b", True)],
    ),
    (
        "another group's budget is its own",
        [host("a", "idle", **OTHERS), host("x", group="mi300x"), host("y", group="mi300x")],
        [("x", True), ("y", True)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("states", "expected"), [one[1:] for one in PLANS], ids=[one[0] for one in PLANS])
def test_batches(states: list[HostState], expected: list[tuple[str, bool]]) -> None:
    assert planned(*states) == expected


def test_hosts_that_a_balancer_has_leave_it_even_if_it_sends_them_nothing() -> None:
    first, second = batches([host("a"), host("b", "idle"), host("c", "fresh")])
    assert (first.hosts, first.drained) == (("b", "c"), ("b",))
    assert (second.hosts, second.drained) == (("a",), ("a",))


def test_a_single_host_means_downtime() -> None:
    assert refused(host("gpu1")) == (
        "gpu1: it is the only engine host, so this change (release a -> b) means downtime; accept it: allow_downtime = True"
    )


def test_the_last_host_that_serves_means_downtime_too() -> None:
    said = refused(host("gpu1"), host("gpu2", "idle", group="mi300x", **OTHERS))
    assert said.startswith("gpu1: no other host serves (gpu2 out of rotation), so this change")
    assert "bring gpu2 back first, or accept it: allow_downtime = True" in said


def test_a_host_that_no_balancer_has_yet_does_not_stand_in() -> None:
    said = refused(host("gpu1"), host("gpu2", "fresh"))
    assert "deploy gpu2 first (--limit), or accept it: allow_downtime = True" in said


@pytest.mark.parametrize("others", [[], [host("gpu2", "idle", group="mi300x", **OTHERS)], [host("gpu2", "fresh")]])
def test_downtime_that_is_accepted(others: list[HostState]) -> None:
    found = batches([host("gpu1", allow_downtime=True), *others])
    assert found[-1].hosts == ("gpu1",)
    assert found[-1].downtime
    assert not any(one.downtime for one in found[:-1])


def test_a_host_that_stands_by_does_not_stand_in() -> None:
    said = refused(host("a"), host("x", "standby"))
    assert "no other host serves (x of weight 0)" in said
    assert "move traffic to x first (tasks/traffic.py), or accept it: allow_downtime = True" in said
    assert not batches([host("x", "standby", canary=60, allow_downtime=True), host("a", **NOTHING)])[0].baked


def test_downtime_that_may_be_is_still_avoided() -> None:
    both = [host(name, allow_downtime=True, max_unavailable=2) for name in "ab"]
    assert planned(*both) == [("a", True), ("b", True)]
    assert not any(one.downtime for one in batches(both))


def test_a_group_without_budget_names_who_is_out_and_what_to_do() -> None:
    assert refused(host("a", "idle", **OTHERS), host("b"), host("c")) == (
        "group 'hopper': a out of rotation and not mended by this run, max_unavailable is 1: b, c cannot leave as well; "
        "let this run include a, or raise 'max_unavailable'"
    )
    assert "mend a, or raise" in refused(host("a", "idle", **NOTHING), host("b"), host("c"))


def test_every_problem_is_said() -> None:
    said = refused(
        host("a", "idle", **OTHERS), host("b"), host("x", "idle", group="mi300x", **OTHERS), host("y", group="mi300x")
    )
    assert [line.split(":")[0] for line in said.splitlines()] == ["group 'hopper'", "group 'mi300x'"]


def test_what_is_about_to_happen_in_lines() -> None:
    states = [
        host("gpu1", reasons=("driver 580.95.05 -> 580.126.09", "reboot")),
        host("gpu2", "fresh"),
        host("gpu3"),
        host("gpu4", **OTHERS),
        host("gpu5", **NOTHING),
    ]
    assert describe(states, batches(states)) == [
        "batch 1 of 3, no requests to wait for:",
        "  gpu2: release a -> b",
        "batch 2 of 3, drained first:",
        "  gpu1: driver 580.95.05 -> 580.126.09, reboot",
        "batch 3 of 3, drained first:",
        "  gpu3: release a -> b",
        "not in this run: gpu4: release a -> b",
    ]
    assert describe([host("a", **NOTHING)], []) == ["no host has to be taken out of service"]
    assert describe([host("a", "standby", **NOTHING)], [])[1:] == ["stand by, as their weight is 0: a"]
    alone = [host("gpu1", allow_downtime=True)]
    assert "NOTHING ELSE SERVES MEANWHILE (allow_downtime)" in describe(alone, batches(alone))[0]


@pytest.mark.parametrize(
    ("value", "hosts", "most"),
    [(1, 1, 1), (3, 2, 3), ("2", 9, 2), ("25%", 8, 2), ("25%", 7, 1), ("25%", 3, 1), ("100%", 5, 5), (" 50% ", 5, 2)],
)
def test_max_unavailable(value: int | str, hosts: int, most: int) -> None:
    assert parse_max_unavailable(value, hosts) == most


@pytest.mark.parametrize("value", ["0%", 0, -1, "abc", "150%", "", "%", "1.5", "-5%", "٣", "1e3", True])
def test_max_unavailable_that_is_none(value: int | str) -> None:
    with pytest.raises(ValueError, match="write a number of hosts from 1, or a share of the group") as error:
        parse_max_unavailable(value, 4)
    assert repr(value) in str(error.value)


def baked(*states: HostState) -> list[tuple[str, str, int]]:
    return [(" ".join(one.hosts), " ".join(one.baked), one.canary) for one in batches(list(states))]


CANARY: dict[str, Any] = {"canary": 60, "max_unavailable": 2}


def test_the_first_host_of_a_group_goes_alone_and_is_watched() -> None:
    assert baked(*(host(name, **CANARY) for name in "abcde")) == [("a", "a", 60), ("b c", "", 0), ("d e", "", 0)]
    other = [host(name, group="mi300x", **CANARY) for name in "xyz"]
    assert baked(host("a", **CANARY), host("b", **CANARY), *other) == [
        ("a", "a", 60),
        ("b", "", 0),
        ("x", "x", 60),
        ("y z", "", 0),
    ]


def test_what_returns_first_is_the_canary() -> None:
    assert baked(host("a", "idle", **CANARY), host("b", **CANARY), host("c", **CANARY), host("d", **CANARY)) == [
        ("a", "a", 60),
        ("b c", "", 0),
        ("d", "", 0),
    ]


def test_a_canary_that_a_run_left_out_is_watched_again_before_others_follow_it() -> None:
    left = host("a", "idle", reasons=(LEFT_OUT,), **CANARY)
    assert baked(left, host("b", **CANARY), host("c", **CANARY)) == [("a", "a", 60), ("b c", "", 0)]
    assert baked(left, host("b", **CANARY, **NOTHING), host("c", **CANARY, **NOTHING)) == [("a", "", 0)]


def test_a_first_deploy_has_no_traffic_for_a_canary() -> None:
    assert baked(host("a", "fresh", **CANARY), host("b", "fresh", **CANARY)) == [("a b", "", 0)]


def test_a_host_that_is_drained_on_purpose_is_upgraded_and_stays_out() -> None:
    held = host("a", "idle", held="by ann since 9: memory", max_unavailable=2)
    (first, second, third) = batches([held, host("b", max_unavailable=2), host("c", max_unavailable=2), held_group()])
    assert (first.hosts, first.drained, first.returning) == (("a", "z"), ("a",), ("z",))
    assert [second.hosts, third.hosts] == [("b",), ("c",)]
    assert describe([held, held_group()], [first])[-1] == (
        "drained on purpose: a (by ann since 9: memory); to return it: tasks/undrain.py"
    )


def held_group() -> HostState:
    """Another host, of a group of its own, that makes room."""
    return host("z", "fresh", group="mi300x")


def test_a_host_that_is_drained_on_purpose_does_not_stand_in_for_another() -> None:
    said = refused(host("a", "idle", held="by ann"), host("b", max_unavailable=2))
    assert "max_unavailable is 1: b cannot leave as well; return a (tasks/undrain.py), or raise" in said
    said = refused(host("a", "idle", held="by ann", group="mi300x"), host("b"))
    assert "means downtime" in said


def fleet(seed: int) -> list[HostState]:
    """Any fleet."""
    dice = random.Random(seed)  # noqa: S311 - a test's
    limits = {group: dice.choice([1, 1, 2, 3, "10%", "34%", "100%"]) for group in "GHK"}
    return [
        host(
            f"h{number}",
            dice.choice(["serves", "serves", "serves", "idle", "busy", "fresh", "standby"]),
            group=(group := dice.choice("GHK")),
            reasons=dice.choice([(), ("x",), ("x",)]),
            selected=dice.random() < 0.8,
            max_unavailable=limits[group],
            allow_downtime=dice.random() < 0.2,
        )
        for number in range(dice.randrange(12))
    ]


def carried_out(states: list[HostState], plan: list[Batch]) -> None:
    """Go through a plan and look at who serves at each moment."""
    by_name = {one.host: one for one in states}
    serves = {one.host for one in states if one.serving}
    for batch in plan:
        leaving = {name for name in batch.hosts if name in serves}
        during = serves - leaving
        assert batch.serving or not leaving
        for group in {by_name[name].group for name in leaving}:
            members = [one for one in states if one.group == group and not one.standby]
            out = [one.host for one in members if one.known and one.host not in during]
            assert len(out) <= parse_max_unavailable(members[0].max_unavailable, len(members))
        if leaving and not during:
            assert batch.downtime
            assert all(by_name[name].allow_downtime for name in leaving)
        serves |= {name for name in batch.hosts if by_name[name].known and not by_name[name].standby}


def test_no_plan_of_any_fleet_exceeds_the_budget_or_ends_the_service() -> None:
    kept, said = 0, set()
    for seed in range(4000):
        states = fleet(seed)
        try:
            plan = batches(states)
        except BarewindError as error:
            said |= {"downtime" if "means downtime" in line else "budget" for line in str(error).splitlines()}
            continue
        kept += 1
        moved = [name for batch in plan for name in batch.hosts]
        assert sorted(moved) == sorted(one.host for one in states if one.reasons and one.selected)
        carried_out(states, plan)
    assert kept > 1000
    assert said == {"downtime", "budget"}
