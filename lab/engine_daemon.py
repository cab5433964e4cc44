"""The machine's Docker Engine: used when one answers, started when none does, stopped only if started here."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import docker, paths, proc, state, wait
from lab.errors import LabError

STARTED_WITHIN = 40  # seconds; after a crash the engine first tidies up dead containers
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))

Decision = Literal["use", "start", "clean and start"]


@dataclass(frozen=True)
class Seen:
    """What there is to see of an engine: does it answer, and are there pid files whose process is not an engine?"""

    answers: bool
    stale_pid_files: tuple[Path, ...] = ()


def decide(seen: Seen) -> Decision:
    """What to do about the engine."""
    if seen.answers:
        return "use"
    return "clean and start" if seen.stale_pid_files else "start"


def ensure() -> None:
    """Have a Docker Engine that answers."""
    seen = look()
    decision = decide(seen)
    if decision == "use":
        return
    if os.environ.get("DOCKER_HOST"):
        raise LabError(
            "no Docker Engine answers at DOCKER_HOST; start it, or unset DOCKER_HOST to let the lab start one"
        )
    if os.geteuid() != 0:
        raise LabError("no Docker Engine answers and only root can start one; start Docker, or run this as root")
    for stale in seen.stale_pid_files:
        stale.unlink(missing_ok=True)
    _start()


def look() -> Seen:
    """Observe the engine."""
    if docker.answers():
        return Seen(answers=True)
    stale = tuple(path for path in PID_FILES if path.exists() and not _is_engine(_read_pid(path)))
    return Seen(answers=False, stale_pid_files=stale)


def stop_ours() -> bool:
    """Stop the engine if the lab started it. False when there is nothing of ours to stop."""
    pid = _our_pid()
    if pid is None:
        return False
    if docker.answers() and docker.foreign_running():
        raise LabError(
            "the lab's Docker Engine also runs other containers; stop them and run `barewind lab down` again"
        )
    os.kill(pid, signal.SIGTERM)
    wait.until(lambda: not _alive(pid), 30, f"dockerd (pid {pid}) does not stop; end it with `kill -9 {pid}`")
    return True


def _start() -> None:
    log = paths.state() / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        # A session of its own: the engine outlives the terminal that ran `up`.
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    record = {"pid": process.pid, "started": _start_time(process.pid)}
    state.write_text(paths.state() / "dockerd.json", json.dumps(record))

    def ready() -> bool:
        if process.poll() is not None:
            said = proc.last_words(log.read_text(errors="replace"))
            raise LabError(f"dockerd ended at once: {said}; its log is {log}")
        return docker.answers()

    wait.until(ready, STARTED_WITHIN, f"dockerd does not answer after {STARTED_WITHIN} s; its log is {log}")


def _our_pid() -> int | None:
    """Process id of the engine the lab started, if that very process still runs (ids are used again)."""
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
    return stat.rsplit(")", 1)[1].split()[0] != "Z"  # a zombie is dead, only not yet collected


def _start_time(pid: int) -> str:
    """Start time in clock ticks since boot, field 22 of /proc/PID/stat."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""
