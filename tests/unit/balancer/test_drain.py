"""What a drain may do: policies, and balancers that would have nobody left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.balancer.drain import Drain, no_server_left, too_few
from barewind.errors import BarewindError
from barewind.rollout.batches import Batch, check
from tests.support.factories import engine_spec


def rotation(**servers: str) -> Rotation:
    """A balancer; each server is up, drained, down or of weight 0."""
    states = {"up": (Admin.READY, Health.UP), "drained": (Admin.DRAIN, Health.UP), "down": (Admin.READY, Health.DOWN)}
    made = {
        name: Server(name, *states.get(state, states["up"]), 0, 0, weight=0 if state == "standby" else 100)
        for name, state in servers.items()
    }
    return Rotation((Worker(1, True, made),))


def batch(number: int, *hosts: str, serving: bool = True) -> Batch:
    return Batch(number=number, of=9, hosts=hosts, drained=hosts, serving=serving)


def test_one_balancer_that_sees_only_this_host_is_reason_enough() -> None:
    seen = {"lb1": rotation(a="up", b="up"), "lb2": rotation(a="up", b="down")}
    problem = no_server_left(seen, Drain(60, together=("a",)))
    assert problem.startswith("lb2: sends requests to a only, and would have no server left")
    assert not no_server_left(seen, Drain(60, together=("b",)))
    assert not no_server_left(seen, Drain(60, together=("a",), allow_downtime=True))


def test_a_balancer_that_sends_nothing_anywhere_says_nothing() -> None:
    assert not no_server_left({"lb1": rotation(a="down", b="drained")}, Drain(60, together=("a", "b")))


def test_a_plan_that_would_empty_a_balancer_is_refused() -> None:
    seen = {"lb1": rotation(a="up", b="up"), "lb2": rotation(a="up", b="down")}
    with pytest.raises(BarewindError, match="lb2: sends requests to a only"):
        check(seen, [batch(1, "a"), batch(2, "b")], allowed=[])
    check(seen, [batch(1, "a"), batch(2, "b")], allowed=["a"])


def test_what_an_earlier_batch_returns_will_be_there() -> None:
    seen = {"lb1": rotation(a="up", b="drained")}
    check(seen, [batch(1, "b", serving=False), batch(2, "a")], allowed=[])
    with pytest.raises(BarewindError, match="lb1: sends requests to a only"):
        check(seen, [batch(1, "a"), batch(2, "b", serving=False)], allowed=[])


def test_a_host_of_weight_0_that_returns_serves_nobody() -> None:
    seen = {"lb1": rotation(a="up", b="standby")}
    with pytest.raises(BarewindError, match="lb1: sends requests to a only"):
        check(seen, [batch(1, "b", serving=False), batch(2, "a")], allowed=[])
    assert not no_server_left(seen, Drain(60, together=("b",)))


@pytest.mark.parametrize(
    ("most", "states", "together", "refused"),
    [
        (1, {"a": "up", "b": "up", "c": "up"}, ("a",), False),
        (1, {"a": "up", "b": "down", "c": "up"}, ("a",), True),
        (1, {"a": "up", "b": "drained", "c": "up"}, ("a",), True),
        (1, {"a": "up", "b": "standby", "c": "up"}, ("a",), False),
        (2, {"a": "up", "b": "down", "c": "up"}, ("a",), False),
        (2, {"a": "up", "b": "down", "c": "up", "d": "up"}, ("a", "c"), True),
        ("50%", {"a": "up", "b": "down", "c": "up", "d": "up"}, ("a",), False),
        (1, {"a": "drained", "b": "down", "c": "up"}, ("a",), False),  # it serves nobody: nothing is lost
    ],
)
def test_a_group_that_has_lost_others_since_the_plan_keeps_the_rest(
    most: int | str, states: dict[str, str], together: tuple[str, ...], refused: bool
) -> None:
    drain = Drain(60, together=together, group=dict.fromkeys("abcd", most))  # one of them no balancer has yet
    problem = too_few({"lb1": rotation(**states)}, drain)
    assert bool(problem) is refused
    assert not refused or problem.startswith("b out of rotation by now, and max_unavailable is ")


KEYS = {"drain_timeout": 7, "drain_policy": "wait", "allow_downtime": True, "shutdown_timeout": 9}


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, Drain(2100, "abort", ("gpu-h1", "gpu-h2"), allow_downtime=False, shutdown=600)),
        (KEYS, Drain(7, "wait", ("gpu-h1", "gpu-h2"), allow_downtime=True, shutdown=9)),
    ],
)
def test_a_drain_goes_by_the_keys_of_the_host(keys: dict[str, Any], wanted: Drain) -> None:
    spec = engine_spec(**keys)
    assert Drain.of(spec, ("gpu-h1", "gpu-h2")) == wanted
    group = {"gpu-h1": 1, "gpu-h2": "50%"}
    assert Drain.of(spec, ("gpu-h1", "gpu-h2"), group=group) == replace(wanted, group=group)


def test_who_waits_as_long_as_it_takes_is_not_stopped_by_a_time_limit() -> None:
    assert Drain(60, "wait").limit > 7 * 86400
    assert Drain(60).limit == 360
