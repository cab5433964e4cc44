"""The unit on a host that copies weights: how it is started, and what it tells. Pure: commands out, answers in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barewind import swarm
from barewind.facts.weights import INTACT
from barewind.meter import Meter, duration, size
from barewind.swarm import HostJob

_RESTARTS = 20  # of a program that dies, per hour; what went before is kept


@dataclass(frozen=True)
class Look:
    """How far a host is: amounts in bytes. `phase` is empty while the unit has not told anything of this job."""

    phase: str = ""
    total: int = 0
    copied: int = 0
    checked: int = 0
    from_endpoint: int = 0
    asks_endpoint: bool = False
    note: str = ""
    error: str = ""
    unit: str = "inactive"  # its ActiveState
    complete: bool = False  # every directory is there, and as it was checked

    @property
    def done(self) -> int:
        """Bytes of which nothing remains to be done in this phase."""
        return self.checked if self.phase == "checking" else self.copied

    def describe(self, meter: Meter) -> str:
        """One line for a person."""
        asks = ", asks the hub" if self.asks_endpoint else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.phase} {meter}{asks}{note}"

    def summary(self, seconds: float) -> str:
        """The last line."""
        if not self.total:
            return "has all weights, checked"
        origin = (
            f"{size(self.from_endpoint)} of them from the hub" if self.from_endpoint else "none of them from the hub"
        )
        return f"has all {size(self.total)} of weights, checked, {origin}, after {duration(seconds)}"


def missing(job: HostJob, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The directories of a job that are not as they shall be; `facts` from WeightDirectories."""
    linked = job.path is not None
    return [
        directory
        for directory, checksums in job.directories.items()
        if facts.get(directory) != {"checksums": checksums, "intact": True, "linked": linked}
    ]


def start(job: HostJob) -> str:
    """Unpack what comes on standard input (swarm.payload) and start the unit, unless it is at work on the same job."""
    place = f"{swarm.RUN_DIR}/{job.id}"
    status = f"{job.root}/{swarm.STATUS}"
    here, root = shlex.quote(place), shlex.quote(job.root)
    return (
        f"umask 022 && mkdir -p {root} && umask 077 && "
        f"if systemctl is-active --quiet {swarm.UNIT} && [ -f {here}/job.json ]; then cat > /dev/null; exit 0; fi; "
        f"systemctl stop {swarm.UNIT} 2>/dev/null; systemctl reset-failed {swarm.UNIT} 2>/dev/null; "
        f"rm -rf {shlex.quote(swarm.RUN_DIR)} {shlex.quote(status)} && mkdir -p {here} && base64 -d | tar -xz -C {here} && "
        f"{{ env | grep -iE '^(https?|all|no)_proxy=' > {here}/proxies || true; }} && "
        f"printf %s {shlex.quote(_cleaner(place))} > {here}/clean && "
        f"{shlex.join(_unit(job, place) + _container(job, place, status))}"
    )


def look(job: HostJob) -> str:
    """A command that shows how far a host is; `read` understands it."""
    return (
        f"cat {shlex.quote(f'{job.root}/{swarm.STATUS}')} 2>/dev/null; echo; systemctl show -P ActiveState {swarm.UNIT}; "
        f'for d in {shlex.join(job.directories)}; do (cd "$d" 2>/dev/null && {INTACT}) || exit 0; done; echo whole'
    )


def read(output: str, job: HostJob) -> Look:
    """What `look` showed; what the unit told of an earlier job counts for nothing."""
    first, _, rest = output.partition("\n")
    words = rest.split()
    try:
        told = json.loads(first)
    except ValueError:
        told = {}
    if not isinstance(told, dict) or told.get("id") != job.id:
        told = {}
    known = {name: told[name] for name in Look.__dataclass_fields__ if name in told}
    return Look(**known, unit=words[0] if words and words[0] != "whole" else "inactive", complete="whole" in words)


def log() -> str:
    """A command that shows the end of the unit's log."""
    return f"journalctl -u {swarm.UNIT} -n 20 --no-pager -o cat"


def _unit(job: HostJob, place: str) -> list[str]:
    before = [f"-/usr/bin/docker rm -f {swarm.CONTAINER}"]
    if job.firewall is not None:
        before.append(f"/usr/sbin/nft -f {place}/firewall.nft")
    properties = [
        "Restart=on-failure",
        "RestartSec=5",
        "RestartPreventExitStatus=3",
        "StartLimitIntervalSec=3600",
        f"StartLimitBurst={_RESTARTS}",
        "TimeoutStopSec=30",
        *(f"ExecStartPre={line}" for line in before),
        f"ExecStop=-/usr/bin/docker stop -t 10 {swarm.CONTAINER}",
        f"ExecStopPost=-/bin/sh {place}/clean",
    ]
    description = "Copies weights to and from this host"
    options = [word for one in properties for word in ("-p", one)]
    return ["systemd-run", "--quiet", f"--unit={swarm.UNIT}", f"--description={description}", *options]


def _container(job: HostJob, place: str, status: str) -> list[str]:
    mounts = [f"{place}:{place}:ro", f"{job.root}:{job.root}"]
    if job.path is not None:
        mounts.append(f"{job.path}:{job.path}:ro")
    return [
        *("/usr/bin/docker", "run", "--rm", f"--name={swarm.CONTAINER}", "--pull=never", "--network=host"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--log-driver=none", "--entrypoint=python3"),
        *(f"--volume={mount}" for mount in mounts),
        *(job.image, f"{place}/agent.pyz", f"{place}/job.json", status),
    ]


def _cleaner(place: str) -> str:
    """What is done when the unit ends for good; between two attempts the job must stay."""
    return (
        f"docker rm -f {swarm.CONTAINER} >/dev/null 2>&1\n"
        'if [ "$SERVICE_RESULT" = success ] || [ "$EXIT_STATUS" = 3 ]; then\n'
        f"  nft delete table inet {swarm.TABLE} 2>/dev/null\n  rm -rf {shlex.quote(place)}\nfi\nexit 0\n"
    )
