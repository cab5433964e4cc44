"""How hosts stand before a run, by what they and the balancers say: who is touched, who is not, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.balancer.maintenance import Maintenance
from barewind.errors import BarewindError
from barewind.rollout.batches import NO_REQUESTS, batches
from barewind.rollout.states import (
    EngineHost,
    Rollout,
    check_unknown_drains,
    forgotten,
    ignored_maintenance,
    members,
    release_change,
    rights_change,
    rollout,
    states,
)
from tests.support.balancers import up
from tests.support.factories import engine_spec

KINDS: dict[str, dict[str, Any]] = {
    "up": {},
    "drained": {"admin": Admin.DRAIN},
    "draining": {"admin": Admin.DRAIN, "sessions": 3},
    "down": {"health": Health.DOWN},
    "standby": {"weight": 0},
    "standby down": {"weight": 0, "health": Health.DOWN},
}
MAINTENANCE = Maintenance("2026-11-22T09:00:00Z", "ann@ws1", "memory")
CHANGE = ("release a -> b",)


def rotation(**servers: str) -> Rotation:
    """A balancer; each server is of a kind."""
    made: dict[str, Server] = {name: up(name, **KINDS[kind]) for name, kind in servers.items()}
    return Rotation((Worker(1, True, made),))


def engine(name: str = "a", group: str = "hopper", spec: dict[str, Any] | None = None, **values: Any) -> EngineHost:
    return EngineHost(engine_spec(host=name, **spec or {}), group, **{"active": True} | values)


UP, DRAINED, DOWN = rotation(a="up"), rotation(a="drained"), rotation(a="down")

# What the host says, what two balancers do with it -> is it serving, why it is touched, in maintenance
STATES = [
    pytest.param({}, UP, UP, True, (), False, id="serves"),
    pytest.param({"reasons": CHANGE}, UP, UP, True, CHANGE, False, id="serves another release"),
    pytest.param({}, rotation(), rotation(), False, (), False, id="no balancer has it yet"),
    pytest.param({}, DRAINED, DRAINED, False, (NO_REQUESTS,), False, id="left out by a run that ended early"),
    pytest.param({}, DOWN, DOWN, False, (NO_REQUESTS,), False, id="its health check fails"),
    pytest.param({"reasons": CHANGE}, DOWN, DOWN, False, CHANGE, False, id="down, and to be changed anyway"),
    pytest.param({}, UP, DRAINED, True, (), False, id="drained on one of two"),
    pytest.param({"active": False}, UP, UP, False, (NO_REQUESTS,), False, id="stopped, which a balancer has not noticed"),
    pytest.param({"active": None}, UP, UP, True, (), False, id="a host that does not tell is believed to serve"),
    pytest.param({"selected": False, "active": None}, DRAINED, DRAINED, False, (), False, id="not in this run"),
    pytest.param({"maintenance": MAINTENANCE}, DRAINED, DRAINED, False, (), True, id="in maintenance"),
    pytest.param({"maintenance": MAINTENANCE}, UP, DRAINED, False, (), True, id="forgotten by one balancer"),
    pytest.param({"maintenance": MAINTENANCE}, UP, UP, True, (), False, id="in maintenance by its own word alone"),
    pytest.param({"maintenance": MAINTENANCE}, rotation(), rotation(), False, (), True, id="in maintenance, never served"),
    pytest.param({}, rotation(a="standby"), rotation(a="standby"), False, (), False, id="stands by"),
    pytest.param(
        {}, rotation(a="standby down"), rotation(a="standby down"), False, (NO_REQUESTS,), False, id="stands by, and is down"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("host", "first", "second", "serving", "reasons", "in_maintenance"), STATES)
def test_states(
    host: dict[str, Any],
    first: Rotation,
    second: Rotation,
    serving: bool,
    reasons: tuple[str, ...],
    in_maintenance: bool,
) -> None:
    (state,) = states({"lb1": first, "lb2": second}, [engine(**host)], canaries=True)
    assert (state.serving, state.reasons) == (serving, reasons)
    assert state.maintenance == (MAINTENANCE.message if in_maintenance else "")


def test_what_is_in_flight_on_a_drained_host_is_waited_for() -> None:
    (state,) = states({"lb1": rotation(a="draining")}, [engine()], canaries=True)
    assert (state.serving, state.busy) == (False, True)


@pytest.mark.parametrize(("canaries", "seconds"), [(True, 60), (False, 0)])
def test_a_run_without_canaries_has_none_whatever_the_keys_say(canaries: bool, seconds: int) -> None:
    (state,) = states({"lb1": UP}, [engine(spec={"canary": 60})], canaries=canaries)
    assert state.canary == seconds


def planned(rotations: dict[str, Rotation], *hosts: EngineHost) -> Rollout:
    return rollout(rotations, hosts, batches(states(rotations, hosts, canaries=True)))


TWO = {"max_unavailable": 2}

ROLLOUTS: list[tuple[str, list[EngineHost], dict[str, Rotation], dict[str, Any]]] = [
    (
        "nothing to do",
        [engine("a"), engine("b")],
        {"lb1": rotation(a="up", b="up")},
        {"unaffected": {"a", "b"}, "without_drain": {"a", "b"}},
    ),
    (
        "one to upgrade, one that serves nobody, one that serves on, one that is not in the run",
        [
            engine("a", reasons=CHANGE, spec=TWO),
            engine("b", reasons=CHANGE, spec=TWO),
            engine("c", spec=TWO),
            engine("d", selected=False, spec=TWO),
        ],
        {"lb1": rotation(a="up", c="up", d="up")},
        {"unaffected": {"c"}, "without_drain": {"b", "c"}},
    ),
    (
        "drained by one balancer, nobody knows why",
        [engine("a"), engine("b")],
        {"lb1": rotation(a="up", b="up"), "lb2": rotation(a="up", b="drained")},
        {"unaffected": {"a", "b"}, "without_drain": {"a", "b"}, "partially_drained": {"b": ["lb2"]}},
    ),
    (
        "in maintenance, and a balancer has forgotten",
        [engine("a"), engine("b", maintenance=MAINTENANCE)],
        {"lb1": rotation(a="up", b="drained"), "lb2": rotation(a="up", b="up")},
        {"unaffected": {"a", "b"}, "without_drain": {"a", "b"}, "maintenance": {"b"}},
    ),
    (
        "in maintenance, and a balancer is new",
        [engine("a"), engine("b", maintenance=MAINTENANCE)],
        {"lb1": rotation(a="up", b="drained"), "lb2": rotation()},
        {"unaffected": {"a", "b"}, "without_drain": {"a", "b"}, "maintenance": {"b"}},
    ),
    (
        "in maintenance, as every balancer knows",
        [engine("a"), engine("b", maintenance=MAINTENANCE)],
        {"lb1": rotation(a="up", b="drained")},
        {"unaffected": {"a", "b"}, "without_drain": {"a", "b"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hosts", "rotations", "expected"), [case[1:] for case in ROLLOUTS], ids=[case[0] for case in ROLLOUTS]
)
def test_who_is_touched_and_who_is_not(
    hosts: list[EngineHost], rotations: dict[str, Rotation], expected: dict[str, Any]
) -> None:
    plan = planned(rotations, *hosts)
    nothing: dict[str, Any] = {
        "unaffected": set(),
        "without_drain": set(),
        "maintenance": set(),
        "partially_drained": {},
    }
    assert {key: getattr(plan, key) for key in nothing} == nothing | expected


@pytest.mark.parametrize(
    ("fresh", "deployed", "refused"),
    [
        pytest.param(rotation(), ("lb2",), True, id="a balancer that is new"),
        pytest.param(rotation(a="drained"), ("lb2",), False, id="one that drains it as well"),
        pytest.param(rotation(a="up"), ("lb2",), False, id="one that sends it requests already"),
        pytest.param(rotation(), (), False, id="one that is not deployed"),
    ],
)
def test_a_balancer_that_cannot_know_a_drain_is_not_deployed(
    fresh: Rotation, deployed: tuple[str, ...], refused: bool
) -> None:
    rotations, hosts = {"lb1": DRAINED, "lb2": fresh}, [engine(selected=False)]
    check_unknown_drains(rotations, [engine()], deployed)
    if not refused:
        check_unknown_drains(rotations, hosts, deployed)
        return
    with pytest.raises(
        BarewindError, match=r"^lb2: would send requests to a, which is drained on lb1; let this run include a"
    ):
        check_unknown_drains(rotations, hosts, deployed)


def test_a_balancer_that_would_send_requests_once_the_health_check_passes_has_forgotten() -> None:
    assert [forgotten({"lb1": now}, "a") for now in (UP, DOWN, DRAINED, rotation())] == [True, True, False, True]
    assert not forgotten({}, "a")


def test_maintenance_that_balancers_do_not_know_of_is_said() -> None:
    hosts = [engine("a", maintenance=MAINTENANCE), engine("b")]
    assert ignored_maintenance({"lb1": rotation(a="up", b="up")}, hosts) == [
        "a: in maintenance, but gets requests: tasks/undrain.py or tasks/drain.py"
    ]
    assert ignored_maintenance({"lb1": rotation(a="drained", b="up")}, hosts) == []


@pytest.mark.parametrize(
    ("running", "planned", "reasons"),
    [("a", "a", []), ("a", "b", ["release a -> b"]), (None, "b", ["release none -> b"]), (None, None, [])],
)
def test_another_release_is_a_reason(running: str | None, planned: str | None, reasons: list[str]) -> None:
    assert release_change(running, planned) == reasons


def test_members_of_groups() -> None:
    hosts = [engine("a", spec={"max_unavailable": "50%"}), engine("b"), engine("x", "mi300x")]
    assert members(hosts) == {"hopper": {"a": "50%", "b": 1}, "mi300x": {"x": 1}}


@pytest.mark.parametrize(
    ("user", "hardened", "message"),
    [
        ("", True, "the container's rights change: root -> uid 64000 without capabilities, root read-only"),
        ("root", True, "the container's rights change: root -> uid 64000 without capabilities, root read-only"),
        (
            "64000:64000",
            False,
            "the container's rights change: uid 64000 -> the image's user, as before container_hardening",
        ),
        ("64000:64000", True, None),
        ("", False, None),
        (None, True, None),
    ],
)
def test_a_change_of_rights_is_announced(user: str | None, hardened: bool, message: str | None) -> None:
    assert rights_change(user, hardened=hardened) == ([message] if message else [])
