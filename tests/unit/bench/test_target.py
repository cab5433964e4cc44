"""What a bench may load, and what is said where it may not."""

from __future__ import annotations

import pytest

from barewind.balancer.commands import Rotation
from barewind.balancer.commands import read as read_rotation
from barewind.balancer.maintenance import Maintenance
from barewind.bench.commands import Seen
from barewind.bench.target import Target, of_endpoint, of_host, of_replica, problems
from barewind.errors import BarewindError
from barewind.spec.site import Site
from tests.support.factories import balancer_spec, engine_spec, plan
from tests.support.haproxy_answers import DRAINED, UP, process, text

PLANS = {name: plan(engine_spec(host=name)) for name in ("gpu1", "gpu2")}
SITE = Site({name: made.spec for name, made in PLANS.items()}, {"lb1": balancer_spec()}, "barewind.lock.yaml")
ONE = Target("gpu1", (PLANS["gpu1"],))
SERVES = Seen(PLANS["gpu1"].release, image=True)
DRAINED_BY = Maintenance("2026-11-30T08:00:00Z", "ann@ws1")


def rotation(state: str) -> dict[str, Rotation]:
    return {"lb1": read_rotation(text(process(12, gpu1=(state, 0), gpu2=(UP, 0))), "lb1")}


def found(
    target: Target = ONE,
    *,
    seen: Seen = SERVES,
    drained: Maintenance | None = DRAINED_BY,
    state: str = DRAINED,
    told: bool = False,
) -> list[str]:
    return list(problems(target, [seen], drained, rotation(state), told=told))


def test_a_drained_host_that_serves_its_plan_may_be_loaded() -> None:
    assert found() == []


def test_a_host_in_rotation_may_not_unless_somebody_says_so() -> None:
    (told,) = found(state=UP, drained=None)
    assert told.startswith("gpu1: in rotation on lb1; drain it first: pyinfra INVENTORY tasks/drain.py --limit gpu1")
    assert "--in-rotation" in told
    assert found(state=UP, drained=None, told=True) == []


def test_a_host_that_nobody_has_drained_may_be_back_at_any_moment() -> None:
    (told,) = found(drained=None)
    assert "nobody has drained it" in told


def test_without_balancers_nobody_sends_requests() -> None:
    assert list(problems(ONE, [SERVES], None, {}, told=False)) == []


def test_everything_is_told_at_once() -> None:
    told = found(seen=Seen("ba9876543210", image=False), state=UP)
    assert [line.partition("; ")[0] for line in told] == [
        f"gpu1: the image {PLANS['gpu1'].pinned_image} is not on the host",
        f"gpu1: it serves release ba9876543210, its plan is release {PLANS['gpu1'].release}, which the estimate is of",
        "gpu1: in rotation on lb1",
    ]
    assert "no engine runs" in found(seen=Seen(None, image=True))[0]


def test_the_endpoint_is_loaded_only_if_somebody_says_so() -> None:
    endpoint = of_endpoint(SITE, PLANS, "gpu2")
    assert (endpoint.name, endpoint.host, endpoint.urls) == ("lb1", "gpu2", ["http://192.0.2.2:8000"])
    (told,) = found(endpoint)
    assert told.startswith("lb1: its requests go to engines that serve; say --in-rotation")
    assert found(endpoint, told=True) == []


def test_a_host_has_all_of_its_engines() -> None:
    assert of_host(SITE, PLANS, "gpu2").urls == ["http://192.0.2.11:8000"]
    assert of_replica(PLANS, "gpu1").plans == (PLANS["gpu1"],)


def test_a_name_that_is_not_known_is_told_with_those_that_are() -> None:
    for wrong, told in (
        (lambda: of_host(SITE, PLANS, "gpu9"), "no engine host 'gpu9'; hosts: gpu1, gpu2"),
        (lambda: of_host(SITE, PLANS, None), "say which host with --host, or which engine with --replica; hosts: gpu1"),
        (lambda: of_replica(PLANS, "gpu9"), "no engine 'gpu9'; engines: gpu1, gpu2"),
        (lambda: of_endpoint(Site(SITE.engines, {}, ""), PLANS, None), "the inventory has no balancer"),
    ):
        with pytest.raises(BarewindError, match=told):
            wrong()
