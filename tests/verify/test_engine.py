"""Every engine host serves what the plan says."""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import Any

import pytest
from testinfra.host import Host

from barewind.engines import ENGINES
from barewind.gate.facts import is_completion, request
from barewind.hosts.file import HostFile
from barewind.plan.container import USER
from barewind.plan.names import (
    FIREWALL_FILE,
    FIREWALL_TABLE,
    RELEASE_LABEL,
)
from barewind.preflight.facts import SSH_PORTS
from barewind.release.unit import (
    FIRST_CLOSED,
    container_user,
    engine_firewall,
    engine_unit,
    stop_drop_in,
    stopping_rules,
)
from barewind.verify import findings
from barewind.verify.connection import reachable
from barewind.verify.findings import DEPLOY
from barewind.verify.hosts import Engine
from barewind.verify.secrets import Secret


def test_unit_is_active_and_starts_at_boot(engine: Engine) -> None:
    unit = engine.plan.names.unit
    states = engine.host.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}").stdout.split()
    engine.expect(states == ["active", "enabled"], f"{unit} active and enabled", states, engine.log)


def test_container_runs_the_locked_digest(engine: Engine) -> None:
    local = engine.host.run(
        f"docker image inspect -f '{{{{.Id}}}}' {shlex.quote(engine.plan.pinned_image)}"
    ).stdout.strip()
    running = _container(engine)["Image"]
    engine.expect(local == running, f"the container to run image {local}", running, DEPLOY)


def test_container_bears_the_release(engine: Engine) -> None:
    label = _container(engine)["Config"]["Labels"].get(RELEASE_LABEL)
    engine.expect(label == engine.plan.release, f"release {engine.plan.release}", label, DEPLOY)


def test_arguments_are_as_planned(engine: Engine) -> None:
    arguments = _container(engine)["Config"]["Cmd"]
    engine.expect(arguments == engine.plan.command.argv, f"arguments {engine.plan.command.argv}", arguments, DEPLOY)


def test_environment_is_as_planned(engine: Engine) -> None:
    environment = dict(variable.split("=", 1) for variable in _container(engine)["Config"]["Env"])
    own = {name: environment.get(name) for name in engine.plan.command.env}
    engine.expect(own == engine.plan.command.env, f"environment {engine.plan.command.env}", own, DEPLOY)


def test_limits_are_as_planned(engine: Engine) -> None:
    limits = {f"--ulimit={limit['Name']}={limit['Hard']}" for limit in _container(engine)["HostConfig"]["Ulimits"]}
    planned = {option for option in engine.plan.container if option.startswith("--ulimit=")}
    engine.expect(limits == planned, f"limits {sorted(planned)}", sorted(limits), DEPLOY)


def test_container_has_the_planned_rights(engine: Engine) -> None:
    planned = _planned_rights(engine)
    found = _rights(engine)
    engine.expect(found == planned, f"a container with {planned}", found, DEPLOY)


def test_no_process_of_the_engine_has_rights_on_its_host(engine: Engine) -> None:
    if not engine.plan.spec.container_hardening:
        pytest.skip("container_hardening = False: the engine's container is root's")
    lines = engine.host.run(
        f"for p in $(docker top {engine.plan.names.container} -eo pid | tail -n +2); do "
        "grep -hE '^(Uid|Gid|CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/$p/status | tr -s '[:space:]' ' '; echo; done"
    ).stdout.splitlines()
    user = f"{USER} " * 4
    wanted = f"Uid: {user}Gid: {user}CapPrm: {'0' * 16} CapEff: {'0' * 16} NoNewPrivs: 1 Seccomp: 2"
    others = sorted({line.strip() for line in lines if line.strip()} - {wanted})
    engine.expect(bool(lines) and not others, f"every process with {wanted}", others or lines, DEPLOY)


def test_compile_cache_belongs_to_the_container_alone(engine: Engine) -> None:
    if not engine.plan.spec.container_hardening:
        pytest.skip("container_hardening = False: the cache is root's")
    directory = shlex.quote(engine.plan.cache_directory)
    # Its own mode is the engine's to change; that of the directory above keeps the host's users out.
    found = engine.host.run(f"stat -c '%F %u:%g' {directory}; stat -c '%F %a %u' $(dirname {directory})").stdout.split(
        "\n"
    )
    wanted = [f"directory {USER}:{USER}", "directory 700 0", ""]
    engine.expect(found == wanted, f"{directory} of {USER}:{USER} in a directory of root's, mode 700", found, DEPLOY)


def test_weights_are_complete(engine: Engine) -> None:
    for manifest in engine.plan.manifests:
        directory = manifest.directory(engine.plan.spec.data_dir)
        names = shlex.join(sorted(manifest.files))
        checksums = engine.host.run(f"cd {shlex.quote(directory)} && sha256sum -- {names}").stdout
        engine.expect(
            checksums == manifest.checksums,
            f"the locked SHA-256 of every file in {directory}",
            checksums or "nothing",
            DEPLOY,
        )


def test_health(engine: Engine) -> None:
    engine.refuse(findings.health(engine.host, engine.plan))


def test_completion(engine: Engine) -> None:
    answer = engine.host.run(request(engine.plan.url, engine.plan.served_model_name))
    engine.expect(is_completion(answer.stdout), "a chat completion", answer.stdout or answer.stderr, engine.log)


def test_firewall_is_as_planned(engine: Engine) -> None:
    sshd = [int(port) for port in engine.host.run(SSH_PORTS).stdout.split()]
    site = engine.site
    rules = engine_firewall(engine.plan.spec, site.balancers.values(), {engine.ssh_port, *sshd}, site.monitors.values())
    file = HostFile(FIREWALL_FILE, rules)
    engine.refuse(findings.firewall(engine.host, file, FIREWALL_TABLE))


def test_a_stop_by_hand_loses_nothing(engine: Engine) -> None:
    """The host refuses new connections first, and takes them again since the engine runs."""
    names = engine.plan.names
    files = [
        HostFile(names.drop_in_file, stop_drop_in(engine_unit(engine.plan), engine.plan.spec.replica)),
        HostFile(names.stopping_file, stopping_rules(engine.plan.spec)),
    ]
    for file in files:
        engine.refuse(findings.written(engine.host, file))
    loaded = engine.host.run(f"systemctl show -P DropInPaths -P NeedDaemonReload {names.unit}").stdout.split()
    expectation = f"{names.unit} with {names.drop_in_file}"
    engine.expect(loaded[-1:] == ["no"] and names.drop_in_file in loaded, expectation, loaded, DEPLOY)
    tables = engine.host.run("nft list tables").stdout.split()
    engine.expect(
        names.stopping_table not in tables,
        f"no table {names.stopping_table}",
        "it is there",
        f"systemctl restart {names.unit}",
    )


def test_nothing_of_the_container_answers_a_stranger(engine: Engine) -> None:
    """What its processes listen on is the host's own, or closed by the packet filter: this machine is a stranger too."""
    address = engine.plan.spec.address
    for port in {engine.plan.spec.engine_port, *findings.listening(engine.host, engine.plan)}:
        answers = reachable(address, port)
        engine.expect(not answers, f"port {port} of {address} closed for this machine", "it answers", DEPLOY)
    open_ports = [port for port in findings.listening(engine.host, engine.plan) if port < FIRST_CLOSED]
    open_ports = [port for port in open_ports if port != engine.plan.spec.engine_port]
    expectation = (
        f"the engine to listen on {engine.plan.spec.engine_port} and what is closed ({FIRST_CLOSED} and above)"
    )
    remedy = "look at net.ipv4.ip_local_port_range and at engine_args and engine_env, which choose other ports"
    engine.expect(not open_ports, expectation, open_ports, remedy)


def test_administration_wants_a_key(engine: Engine) -> None:
    """Each start makes another, which nothing shows."""
    admin = ENGINES[engine.plan.spec.engine].admin_key
    if admin is None:
        pytest.skip(f"{engine.plan.spec.engine} has no admin key")
    file = f"{engine.plan.names.admin_key_dir}/{admin.name}"
    planned = f"400 {container_user(engine.plan)}"
    mode = engine.host.run(f"stat -c '%a %u:%g' {file}").stdout.strip()
    engine.expect(
        mode == planned, f"{file} {planned}", mode or "no such file", f"systemctl restart {engine.plan.names.unit}"
    )
    code = engine.host.run(f"curl -s -o /dev/null -w '%{{http_code}}' -m 60 {engine.plan.url}{admin.guarded}").stdout
    engine.expect(code == "401", f"401 at {admin.guarded}", code, f"systemctl restart {engine.plan.names.unit}")
    key = engine.host.run(f"cut -d'\"' -f2 {file}").stdout.strip()
    engine.refuse(findings.leaks(engine.host, [Secret("admin key", (key,))]))
    information = engine.host.run(f"curl -s -m 60 {engine.plan.url}{admin.tells_options}").stdout
    engine.expect(key not in information, f"no admin key at {admin.tells_options}", "it is there", DEPLOY)


def _rights(engine: Engine) -> dict[str, Any]:
    """What a container may do, as Docker tells it."""
    inspection = _container(engine)
    config = inspection["HostConfig"]
    return {
        "user": inspection["Config"].get("User"),
        "read-only root": config.get("ReadonlyRootfs"),
        "dropped": sorted(config.get("CapDrop") or []),
        "added": sorted(name.removeprefix("CAP_") for name in config.get("CapAdd") or []),
        "ipc": config.get("IpcMode"),
        "privileged": config.get("Privileged"),
        "seccomp off": any("seccomp=unconfined" in option for option in config.get("SecurityOpt") or []),
        "limit of processes": (config.get("PidsLimit") or 0) > 0,
    }


def _planned_rights(engine: Engine) -> dict[str, Any]:
    options = engine.plan.container

    def values(name: str) -> list[str]:
        return [option.partition("=")[2] for option in options if option.startswith(f"--{name}=")]

    return {
        "user": next(iter(values("user")), ""),
        "read-only root": "--read-only" in options,
        "dropped": sorted(values("cap-drop")),
        "added": sorted(values("cap-add")),
        "ipc": values("ipc")[0],
        "privileged": False,
        "seccomp off": "--security-opt=seccomp=unconfined" in options,
        "limit of processes": engine.plan.spec.container_hardening,
    }


def _container(engine: Engine) -> dict[str, Any]:
    return _inspection(engine.host, engine.plan.names.container)


@cache
def _inspection(host: Host, container: str) -> dict[str, Any]:
    inspection = host.run(f"docker inspect {container}")
    if inspection.rc:
        return {
            "Config": {"Image": None, "Labels": {}, "Cmd": None, "Env": []},
            "Image": None,
            "HostConfig": {"Ulimits": []},
        }
    return dict(json.loads(inspection.stdout)[0])
