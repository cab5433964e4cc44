"""The unit on a host that copies weights: shell commands that start it and ask how far it is, and what their output means."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barewind.checksums import STAT, SUMS, VERIFIED
from barewind.progress.meter import Meter, duration, size
from barewind.weights import plan
from barewind.weights.plan import HostJob

# Whether the files in the current directory are as they were when their SHA-256 was checked: names, sizes and times of
# change, to the nanosecond; of the files behind them, where they are links. Reading 134 GB again on every run would take
# minutes; whatever writes to a file changes this.
INTACT = f"[ -s {SUMS} ] && cut -c67- {SUMS} | xargs -d '\\n' {STAT} | cmp -s - {VERIFIED}"
_RESTARTS = 20  # of a program that dies, per hour; what went before is kept


@dataclass(frozen=True)
class Status:
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
    def done(self) -> bool:
        """Whether the files are there and the unit needs no more looking after."""
        return self.complete and (self.phase in ("serving", "done") or self.unit == "inactive")

    @property
    def failed(self) -> bool:
        """Whether the unit has given up; `error` says why."""
        return self.phase == "failed" and self.unit != "active"

    @property
    def died(self) -> bool:
        """Whether the unit has ended without a word."""
        return self.unit in ("inactive", "failed")

    @property
    def done_bytes(self) -> int:
        """Bytes of which nothing remains to be done in this phase."""
        return self.checked if self.phase == "checking" else self.copied

    def describe(self, meter: Meter) -> str:
        """One line for a person, while the unit is at work."""
        asks = ", asks the hub" if self.asks_endpoint else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.phase} {meter}{asks}{note}"

    def summary(self, seconds: float) -> str:
        """The last line for a person, `seconds` after the first."""
        if not self.total:
            return "has all weights, checked"
        origin = (
            f"{size(self.from_endpoint)} of them from the hub" if self.from_endpoint else "none of them from the hub"
        )
        return f"has all {size(self.total)} of weights, checked, {origin}, after {duration(seconds)}"


def missing(job: HostJob, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The directories of a job that are not as they shall be; `facts` are those of WeightDirectories."""
    linked = job.path is not None
    return [
        directory
        for directory, checksums in job.directories.items()
        if facts.get(directory) != {"checksums": checksums, "intact": True, "linked": linked}
    ]


def start(job: HostJob) -> str:
    """Shell command that starts the unit with a payload from standard input, unless it is at work on the same job."""
    place = f"{plan.RUN_DIR}/{job.id}"
    status = f"{job.root}/{plan.STATUS_FILE}"
    here, root = shlex.quote(place), shlex.quote(job.root)
    return (
        f"umask 022 && mkdir -p {root} && umask 077 && "
        f"if systemctl is-active --quiet {plan.UNIT} && [ -f {here}/job.json ]; then cat > /dev/null; exit 0; fi; "
        f"systemctl stop {plan.UNIT} 2>/dev/null; systemctl reset-failed {plan.UNIT} 2>/dev/null; "
        f"rm -rf {shlex.quote(plan.RUN_DIR)} {shlex.quote(status)} && mkdir -p {here} && "
        f"base64 -d | tar -xz -C {here} && "
        f"{{ env | grep -iE '^(https?|all|no)_proxy=' > {here}/proxies || true; }} && "
        f"printf %s {shlex.quote(_cleaner(place))} > {here}/clean && "
        f"{shlex.join(_unit(job, place) + _container(job, place, status))}"
    )


def print_status(job: HostJob) -> str:
    """Shell command that prints how far a host is, for `read_status`."""
    return (
        f"cat {shlex.quote(f'{job.root}/{plan.STATUS_FILE}')} 2>/dev/null; echo; "
        f"systemctl show -P ActiveState {plan.UNIT}; "
        f'for d in {shlex.join(job.directories)}; do (cd "$d" 2>/dev/null && {INTACT}) || exit 0; done; echo whole'
    )


def read_status(output: str, job: HostJob) -> Status:
    """How far a host is, from the output of `print_status`; what the unit told of an earlier job counts for nothing."""
    first, _, rest = output.partition("\n")
    words = rest.split()
    try:
        document = json.loads(first)
    except ValueError:
        document = {}
    if not isinstance(document, dict) or document.get("id") != job.id:
        document = {}
    values = {name: document[name] for name in Status.__dataclass_fields__ if name in document}
    unit = words[0] if words and words[0] != "whole" else "inactive"
    return Status(**values, unit=unit, complete="whole" in words)


def print_log() -> str:
    """Shell command that prints the end of the unit's log."""
    return f"journalctl -u {plan.UNIT} -n 20 --no-pager -o cat"


def _unit(job: HostJob, place: str) -> list[str]:
    before = [f"-/usr/bin/docker rm -f {plan.CONTAINER}"]
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
        f"ExecStop=-/usr/bin/docker stop -t 10 {plan.CONTAINER}",
        f"ExecStopPost=-/bin/sh {place}/clean",
    ]
    description = "Copies weights to and from this host"
    options = [word for line in properties for word in ("-p", line)]
    return ["systemd-run", "--quiet", f"--unit={plan.UNIT}", f"--description={description}", *options]


def _container(job: HostJob, place: str, status: str) -> list[str]:
    mounts = [f"{place}:{place}:ro", f"{job.root}:{job.root}"]
    if job.path is not None:
        mounts.append(f"{job.path}:{job.path}:ro")
    return [
        *("/usr/bin/docker", "run", "--rm", f"--name={plan.CONTAINER}", "--pull=never", "--network=host"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--log-driver=none", "--entrypoint=python3"),
        *(f"--volume={mount}" for mount in mounts),
        *(job.image, f"{place}/agent.pyz", f"{place}/job.json", status),
    ]


def _cleaner(place: str) -> str:
    """Script for the end of the unit: it clears up when that is for good; between two attempts the job must stay."""
    return (
        f"docker rm -f {plan.CONTAINER} >/dev/null 2>&1\n"
        'if [ "$SERVICE_RESULT" = success ] || [ "$EXIT_STATUS" = 3 ]; then\n'
        f"  nft delete table inet {plan.TABLE} 2>/dev/null\n  rm -rf {shlex.quote(place)}\nfi\nexit 0\n"
    )
