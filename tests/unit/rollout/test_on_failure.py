"""What becomes of the hosts that a run had in hand when it failed: which steps, and what they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from barewind.balancer.commands import Admin, Health, Rotation, Worker
from barewind.balancer.drain import Stage
from barewind.errors import BarewindError
from barewind.lease.operations import LeaseLost
from barewind.plan.engine import plan_host
from barewind.rollout.on_failure import EngineInHand, in_rotation, outcome, steps
from barewind.rollout.operations import on_failure
from barewind.rollout.operations.on_failure import FailedRun, Intent
from barewind.spec.site import engines_of
from tests.support.balancers import FakeBalancers, FakeHost, haproxy, up
from tests.support.clock import Clock, keep_time
from tests.support.factories import engine_spec, locked


def host(name: str, stage: Stage, *, failed: bool = False, **values: Any) -> EngineInHand:
    given = {"engine": name, "group": "hopper", "stage": stage, "failed": failed, "changes": True}
    return EngineInHand(**given | values)


GROUP: dict[str, Any] = {"on_failure": "rollback_group"}
HOST: dict[str, Any] = {"on_failure": "rollback"}

CASES: list[tuple[str, list[EngineInHand], str]] = [
    ("nothing in hand", [], ""),
    ("the failed host is drained", [host("a", "undrained"), host("b", "drained", failed=True)], "b:drain"),
    (
        "a drain that had not ended is undone",
        [host("a", "draining"), host("b", "drained", failed=True)],
        "a:undo drain b:drain",
    ),
    (
        "who stood beside it is undrained past its gate",
        [host("a", "drained"), host("b", "drained", failed=True)],
        "b:drain a:undrain",
    ),
    ("a canary is drained again", [host("a", "undrained", failed=True)], "a:drain"),
    (
        "back to what it was",
        [host("a", "undrained", **HOST), host("b", "drained", failed=True, **HOST)],
        "b:drain b:rollback",
    ),
    (
        "the whole group back, one by one, the failed host first",
        [host("a", "undrained", **GROUP), host("b", "drained", **GROUP), host("c", "drained", failed=True, **GROUP)],
        "c:drain c:rollback a:rollback b:rollback",
    ),
    (
        "another group keeps what it has",
        [host("a", "undrained", group="mi300x", **GROUP), host("b", "drained", failed=True, **GROUP)],
        "b:drain b:rollback",
    ),
    (
        "a release that did not change is none to go back from",
        [host("a", "drained", failed=True, changes=False, **HOST)],
        "a:drain",
    ),
    (
        "a host in maintenance stays drained",
        [host("a", "drained", in_maintenance=True), host("b", "drained", failed=True)],
        "b:drain",
    ),
    ("nobody failed: a fact could not be read", [host("a", "undrained"), host("b", "drained")], "b:undrain"),
]


@pytest.mark.parametrize(("hosts", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_steps(hosts: list[EngineInHand], expected: str) -> None:
    assert " ".join(f"{step.engine}:{step.action}" for step in steps(hosts, interrupted=False)) == expected


def test_after_ctrl_c_nothing_takes_long() -> None:
    hosts = [host("a", "draining"), host("b", "drained"), host("c", "drained", failed=True, **GROUP)]
    assert [(step.engine, step.action) for step in steps(hosts, interrupted=True)] == [
        ("a", "undo drain"),
        ("c", "drain"),
    ]


def test_in_which_words() -> None:
    stages: tuple[Stage, ...] = ("draining", "drained", "undrained")
    assert [host("a", stage).progress for stage in stages] == ["draining, not touched", "drained", "done"]
    assert host("a", "drained", failed=True).progress == "failed"
    assert outcome("rollback", "failed, drained", "0123456789ab") == "failed, rolled back to 0123456789ab"
    assert outcome("undo drain", "draining, not touched") == "undrained, not touched"


ROTATIONS = {
    "lb1": Rotation((Worker(1, True, {"a": up("a"), "b": up("b", admin=Admin.DRAIN)}),)),
    "lb2": Rotation((Worker(1, True, {"a": up("a", health=Health.DOWN)}),)),
}


@pytest.mark.parametrize(
    ("name", "expected"), [("a", "up on lb1, down on lb2"), ("b", "drain on lb1"), ("c", "no")], ids=str
)
def test_what_balancers_do_with_a_host(name: str, expected: str) -> None:
    assert in_rotation(ROTATIONS, name) == expected
    assert in_rotation(None, name) == "a balancer does not answer"


# --- What the steps do -------------------------------------------------------------------------------------------------

NAMES = ("gpu1", "gpu2", "gpu3")


@dataclass
class Failed:
    """A run of three hosts that has failed; `cannot` fails its rollback, `lost_after` so many looks the lease is lost."""

    stages: dict[str, Stage]
    failed: tuple[str, ...] = ()
    cannot: str = ""
    lost_after: int = 99
    policy: str = "rollback_group"
    interrupted: bool = False
    maintenance: tuple[str, ...] = ()
    gated: list[str] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    balancers: FakeBalancers = field(default_factory=lambda: FakeBalancers(lb1=haproxy(*NAMES)))
    looks: int = 0

    def check_lease(self) -> None:
        self.looks += 1
        if self.looks > self.lost_after:
            raise LeaseLost("the lease is lost")

    def roll_back(self, state: object, host: FakeHost, plan: object, failed: str) -> str:
        del state, plan
        assert failed == "new"
        if host.name == self.cannot:
            raise BarewindError("it has served nothing before new")
        self.rolled_back.append(host.name)
        return "old"

    def end(self) -> dict[str, str]:
        """What became of each host."""
        hosts = {name: FakeHost(name) for name in NAMES}
        self.balancers.stages |= self.stages
        for name, stage in self.stages.items():
            self.balancers.haproxies["lb1"].change(name, admin=Admin.READY if stage == "undrained" else Admin.DRAIN)
        keys: dict[str, Any] = {"on_failure": self.policy, "max_unavailable": 3, "allow_downtime": True}
        specs = [engine_spec(host=name, **keys) for name in NAMES]
        plans = {spec.host: plan_host(spec, locked(spec)) for spec in specs}
        state: Any = SimpleNamespace(
            failed_hosts={hosts[name] for name in self.failed}, inventory=SimpleNamespace(get_host=hosts.__getitem__)
        )
        intents = {
            name: Intent(plan, 1, "hopper", "old", "new", name in self.maintenance) for name, plan in plans.items()
        }
        run = FailedRun(state, self.balancers, intents, check_lease=self.check_lease, why="nightly")
        run.end(interrupted=self.interrupted)
        return {row[0]: row[3] for row in run.rows(plans)}

    @property
    def drained(self) -> list[str]:
        servers = self.balancers.haproxies["lb1"].servers
        return [name for name, server in servers.items() if server.admin is not Admin.READY]


OUTCOMES = [
    pytest.param(
        Failed({"gpu1": "undrained", "gpu2": "drained"}, failed=("gpu2",), policy="hold"),
        ["done", "failed, drained", "not touched"],
        ["gpu2"],
        id="the failed host stays drained",
    ),
    pytest.param(
        Failed({"gpu1": "drained", "gpu2": "drained", "gpu3": "draining"}, failed=("gpu2",), policy="hold"),
        ["undrained as it is", "failed, drained", "undrained, not touched"],
        ["gpu2"],
        id="those beside it are undrained",
    ),
    pytest.param(
        Failed({"gpu1": "undrained", "gpu2": "drained"}, failed=("gpu2",)),
        ["done, rolled back to old", "failed, rolled back to old", "not touched"],
        [],
        id="its group is rolled back",
    ),
    pytest.param(
        Failed({"gpu1": "undrained", "gpu2": "drained"}, failed=("gpu2",), cannot="gpu2"),
        [
            "done; not rolled back, since gpu2 could not be",
            "failed, drained; rollback: it has served nothing before new",
            "not touched",
        ],
        ["gpu2"],
        id="a host that serves is left to it when the failed one cannot be rolled back",
    ),
    pytest.param(
        Failed({"gpu1": "drained"}, failed=("gpu1",), maintenance=("gpu1",)),
        ["failed, rolled back to old", "not touched", "not touched"],
        ["gpu1"],
        id="a host in maintenance is rolled back and stays drained",
    ),
    pytest.param(
        Failed({"gpu1": "drained", "gpu2": "drained"}, failed=("gpu2",), interrupted=True),
        ["drained", "failed, drained", "not touched"],
        ["gpu1", "gpu2"],
        id="after Ctrl-C nothing is waited for",
    ),
    pytest.param(
        Failed({"gpu1": "undrained", "gpu2": "drained"}, failed=("gpu2",), lost_after=1),
        ["done", "failed, drained", "not touched"],
        ["gpu2"],
        id="nothing more is done once the lease is lost",
    ),
]


@pytest.mark.parametrize(("run", "outcomes", "drained"), OUTCOMES)
def test_what_becomes_of_hosts(
    run: Failed, outcomes: list[str], drained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keep_time(monkeypatch, clock, clock.pause)
    monkeypatch.setattr(on_failure, "pass_gate", lambda _, host, *__, why: run.gated.append(f"{host.name}: {why}"))
    monkeypatch.setattr(on_failure, "roll_back", run.roll_back)
    monkeypatch.setattr(on_failure, "running_release", lambda *_: "old")
    monkeypatch.setattr(on_failure.logger, "error", run.messages.append)
    assert list(run.end().values()) == outcomes
    assert run.drained == drained
    assert run.gated == [f"{name}: nightly" for name, text in zip(NAMES, outcomes, strict=True) if "as it is" in text]


@dataclass
class Replicas:
    """Four engines of a host that has failed, by their numbers; `turns` are their batches, one after the other."""

    stages: dict[int, Stage]
    turns: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,))
    untouched: tuple[int, ...] = ()  # whose drain was refused
    serving: tuple[int, ...] = ()  # by their history
    interrupted: bool = False


REPLICAS = [
    pytest.param(
        Replicas({0: "undrained", 1: "drained"}),
        ["done", "failed, drained", "not touched", "not touched"],
        [1],
        id="one by one: the one in hand",
    ),
    pytest.param(
        Replicas({0: "undrained"}, untouched=(1,)),
        ["done", "not touched", "not touched", "not touched"],
        [],
        id="a drain is refused: those that serve go on",
    ),
    pytest.param(
        Replicas({0: "undrained", 1: "drained"}, untouched=(0,)),
        ["done", "failed, drained", "not touched", "not touched"],
        [1],
        id="what an earlier refusal was about serves since",
    ),
    pytest.param(
        Replicas({0: "drained", 1: "drained", 2: "drained"}, turns=((0, 1, 2), (3,)), serving=(0, 2)),
        ["undrained as it is", "failed, drained", "undrained as it is", "not touched"],
        [1],
        id="several in one batch: the one that does not serve",
    ),
    pytest.param(
        Replicas({0: "drained", 1: "drained"}, turns=((0, 1), (2, 3)), serving=(0, 1)),
        ["failed, drained", "failed, drained", "not touched", "not touched"],
        [0, 1],
        id="nobody can tell which",
    ),
    pytest.param(
        Replicas({0: "drained", 1: "drained"}, turns=((0, 1), (2, 3)), serving=(0,), interrupted=True),
        ["failed, drained", "failed, drained", "not touched", "not touched"],
        [0, 1],
        id="after Ctrl-C nobody is asked",
    ),
]


@pytest.mark.parametrize(("run", "outcomes", "drained"), REPLICAS)
def test_which_of_several_engines_have_failed_with_their_host(
    run: Replicas, outcomes: list[str], drained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = engine_spec(host="h", replicas=4, allow_downtime=True)
    plans = {engine.name: plan_host(engine, locked(engine)) for engine in engines_of(spec)}
    balancers, host_h = FakeBalancers(lb1=haproxy(*plans)), FakeHost("h")
    for number, stage in run.stages.items():
        balancers.stages[f"h-{number}"] = stage
        balancers.haproxies["lb1"].change(f"h-{number}", admin=Admin.READY if stage == "undrained" else Admin.DRAIN)
    balancers.untouched |= {f"h-{number}" for number in run.untouched}
    state: Any = SimpleNamespace(failed_hosts={host_h}, inventory=SimpleNamespace(get_host=lambda _: host_h))
    intents = {
        f"h-{number}": Intent(plans[f"h-{number}"], turn, "hopper", "old", "new", False)
        for turn, numbers in enumerate(run.turns, 1)
        for number in numbers
    }
    clock = Clock()
    keep_time(monkeypatch, clock, clock.pause)
    monkeypatch.setattr(on_failure, "running_release", lambda *_: "old")
    monkeypatch.setattr(on_failure, "pass_gate", lambda *_, **__: None)
    monkeypatch.setattr(on_failure, "is_serving", lambda _, __, plan: plan.spec.replica in run.serving)
    failed = FailedRun(state, balancers, intents, check_lease=lambda: None, why=None)
    failed.end(interrupted=run.interrupted)
    assert [row[3] for row in failed.rows(plans)] == outcomes
    servers = balancers.haproxies["lb1"].servers
    assert [name for name, server in servers.items() if server.admin is not Admin.READY] == [
        f"h-{number}" for number in drained
    ]
