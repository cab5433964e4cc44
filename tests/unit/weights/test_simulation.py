"""Many hosts that pass weights on, on an imagined clock and network: the program's own decisions."""

from __future__ import annotations

import pytest

from barewind.weights.agent.schedule import asks_endpoint
from bench.simulation.world import World

pytestmark = pytest.mark.slow


def test_every_part_leaves_the_hub_once_over_few_connections() -> None:
    world = World(40, parts=36, seconds=20)
    world.start()
    world.run(until=world.all_complete, limit=300)
    assert len(world.asked) == world.parts
    assert set(world.asked.values()) == {1}
    assert max(host.most for host in world.living) <= 16


@pytest.mark.parametrize(
    "gone",
    [("h1",), ("h15", "h16", "h17", "h18"), ("h6", "h7", "h8", "h20", "h21", "h22", "h31")],
    ids=["one", "five in a row", "two gaps and the end"],
)
def test_hosts_that_die_are_gone_around(gone: tuple[str, ...]) -> None:
    world = World(32, parts=36, seconds=20)
    world.start()
    middle = world.all["h28"].state
    world.run(until=lambda: len(middle.have) > world.parts / 3, limit=300)
    world.kill(gone)
    world.run(until=world.all_complete, limit=400)
    assert set(world.asked.values()) == {1}
    assert max(host.most for host in world.living) <= 16


def test_when_the_first_ones_die_the_next_one_asks_for_the_rest() -> None:
    world = World(20, parts=60, seconds=20)
    world.start()
    third = world.all["h3"].state
    world.run(until=lambda: len(third.have) > world.parts / 3, limit=300)
    before = sum(world.asked.values())
    world.kill(["h0", "h1", "h2"])
    world.run(until=world.all_complete, limit=400)
    assert sum(world.asked.values()) <= world.parts + 12  # what was under way to the dead, and what only they had
    assert before < world.parts / 2
    assert asks_endpoint(third, third.job.sets[0], world.now) is False or third.complete


def test_a_rotten_part_is_taken_from_elsewhere() -> None:
    world = World(20, parts=36, seconds=20)
    world.all["h12"].rotten.add(7)
    world.start()
    world.run(until=world.all_complete, limit=300)
    right = f"{7:064}"
    assert {host.state.have["model", 7][1] for host in world.living} == {right}
    assert set(world.asked.values()) == {1}
