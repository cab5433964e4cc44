"""Docker Engine's operation: only the difference becomes commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api import OperationError

from barewind.docker.operations import installed
from tests.support.data_files import operation_tests, settled_tests
from tests.support.operations import run

TestInstalled = operation_tests(installed, Path(__file__).parent)

ARGUMENTS = {
    "packages": ["docker.io"],
    "held": ["docker.io"],
    "replaced": ["docker-ce"],
    "settings": {"insecure-registries": ["r:5000"]},
    "files": [],
}
DONE = {
    "packages": {"docker.io": {"version": "1", "held": True}},
    "files": {},
    "runtimes": ["runc"],
    "daemon": '{"insecure-registries": ["r:5000", "other:1"]}',
    "active": True,
    "enabled": True,
    "insecure_registries": ["other:1", "r:5000"],
}


TestInstalledSettled = settled_tests(installed, ARGUMENTS, "facts.DockerHost", DONE, subject="Docker Engine")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "1"])
def test_a_daemon_json_that_is_none_is_left_alone(text: str) -> None:
    facts = DONE | {"daemon": text}
    with pytest.raises(
        OperationError, match=r"^gpu-h1: /etc/docker/daemon.json is no JSON object .*; correct it by hand"
    ):
        run(installed, ARGUMENTS, "facts.DockerHost", facts)


def test_docker_that_runs_but_is_not_enabled_takes_new_registries_over_in_the_same_run() -> None:
    facts = DONE | {"enabled": False, "daemon": "{}", "insecure_registries": []}
    assert "systemctl reload docker.service" in run(installed, ARGUMENTS, "facts.DockerHost", facts)
