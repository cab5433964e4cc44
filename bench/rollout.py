"""A rollout under load against steady state and against restarts without draining; how long a host is drained; no-op runs in 1
and in 3 batches.

    .venv/bin/python -m bench.rollout

Three engine hosts (stand-in engines) behind two balancers in the lab, 30 streams at a time of lognormal lengths, all on this
machine. Prints Markdown tables.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import click

from bench.loads import out_of_rotation, print_loads
from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from tests.support.commands import data
from tests.support.fleet import BALANCERS, ENGINES, await_health
from tests.support.lab import ENGINE_UNIT, Size, bring_up
from tests.support.load import Load, under_load
from tests.support.releases import Release, build, deploy


@click.command()
@click.option("--requests", default=900, show_default=True, help="At least so many with and without a rollout.")
@click.option(
    "--runs", default=5, show_default=True, help="Runs with nothing to change, of each kind; the median counts."
)
def main(requests: int, runs: int) -> None:
    """Measure and print."""
    bring_up(Size(engines=3, balancers=2))
    standin_engine.ensure(Steps())
    with tempfile.TemporaryDirectory() as folder:
        one, two = build("one", Path(folder)), build("two", Path(folder))
        _well(deploy(one).status)
        with under_load(least=requests) as steady:
            pass
        with under_load(least=requests) as rolled:
            _well(deploy(two).status)
        with under_load(least=requests) as naive:
            for name in ENGINES:
                hosts.exec(name, f"systemctl restart {ENGINE_UNIT}")
                await_health(name)
        with under_load(least=0, streams=0) as idle:
            _well(deploy(one).status)
        starts = [_start(name) for name in ENGINES]
        idle_runs = _nothing(one, runs)
    loads = {"steady": steady, "rollout": rolled, "engines restarted one by one, undrained": naive}
    _tables(loads, out_of_rotation(idle.changes, ENGINES, BALANCERS), starts, idle_runs)


def _tables(loads: dict[str, Load], out: dict[str, float], starts: list[float], runs: dict[int, float]) -> None:
    print_loads(loads, "hosts")
    print("\n| host | s out of rotation, no requests to wait for | s of the engine's own start | difference |")
    print("|---|---|---|---|")
    for (name, seconds), start in zip(out.items(), starts, strict=True):
        print(f"| {name} | {seconds:.1f} | {start:.1f} | {seconds - start:.1f} |")
    print("\n| nothing to change, 3 hosts | s |\n|---|---|")
    for most, seconds in runs.items():
        print(f"| max_unavailable = {most} | {seconds:.2f} |")
    print(f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, lab hosts on the same machine.")


def _start(name: str) -> float:
    """Seconds from the start of a host's unit until its engine is healthy."""
    hosts.exec(name, f"systemctl stop {ENGINE_UNIT}")
    begun = time.monotonic()
    hosts.exec(name, f"systemctl start {ENGINE_UNIT}")
    await_health(name)
    return time.monotonic() - begun


def _nothing(release: Release, runs: int) -> dict[int, float]:
    """The median by `max_unavailable`, in turns: what else the machine does counts for both."""
    times: dict[int, list[float]] = {3: [], 1: []}
    for _ in range(runs):
        for most, seconds in times.items():
            start = time.monotonic()
            _well(deploy(release, *data(max_unavailable=most)).status)
            seconds.append(time.monotonic() - start)
    return {most: statistics.median(seconds) for most, seconds in times.items()}


def _well(status: int) -> None:
    if status:
        raise click.ClickException("that did not work; see above")


if __name__ == "__main__":
    main()
