"""A run that has nothing to change: Barewind against an Ansible playbook of the same steps, on the same hosts, in turn.

    .venv/bin/barewind lab up && .venv/bin/pyinfra inventory/lab.py deploy.py -y
    .venv/bin/python -m bench.noop

A lab of `barewind lab up --light 20` has the fleet of twenty; fleets whose hosts are not there are left out. Without
engine1, light hosts stand for the small fleets too. CPU seconds are the controller's: of the tool and what it starts, but
for Ansible's warm control connections.
Prints a Markdown table. Ansible gets pipelining, ControlPersist and as many forks as there are hosts; its control
connections are warm (the first run of each is not counted), those of pyinfra are made anew each time.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple

import click

from barewind.balancer.config import haproxy_config
from barewind.lock.file import read as read_lock
from barewind.plan.engine import plan_site
from barewind.plan.names import (
    ADMIN_KEY_PROGRAM,
    CHECK_PROGRAM,
    DROP_IN_FILE,
    FIREWALL_FILE,
    STOPPING_FILE,
    UNIT_FILE,
)
from barewind.release.unit import (
    admin_key_program,
    check_weights,
    engine_firewall,
    engine_unit,
    stop_drop_in,
    stopping_rules,
)
from barewind.site.inventory import load
from barewind.site.read import read_site
from barewind.spec.site import SSH_PORT
from barewind.weights.commands import INTACT
from lab import topology
from lab.hosts import hosts as lab_hosts

ROOT = Path(__file__).parents[1]
INVENTORY = "inventory/lab.py"
FLEETS = {1: "engine1", 2: "engine1,engine2", 3: "engine1,engine2,lb1"} | {
    20: ",".join(f"light{number}" for number in range(1, 21)),
}
LIGHT_FLEETS = {1: "light1", 3: "light1,light2,lb1"}
_BIN = ROOT / ".venv" / "bin"
_ANSIBLE = ROOT / "bench" / ".venv"


@click.command()
@click.option("--runs", default=5, show_default=True, help="Measured runs of each; the median counts.")
@click.option(
    "--hosts", "wanted", type=int, multiple=True, help="Fleets of this size only; may be given several times."
)
@click.option("--gates/--no-gates", "only", default=None, help="Only the rows with gates, or without; else both.")
def main(runs: int, wanted: tuple[int, ...], only: bool | None) -> None:
    """Measure and print the table."""
    _install_ansible()
    with tempfile.TemporaryDirectory() as scratch:
        _write_ansible(Path(scratch))
        print(
            "| hosts | gates | Barewind s | Ansible s | ratio | Barewind CPU s | Ansible CPU s | ratio "
            "| SSH executions (commands) |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        fleets = {count: limit for count, limit in _fleets().items() if not wanted or count in wanted}
        for count, limit in fleets.items():
            for gates in (True, False) if only is None else (only,):
                ours, theirs = _measure(Path(scratch), limit, gates, runs)
                word = "with" if gates else "without"
                cells = [
                    *(f"{ours.seconds:.2f}", f"{theirs.seconds:.2f}", f"{theirs.seconds / ours.seconds:.1f}"),
                    *(f"{ours.cpu:.2f}", f"{theirs.cpu:.2f}", f"{theirs.cpu / ours.cpu:.1f}"),
                ]
                print("|", " | ".join([f"{count}", word, *cells, _executions(limit, gates)]), "|", flush=True)
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, lab hosts on the same machine, median of {runs}."
    )


class Cost(NamedTuple):
    """What a run took: seconds by the clock, and of the controller's processors."""

    seconds: float
    cpu: float


def _fleets() -> dict[int, str]:
    """Fleets whose hosts the lab has."""
    there = {host.name for host in topology.current()}
    fleets = FLEETS if "engine1" in there else FLEETS | LIGHT_FLEETS
    return {count: limit for count, limit in fleets.items() if set(limit.split(",")) <= there}


def _measure(scratch: Path, limit: str, gates: bool, runs: int) -> tuple[Cost, Cost]:
    """The median of Barewind and of Ansible, run in turn; the first turn warms both up."""
    turns = [(_barewind(limit, gates), _ansible(scratch, limit, gates)) for _ in range(runs + 1)][1:]
    return _median([ours for ours, _ in turns]), _median([theirs for _, theirs in turns])


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def _pyinfra(limit: str, gates: bool) -> list[str]:
    limits = (word for host in limit.split(",") for word in ("--limit", host))
    return [INVENTORY, "deploy.py" if gates else "bench/steps.py", "-y", *limits]


def _barewind(limit: str, gates: bool) -> Cost:
    return _timed([str(_BIN / "pyinfra"), *_pyinfra(limit, gates)], "Success")


def _ansible(scratch: Path, limit: str, gates: bool) -> Cost:
    command = [str(_ANSIBLE / "bin" / "ansible-playbook"), "-i", str(scratch / "hosts.json"), "--limit", limit]
    skipped = [] if gates else ["--skip-tags", "gate"]
    return _timed([*command, *skipped, "bench/ansible/site.yml"], r"changed=[1-9]")


def _timed(command: list[str], change: str) -> Cost:
    """The cost of a run that succeeded and changed nothing; anything else is no measurement."""
    env = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "bench" / "ansible" / "ansible.cfg"), "NO_COLOR": "1"}
    start, before = time.monotonic(), _cpu()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    cost = Cost(time.monotonic() - start, _cpu() - before)
    output = done.stdout + done.stderr
    if done.returncode or re.search(change, output.split("Results")[0]):
        raise click.ClickException(f"{command[0]} failed or changed something: deploy to the lab first.\n{output}")
    return cost


def _cpu() -> float:
    """CPU seconds of the processes that this one has waited for, and of those that they have."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _executions(limit: str, gates: bool) -> str:
    """SSH executions on each host in one run, and in brackets the commands: several go through a shell that is held."""
    with tempfile.NamedTemporaryFile("r") as result:
        command = [sys.executable, "-m", "bench.count_ssh", result.name, *_pyinfra(limit, gates)]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        counts = Counter(f"{one['executions']} ({one['commands']})" for one in json.load(result).values())
        return ", ".join(f"{count} on {hosts}" if hosts > 1 else f"{count}" for count, hosts in counts.items())


def _install_ansible() -> None:
    if not (_ANSIBLE / "bin" / "ansible-playbook").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_ANSIBLE)], check=True)
        subprocess.run(
            [str(_BIN / "uv"), "pip", "install", "-q", "-r", "bench/requirements.lock", "--python", str(_ANSIBLE)],
            cwd=ROOT,
            check=True,
        )


def _write_ansible(scratch: Path) -> None:
    """The playbook's inventory: what Barewind plans for these hosts, as Ansible variables."""
    site = read_site(load(INVENTORY))
    plans = plan_site(site, read_lock(site.lock_file))
    ssh = lab_hosts.ssh_options()
    common = {
        "ansible_user": ssh.user,
        "ansible_ssh_private_key_file": str(ssh.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ssh.known_hosts} -o StrictHostKeyChecking=yes",
        "engine_packages": ["docker.io", "ca-certificates", "curl", "nftables"],
        "balancer_packages": ["haproxy", "curl", "socat"],
        "intact": INTACT,
        "model": topology.MODEL,
    }
    engines = {
        name: {
            "ansible_host": plan.spec.address,
            "daemon": lab_hosts.exec(name, "cat /etc/docker/daemon.json").stdout,
            "image": plan.pinned_image,
            "directories": list(plan.directories),
            "url": plan.url,
            "files": [
                {"path": UNIT_FILE, "content": engine_unit(plan), "mode": "0644"},
                {
                    "path": FIREWALL_FILE,
                    "content": engine_firewall(plan.spec, list(site.balancers.values()), [SSH_PORT]),
                    "mode": "0644",
                },
                {"path": DROP_IN_FILE, "content": stop_drop_in(engine_unit(plan)), "mode": "0644"},
                {"path": STOPPING_FILE, "content": stopping_rules(plan.spec), "mode": "0644"},
                {"path": ADMIN_KEY_PROGRAM, "content": admin_key_program(), "mode": "0755"},
                {"path": CHECK_PROGRAM, "content": check_weights(INTACT), "mode": "0755"},
            ],
        }
        for name, plan in plans.items()
    }
    balancers = {
        name: {
            "ansible_host": spec.address,
            "haproxy": haproxy_config(spec, list(site.engines.values())),
            "url": f"http://127.0.0.1:{spec.endpoint_port}",
        }
        for name, spec in site.balancers.items()
    }
    groups = {
        "all": {
            "vars": common,
            "children": {"engines": {"hosts": _raw(engines)}, "balancers": {"hosts": _raw(balancers)}},
        }
    }
    (scratch / "hosts.json").write_text(json.dumps(groups))


def _raw(hosts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Texts as they are: Ansible would take the braces in them for its own templates."""
    return json.loads(json.dumps(hosts).replace("{{", "{% raw %}{{{% endraw %}"))


if __name__ == "__main__":
    main()
