"""End to end on hosts with simulated accelerators: a group of two so that one serves while the other is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from lab import hardware_control, hosts, hub_control, state, topology, wait
from tests.lab.conftest import INVENTORY, Run, command, deploy

HOPPER = ("hopper1", "hopper2")
SIMULATED = (*HOPPER, "blackwell1", "mi300x1")
OLD, NEW = "580.95.05", "580.126.09"  # drivers of the stand-in repository
BROKEN = "580.142.01"  # its kernel module does not build
_SIZE = ["--engines", "0", "--balancers", "1", "--hopper", "2", "--blackwell", "1", "--mi300x", "1"]


@pytest.fixture(scope="session")
def up() -> None:
    """Fresh hosts: what an earlier session installed on them is gone."""
    none = ["--hopper", "0", "--blackwell", "0", "--mi300x", "0", "--mirrors", "0"]
    command("barewind", "lab", "up", "--engines", "1", *none)
    assert command("barewind", "lab", "up", *_SIZE).status == 0


@pytest.fixture(scope="session")
def first_deploy(up: None) -> Run:
    """From stock servers to a fleet that serves, with the older driver."""
    hub_control.reset()
    assert command("barewind", "lock", INVENTORY, "--update").status == 0
    return deploy("--data", f"nvidia_driver={OLD}")


@pytest.fixture
def fleet(first_deploy: Run) -> None:
    assert first_deploy.status == 0


@pytest.fixture
def mended(fleet: None) -> Iterator[None]:
    """For tests that break something: afterwards every host is on, in order, and serves again."""
    yield
    for name in SIMULATED:
        hardware_control.reset(name)
    assert deploy("--data", f"nvidia_driver={NEW}").status == 0


def sh(host: str, text: str) -> str:
    """The output of a command on a host, as root."""
    return hosts.exec(host, text).stdout.strip()


def boot_id(host: str) -> str:
    """Changes with every restart of the host."""
    return sh(host, "cat /proc/sys/kernel/random/boot_id")


def restart(host: str) -> None:
    """Restart a host by itself and wait until it is back."""
    before = boot_id(host)
    sh(host, "systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")

    def back() -> bool:
        now = hosts.exec(host, "cat /proc/sys/kernel/random/boot_id", check=False)
        return now.returncode == 0 and now.stdout.strip() not in ("", before)

    wait.until(back, 60, f"{host} did not restart")
    hosts.booted(topology.find(host))


def driver(host: str) -> str:
    """The driver as nvidia-smi tells it."""
    return sh(host, "nvidia-smi --query-gpu=driver_version --format=csv,noheader | sort -u")


def rotation() -> dict[str, str]:
    """What the balancer does with each engine host: UP, DOWN, DRAIN, ..."""
    text = sh("lb1", "echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock")
    rows = [line.split(",") for line in text.splitlines() if line.startswith("engines,") and ",BACKEND," not in line]
    return {row[1]: row[17].split()[0] for row in rows}  # "UP 1/3" is up too


@dataclass
class Load:
    """Streaming requests through the balancer, one after the other in a few threads."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    fewest_up: int = 99

    def ask(self) -> None:
        """One streamed completion; anything but a whole answer is a failure."""
        port = (state.load() or state.Lab()).http_port
        question: dict[str, Any] = {
            "model": topology.MODEL,
            "max_tokens": 40,
            "stream": True,
            "messages": [{"role": "user", "content": "Count."}],
        }
        try:
            with requests.post(
                f"http://{topology.HTTP_ADDRESS}:{port}/v1/chat/completions", json=question, stream=True, timeout=60
            ) as answer:
                lines = [line for line in answer.iter_lines() if line]
        except requests.RequestException as error:
            self.failures.append(repr(error))
            return
        if answer.status_code == 200 and lines and lines[-1] == b"data: [DONE]":
            self.answered += 1
        else:
            self.failures.append(f"{answer.status_code}: {lines[-1:]!r}")


@contextmanager
def under_load(threads: int = 4) -> Iterator[Load]:
    """Requests all the time, at most for ten minutes; the number of hosts in rotation is watched too."""
    load, done, end = Load(), threading.Event(), time.monotonic() + 600

    def keep_asking() -> None:
        while not done.is_set() and time.monotonic() < end:
            load.ask()

    def watch() -> None:
        while not done.is_set() and time.monotonic() < end:
            load.fewest_up = min(load.fewest_up, sum(one == "UP" for one in rotation().values()))
            done.wait(0.5)

    workers = [threading.Thread(target=keep_asking) for _ in range(threads)] + [threading.Thread(target=watch)]
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        done.set()
        for worker in workers:
            worker.join()
