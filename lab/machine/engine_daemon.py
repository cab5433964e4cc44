"""The machine's Docker Engine: used if it answers, else started; stopped at the end only if the lab started it."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import paths, proc, state, wait
from lab.errors import LabError
from lab.machine import docker, network

STARTED_WITHIN = 120  # seconds; after a crash the engine first cleans up dead containers
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))

Decision = Literal["use", "start", "clean and start"]


@dataclass(frozen=True)
class Observed:
    """Whether an engine answers, and the pid files whose process is no engine (any more)."""

    answers: bool
    stale_pid_files: tuple[Path, ...] = ()


def decide(observed: Observed) -> Decision:
    """What `ensure` does."""
    if observed.answers:
        return "use"
    return "clean and start" if observed.stale_pid_files else "start"


def ensure() -> None:
    """Return when a Docker Engine answers; start it if need be."""
    observed = observe()
    decision = decide(observed)
    if decision == "use":
        return
    if os.environ.get("DOCKER_HOST"):
        raise LabError(
            "no Docker Engine answers at DOCKER_HOST; start it, or unset DOCKER_HOST to let the lab start one"
        )
    if os.geteuid() != 0:
        raise LabError("no Docker Engine answers and only root can start one; start Docker, or run this as root")
    for path in observed.stale_pid_files:
        path.unlink(missing_ok=True)
    _start()


def observe() -> Observed:
    """The engine as it is now."""
    if docker.answers():
        return Observed(answers=True)
    stale = tuple(path for path in PID_FILES if path.exists() and not _is_engine(_read_pid(path)))
    return Observed(answers=False, stale_pid_files=stale)


def stop_ours() -> None:
    """Stop the engine if the lab started it, and take back what it changed of the machine's network."""
    pid = _our_pid()
    if pid is not None:
        if docker.answers() and docker.foreign_running():
            raise LabError(
                "the lab's Docker Engine also runs other containers; stop them and run `barewind lab down` again"
            )
        os.kill(pid, signal.SIGTERM)
        wait.until(lambda: not _alive(pid), 120, f"dockerd (pid {pid}) does not stop; end it with `kill -9 {pid}`")
    if not docker.answers():  # the packet filter of an engine that still runs is not the lab's
        network.restore()


def _start() -> None:
    log = paths.state() / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    network.record()
    with log.open("ab") as out:
        # A session of its own: the engine outlives the terminal that ran `up`.
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    record = {"pid": process.pid, "started": _start_time(process.pid)}
    state.write_text(paths.state() / "dockerd.json", json.dumps(record))

    def ready() -> bool:
        if process.poll() is not None:
            reason = proc.last_words(log.read_text(errors="replace"))
            raise LabError(f"dockerd ended at once: {reason}; its log is {log}")
        return docker.answers()

    wait.until(ready, STARTED_WITHIN, f"dockerd does not answer after {STARTED_WITHIN} s; its log is {log}")


def _our_pid() -> int | None:
    """Process id of the engine that the lab started; None unless that very process still runs (ids are used again)."""
    try:
        record = json.loads((paths.state() / "dockerd.json").read_text())
        pid, started = int(record["pid"]), record["started"]
    except (OSError, ValueError, KeyError):
        return None
    return pid if _alive(pid) and _start_time(pid) == started else None


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _is_engine(pid: int | None) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in ("dockerd", "containerd")
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended, but nobody has waited for it


def _start_time(pid: int) -> str:
    """Start time in clock ticks since boot, field 22 of /proc/PID/stat."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""
