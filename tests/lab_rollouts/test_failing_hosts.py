"""What becomes of a host that fails, and of those that this run had changed before; canaries; half-done rollouts."""

from __future__ import annotations

import pytest

from lab.hosts import hosts
from tests.support.fleet import BALANCERS, Fleet, agreed, settled
from tests.support.load import under_load
from tests.support.releases import begin, deploy, run

pytestmark = pytest.mark.full

_NOT_ON_2 = ["sh", "-c", "test $BAREWIND_HOST != engine2"]


@pytest.mark.parametrize("policy", ["hold", "rollback", "rollback_group"])
def test_the_second_host_fails(fleet: Fleet, policy: str) -> None:
    release = fleet.fresh().but(on_failure=policy, evaluation=_NOT_ON_2)
    with under_load() as load:
        failed = deploy(release)
    assert failed.status != 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert "What is where" in failed.output
    state = agreed(release)
    assert state.serves("engine1", fleet.release if policy == "rollback_group" else release)
    assert state.serves("engine3", fleet.release)
    if policy == "hold":
        assert "UP" not in state.states_of("engine2")
    else:
        assert state.serves("engine2", fleet.release)


def test_one_command_goes_back_after_a_half_done_rollout(fleet: Fleet) -> None:
    half_done = fleet.fresh().but(evaluation=_NOT_ON_2)
    assert deploy(half_done).status != 0
    with under_load() as load:
        back = run("tasks/rollback.py", half_done)
    assert back.status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 1  # of three: one was out already
    assert "engine3: left as it is" in back.output
    state = agreed(fleet.release)
    assert state.all_serve(fleet.release)


def test_a_canary_that_fails_its_evaluation(fleet: Fleet) -> None:
    release = fleet.fresh().but(canary=10, evaluation=["false"])
    with under_load() as load:
        failed = deploy(release)
    assert failed.status != 0
    assert load.lost == []
    assert "the evaluation ended with status 1" in failed.output
    state = agreed(release)
    assert "UP" not in state.states_of("engine1")
    assert state.all_serve(fleet.release, ("engine2", "engine3"))


def test_a_canary_is_watched_over_a_reload_of_haproxy(fleet: Fleet) -> None:
    with under_load() as load:
        rollout = begin("deploy.py", fleet.other.but(canary=15))
        assert rollout.prints("canary: under real traffic for 15 s")
        for name in BALANCERS:
            hosts.exec(name, "systemctl reload haproxy")
        upgraded = rollout.end()
    assert upgraded.status == 0
    assert "has served well for 15 s: 0 of " in upgraded.output
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert agreed(fleet.other).all_serve(fleet.other)
    fleet.swap()


def test_a_canary_that_answers_with_errors_goes_back(fleet: Fleet) -> None:
    """HAProxy leaves it in, as it is healthy: errors may be the clients'. The canary ends that within a second or two."""
    bad = fleet.fresh(STANDIN_FAIL="errors", STANDIN_FAIL_AFTER="30").but(canary=60, on_failure="rollback")
    with under_load() as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert 0 < len(load.lost) < 1000
    assert all(" 500 " in loss for loss in load.lost)
    assert "the canary does not do well" in failed.output
    settled()
    state = agreed(bad)
    assert state.all_serve(fleet.release)


def test_a_canary_that_dies_under_traffic_goes_back(fleet: Fleet) -> None:
    """It takes its own streams with it, no others."""
    bad = fleet.fresh(STANDIN_FAIL="crash", STANDIN_FAIL_AFTER="30").but(canary=60, on_failure="rollback")
    with under_load() as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert 0 < len(load.lost) < 40
    assert "the canary does not do well" in failed.output
    settled()
    state = agreed(bad)
    assert state.all_serve(fleet.release)
