"""What fails during a rollout inside a single host: its other engines go on serving, and the next command puts it right.

Each test begins with four engines that serve one release; what the test before left otherwise is put right first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import wait
from lab.hosts import hosts
from tests.support import replicas
from tests.support.commands import BackgroundRun
from tests.support.lab import Size, servers
from tests.support.load import Stream, under_load
from tests.support.releases import begin, deploy, run
from tests.support.replicas import BALANCER, COUNT, HOST, OneHost, cards
from tests.support.simulated import reboot

pytestmark = pytest.mark.full

FIRST, SECOND, THIRD, LAST = replicas.names(HOST, COUNT)
_NOT_ON_SECOND = ["sh", "-c", f"test $BAREWIND_HOST != {SECOND}"]
_STARTS = "Starting operation: Engine | Unit"  # one engine is drained then, and is about to be replaced


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> OneHost:
    """A fresh host that gets four engines at once; or one that this suite has left, however that is."""
    return replicas.deployed(tmp_path_factory.mktemp("locks"), Size(hopper=1), keep=True)


@pytest.fixture
def host(deployed: OneHost) -> OneHost:
    """A host whose engines all serve one release."""
    deployed.repair()
    return deployed


class Evaluation:
    """An evaluation that a rollout waits for: its engine has passed its gate, and is drained until this ends."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "over"
        self.command = ["sh", "-c", f"until [ -e {self._file} ]; do sleep 0.2; done"]

    def begun(self, rollout: BackgroundRun) -> bool:
        """Wait until the rollout waits for it."""
        return rollout.prints("is evaluated")

    def end(self) -> None:
        """Have it succeed, now and later."""
        self._file.touch()


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return Evaluation(tmp_path)


@pytest.mark.parametrize("policy", ["hold", "rollback", "rollback_group"])
def test_the_second_engine_does_not_pass_its_gate(host: OneHost, policy: str) -> None:
    bad = host.fresh().but(on_failure=policy, evaluation=_NOT_ON_SECOND)
    before = host.started()
    with under_load(balancers=[BALANCER], least=300) as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1
    assert f"{SECOND}: release {bad.id} does not pass its gate" in failed.output
    assert "What is where" in failed.output
    assert host.started()[2:] == before[2:]
    state = host.agreed(bad)
    assert state.serves(FIRST, host.release if policy == "rollback_group" else bad)
    assert state.all_serve(host.release, [THIRD, LAST])
    if policy == "hold":
        assert state.states_of(SECOND) == {"DRAIN"}
    else:
        assert state.serves(SECOND, host.release)


def test_one_command_goes_back_after_a_half_done_rollout(host: OneHost) -> None:
    half_done = host.fresh().but(evaluation=_NOT_ON_SECOND)
    assert deploy(half_done).status != 0
    with under_load(balancers=[BALANCER], least=300) as load:
        back = run("tasks/rollback.py", half_done)
    assert back.status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1  # the one that was out already comes back first
    assert f"{LAST}: left as it is" in back.output
    assert host.all_serve(host.release)


def test_of_two_engines_in_one_batch_the_one_that_passes_its_gate_serves(host: OneHost) -> None:
    bad = host.fresh().but(max_unavailable=2, evaluation=_NOT_ON_SECOND)
    with under_load(balancers=[BALANCER], least=300) as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 2
    state = host.agreed(bad)
    assert state.serves(FIRST, bad)
    assert state.states_of(SECOND) == {"DRAIN"}
    assert state.all_serve(host.release, [THIRD, LAST])


def test_an_engine_that_runs_out_of_memory_is_told_with_its_own_log(host: OneHost) -> None:
    bad = host.other.but(engine_env={"STANDIN_FAIL": "oom"})
    with under_load(balancers=[BALANCER], least=300) as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1
    assert f"{FIRST}: reason: out of memory" in failed.output
    assert f"{FIRST}: more of its log: journalctl -u barewind-engine@0.service" in failed.output
    assert host.all_serve(host.release, [SECOND, THIRD, LAST])


def test_an_engine_that_stops_while_another_is_out_ends_the_rollout(host: OneHost, evaluation: Evaluation) -> None:
    new = host.fresh().but(evaluation=evaluation.command)
    with under_load(balancers=[BALANCER], least=300) as load:
        rollout = begin("deploy.py", new)
        assert evaluation.begun(rollout)
        hosts.exec(HOST, "systemctl stop barewind-engine@3.service")
        wait.until(lambda: replicas.states()[LAST] == "DOWN", 120, f"{LAST} is still asked")
        evaluation.end()
        failed = rollout.end()
    assert failed.status != 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 2  # the one that stopped beside
    assert (
        f"{LAST} out of rotation by now, and max_unavailable is 1: {SECOND} cannot be drained as well" in failed.output
    )
    state = host.agreed(new)
    assert state.serves(FIRST, new)
    assert state.all_serve(host.release, [SECOND, THIRD])
    assert "UP" not in state.states_of(LAST)

    with under_load(balancers=[BALANCER], least=300) as load:
        mended = deploy(new)
    assert mended.status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] == COUNT - 1  # it comes first
    assert host.all_serve(new)


def test_streams_that_outlive_drain_timeout_keep_their_engine_and_no_other_leaves(
    host: OneHost, evaluation: Evaluation
) -> None:
    new = host.fresh().but(drain_timeout=6, evaluation=evaluation.command)
    before = host.started()
    rollout = begin("deploy.py", new)
    assert evaluation.begun(rollout)
    long = [Stream(BALANCER, 1500) for _ in range(2 * COUNT)]  # on each engine that serves, for 75 s and more
    wait.until(lambda: servers(BALANCER)[SECOND].requests > 0, 60, f"{SECOND} gets no request")
    evaluation.end()
    failed = rollout.end()
    assert failed.status != 0
    assert f"{SECOND}: " in failed.output
    assert "raise 'drain_timeout'" in failed.output
    assert "the host was not touched" in failed.output
    assert host.started()[1:] == before[1:]
    state = host.agreed(new)
    assert state.serves(FIRST, new)
    assert state.all_serve(host.release, [SECOND, THIRD, LAST])
    assert all(stream.whole() for stream in long)


def test_a_controller_that_is_killed_again_and_again(host: OneHost) -> None:
    """Each run finds what the one before has left, gets further, and is killed; the last comes to its end."""
    with under_load(balancers=[BALANCER], least=300) as load:
        for step in (_STARTS, "Starting operation: Gate | Engine answers", "Rotation | Batch 2 of"):
            rollout = begin("deploy.py", host.other)
            assert rollout.prints(step)
            rollout.kill()
            assert load.lost == []
        assert deploy(host.other).status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1
    assert host.all_serve(host.other)
    host.swap()


def test_reloads_of_haproxy_while_an_engine_is_drained_lose_nothing(host: OneHost) -> None:
    with under_load(balancers=[BALANCER], least=300) as load:
        rollout = begin("deploy.py", host.other)
        for step in (_STARTS, "Rotation | Batch 3 of 4: drain"):
            assert rollout.prints(step)
            hosts.exec(BALANCER, "systemctl reload haproxy")
        upgraded = rollout.end()
    assert upgraded.status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1
    assert host.all_serve(host.other)
    host.swap()


def test_a_haproxy_that_starts_anew_sends_a_drained_engine_nothing(host: OneHost) -> None:
    """Of a rollout that nobody goes on with: whoever restarts the only balancer cuts what runs there, and nothing more."""
    rollout = begin("deploy.py", host.other)
    assert rollout.prints(_STARTS)
    rollout.kill()

    def serves_without_first() -> bool:
        states = replicas.states()
        assert states.get(FIRST) in (None, "DOWN", "DRAIN")  # the second while its health check has not ended
        return states == {FIRST: "DRAIN", SECOND: "UP", THIRD: "UP", LAST: "UP"}

    for what in ("systemctl restart haproxy", "systemctl kill -s KILL haproxy"):
        hosts.exec(BALANCER, what)
        wait.until(serves_without_first, 120, "the balancer does not balance")
    assert deploy(host.release).status == 0
    assert host.all_serve(host.release)


def test_a_canary_that_answers_with_errors_goes_back(host: OneHost) -> None:
    """It is one engine, compared with its siblings."""
    bad = host.fresh(STANDIN_FAIL="errors", STANDIN_FAIL_AFTER="30").but(canary=60, on_failure="rollback")
    before = host.started()
    with under_load(balancers=[BALANCER], least=300) as load:
        failed = deploy(bad)
    assert failed.status != 0
    assert 0 < len(load.lost) < 1000
    assert all(" 500 " in loss for loss in load.lost)
    assert load.fewest[BALANCER] >= COUNT - 1
    assert f"{FIRST}: the canary does not do well" in failed.output
    assert f"requests failed on {FIRST}, 0 of " in failed.output
    assert host.started()[1:] == before[1:]
    assert host.all_serve(host.release)


def test_one_command_goes_back_after_a_good_rollout(host: OneHost) -> None:
    assert deploy(host.other).status == 0
    with under_load(balancers=[BALANCER], least=300) as load:
        back = run("tasks/rollback.py", host.other)
    assert back.status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] == COUNT - 1
    assert host.all_serve(host.release)


def test_an_engine_that_is_killed_comes_back_and_takes_only_its_own_streams(host: OneHost) -> None:
    before = host.started()
    with under_load(balancers=[BALANCER], least=300) as load:
        hosts.exec(HOST, "docker kill barewind-engine-2")
        host.await_restarts({2: before[2]})
    assert len(load.lost) < 40
    assert load.fewest[BALANCER] >= COUNT - 1
    after = host.started()
    assert [*after[:2], after[3]] == [*before[:2], before[3]]
    assert host.all_serve(host.release)


def test_engines_come_back_by_themselves_with_their_own_cards(host: OneHost) -> None:
    """After a restart of Docker, as an upgrade of it does, and of the host: then they start at the same time."""
    parts = [cards(HOST, number) for number in range(COUNT)]
    before = host.started()
    hosts.exec(HOST, "systemctl restart docker")
    host.await_restarts(dict(enumerate(before)))
    assert host.all_serve(host.release)
    before = host.started()
    reboot(HOST)
    host.await_restarts(dict(enumerate(before)))
    assert host.all_serve(host.release)
    assert [cards(HOST, number) for number in range(COUNT)] == parts
    again = deploy(host.release)
    assert (again.status, again.changed) == (0, set())
