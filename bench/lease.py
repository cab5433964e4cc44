"""What renewing the lease costs the controller, by the number of engine hosts.

    .venv/bin/barewind lab up
    .venv/bin/python -m bench.lease

Measures the CPU time of a command about the lease over SSH on the lab's balancer, and counts how many of them a run sends. Prints
a Markdown table.
"""

from __future__ import annotations

import os
import platform
import time
from datetime import date

import click

from barewind.hosts.reach import Hosts
from barewind.lease import commands
from barewind.lease.commands import RENEWAL
from barewind.lease.operations import renewed_at_a_time

BALANCERS = 2
_TIMEOUT = 30  # seconds for one command


@click.command()
@click.option("--commands", "count", default=150, show_default=True, help="Commands that are measured.")
def main(count: int) -> None:
    """Measure and print."""
    hosts = Hosts("inventory/lab.py")
    look = {"lb1": commands.look()}
    hosts.ask(look, timeout=_TIMEOUT)  # connects
    begun = time.process_time()
    for _ in range(count):
        hosts.ask(look, timeout=_TIMEOUT)
    each = (time.process_time() - begun) / count
    print(
        "| engine hosts | commands every 20 s | % of a core | % if every host were asked each time |\n|---|---|---|---|"
    )
    for engines in (10, 100, 1000):
        asked = BALANCERS + renewed_at_a_time(engines)
        all_of_them = BALANCERS + engines
        print(f"| {engines} | {asked} | {_percent(asked, each):.2f} | {_percent(all_of_them, each):.2f} |")
    print(
        f"\n{each * 1000:.1f} ms of CPU time per command. {date.today()}, {os.cpu_count()} cores, {platform.machine()}."
    )


def _percent(asked: int, each: float) -> float:
    return asked * each / RENEWAL * 100


if __name__ == "__main__":
    main()
