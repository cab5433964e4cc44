"""A run that has nothing to change: Barewind against an Ansible playbook of the same steps, on the same hosts, in turn.

    .venv/bin/barewind lab up && .venv/bin/pyinfra inventory/lab.py deploy.py -y
    .venv/bin/python -m bench.noop

Prints a Markdown table. Ansible gets pipelining, ControlPersist and as many forks as there are hosts; its control
connections are warm (the first run of each is not counted), those of pyinfra are made anew each time.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import click

from barewind import lock, render
from barewind.facts.weights import INTACT
from barewind.inventory import load
from barewind.plan import plan_site
from barewind.site import read_site
from lab import hosts as lab_hosts
from lab import topology

ROOT = Path(__file__).parents[1]
INVENTORY = "inventory/lab.py"
FLEETS = {1: "engine1", 2: "engine1,engine2", 3: "engine1,engine2,lb1"}
_BIN = ROOT / ".venv" / "bin"
_ANSIBLE = ROOT / "bench" / ".venv"


@click.command()
@click.option("--runs", default=5, show_default=True, help="Measured runs of each; the median counts.")
def main(runs: int) -> None:
    """Measure and print the table."""
    _install_ansible()
    with tempfile.TemporaryDirectory() as scratch:
        _write_ansible(Path(scratch))
        print("| hosts | gates | Barewind s | Ansible s | ratio | SSH executions per host |\n|---|---|---|---|---|---|")
        for count, limit in FLEETS.items():
            for gates in (True, False):
                ours, theirs = _measure(Path(scratch), limit, gates, runs)
                executions = _executions(limit, gates)
                word = "with" if gates else "without"
                print(
                    f"| {count} | {word} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} | {executions} |", flush=True
                )
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, lab hosts on the same machine, median of {runs}."
    )


def _measure(scratch: Path, limit: str, gates: bool, runs: int) -> tuple[float, float]:
    """Median seconds of Barewind and of Ansible, run in turn; the first turn warms both up."""
    turns = [(_barewind(limit, gates), _ansible(scratch, limit, gates)) for _ in range(runs + 1)][1:]
    return statistics.median(ours for ours, _ in turns), statistics.median(theirs for _, theirs in turns)


def _pyinfra(limit: str, gates: bool) -> list[str]:
    limits = (part for one in limit.split(",") for part in ("--limit", one))
    return [INVENTORY, "deploy.py" if gates else "bench/steps.py", "-y", *limits]


def _barewind(limit: str, gates: bool) -> float:
    return _timed([str(_BIN / "pyinfra"), *_pyinfra(limit, gates)], "Success")


def _ansible(scratch: Path, limit: str, gates: bool) -> float:
    command = [str(_ANSIBLE / "bin" / "ansible-playbook"), "-i", str(scratch / "hosts.json"), "--limit", limit]
    skipped = [] if gates else ["--skip-tags", "gate"]
    return _timed([*command, *skipped, "bench/ansible/site.yml"], r"changed=[1-9]")


def _timed(command: list[str], change: str) -> float:
    """Seconds of a run that succeeded and changed nothing; anything else is no measurement."""
    env = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "bench" / "ansible" / "ansible.cfg"), "NO_COLOR": "1"}
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    output = done.stdout + done.stderr
    if done.returncode or re.search(change, output.split("Results")[0]):
        raise click.ClickException(f"{command[0]} failed or changed something: deploy to the lab first.\n{output}")
    return seconds


def _executions(limit: str, gates: bool) -> str:
    """Commands run over SSH on each host in one run."""
    with tempfile.NamedTemporaryFile("r") as result:
        command = [sys.executable, "-m", "bench.count_ssh", result.name, *_pyinfra(limit, gates)]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return ", ".join(f"{count}" for count in json.load(result).values())


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
    plans = plan_site(site, lock.read(site.lock_file))
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
                {"path": render.UNIT_FILE, "content": render.engine_unit(plan), "mode": "0644"},
                {
                    "path": render.FIREWALL_FILE,
                    "content": render.engine_firewall(plan.spec, list(site.balancers.values())),
                    "mode": "0644",
                },
                {"path": render.CHECK_PROGRAM, "content": render.check_weights(INTACT), "mode": "0755"},
            ],
        }
        for name, plan in plans.items()
    }
    balancers = {
        name: {
            "ansible_host": spec.address,
            "haproxy": render.haproxy_config(spec, list(site.engines.values())),
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
