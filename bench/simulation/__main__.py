"""Simulate hosts that pass weights on, and print a table; see bench.simulation."""

from __future__ import annotations

import argparse
from functools import partial

import bench.simulation
from barewind.weights.agent.state import State
from bench.simulation.world import World

_LIMIT = 100000.0  # imagined seconds


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(
        description=bench.simulation.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[40, 1000])
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=100.0, help="size/rate")
    given = parser.parse_args()
    print(
        "| hosts | that die half way | of size/rate | most connections | hub asked per part, at most |\n|---|---|---|---|---|"
    )
    for hosts in given.hosts:
        for dead in (0, hosts // 10):
            world = World(hosts, given.parts, given.seconds)
            world.start()
            if dead:
                world.run(until=partial(_has_a_third, world.all[f"h{hosts // 2}"].state, given.parts), limit=_LIMIT)
                world.kill(f"h{hosts // 4 + number}" for number in range(dead))  # in a row
            world.run(until=world.all_complete, limit=_LIMIT)
            factor = (world.now - world.began) / given.seconds
            most = max(host.most for host in world.living)
            print(f"| {hosts} | {dead} | {factor:.2f} | {most} | {max(world.asked.values())} |", flush=True)


def _has_a_third(state: State, parts: int) -> bool:
    return len(state.have) > parts / 3


if __name__ == "__main__":
    main()
