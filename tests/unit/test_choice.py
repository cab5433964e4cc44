"""Who asks whom for which part: decisions as data."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.remote import choice
from barewind.remote.choice import FromHost
from barewind.remote.job import MIB, FileSet, Job, Limits, Part, Peer, Wanted, parts
from barewind.remote.swarm import Swarm

RING = ("a", "b", "c", "d")
NOW = 1000.0  # a minute after the begin
GIB = 2**30


def swarm(host: str = "c", have: str = "", **more: Any) -> Swarm:
    """What a host knows of a file of six parts; `have` are its own, by number."""
    one = FileSet("m", "org/m", "r", None, {"f": Wanted(6, "5e" * 32)}, RING)  # type: ignore[arg-type]
    peers = {name: Peer(name, f"192.0.2.{number}", 8010) for number, name in enumerate(RING)}
    values = {"endpoint": "http://hub", "expected": frozenset(RING), "part_size": 1} | more
    job = Job("id", host, peers, (one,), limits=Limits(grace=15, dead=10, stalled=20), **values)
    made = Swarm(job, parts(one, 1), lambda *_: None)
    made.begun = NOW - 60
    made.changed.acquire()  # as whoever calls these functions does
    for number in have:
        made.gain(part(made, int(number)), digest(number))
    return made


def part(of: Swarm, number: int) -> Part:
    return of.parts["m", number]


def digest(number: object) -> str:
    return f"{number}" * 64


def hear(to: Swarm, name: str, have: str = "", *, ago: float = 0.0, **more: Any) -> None:
    """Another host tells what it has."""
    said = {
        "version": 1,
        "fetching": [],
        "verified": [],
        "able": True,
        "complete": len(have) == 6,
        "bytes": len(have),
        "events": [["m", int(number), 0, digest(number)] for number in have],
    }
    to.hear(name, said | more, NOW - ago)


def picked(of: Swarm) -> tuple[str, int] | None:
    found = choice.from_host(of, NOW)
    assert found is None or isinstance(found, FromHost)
    return found and (found.host, found.part.number)


def asked(of: Swarm, now: float = NOW) -> int | None:
    found = choice.from_endpoint(of, now)
    return None if found is None else found.number


# --- Other hosts -------------------------------------------------------------------------------------------------------


def test_the_host_before_in_the_ring_is_asked() -> None:
    me = swarm("c")
    hear(me, "a", "012345")
    hear(me, "b", "23")
    assert picked(me) == ("b", 2)


def test_what_the_host_before_does_not_have_yet_it_will() -> None:
    me = swarm("c", "23")
    hear(me, "a", "012345")
    hear(me, "b", "23")
    assert picked(me) is None


@pytest.mark.parametrize(
    ("why", "said"),
    [("gone", {"ago": 10.0}), ("stalled", {}), ("complete without it", {"complete": True})],
)
def test_a_host_of_no_use_is_gone_around(why: str, said: dict[str, Any]) -> None:
    me = swarm("c", "23")
    hear(me, "a", "012345")
    hear(me, "b", "23", **said)
    if why == "stalled":
        me.others["b"].gained = NOW - 20.1
    assert picked(me) == ("a", 0)


def test_a_host_that_receives_bytes_of_a_part_is_not_stalled() -> None:
    me = swarm("c", "23")
    hear(me, "a", "012345")
    hear(me, "b", "23", ago=30)
    hear(me, "b", bytes=3)
    assert picked(me) is None


def test_a_host_far_behind_the_others_is_gone_around() -> None:
    one = FileSet("m", "org/m", "r", None, {"f": Wanted(100, "5e" * 32)}, RING)  # type: ignore[arg-type]
    me = swarm("c")
    me.of_set["m"] = parts(one, 1)
    me.parts = {each.id: each for each in me.of_set["m"]}
    events = [["m", number, 0, "x"] for number in range(100)]
    hear(me, "a", events=events)
    hear(me, "b", events=events[:1])
    me.have["m", 0] = (0, "x")
    assert picked(me) == ("a", 1)
    hear(me, "b", events=events[:80])
    assert picked(me) == ("b", 1)


def test_the_first_one_asks_the_last_one() -> None:
    me = swarm("a")
    hear(me, "d", "4")
    assert picked(me) == ("d", 4)


def test_what_is_under_way_is_not_asked_for_twice() -> None:
    me = swarm("c")
    hear(me, "b", "01")
    me.taken.add(("m", 0))
    assert picked(me) == ("b", 1)


def test_a_host_that_sent_other_bytes_is_not_asked_for_that_part() -> None:
    me = swarm("c")
    hear(me, "b", "01")
    me.shunned.add(("b", ("m", 0)))
    assert picked(me) == ("b", 1)


def test_once_a_file_is_known_to_be_right_only_its_parts_count() -> None:
    me = swarm("c")
    hear(me, "a", "012345", verified=[["m", "f"]])
    hear(me, "b", events=[["m", 0, 0, "rotten"], ["m", 1, 0, digest(1)]])
    assert picked(me) == ("b", 1)


# --- The endpoint ------------------------------------------------------------------------------------------------------


def test_the_first_of_the_ring_asks_for_what_nobody_has() -> None:
    me = swarm("a", "0")
    hear(me, "b", "1")
    hear(me, "c", fetching=[["m", 2]])
    hear(me, "d")
    assert asked(me) == 3


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({}, None),
        ({"ago": 10.0}, 0),
        ({"able": False}, 0),
        ({"have": "012345"}, None),  # complete: it does not ask, but has everything
    ],
    ids=["there", "gone", "cannot ask", "complete"],
)
def test_the_next_one_asks_only_in_its_place(said: dict[str, Any], number: int | None) -> None:
    me = swarm("b")
    hear(me, "a", **said)
    hear(me, "c")
    hear(me, "d")
    assert asked(me) == number


def test_hosts_of_this_run_are_waited_for_first() -> None:
    me = swarm("a")
    hear(me, "b")
    hear(me, "c")
    assert asked(me, NOW - 60 + 14.9) is None
    assert asked(me, NOW - 60 + 15.1) == 0
    hear(me, "d")
    assert asked(me, NOW - 60 + 1) == 0


def test_hosts_outside_of_the_run_are_not_waited_for() -> None:
    me = swarm("b", expected=frozenset("b"))
    assert asked(me, NOW - 59) == 0


def test_a_host_that_cannot_ask_does_not() -> None:
    assert asked(swarm("a", endpoint=None)) is None


# --- Second rounds -----------------------------------------------------------------------------------------------------


def test_a_wrong_file_is_fetched_anew_by_the_one_that_asks() -> None:
    for host, expected in (("a", [("m", "f")]), ("b", [])):
        me = swarm(host, "012345")
        for name in RING:
            if name != host:
                hear(me, name, "012345", complete=False)
        me.doubtful.add(("m", "f"))
        assert choice.new_rounds(me, NOW) == expected


def test_a_file_that_another_host_has_right_is_not_fetched_anew() -> None:
    me = swarm("a", "012345")
    hear(me, "b", "012345", verified=[["m", "f"]])
    me.doubtful.add(("m", "f"))
    assert choice.new_rounds(me, NOW) == []
    assert choice.hopeless(me, NOW) == []


def test_wrong_twice_is_hopeless() -> None:
    me = swarm("a", "012345")
    me.next_round(("m", "f"), 1)
    assert me.have == {}
    assert choice.hopeless(me, NOW) == []
    me.doubtful.add(("m", "f"))
    assert choice.hopeless(me, NOW) == [("m", "f")]


def test_only_the_host_that_asks_the_hub_gives_up() -> None:
    me = swarm("b", "012345")
    me.next_round(("m", "f"), 1)
    me.doubtful.add(("m", "f"))
    hear(me, "a", "012", complete=False)
    assert choice.hopeless(me, NOW) == []  # it has not looked at the file yet
    assert choice.hopeless(me, NOW + 60) == [("m", "f")]  # and is not heard of any more


def test_parts_that_turn_out_the_same_are_not_sent_again() -> None:
    me = swarm("c", "012345")
    hear(me, "b", events=[["m", 0, 1, digest(0)], ["m", 1, 1, "other"]])
    assert me.rounds["m", "f"] == 1
    assert me.have == {("m", 0): (1, digest(0))}
    assert picked(me) == ("b", 1)


def test_a_file_that_is_right_stays_in_a_later_round() -> None:
    me = swarm("c", "012345")
    me.verify(("m", "f"))
    hear(me, "b", events=[["m", 1, 1, "other"]])
    assert me.have == {("m", number): (1, digest(number)) for number in range(6)}


# --- The end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "leaves"),
    [
        ({"have": "012345"}, True),
        ({"have": "0"}, False),
        ({"have": "0", "ago": 119.0}, False),
        ({"have": "0", "ago": 121.0}, True),
    ],
    ids=["complete", "not complete", "silent", "long silent"],
)
def test_a_complete_host_stays_while_one_is_not(said: dict[str, Any], leaves: bool) -> None:
    me = swarm("a", "012345")
    me.begun = NOW - 500
    hear(me, "b", **said)
    assert choice.may_leave(me, NOW, NOW - 10) == leaves


def test_a_complete_host_stays_until_the_others_have_heard_of_it() -> None:
    me = swarm("a", "012345")
    for name in "bcd":
        hear(me, name, "012345")
    assert not choice.may_leave(me, NOW, NOW - 1)
    assert choice.may_leave(me, NOW, NOW - 3)


def test_hosts_of_this_run_that_were_never_heard_of_are_waited_for() -> None:
    me = swarm("a", "012345")
    assert not choice.may_leave(me, NOW, NOW - 10)
    me.begun = NOW - 121
    assert choice.may_leave(me, NOW, NOW - 10)


# --- Parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "part_size", "count"),
    [(0, None, 0), (1, MIB, 1), (70 * 10**6, MIB, 67), (3 * GIB, 4 * MIB, 768), (134 * 10**9, 128 * MIB, 999)],
)
def test_the_size_of_parts_follows_the_size_of_the_set(size: int, part_size: int | None, count: int) -> None:
    one = FileSet("m", "org/m", "r", None, {"f": Wanted(size, "5e" * 32)}, RING)  # type: ignore[arg-type]
    found = parts(one)
    assert len(found) == count
    assert sum(each.size for each in found) == size
    assert {each.size for each in found[:-1]} <= {part_size}


def test_large_files_advance_side_by_side() -> None:
    files = {"a": Wanted(4, ""), "b": Wanted(8, ""), "tiny": Wanted(1, "")}
    one = FileSet("m", "org/m", "r", None, files, RING)  # type: ignore[arg-type]
    found = parts(one, 2)
    assert [(each.file, each.start, each.end) for each in found] == [
        ("a", 0, 2), ("b", 0, 2), ("tiny", 0, 1), ("b", 2, 4), ("a", 2, 4), ("b", 4, 6), ("b", 6, 8),
    ]  # fmt: skip
    assert [each.number for each in found] == list(range(7))
