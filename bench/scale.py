"""A dry run and a run over many hosts, none of them real: what a rollout costs on the controller.

    .venv/bin/python -m bench.scale 10 100 1000                  # max_unavailable = 1: a batch for each host
    .venv/bin/python -m bench.scale 100 1000 --batches 10 --json

Every engine host serves an older release behind one balancer; all of them are pyinfra's @fake hosts, which answer at once. So
what is measured is Barewind and pyinfra on this machine. Prints a Markdown table, or a JSON list.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click

from bench.process import run
from tests.support.fake_fleet import PYINFRA, Clone
from tests.support.fake_runs import many


@dataclass(frozen=True)
class Cost:
    """What a dry run and a run cost: `cpu_seconds` of both together, `mib` of the one that takes more memory, `lines` of the run.

    `batches` are those of the plan: one for all there cannot be, since the last host that serves is never drained.
    """

    hosts: int
    batches: int
    dry_seconds: float
    run_seconds: float
    cpu_seconds: float
    mib: int
    lines: int


@click.command()
@click.argument("hosts", nargs=-1, required=True, type=click.IntRange(min=2))
@click.option(
    "--batches", type=click.IntRange(min=1), help="How many at the most; without it as many as there are hosts."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list.")
def main(hosts: tuple[int, ...], batches: int | None, as_json: bool) -> None:
    """Measure and print."""
    costs = []
    if not as_json:
        print(
            "| hosts | batches | dry run, s | run, s | CPU of both, s | MiB | lines of the run |\n|---|---|---|---|---|---|---|"
        )
    for count in hosts:
        cost = _cost(count, batches or count)
        costs.append(asdict(cost))
        if not as_json:
            print(
                f"| {cost.hosts} | {cost.batches} | {cost.dry_seconds:.1f} | {cost.run_seconds:.1f} | {cost.cpu_seconds:.1f} "
                f"| {cost.mib} | {cost.lines} |",
                flush=True,
            )
    print(json.dumps(costs) if as_json else f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}.")


def _cost(hosts: int, batches: int) -> Cost:
    with _clone() as clone:
        clone.inventory(many(hosts, max_unavailable=-(-hosts // batches)))
        deploy = [str(PYINFRA), "site.py", "deploy.py"]
        dry = run([*deploy, "--dry"], clone.path)
        done = run([*deploy, "-y"], clone.path)
    return Cost(
        hosts=hosts,
        batches=int(max(re.findall(r"batch(?:es [0-9]+ to)? [0-9]+ of ([0-9]+)", dry.output), key=int)),
        dry_seconds=round(dry.seconds, 2),
        run_seconds=round(done.seconds, 2),
        cpu_seconds=round(dry.cpu + done.cpu, 2),
        mib=max(dry.mib, done.mib),
        lines=done.output.count("\n"),
    )


@contextmanager
def _clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory() as folder:
        yield Clone(Path(folder))


if __name__ == "__main__":
    main()
