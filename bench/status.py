"""Commands that ask every host, over many hosts, none of them real: what they cost on the controller.

    .venv/bin/python -m bench.status 10 100 1000 [--json]

Every engine host serves what is planned, behind one balancer that sends it requests, and holds its weights. Hosts are pyinfra's
@fake hosts, which answer at once: what is measured is Barewind and pyinfra on this machine. `--all` has a line for each host.
Prints a Markdown table, or a JSON list.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click

from barewind.lock import file as lock
from barewind.plan.engine import EnginePlan, plan_host
from barewind.weights.plan import host_jobs
from bench.process import run
from tests.support.factories import engine_spec, locked
from tests.support.fake_fleet import Clone
from tests.support.status import balancer, engine

BAREWIND = str(Path(sys.executable).with_name("barewind"))
COMMANDS = (
    ("status",),
    ("status", "--all"),
    ("status", "--history"),
    ("status", "--json"),
    ("lease",),
    ("weights", "verify"),
    ("weights", "prune", "--yes"),
    ("plan",),
)


@dataclass(frozen=True)
class Cost:
    """What a command costs; `lines` of its output."""

    command: str
    hosts: int
    seconds: float
    cpu_seconds: float
    mib: int
    lines: int


@click.command()
@click.argument("hosts", nargs=-1, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def main(hosts: tuple[int, ...], as_json: bool) -> None:
    """Measure each command over so many hosts (default: 10, 100 and 1000) and print."""
    costs = []
    if not as_json:
        print("| command | hosts | s | CPU s | MiB | lines |\n|---|---|---|---|---|---|")
    for cost in (cost for count in hosts or (10, 100, 1000) for cost in _costs(count)):
        costs.append(asdict(cost))
        if not as_json:
            cells = (cost.hosts, f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", cost.mib, cost.lines)
            print(f"| `{cost.command}` |", " | ".join(map(str, cells)), "|", flush=True)
    print(json.dumps(costs) if as_json else f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}.")


def _costs(hosts: int) -> Iterator[Cost]:
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder))
        spec = engine_spec()
        lock.write(locked(spec), clone.path / "barewind.lock.yaml")
        clone.inventory(_inventory(hosts, plan_host(spec, locked(spec))))
        for words in COMMANDS:
            done = run([BAREWIND, *words, "site.py"], clone.path)
            cost = (round(done.seconds, 2), round(done.cpu, 2), done.mib, done.output.count("\n"))
            yield Cost(" ".join(("barewind", *words)), hosts, *cost)


def _inventory(hosts: int, plan: EnginePlan) -> str:
    """The text of an inventory; hosts answer alike, and share their answers."""
    (job,) = host_jobs({"gpu": plan}).values()
    intact = [f"@sums {sums} {directory}" for directory, sums in job.directories.items()]
    names = [f"@fake/gpu{number}" for number in range(1, hosts + 1)]
    answers = {
        "ActiveEnterTimestamp": engine(release=[str(plan.release)])[0].splitlines(),
        "sha256sum": [*intact, "@end"],
        "du -sb": ["@@barewind:busy", "@@barewind:entries", "@@barewind:end"],
        "deploy.lock": ["@@lease free"],
    }
    data = {"accelerator": "h200", "accelerator_count": 8, "fake_responses": answers}
    balancing = {"show servers state": balancer(*names)[0].splitlines(), "deploy.lock": ["@@lease free"]}
    return f"""_data = {data!r}
engines = [
    (f"@fake/gpu{{n}}", _data | {{"address": f"10.{{n // 65536}}.{{n // 256 % 256}}.{{n % 256}}"}}) for n in range(1, {hosts + 1})
]
balancers = [("@fake/lb1", {{"address": "10.255.0.1", "fake_responses": {balancing!r}}})]
"""


if __name__ == "__main__":
    main()
