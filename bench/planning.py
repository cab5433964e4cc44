"""Planning generated fleets of 10, 100 and 1000 hosts: `python -m bench.planning [--replicas 4]`. Connects to nothing."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import tempfile
import time
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from subprocess import DEVNULL

import click

ROOT = Path(__file__).parents[1]
FLEETS = (10, 100, 1000)
_KINDS = ("h100", "h200", "b200", "mi300x")


@click.command()
@click.option("--runs", default=3, show_default=True, help="Measured runs of each; the median counts.")
@click.option("--replicas", default=1, show_default=True, help="Engines of each host.")
def main(runs: int, replicas: int) -> None:
    """Measure and print the table."""
    print("| hosts | engines | s | CPU s | milliseconds of CPU per host above the start |\n|---|---|---|---|---|")
    start, start_cpu = _cost(["--version"], runs)
    with tempfile.TemporaryDirectory() as scratch:
        for count in FLEETS:
            path = Path(scratch) / f"fleet{count}.py"
            path.write_text(_inventory(count, replicas))
            seconds, cpu = _cost(["plan", str(path), "--json"], runs)
            above = (cpu - start_cpu) / count * 1000
            print(f"| {count} | {count * replicas} | {seconds:.2f} | {cpu:.2f} | {above:.2f} |", flush=True)
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, median of {runs}; `barewind --version`: {start:.2f} s, "
        f"{start_cpu:.2f} s of CPU."
    )


def _inventory(count: int, replicas: int) -> str:
    keys = {"accelerator_count": 8} | ({"replicas": replicas} if replicas > 1 else {})
    hosts = [
        (f"gpu{n}", keys | {"address": f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", "accelerator": kind})
        for n, kind in enumerate(islice(cycle(_KINDS), count), 1)
    ]
    return f"engines = {hosts!r}\nbalancers = [('lb1', {{'address': '10.255.0.1'}})]\n"


def _cost(arguments: list[str], runs: int) -> tuple[float, float]:
    """Seconds by the clock and of processors, the median of each."""
    seconds, cpu = [], []
    for _ in range(runs):
        start, before = time.monotonic(), _cpu()
        subprocess.run(
            [str(ROOT / ".venv/bin/barewind"), *arguments], cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL, check=True
        )
        seconds.append(time.monotonic() - start)
        cpu.append(_cpu() - before)
    return statistics.median(seconds), statistics.median(cpu)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
