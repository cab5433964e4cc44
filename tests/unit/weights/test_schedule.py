"""Who asks whom for which part: decisions as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barewind.weights.agent import news, schedule
from barewind.weights.agent.job import MIB, FileSet, Job, Limits, LockedFile, Part, Peer, parts_of
from barewind.weights.agent.rows import Row
from barewind.weights.agent.schedule import PartOfHost
from barewind.weights.agent.state import State

RING = ("a", "b", "c", "d")
NOW = 1000.0  # a minute after the begin
GIB = 2**30


def file_set(files: dict[str, LockedFile]) -> FileSet:
    return FileSet("m", "org/m", "r", Path("/unused"), files, RING)


def state_of(host: str = "c", have: str = "", **more: Any) -> State:
    """What a host knows of a file of six parts; `have` are its own, by number."""
    six = file_set({"f": LockedFile(6, "5e" * 32)})
    peers = {name: Peer(name, f"192.0.2.{number}", 8010) for number, name in enumerate(RING)}
    values = {"endpoint": "http://hub", "expected": frozenset(RING), "part_size": 1} | more
    job = Job("id", host, peers, (six,), limits=Limits(grace=15, dead=10, stalled=20), **values)
    state = State(job, parts_of(six, 1), lambda *_: None)
    state.started_at = NOW - 60
    state.changed.acquire()  # as whoever calls these functions does
    for number in have:
        state.add(part(state, int(number)), digest(number))
    return state


def part(state: State, number: int) -> Part:
    return state.parts["m", number]


def digest(number: object) -> str:
    return f"{number}" * 64


def hear(
    state: State,
    name: str,
    have: str = "",
    *,
    ago: float = 0.0,
    followed: bool = True,
    events: list[list[Any]] | None = None,
    complete: bool | None = None,
    **more: Any,
) -> None:
    """Another host tells what it has, as many seconds ago; of one that is not followed only the row is heard."""
    events = [["m", int(number), 0, digest(number)] for number in have] if events is None else events
    bits = sum(1 << number for number in {event[1] for event in events})
    last = state.others[name].row
    row = Row(
        1,
        last.seq + 1 if last else 0,
        True,
        len(have) == 6 if complete is None else complete,
        0,
        {"m": bits},
        {},
        (),
        (),
    )
    told = {
        "events": events if followed else [],
        "rows": {name: replace(row, **{"received": len(have)} | more)},
        "beats": {name: (row.seq + 1, 0.0)},
    }
    if followed:
        state.follow(RING.index(name), name)
        news.take_news(state, name, told, NOW - ago)
    else:
        news.take_request(state, name, told, NOW - ago)


def picked(state: State) -> tuple[str, int] | None:
    """Host and number of the part that is fetched next from another host."""
    offer = schedule.next_from_host(state, NOW)
    assert offer is None or isinstance(offer, PartOfHost)
    return offer and (offer.host, offer.part.number)


def asked(state: State, now: float = NOW) -> int | None:
    """Number of the part that is fetched next from the endpoint."""
    wanted = schedule.next_from_endpoint(state, now)
    return None if wanted is None else wanted.number


# --- Other hosts -------------------------------------------------------------------------------------------------------


def test_the_host_before_in_the_ring_is_asked() -> None:
    state = state_of("c")
    hear(state, "a", "012345")
    hear(state, "b", "23")
    assert picked(state) == ("b", 2)


def test_what_the_host_before_does_not_have_yet_it_will() -> None:
    state = state_of("c", "23")
    hear(state, "a", "012345")
    hear(state, "b", "23")
    assert picked(state) is None


@pytest.mark.parametrize(
    ("why", "news"),
    [("gone", {"ago": 10.0}), ("stalled", {}), ("complete without it", {"complete": True})],
)
def test_a_host_of_no_use_is_gone_around(why: str, news: dict[str, Any]) -> None:
    state = state_of("c", "23")
    hear(state, "a", "012345")
    hear(state, "b", "23", **news)
    if why == "stalled":
        state.others["b"].gained_at = NOW - 20.1
    assert picked(state) == ("a", 0)


def test_a_host_that_receives_bytes_of_a_part_is_not_stalled() -> None:
    state = state_of("c", "23")
    hear(state, "a", "012345")
    hear(state, "b", "23", ago=30)
    hear(state, "b", received=3)
    assert picked(state) is None


def test_a_host_far_behind_the_others_is_gone_around() -> None:
    state = state_of("c")
    state.parts_of_set["m"] = parts_of(file_set({"f": LockedFile(100, "5e" * 32)}), 1)
    state.parts = {part.id: part for part in state.parts_of_set["m"]}
    events = [["m", number, 0, "x"] for number in range(100)]
    hear(state, "a", events=events)
    hear(state, "b", events=events[:1])
    state.have["m", 0] = (0, "x")
    assert picked(state) == ("a", 1)
    hear(state, "b", events=events[:80])
    assert picked(state) == ("b", 1)


def test_the_first_one_asks_the_last_one() -> None:
    state = state_of("a")
    hear(state, "d", "4")
    assert picked(state) == ("d", 4)


def test_what_is_under_way_is_not_asked_for_twice() -> None:
    state = state_of("c")
    hear(state, "b", "01")
    state.claimed.add(("m", 0))
    assert picked(state) == ("b", 1)


def test_a_host_that_sent_other_bytes_is_not_asked_for_that_part() -> None:
    state = state_of("c")
    hear(state, "b", "01")
    state.shunned.add(("b", ("m", 0)))
    assert picked(state) == ("b", 1)


def test_once_a_file_is_known_to_be_right_only_its_parts_count() -> None:
    state = state_of("c")
    hear(state, "a", "012345", verified={"m": 1})
    hear(state, "b", events=[["m", 0, 0, "rotten"], ["m", 1, 0, digest(1)]])
    assert picked(state) == ("b", 1)


# --- The endpoint ------------------------------------------------------------------------------------------------------


def test_the_first_of_the_ring_asks_for_what_nobody_has() -> None:
    state = state_of("a", "0")
    hear(state, "b", "1")
    hear(state, "c", fetching=(("m", 2),))
    hear(state, "d")
    assert asked(state) == 3


@pytest.mark.parametrize(
    ("news", "number"),
    [
        ({}, None),
        ({"ago": 10.0}, 0),
        ({"able": False}, 0),
        ({"have": "012345"}, None),  # complete: it does not ask, but has everything
    ],
    ids=["there", "gone", "cannot ask", "complete"],
)
def test_the_next_one_asks_only_in_its_place(news: dict[str, Any], number: int | None) -> None:
    state = state_of("b")
    hear(state, "a", **news)
    hear(state, "c")
    hear(state, "d")
    assert asked(state) == number


def test_what_a_followed_host_has_not_told_yet_part_by_part_is_not_asked_for() -> None:
    """That it is complete comes from another host, before its own news do."""
    state = state_of("b", "0")
    hear(state, "a", "012")
    hear(state, "a", followed=False, events=[["m", number, 0, digest(number)] for number in range(6)], complete=True)
    hear(state, "c")
    hear(state, "d")
    assert asked(state) is None
    hear(state, "a", "012345")
    assert picked(state) == ("a", 1)


def test_hosts_of_this_run_are_waited_for_first() -> None:
    state = state_of("a")
    hear(state, "b")
    hear(state, "c")
    assert asked(state, NOW - 60 + 14.9) is None
    assert asked(state, NOW - 60 + 15.1) == 0
    hear(state, "d")
    assert asked(state, NOW - 60 + 1) == 0


def test_hosts_outside_of_the_run_are_not_waited_for() -> None:
    state = state_of("b", expected=frozenset("b"))
    assert asked(state, NOW - 59) == 0


def test_a_host_that_cannot_ask_does_not() -> None:
    assert asked(state_of("a", endpoint=None)) is None


# --- Second rounds -----------------------------------------------------------------------------------------------------


def test_a_wrong_file_is_fetched_anew_by_the_one_that_asks() -> None:
    for host, expected in (("a", [("m", "f")]), ("b", [])):
        state = state_of(host, "012345")
        for name in RING:
            if name != host:
                hear(state, name, "012345", complete=False)
        state.doubtful.add(("m", "f"))
        assert schedule.files_to_fetch_anew(state, NOW) == expected


def test_a_file_that_another_host_has_right_is_not_fetched_anew() -> None:
    state = state_of("a", "012345")
    hear(state, "b", "012345", verified={"m": 1})
    state.doubtful.add(("m", "f"))
    assert schedule.files_to_fetch_anew(state, NOW) == []
    assert schedule.hopeless(state, NOW) == []


def test_wrong_twice_is_hopeless() -> None:
    state = state_of("a", "012345")
    state.begin_round(("m", "f"), 1)
    assert state.have == {}
    assert schedule.hopeless(state, NOW) == []
    state.doubtful.add(("m", "f"))
    assert schedule.hopeless(state, NOW) == [("m", "f")]


def test_only_the_host_that_asks_the_hub_gives_up() -> None:
    state = state_of("b", "012345")
    state.begin_round(("m", "f"), 1)
    state.doubtful.add(("m", "f"))
    hear(state, "a", "012", complete=False)
    assert schedule.hopeless(state, NOW) == []  # it has not looked at the file yet
    assert schedule.hopeless(state, NOW + 60) == [("m", "f")]  # and is not heard of any more


def test_parts_that_turn_out_the_same_are_not_sent_again() -> None:
    state = state_of("c", "012345")
    hear(state, "b", events=[["m", 0, 1, digest(0)], ["m", 1, 1, "other"]])
    assert state.rounds["m", "f"] == 1
    assert state.have == {("m", 0): (1, digest(0))}
    assert picked(state) == ("b", 1)


def test_a_file_that_is_right_stays_in_a_later_round() -> None:
    state = state_of("c", "012345")
    state.mark_verified(("m", "f"))
    hear(state, "b", events=[["m", 1, 1, "other"]])
    assert state.have == {("m", number): (1, digest(number)) for number in range(6)}


# --- The end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("news", "leaves"),
    [
        ({"have": "012345", "ago": 3.0}, True),
        ({"have": "0"}, False),
        ({"have": "0", "ago": 119.0}, False),
        ({"have": "0", "ago": 121.0}, True),
    ],
    ids=["complete", "not complete", "silent", "long silent"],
)
def test_a_complete_host_stays_while_one_is_not(news: dict[str, Any], leaves: bool) -> None:
    state = state_of("a", "012345")
    state.started_at = NOW - 500
    hear(state, "b", **news)
    assert schedule.may_end(state, NOW, NOW - 10) == leaves


def test_a_complete_host_stays_until_the_others_have_heard_of_it() -> None:
    state = state_of("a", "012345")
    for name in "bcd":
        hear(state, name, "012345", ago=3)
    assert not schedule.may_end(state, NOW, NOW - 1)
    assert schedule.may_end(state, NOW, NOW - 3)


def test_a_complete_host_stays_until_the_others_have_heard_of_the_last_one() -> None:
    state = state_of("a", "012345")
    for name, ago in (("b", 9), ("c", 1), ("d", 9)):
        hear(state, name, "012345", ago=ago)
    assert not schedule.may_end(state, NOW, NOW - 10)
    assert schedule.may_end(state, NOW + 2, NOW - 10)


def test_hosts_of_this_run_that_were_never_heard_of_are_waited_for() -> None:
    state = state_of("a", "012345")
    assert not schedule.may_end(state, NOW, NOW - 10)
    state.started_at = NOW - 121
    assert schedule.may_end(state, NOW, NOW - 10)


# --- Parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "part_size", "count"),
    [(0, None, 0), (1, MIB, 1), (70 * 10**6, MIB, 67), (3 * GIB, 4 * MIB, 768), (134 * 10**9, 128 * MIB, 999)],
)
def test_the_size_of_parts_follows_the_size_of_the_set(size: int, part_size: int | None, count: int) -> None:
    parts = parts_of(file_set({"f": LockedFile(size, "5e" * 32)}))
    assert len(parts) == count
    assert sum(part.size for part in parts) == size
    assert {part.size for part in parts[:-1]} <= {part_size}


def test_large_files_advance_side_by_side() -> None:
    files = {"a": LockedFile(4, ""), "b": LockedFile(8, ""), "tiny": LockedFile(1, "")}
    parts = parts_of(file_set(files), 2)
    assert [(part.file, part.start, part.end) for part in parts] == [
        ("a", 0, 2), ("b", 0, 2), ("tiny", 0, 1), ("b", 2, 4), ("a", 2, 4), ("b", 4, 6), ("b", 6, 8),
    ]  # fmt: skip
    assert [part.number for part in parts] == list(range(7))
