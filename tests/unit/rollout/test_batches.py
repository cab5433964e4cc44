"""Batches: who is out of service when, and what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.rollout.batches import NO_REQUESTS, Batch, EngineState, batches, describe
from barewind.spec.values import parse_max_unavailable


def host(name: str, kind: str = "serves", group: str = "hopper", **values: Any) -> EngineState:
    """A host of a run; `kind`: serves, idle (known, out of rotation), busy (idle with requests), fresh (no balancer has it),
    standby (weight 0)."""
    given = {
        "name": name,
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
    return EngineState(**given | values)


def planned(*states: EngineState) -> list[tuple[str, bool]]:
    plan = batches(list(states))
    assert [(batch.number, batch.of) for batch in plan] == [(number + 1, len(plan)) for number in range(len(plan))]
    return [(" ".join(batch.hosts), batch.serving) for batch in plan]


def refused(*states: EngineState) -> str:
    with pytest.raises(BarewindError) as error:
        batches(list(states))
    return str(error.value)


NOTHING: dict[str, Any] = {"reasons": ()}
OTHERS: dict[str, Any] = {"selected": False}

PLANS: list[tuple[str, list[EngineState], list[tuple[str, bool]]]] = [
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
    ("a group's smallest number", [host("a", max_unavailable=2), host("b"), host("c")], [(name, True) for name in "abc"]),
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


@pytest.mark.parametrize(("states", "expected"), [case[1:] for case in PLANS], ids=[case[0] for case in PLANS])
def test_batches(states: list[EngineState], expected: list[tuple[str, bool]]) -> None:
    assert planned(*states) == expected


def engines(count: int, *, of: str, **values: Any) -> list[EngineState]:
    """The engines of a host that has several."""
    return [host(f"{of}-{number}", host=of, number=number, **values) for number in range(count)]


REPLICAS: list[tuple[str, list[EngineState], list[tuple[str, bool]]]] = [
    ("one host: one engine after the other", engines(2, of="a"), [("a-0", True), ("a-1", True)]),
    ("a share counts engines", engines(4, of="a", max_unavailable="50%"), [("a-0 a-1", True), ("a-2 a-3", True)]),
    (
        "an engine of each host before the second of any",
        [*engines(2, of="a", max_unavailable=2), *engines(2, of="b", max_unavailable=2)],
        [("a-0 b-0", True), ("a-1 b-1", True)],
    ),
    (
        "what they run on changes: a host at a time, whatever max_unavailable says",
        [*engines(2, of="a", together=True), *engines(2, of="b", together=True)],
        [("a-0 a-1", True), ("b-0 b-1", True)],
    ),
    (
        "a host as a whole beside engines that go by themselves",
        [*engines(2, of="a", together=True, max_unavailable=3), *engines(2, of="b", max_unavailable=3)],
        [("a-0 a-1 b-0", True), ("b-1", True)],
    ),
    (
        "an engine that is out goes with its host",
        [host("a-0", host="a", together=True), host("a-1", "idle", host="a", number=1, together=True), host("b")],
        [("a-0 a-1", True), ("b", True)],
    ),
    (
        "one with nothing left to do waits for those of its host that still work",
        [
            host("a-0", "idle", host="a", together=True),
            host("a-1", "busy", host="a", number=1, together=True),
            host("b", "idle"),
            host("c-0", "idle", host="c"),
            host("c-1", "busy", host="c", number=1),
        ],
        [("b c-0", False), ("a-0 a-1 c-1", True)],
    ),
    (
        "the only host, which may be down",
        engines(2, of="a", together=True, allow_downtime=True),
        [("a-0 a-1", True)],
    ),
    ("a canary is one engine", engines(3, of="a", canary=60, max_unavailable=2), [("a-0", True), ("a-1 a-2", True)]),
]


@pytest.mark.parametrize(("states", "expected"), [case[1:] for case in REPLICAS], ids=[case[0] for case in REPLICAS])
def test_engines_of_hosts_that_have_several(states: list[EngineState], expected: list[tuple[str, bool]]) -> None:
    assert planned(*states) == expected


def test_the_only_host_as_a_whole_means_downtime() -> None:
    assert "allow_downtime = True" in refused(*engines(2, of="a", together=True))


def test_that_a_whole_host_is_drained_is_told() -> None:
    states = [*engines(2, of="a", together=True), host("b", reasons=())]
    assert any("all engines of a together" in line for line in describe(states, batches(states)))


def test_hosts_that_a_balancer_has_leave_it_even_if_it_sends_them_nothing() -> None:
    first, second = batches([host("a"), host("b", "idle"), host("c", "fresh")])
    assert (first.hosts, first.drained) == (("b", "c"), ("b",))
    assert (second.hosts, second.drained) == (("a",), ("a",))


def test_a_single_host_means_downtime() -> None:
    assert refused(host("gpu1")) == (
        "gpu1: it is the only engine host, so this change (release a -> b) means downtime; accept it: allow_downtime = True"
    )


def test_the_last_host_that_serves_means_downtime_too() -> None:
    message = refused(host("gpu1"), host("gpu2", "idle", group="mi300x", **OTHERS))
    assert message.startswith("gpu1: no other host serves (gpu2 out of rotation), so this change")
    assert "mend gpu2 first, or accept it: allow_downtime = True" in message


def test_a_host_that_no_balancer_has_yet_does_not_stand_in() -> None:
    message = refused(host("gpu1"), host("gpu2", "fresh"))
    assert "deploy gpu2 first (--limit), or accept it: allow_downtime = True" in message


@pytest.mark.parametrize("others", [[], [host("gpu2", "idle", group="mi300x", **OTHERS)], [host("gpu2", "fresh")]])
def test_downtime_that_is_accepted(others: list[EngineState]) -> None:
    plan = batches([host("gpu1", allow_downtime=True), *others])
    assert plan[-1].hosts == ("gpu1",)
    assert plan[-1].downtime
    assert not any(batch.downtime for batch in plan[:-1])


def test_a_host_that_stands_by_does_not_stand_in() -> None:
    message = refused(host("a"), host("x", "standby"))
    assert "no other host serves (x of weight 0)" in message
    assert "move traffic to x first (tasks/traffic.py), or accept it: allow_downtime = True" in message
    assert not batches([host("x", "standby", canary=60, allow_downtime=True), host("a", **NOTHING)])[0].canaries


def test_downtime_that_may_be_is_still_avoided() -> None:
    both = [host(name, allow_downtime=True, max_unavailable=2) for name in "ab"]
    assert planned(*both) == [("a", True), ("b", True)]
    assert not any(batch.downtime for batch in batches(both))


def test_a_group_without_budget_names_who_is_out_and_what_to_do() -> None:
    assert refused(host("a", "idle", **OTHERS), host("b"), host("c")) == (
        "group 'hopper': a out of rotation and not mended by this run, max_unavailable is 1: b, c cannot be drained as well; "
        "let this run include a, or raise 'max_unavailable'"
    )
    assert "mend a, or raise" in refused(host("a", "idle", **NOTHING), host("b"), host("c"))


def test_every_problem_is_said() -> None:
    message = refused(
        host("a", "idle", **OTHERS), host("b"), host("x", "idle", group="mi300x", **OTHERS), host("y", group="mi300x")
    )
    assert [line.split(":")[0] for line in message.splitlines()] == ["group 'hopper'", "group 'mi300x'"]


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


def canaries(*states: EngineState) -> list[tuple[str, str, int]]:
    return [(" ".join(batch.hosts), " ".join(batch.canaries), batch.canary_seconds) for batch in batches(list(states))]


CANARY: dict[str, Any] = {"canary": 60, "max_unavailable": 2}


def test_the_first_host_of_a_group_goes_alone_as_its_canary() -> None:
    assert canaries(*(host(name, **CANARY) for name in "abcde")) == [("a", "a", 60), ("b c", "", 0), ("d e", "", 0)]
    other = [host(name, group="mi300x", **CANARY) for name in "xyz"]
    assert canaries(host("a", **CANARY), host("b", **CANARY), *other) == [
        ("a", "a", 60),
        ("b", "", 0),
        ("x", "x", 60),
        ("y z", "", 0),
    ]


def test_what_serves_again_first_is_the_canary() -> None:
    assert canaries(host("a", "idle", **CANARY), host("b", **CANARY), host("c", **CANARY), host("d", **CANARY)) == [
        ("a", "a", 60),
        ("b c", "", 0),
        ("d", "", 0),
    ]


def test_a_canary_that_a_run_left_out_is_one_again_before_others_follow_it() -> None:
    left = host("a", "idle", reasons=(NO_REQUESTS,), **CANARY)
    assert canaries(left, host("b", **CANARY), host("c", **CANARY)) == [("a", "a", 60), ("b c", "", 0)]
    assert canaries(left, host("b", **CANARY, **NOTHING), host("c", **CANARY, **NOTHING)) == [("a", "", 0)]


def test_a_first_deploy_has_no_traffic_for_a_canary() -> None:
    assert canaries(host("a", "fresh", **CANARY), host("b", "fresh", **CANARY)) == [("a b", "", 0)]


def test_a_host_in_maintenance_is_upgraded_and_stays_drained() -> None:
    maintained = host("a", "idle", maintenance="by ann since 9: memory", max_unavailable=2)
    (first, second, third) = batches(
        [maintained, host("b", max_unavailable=2), host("c", max_unavailable=2), another_group()]
    )
    assert (first.hosts, first.drained, first.undrained) == (("a", "z"), ("a",), ("z",))
    assert [second.hosts, third.hosts] == [("b",), ("c",)]
    assert describe([maintained, another_group()], [first])[-1] == (
        "in maintenance: a (by ann since 9: memory); to undrain it: tasks/undrain.py"
    )


def another_group() -> EngineState:
    """Another host, of a group of its own, that makes room."""
    return host("z", "fresh", group="mi300x")


def test_a_host_in_maintenance_does_not_stand_in_for_another() -> None:
    message = refused(host("a", "idle", maintenance="by ann"), host("b", max_unavailable=2))
    assert "max_unavailable is 1: b cannot be drained as well; undrain a (tasks/undrain.py), or raise" in message
    message = refused(host("a", "idle", maintenance="by ann", group="mi300x"), host("b"))
    assert "means downtime" in message


def fleet(seed: int) -> list[EngineState]:
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


def carried_out(states: list[EngineState], plan: list[Batch]) -> None:
    """Go through a plan and look at who serves at each moment."""
    by_name = {state.name: state for state in states}
    serves = {state.name for state in states if state.serving}
    for batch in plan:
        leaving = {name for name in batch.hosts if name in serves}
        during = serves - leaving
        assert batch.serving or not leaving
        for group in {by_name[name].group for name in leaving}:
            members = [state for state in states if state.group == group and not state.standby]
            out = [state.name for state in members if state.known and state.name not in during]
            assert len(out) <= parse_max_unavailable(members[0].max_unavailable, len(members))
        if leaving and not during:
            assert batch.downtime
            assert all(by_name[name].allow_downtime for name in leaving)
        serves |= {name for name in batch.hosts if by_name[name].known and not by_name[name].standby}


def test_no_plan_of_any_fleet_exceeds_the_budget_or_ends_the_service() -> None:
    kept, refusals = 0, set()
    for seed in range(4000):
        states = fleet(seed)
        try:
            plan = batches(states)
        except BarewindError as error:
            refusals |= {"downtime" if "means downtime" in line else "budget" for line in str(error).splitlines()}
            continue
        kept += 1
        moved = [name for batch in plan for name in batch.hosts]
        assert sorted(moved) == sorted(state.name for state in states if state.reasons and state.selected)
        carried_out(states, plan)
    assert kept > 1000
    assert refusals == {"downtime", "budget"}
