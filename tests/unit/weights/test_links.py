"""Whom a host follows, and how news of all reach all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from barewind.weights.agent import links, news
from barewind.weights.agent.job import FileSet, Job, Limits, LockedFile, Peer, parts_of
from barewind.weights.agent.rows import read_row
from barewind.weights.agent.state import State

pytestmark = pytest.mark.slow

NOW = 1000.0
LIMITS = Limits(grace=15, dead=10, stalled=20)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"h{number}" for number in range(count))


def job(host: str, *rings: tuple[str, ...]) -> Job:
    sets = tuple(
        FileSet(f"m{number}", "org/m", "r", Path("/unused"), {"f": LockedFile(6, "")}, ring)
        for number, ring in enumerate(rings)
    )
    peers = {name: Peer(name, name, 1) for ring in rings for name in ring}
    return Job("id", host, peers, sets, endpoint="hub", expected=frozenset(peers), limits=LIMITS)


def state_of(host: str, *rings: tuple[str, ...]) -> State:
    made = job(host, *rings)
    state = State(made, [part for one in made.sets for part in parts_of(one, 1)], lambda *_: None, now=NOW - 60)
    state.changed.acquire()  # as whoever calls these functions does
    return state


def followed(state: State, now: float = NOW) -> list[str | None]:
    """The hosts that one follows, over each of its links."""
    for number, order in enumerate(links.orders(state.job)):
        taken = {name for other, name in state.following.items() if name is not None and other != number}
        state.follow(number, links.host_to_follow(state, order, taken, now))
    return [state.following[number] for number in sorted(state.following)]


def all_alive(state: State, but: Any = ()) -> None:
    for name, other in state.others.items():
        other.heard_at = NOW - 60 if name in but else NOW


@pytest.mark.parametrize("count", [2, 3, 4, 40, 1000])
def test_each_host_follows_the_one_before_it_and_few_others(count: int) -> None:
    ring = names(count)
    followers: Counter[str] = Counter()
    for number, host in enumerate(ring):
        orders = links.orders(job(host, ring))
        assert len(orders) == 3
        nearest = [order.before[0] for order in orders]
        assert nearest[0] == ring[number - 1]
        followers.update(nearest)
    assert set(followers.values()) == {3}


@pytest.mark.parametrize("rings", [1, 2])
def test_what_a_host_opens_and_accepts_is_sixteen_at_most(rings: int) -> None:
    ring = names(40)
    count = len(links.orders(job("h0", *[ring[: 40 - 5 * number] for number in range(rings)])))
    scout = 1
    assert count + links.PARTS + scout + links.most_incoming(count) < 16
    assert links.most_incoming(count) >= count + links.PARTS


def test_two_sets_of_the_same_hosts_share_their_links() -> None:
    assert len(links.orders(job("h0", names(9), names(9)))) == 3


@pytest.mark.parametrize("dead", [("h19",), ("h19", "h18", "h17", "h16"), tuple(f"h{n}" for n in range(20))])
def test_the_nearest_one_that_lives_is_followed_however_many_are_gone(dead: tuple[str, ...]) -> None:
    state = state_of("h20", names(40))
    all_alive(state, but=dead)
    found = followed(state)
    assert found[0] == next(name for name in links.orders(state.job)[0].before if name not in dead)
    assert not set(found) & set(dead)
    assert len(set(found)) == 3


def test_a_host_that_did_not_answer_this_one_is_left_aside_for_a_while() -> None:
    state = state_of("h20", names(40))
    all_alive(state)
    state.others["h19"].failed_at = NOW - 1
    assert followed(state)[0] == "h18"
    state.others["h19"].failed_at = NOW - 31
    assert followed(state)[0] == "h19"


def test_hosts_of_this_run_are_tried_before_anybody_was_heard_of() -> None:
    state = state_of("h20", names(40))
    assert followed(state)[0] == "h19"


def test_who_is_silent_is_scouted_in_turn() -> None:
    state = state_of("h0", names(5))
    all_alive(state, but=("h2", "h4"))
    seen = []
    for second in range(4):
        name = links.host_to_scout(state, NOW)
        assert name is not None
        state.others[name].scouted_at = NOW + second
        seen.append(name)
    assert seen == ["h2", "h4", "h2", "h4"]


def test_a_host_with_a_wrong_file_follows_one_that_has_it_right() -> None:
    state = state_of("h20", names(40))
    all_alive(state)
    right = state_of("h7", names(40))
    right.mark_verified(("m0", "f"))
    news.take_request(state, "h7", {"rows": {"h7": news.own_row(right, NOW)}, "beats": {}}, NOW)
    state.doubtful.add(("m0", "f"))
    assert "h7" in followed(state)


# --- News --------------------------------------------------------------------------------------------------------------


def exchange(states: dict[str, State], gone: Any, now: float) -> None:
    """Each host hears once those that it follows."""
    for name, state in states.items():
        for source in followed(state, now):
            if source is None or name in gone:
                continue
            if source in gone:
                state.others[source].failed_at = now
                continue
            told = news.tell(states[source], 0, -1, now)
            news.take_news(state, source, news.read_news(through_json(told)), now)


def through_json(told: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(news.plain(told)))
    return plain


@pytest.mark.parametrize("gone", [(), tuple(f"h{n}" for n in (3, 4, 5, 6, 7, 20, 21, 22))], ids=["all", "two gaps"])
def test_news_of_every_host_reach_every_host_in_a_few_steps(gone: tuple[str, ...]) -> None:
    ring = names(40)
    states = {name: state_of(name, ring) for name in ring}
    states["h1"].can_ask = False
    for state in states.values():
        all_alive(state, but=gone)
        for other in state.others.values():
            other.heard_at = other.heard_at if other.heard_at == NOW else None
    for step in range(8):
        exchange(states, gone, NOW + step)
    living = set(ring) - set(gone)
    for name in living:
        others = states[name].others
        assert {other for other, known in others.items() if known.row is not None} == living - {name}
        assert name == "h1" or not others["h1"].can_ask


def test_a_silent_host_is_silent_for_all_and_not_only_for_whom_hears_of_it_late() -> None:
    first, second = state_of("h1", names(4)), state_of("h2", names(4))
    gone = state_of("h0", names(4))
    news.take_request(first, "h0", {"rows": {"h0": news.own_row(gone, NOW)}, "beats": {"h0": (5, 0.0)}}, NOW)
    news.take_request(second, "h1", news.tell(first, 0, -1, NOW + 60), NOW + 60)
    assert second.others["h0"].heard_at == pytest.approx(NOW)


def test_only_what_is_new_is_told() -> None:
    state = state_of("h1", names(4))
    other = state_of("h0", names(4))
    news.take_request(state, "h0", {"rows": {"h0": news.own_row(other, NOW)}, "beats": {"h0": (5, 0.0)}}, NOW)
    first = news.tell(state, 0, -1, NOW)
    assert set(first["rows"]) == {"h0", "h1"}
    again = news.tell(state, first["count"], first["state"], NOW)
    assert (again["rows"], set(again["beats"]), again["events"]) == ({}, {"h1"}, [])


def test_of_two_rows_the_newer_one_counts_also_after_a_restart() -> None:
    state = state_of("h1", names(4))
    other = state_of("h0", names(4))
    old = news.own_row(other, NOW)
    other.can_ask = False
    new = news.own_row(other, NOW)
    for row in (new, old):
        news.take_request(state, "h0", {"rows": {"h0": row}, "beats": {}}, NOW)
    assert not state.others["h0"].can_ask
    again = state_of("h0", names(4))
    again.run = other.run + 5
    news.take_request(state, "h0", {"rows": {"h0": news.own_row(again, NOW)}, "beats": {}}, NOW)
    assert state.others["h0"].can_ask


def test_a_host_whose_clock_went_back_is_believed_all_the_same() -> None:
    state, again = state_of("h1", names(4)), state_of("h0", names(4))
    before = news.beat(again, NOW) + 10**9
    news.take_news(again, "h1", {"events": [], "rows": {}, "beats": {"h0": (before, 1.0)}}, NOW)
    assert news.beat(again, NOW) >= before
    assert news.own_row(again, NOW).run == again.run
    assert state.others["h0"].row is None


def test_news_of_another_version_are_none() -> None:
    with pytest.raises(ValueError, match="version 1"):
        news.read_news({"version": 1, "events": []})


@pytest.mark.parametrize("plain", [None, [], [1, 2], "row", [1, 1, True, True, 0, {"m": "f" * 99999}, {}, [], []]])
def test_what_is_no_row_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match="no row"):
        read_row(plain)


def test_a_row_travels_unchanged() -> None:
    state = state_of("h0", names(3))
    state.add(state.parts["m0", 3], "ab" * 32)
    state.fetching.add(("m0", 4))
    row = news.own_row(state, NOW)
    told = through_json({"version": 2, "rows": {"h0": row}, "beats": {}})
    assert news.read_news(told)["rows"]["h0"] == row
