"""From an empty machine to a planned site: `.venv/bin/python -m bench.site [HOST...]`. Default: the lab's.

What a person does by docs/start.md, without the person: an empty virtual environment, the wheel with everything that it needs
(the versions of the lock file, nothing cached), `init`, `discover`, `plan`. Hosts are looked at and not changed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import click

from lab import state, topology
from lab.hosts import keys
from tests.support.wheel import build, pins

_MIB = 2**20


@click.command()
@click.argument("hosts", nargs=-1)
@click.option("--user", default=topology.USER, show_default=True)
@click.option("--key", default=lambda: str(keys.private_path()), help="Default: the lab's.")
def main(hosts: tuple[str, ...], user: str, key: str) -> None:
    """Measure and print the table."""
    if not hosts:
        if state.load() is None:
            raise click.UsageError("name hosts, or bring the lab up: barewind lab up --engines 0 --hopper 2 --mi300x 1")
        hosts = tuple(host.address for host in topology.current() if host.role != "mirror")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = build(folder)
        pins(folder)
        programs, site = folder / "venv/bin", folder / "site"
        way = ["--user", user, "--key", key, "--known-hosts", str(folder / "known_hosts")]
        steps = {
            "an empty environment": [sys.executable, "-m", "venv", str(folder / "venv")],
            "the wheel, and what it needs": [
                str(programs / "pip"),
                *("install", "-q", "--no-cache-dir", "--disable-pip-version-check"),
                *("-c", str(folder / "pins.txt"), str(wheel)),
            ],
            "`init`": [str(programs / "barewind"), "init", str(site)],
            f"`discover`, {len(hosts)} hosts": [
                *(str(programs / "barewind"), "discover", *way, "--output", str(site), "--accept-host-keys", "--yes"),
                *hosts,
            ],
            "`plan`": [str(programs / "barewind"), "plan", "inventory/prod.py"],
        }
        print("| step | seconds |\n|---|---|")
        total = 0.0
        for name, words in steps.items():
            seconds = _seconds(words, site if name == "`plan`" else folder)
            total += seconds
            print(f"| {name} | {seconds:.1f} |", flush=True)
        print(f"| together | {total:.1f} |")
        packages = next((folder / "venv/lib").glob("python*/site-packages"))
        print(
            f"\nThe wheel: {wheel.stat().st_size / _MIB:.2f} MiB; installed: {_mib(packages / 'barewind'):.1f} MiB, "
            f"with bytecode and everything that it needs {_mib(packages):.0f} MiB."
        )
    print(f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.0f}.")


def _seconds(words: list[str], folder: Path) -> float:
    begun = time.monotonic()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(words[:3])} ... ended with status {done.returncode}:\n{done.stderr}")
    return time.monotonic() - begun


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MIB


if __name__ == "__main__":
    main()
