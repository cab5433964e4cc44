"""`barewind lab up`: completes whatever there is to a lab. Each step looks first and changes only what is missing."""

import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from lab import paths, state, topology, wait
from lab.errors import LabError
from lab.hosts import hosts, keys, light_host
from lab.images import base_image, shared_layers, standin_engine, vllm_image
from lab.images.real_engines import engine_images
from lab.machine import debian, docker, engine_daemon
from lab.packages import build
from lab.progress import Steps
from lab.services import hub, hub_control, models, registry
from lab.topology import Host

SERVICES_ANSWER_WITHIN = 120  # seconds


def up(steps: Steps, *, system: str | None = None, **sizes: int | None) -> state.Lab:
    """Bring the lab up and return it. `system`, `sizes`: fields of state.Lab; None or missing keeps the running lab's."""
    lab = _wanted({"system": system, **sizes})
    _machine(steps)
    with ThreadPoolExecutor() as pool:
        # The files take longest and need no Docker: they are made beside the rest.
        files = pool.submit(_files, steps, lab)
        was_on = docker.answers()
        with steps.step("Docker Engine"):
            engine_daemon.ensure()
        state.save(lab)
        with steps.step("host images"):
            for system in dict.fromkeys((topology.SERVICES_HOST.system, *(host.system for host in lab.hosts))):
                base_image.ensure(system)
            if lab.light:
                base_image.with_packages(light_host.PACKAGES)
                light_host.layers().mkdir(parents=True, exist_ok=True)
        base_image.remove_old_cache()
        _network()
        keys.ensure()
        with steps.step("package repositories"):
            build.ensure(with_docker=bool(lab.simulated))
        _remove_surplus(lab)
        containers = docker.containers()
        pending = [pool.submit(_host, steps, host, lab, containers, was_on=was_on) for host in lab.hosts]
        made_anew = files.result()
        _host(steps, topology.SERVICES_HOST, lab, containers, was_on=was_on)
        for future in pending:
            future.result()
    if made_anew:
        hosts.exec(topology.SERVICES, "systemctl restart lab-hub")  # it reads its index at its start
    keys.write_known_hosts(lab.hosts)
    wait.until(
        lambda: registry.healthy() and hub_control.healthy() and build.served(),
        SERVICES_ANSWER_WITHIN,
        f"a service does not answer; see `docker exec {topology.SERVICES_HOST.container} journalctl -n 50`",
    )
    for image in engine_images(lab):
        if not image.present():
            image.build_and_push(steps)
    if lab.stands_in:
        standin_engine.ensure(steps)
    if lab.light:
        shared_layers.ensure(steps, in_use=any(host.light and host.container in containers for host in lab.hosts))
    return lab


def _wanted(given: Mapping[str, int | str | None]) -> state.Lab:
    before = state.load() or state.Lab(http_port=_http_port())
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    lab = replace(before, **changes)
    light_host.check(lab.light, before.light)
    try:
        _ = lab.hosts
    except ValueError as error:
        raise LabError(f"{error}") from None
    return lab


def _http_port() -> int:
    text = os.environ.get("LAB_HTTP_PORT") or str(topology.HTTP_PORT)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LabError(f"LAB_HTTP_PORT must be a port number, not {text!r}")
    return int(text)


def _machine(steps: Steps) -> None:
    missing = debian.missing(base_image=bool(os.environ.get("LAB_BASE_IMAGE")))
    if missing:
        with steps.step(f"packages of this machine: {' '.join(missing)}"):
            debian.install(missing)


def _files(steps: Steps, lab: state.Lab) -> bool:
    """Make what `services` serves: the models, and the packages of those engines' images that are not in the registry.

    Whether models were made is returned.
    """
    (paths.cache() / "registry").mkdir(parents=True, exist_ok=True)
    pending = [image for image in engine_images(lab) if not image.recorded()]
    if not _models_made() and vllm_image.VLLM not in pending:
        pending.append(vllm_image.VLLM)  # the models' tokenizer is made of a file of its packages
    for image in pending:
        with steps.step(f"{image.name} packages"):
            image.install_packages()
    if _models_made():
        return False
    with steps.step("models"):
        _make_models()
    return True


def _models_made() -> bool:
    """Whether the models are complete: their index, which is written last, names their revisions and files."""
    try:
        index = json.loads((paths.cache() / "models" / "index.json").read_text())
        if {repository: entry["revision"] for repository, entry in index.items()} != topology.REVISIONS:
            return False
        digests = {
            repository: {name: facts["sha256"] for name, facts in entry["files"].items() if name != models.TOKENIZER}
            for repository, entry in index.items()
        }
    except (OSError, ValueError, KeyError):
        return False
    return digests == models.DIGESTS


def _make_models() -> None:
    home = paths.cache() / "models"
    home.mkdir(parents=True, exist_ok=True)
    for old in home.iterdir():  # the folder itself stays: a running `services` has it mounted
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for tiny in models.ALL:
        models.write(tiny, vllm_image.vocabulary(), home / tiny.name)
    index = hub.index(home, topology.REVISIONS)
    state.write_text(home / "index.json", json.dumps(index, indent=1))


def _network() -> None:
    network = docker.network()
    if network == "wrong":
        docker.docker("network", "rm", topology.NETWORK)
    if network != "ours":
        docker.create_network()


def _remove_surplus(lab: state.Lab) -> None:
    """Remove the lab's containers that do not belong to it at this size, or that an interrupted build left."""
    wanted = {host.container for host in (topology.SERVICES_HOST, *lab.hosts)}
    for name in docker.containers():
        if name not in wanted:
            docker.remove_container(name)


def _host(steps: Steps, host: Host, lab: state.Lab, containers: dict[str, docker.Container], *, was_on: bool) -> None:
    observed = hosts.observe(host, containers)
    if not was_on:
        # An engine that has just started switches hosts on by itself: whether they come up is not known yet.
        observed = replace(observed, running=False)
    if hosts.decide(observed) == "keep":
        return
    with steps.step(f"{host.name} {host.address}"):
        hosts.ensure(host, lab, observed)
