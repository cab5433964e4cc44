"""Upgrades of a single host with several engines: requests that fail, seconds that an engine is out, and memory of the weights.

    .venv/bin/python -m bench.replicas 2 4

A host with eight simulated accelerators (stand-in engines) behind one balancer in the lab, 30 streams at a time of lognormal
lengths, all on this machine: as it is, and while another image is rolled out; the same once more without requests. What is
measured of the memory: bench/page_cache.py. Prints Markdown tables.
"""

from __future__ import annotations

import os
import platform
import tempfile
from datetime import date
from pathlib import Path

import click

from bench import page_cache
from bench.loads import out_of_rotation, print_loads
from bench.page_cache import PageCache
from tests.support.lab import Size
from tests.support.load import Load, under_load
from tests.support.releases import Release, deploy
from tests.support.replicas import BALANCER, OneHost, deployed


@click.command()
@click.argument("replicas", nargs=-1, required=True, type=int)
@click.option("--requests", default=900, show_default=True, help="At least so many with and without a rollout.")
def main(replicas: tuple[int, ...], requests: int) -> None:
    """Measure and print."""
    loads: dict[str, Load] = {}
    out: dict[int, list[float]] = {}
    caches: list[PageCache] = []
    for count in replicas:
        with tempfile.TemporaryDirectory() as folder:
            host = deployed(Path(folder), Size(hopper=1), count=count, keep=True)
            with under_load(least=requests, balancers=[BALANCER]) as steady:
                pass
            with under_load(least=requests, balancers=[BALANCER]) as rolled:
                _upgrade(host.other)
            with under_load(least=0, streams=0, balancers=[BALANCER]) as idle:
                _upgrade(host.release)
            loads |= {f"{count} engines, steady": steady, f"{count} engines, rollout": rolled}
            out[count] = _out(host, idle)
            caches.append(page_cache.measure(host.name, count))
    print_loads(loads, "engines")
    print("\n| engines | s that each is out of rotation, no requests to wait for |\n|---|---|")
    for count, seconds in out.items():
        print(f"| {count} | {', '.join(f'{each:.1f}' for each in seconds)} |")
    page_cache.print_head()
    for cache in caches:
        page_cache.print_row(cache)
    print(f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, lab hosts on the same machine.")


def _upgrade(release: Release) -> None:
    if deploy(release).status:
        raise click.ClickException("that did not work; see above")


def _out(host: OneHost, load: Load) -> list[float]:
    return list(out_of_rotation(load.changes, host.engines, [BALANCER]).values())


if __name__ == "__main__":
    main()
