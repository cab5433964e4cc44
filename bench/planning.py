"""Planning generated fleets of 10, 100 and 1000 hosts: `.venv/bin/python -m bench.planning`. Connects to nothing."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
FLEETS = (10, 100, 1000)
_KINDS = ("h100", "h200", "b200", "mi300x")


@click.command()
@click.option("--runs", default=3, show_default=True, help="Measured runs of each; the median counts.")
def main(runs: int) -> None:
    """Measure and print the table."""
    print("| hosts | seconds | milliseconds per host above the start |\n|---|---|---|")
    start = _seconds(["--version"], runs)
    with tempfile.TemporaryDirectory() as scratch:
        for count in FLEETS:
            path = Path(scratch) / f"fleet{count}.py"
            path.write_text(_inventory(count))
            seconds = _seconds(["plan", str(path), "--json"], runs)
            print(f"| {count} | {seconds:.2f} | {(seconds - start) / count * 1000:.2f} |", flush=True)
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, median of {runs}; `barewind --version`: {start:.2f} s."
    )


def _inventory(count: int) -> str:
    hosts = [
        (
            f"gpu{n}",
            {"address": f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", "accelerator": kind, "accelerator_count": 8},
        )
        for n, kind in enumerate(islice(cycle(_KINDS), count), 1)
    ]
    return f"engines = {hosts!r}\nbalancers = [('lb1', {{'address': '10.255.0.1'}})]\n"


def _seconds(arguments: list[str], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.monotonic()
        subprocess.run([str(ROOT / ".venv/bin/barewind"), *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
