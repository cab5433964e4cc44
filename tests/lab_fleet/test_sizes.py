"""`barewind lab up --light`: more hosts, fewer, none, nonsense, beside other kinds; and what Docker's stand-in refuses."""

from __future__ import annotations

import json

import pytest

from lab import topology
from lab.hosts import hosts
from lab.machine import docker
from tests.support.commands import answer, command
from tests.support.lab import Size, bring_up
from tests.support.light_fleet import LightFleet, names


def up(*words: str) -> int:
    return command("barewind", "lab", "up", *words).status


def there() -> set[str]:
    """Light hosts that have a container."""
    prefix = f"{topology.NETWORK}-"
    return {name.removeprefix(prefix) for name in docker.containers() if name.startswith(f"{prefix}light")}


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [(("--light", "-1"), 2, "-1"), (("--light", "1000"), 1, "GiB of memory"), (("--light", "many"), 2, "many")],
)
def test_nonsense_is_refused_with_the_reason_and_changes_nothing(
    lab: LightFleet, words: tuple[str, ...], status: int, reason: str
) -> None:
    before = docker.containers()
    refused = command("barewind", "lab", "up", *words)
    assert refused.status == status
    assert reason in refused.output
    assert docker.containers() == before


def test_status_shows_them(lab: LightFleet) -> None:
    status = json.loads(answer("barewind", "lab", "status", "--json").stdout)
    assert status["complete"]
    assert {host["name"] for host in status["hosts"] if host["light"] and host["state"] == "running"} == set(lab.names)
    assert status["images"]


@pytest.mark.parametrize(
    "words",
    [
        "frobnicate",
        "compose up",
        "run --rm --gpus=all x",
        "run -d x",
        "run --rm --network=bridge --pull=never --log-driver=none x",
        "image prune -f",
        "inspect --size barewind-engine",
        "inspect -f '{{range .Mounts}}{{end}}' barewind-engine",
        "pull debian:12",
    ],
)
def test_what_the_stand_in_does_not_know_is_an_error(fleet: LightFleet, words: str) -> None:
    refused = hosts.exec("light1", f"docker {words}", check=False)
    assert refused.returncode != 0
    assert "not known here" in refused.stderr
    assert refused.stdout == ""


def test_its_api_answers_a_pull_and_refuses_the_rest(fleet: LightFleet) -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' --unix-socket /var/run/docker.sock http://docker/containers/json"
    assert hosts.exec("light1", ask).stdout == "501"


@pytest.mark.full
def test_fewer_hosts_and_none() -> None:
    """The last of this suite: other kinds of hosts run beside, then light ones go."""
    bring_up(Size(light=20, engines=1))
    assert len(there()) == 20
    before = docker.containers()
    assert up("--light", "5") == 0
    assert there() == {f"light{number}" for number in range(1, 6)}
    kept = docker.containers()
    assert kept.items() <= before.items()
    assert names(topology.current()) == tuple(f"light{number}" for number in range(1, 6))
    assert up("--light", "0") == 0
    assert there() == set()
    assert up("--engines", "0") == 1  # nothing would serve
