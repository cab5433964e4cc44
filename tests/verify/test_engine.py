"""Every engine host serves what the plan says."""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import Any

from testinfra.host import Host

from barewind import render
from barewind.facts.completion import is_completion, request
from barewind.plan import CONTAINER
from tests.verify.conftest import Engine

DEPLOY = "deploy again: pyinfra INVENTORY deploy.py"
LOG = f"read the log: journalctl -u {render.UNIT}"


def test_unit_is_active_and_starts_at_boot(engine: Engine) -> None:
    show = engine.host.run(f"systemctl is-active {render.UNIT}; systemctl is-enabled {render.UNIT}").stdout.split()
    engine.expect(show == ["active", "enabled"], f"{render.UNIT} active and enabled", show, LOG)


def test_container_runs_the_locked_digest(engine: Engine) -> None:
    local = engine.host.run(
        f"docker image inspect -f '{{{{.Id}}}}' {shlex.quote(engine.plan.pinned_image)}"
    ).stdout.strip()
    running = _container(engine.host)["Image"]
    engine.expect(local == running, f"the container to run image {local}", running, DEPLOY)


def test_container_bears_the_release(engine: Engine) -> None:
    label = _container(engine.host)["Config"]["Labels"].get(render.RELEASE_LABEL)
    engine.expect(label == engine.plan.release, f"release {engine.plan.release}", label, DEPLOY)


def test_arguments_are_as_planned(engine: Engine) -> None:
    arguments = _container(engine.host)["Config"]["Cmd"]
    engine.expect(arguments == engine.plan.command.argv, f"arguments {engine.plan.command.argv}", arguments, DEPLOY)


def test_environment_is_as_planned(engine: Engine) -> None:
    environment = dict(one.split("=", 1) for one in _container(engine.host)["Config"]["Env"])
    found = {name: environment.get(name) for name in engine.plan.command.env}
    engine.expect(found == engine.plan.command.env, f"environment {engine.plan.command.env}", found, DEPLOY)


def test_limits_are_as_planned(engine: Engine) -> None:
    limits = {f"--ulimit={one['Name']}={one['Hard']}" for one in _container(engine.host)["HostConfig"]["Ulimits"]}
    planned = {option for option in engine.plan.container if option.startswith("--ulimit=")}
    engine.expect(limits == planned, f"limits {sorted(planned)}", sorted(limits), DEPLOY)


def test_weights_are_complete(engine: Engine) -> None:
    for manifest in engine.plan.manifests:
        directory = manifest.directory(engine.plan.spec.data_dir)
        names = shlex.join(sorted(manifest.files))
        found = engine.host.run(f"cd {shlex.quote(directory)} && sha256sum -- {names}").stdout
        engine.expect(
            found == manifest.checksums, f"the locked SHA-256 of every file in {directory}", found or "nothing", DEPLOY
        )


def test_health(engine: Engine) -> None:
    code = engine.host.run(f"curl -s -o /dev/null -w '%{{http_code}}' -m 60 {engine.plan.url}/health").stdout
    engine.expect(code == "200", f"{engine.plan.url}/health to answer 200", code, LOG)


def test_completion(engine: Engine) -> None:
    answer = engine.host.run(request(engine.plan.url, engine.plan.served_model_name))
    engine.expect(is_completion(answer.stdout), "a chat completion", answer.stdout or answer.stderr, LOG)


def test_firewall_is_as_planned(engine: Engine) -> None:
    content = engine.host.run(f"cat {render.FIREWALL_FILE}").stdout
    rules = engine.host.run("nft list table inet barewind_engine").stdout
    port = engine.plan.spec.engine_port
    engine.expect(f"tcp dport {port} drop" in rules, f"port {port} closed to all but the balancers", rules, DEPLOY)
    engine.expect("drop" in content, f"{render.FIREWALL_FILE} written", content, DEPLOY)


@cache
def _container(host: Host) -> dict[str, Any]:
    found = host.run(f"docker inspect {CONTAINER}")
    if found.rc:
        return {
            "Config": {"Image": None, "Labels": {}, "Cmd": None, "Env": []},
            "Image": None,
            "HostConfig": {"Ulimits": []},
        }
    return dict(json.loads(found.stdout)[0])
