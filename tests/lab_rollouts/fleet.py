"""The lab as a fleet of stand-in engines: releases to move between, runs to watch and to kill, and what is really there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lab import hosts, standin_engine, topology, wait
from tests.lab.conftest import BIN, INVENTORY, ROOT, Run, command

ENGINES = ("engine1", "engine2", "engine3")
BALANCERS = ("lb1", "lb2")
UNIT = "barewind-engine"
DRAINED = "/etc/barewind/drained.json"
IMAGE = f"{topology.REGISTRY}/{standin_engine.REPOSITORY}"

# Plain hosts: the program needs no accelerator. Slow enough for two cores, so that streams last seconds.
ENVIRONMENT = ("STANDIN_ACCELERATORS=none", "STANDIN_TOKENS_PER_SECOND=20")
SITE = {"max_num_seqs": "32", "shutdown_timeout": "5"}

_STATE = "echo 'show stat engines 4 -1' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"
_SERVES = f"systemctl is-active {UNIT}; docker inspect -f '{{{{index .Config.Labels \"barewind.release\"}}}}' {UNIT}"


@dataclass(frozen=True)
class Release:
    """What hosts may serve: an image by tag with a lock file of its own, and what is set beside."""

    tag: str
    lock_file: Path
    data: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """What makes the lab serve this."""
        keys = [f"{key}={value}" for key, value in SITE.items()]
        keys += [f"image={IMAGE}:{self.tag}", f"lock_file={self.lock_file}", *self.data]
        return tuple(word for key in keys for word in ("--data", key))

    @property
    def id(self) -> str:
        """Its short id, as `barewind plan` tells it."""
        return _id(self.options)

    def but(self, **data: object) -> Release:
        """The same with other keys."""
        more = tuple(f"{key}={one if isinstance(one, str) else json.dumps(one)}" for key, one in data.items())
        return Release(self.tag, self.lock_file, (*self.data, *more))

    def env(self, **variables: str) -> Release:
        """The same with other variables of the engine's."""
        return self.but(engine_env={"VLLM_CPU_KVCACHE_SPACE": "1", **variables})


@cache
def _id(options: tuple[str, ...]) -> str:
    answer = subprocess.run(
        [str(BIN / "barewind"), "plan", INVENTORY, "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return str(json.loads(answer.stdout)[0]["release"])


def made(tag: str, folder: Path, *env: str) -> Release:
    """Upstream builds another image, and it is locked."""
    standin_engine.variant(tag, env=[*ENVIRONMENT, *env])
    return locked(tag, folder)


def locked(tag: str, folder: Path) -> Release:
    """A release of the image under a tag."""
    release = Release(tag, folder / f"{tag}.lock.yaml")
    assert command("barewind", "lock", INVENTORY, *release.options).status == 0
    return release


def run(what: str, release: Release, *options: str) -> Run:
    """`pyinfra INVENTORY WHAT` with the keys of a release."""
    return Begun(what, release, *options).end()


def deploy(release: Release, *options: str) -> Run:
    """What a user runs."""
    return run("deploy.py", release, *options)


def limit(*names: str) -> list[str]:
    """Options for some hosts only."""
    return [word for name in names for word in ("--limit", name)]


def data(**keys: object) -> list[str]:
    """Options that set keys."""
    return [
        word
        for key, one in keys.items()
        for word in ("--data", f"{key}={one if isinstance(one, str) else json.dumps(one)}")
    ]


class Begun:
    """A run in the background that is watched."""

    def __init__(self, what: str, release: Release, *options: str) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [str(BIN / "pyinfra"), INVENTORY, what, "-y", *release.options, *options],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "200", "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def says(self, text: str, seconds: float = 180) -> bool:
        """Wait until it prints a text; False if it has ended without."""
        with self._news:
            self._news.wait_for(lambda: self._said(text) or not self._reader.is_alive(), seconds)
            return self._said(text)

    def kill(self) -> Run:
        """As if the controller lost its power."""
        self.process.send_signal(signal.SIGKILL)
        return self.end()

    def interrupt(self) -> Run:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> Run:
        """Wait for its end."""
        status = self.process.wait()
        self._reader.join()
        output = "".join(self._lines)
        print(output)  # pytest shows it when the test fails
        assert not re.search(r"^Traceback", output, re.MULTILINE)  # an engine's own stands further right
        return Run(status, output)

    def _said(self, text: str) -> bool:
        return any(text in line for line in self._lines)

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._news:
                self._lines.append(re.sub(r"\x1b\[[0-9;]*m", "", line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@dataclass(frozen=True)
class There:
    """What really is: release and unit of each engine host, what each balancer does with it. Hosts that are off are left out."""

    releases: dict[str, str] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    rotation: dict[str, dict[str, str]] = field(default_factory=dict)

    def using(self, name: str) -> set[str]:
        """What the balancers do with a host: UP, DOWN, DRAIN."""
        return {servers[name] for servers in self.rotation.values() if name in servers}

    def serves(self, name: str, release: Release) -> bool:
        """Whether a host runs a release, and every balancer sends it requests."""
        return self.releases.get(name) == release.id and self.active[name] and self.using(name) == {"UP"}


def there(*, off: Sequence[str] = ()) -> There:
    """Ask the hosts and their HAProxy, past SSH and past what Barewind makes of it."""
    names = [name for name in (*ENGINES, *BALANCERS) if name not in off]
    with ThreadPoolExecutor() as pool:
        texts = dict(zip(names, pool.map(_ask, names), strict=True))
    found = There()
    for name, text in texts.items():
        lines = text.splitlines()
        if name in ENGINES:
            found.active[name] = lines[0] in (
                "active",
                "activating",
            )  # the latter: systemd begins it anew, again and again
            found.releases[name] = lines[1] if len(lines) > 1 else ""
        else:
            rows = [line.split(",") for line in lines if line.startswith("engines,")]
            found.rotation[name] = {row[1]: row[17].split(" ")[0] for row in rows}
    return found


def settled(seconds: float = 40) -> There:
    """What is there once every health check has come to its end: a host that returns may be "UP 1/3" for a moment."""
    end = time.monotonic() + seconds
    found = there()
    while time.monotonic() < end and not all(found.using(name) == {"UP"} for name in ENGINES):
        time.sleep(1)
        found = there()
    return found


def answers(name: str) -> None:
    """Wait until a host's engine is healthy."""
    health = f"curl -fs http://{topology.find(name).address}:8000/health"
    wait.until(lambda: hosts.exec(name, health, check=False).returncode == 0, 60, f"{name} does not answer")


def status(release: Release) -> dict[str, Any]:
    """`barewind status --json`."""
    answer = subprocess.run(
        [str(BIN / "barewind"), "status", INVENTORY, "--json", *release.options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    assert found["exit_status"] == answer.returncode
    return found


def agreed(release: Release, *, off: Sequence[str] = (), seconds: float = 30) -> There:
    """What is there, which must be exactly what `barewind status` says; an engine that comes and goes is looked at again."""
    end = time.monotonic() + seconds
    while True:
        found, told = there(off=off), status(release)
        differences = _differences(found, told, release, off)
        if not differences or time.monotonic() > end:
            assert not differences, "\n".join(differences)
            return found


def _differences(found: There, told: dict[str, Any], release: Release, off: Sequence[str]) -> list[str]:
    engines = {row["host"]: row for row in told["engines"]}
    balancers = {row["host"]: row for row in told["balancers"]}
    pairs: list[tuple[str, object, object]] = [
        ("lock", told["lock"], {}),  # whoever deployed has ended
        ("silent", {name for name, row in (engines | balancers).items() if row["problem"]}, set(off)),
    ]
    for name, active in found.active.items():
        row = engines[name]
        using = {lb: state == "in rotation" for lb, state in row["rotation"].items()}
        really = {lb: servers[name] == "UP" for lb, servers in found.rotation.items() if name in servers}
        pairs += [
            (f"{name} active", row["active"], active),
            (f"{name} release", row["release"] or "", found.releases[name]),
            (f"{name} planned", row["planned"], release.id),
            (f"{name} in rotation", using, really),
        ]
    for name, servers in found.rotation.items():
        states = {server: row["state"] == "in rotation" for server, row in balancers[name]["servers"].items()}
        pairs.append((name, states, {server: state == "UP" for server, state in servers.items()}))
    return [f"{what}: status says {said}, there is {real}" for what, said, real in pairs if said != real]


def _ask(name: str) -> str:
    return hosts.exec(name, _SERVES if name in ENGINES else _STATE, check=False, timeout=30).stdout
