"""End to end on real hosts: the lab is brought up, deployed to once, and shared by every test here.

Each test puts right what it broke: the next one finds a fleet that serves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from lab import hosts, hub_control, state, topology

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "bin"
INVENTORY = "inventory/lab.py"
UNIT = "barewind-engine.service"
_DEPLOY_LIMIT = 1200  # seconds
_CHANGED = re.compile(r"\[(\S+)\] .*Success")


@dataclass(frozen=True)
class Run:
    """A finished command: both outputs together, as a person would see them."""

    status: int
    output: str

    @property
    def changed(self) -> set[str]:
        """Hosts on which an operation changed something."""
        return set(_CHANGED.findall(re.sub(r"\x1b\[[0-9;]*m", "", self.output)))


def command(*words: str, timeout: int = _DEPLOY_LIMIT) -> Run:
    """Run one of the project's commands in the repository's folder."""
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", "PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(done.stdout)  # pytest shows it when the test fails
    assert "Traceback (most recent call last)" not in done.stdout
    return Run(done.returncode, done.stdout)


def deploy(*options: str) -> Run:
    """What a user runs."""
    return command("pyinfra", INVENTORY, "deploy.py", "-y", *options)


@pytest.fixture(scope="session")
def up() -> None:
    """A lab of two engines and a balancer."""
    none = ["--hopper", "0", "--blackwell", "0", "--mi300x", "0", "--mirrors", "0"]
    assert command("barewind", "lab", "up", "--engines", "2", "--balancers", "1", *none).status == 0


@pytest.fixture(scope="session")
def first_deploy(up: None) -> Run:
    """The first deploy of this session, on whatever the lab's hosts hold."""
    hub_control.reset()
    assert command("barewind", "lock", INVENTORY, "--update").status == 0
    return deploy()


@pytest.fixture
def fleet(first_deploy: Run) -> Iterator[None]:
    """A fleet that serves; after the test it does so again, or the test failed to clean up."""
    assert first_deploy.status == 0
    yield
    hub_control.reset()


@pytest.fixture
def mended(fleet: None) -> Iterator[None]:
    """For tests that break something: a deploy afterwards must put it right."""
    yield
    hub_control.reset()
    assert deploy().status == 0


@pytest.fixture
def lock_copy(tmp_path: Path) -> Callable[[str, str], str]:
    """A copy of the lab's lock file with one text replaced; returns the pyinfra option that uses it."""

    def copy(old: str, new: str) -> str:
        text = (ROOT / json.loads(_data("lock_file"))).read_text()
        assert old in text
        path = tmp_path / "lock.yaml"
        path.write_text(text.replace(old, new))
        return f"lock_file={path}"

    return copy


def _data(key: str) -> str:
    answer = subprocess.run(
        [str(BIN / "pyinfra"), INVENTORY, "debug-inventory", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.dumps(json.loads(answer.stdout)[0]["data"][key])


def plans() -> dict[str, dict[str, object]]:
    """`barewind plan --json` by host."""
    answer = subprocess.run(
        [str(BIN / "barewind"), "plan", INVENTORY, "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {one["host"]: one for one in json.loads(answer.stdout)}


def ask() -> requests.Response:
    """A chat completion through the balancer, from this machine."""
    port = (state.load() or state.Lab()).http_port
    question = {"model": topology.MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Who are you?"}]}
    return requests.post(f"http://{topology.HTTP_ADDRESS}:{port}/v1/chat/completions", json=question, timeout=120)


def started(host: str, unit: str) -> str:
    """When a unit was started: changes with every restart."""
    return hosts.exec(host, f"systemctl show -P ExecMainStartTimestampMonotonic {unit}").stdout.strip()


def weights(host: str, which: str = "model") -> str:
    """The directory of the weights of a host's model or draft."""
    plan = plans()[host][which]
    assert isinstance(plan, dict)
    return f"/var/lib/barewind/weights/{str(plan['id']).replace('/', '--')}/{plan['revision']}-{plan['layout']}"
