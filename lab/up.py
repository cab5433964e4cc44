"""`up`: from whatever is there to a complete lab. Each part looks first and changes only what is missing."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lab import (
    base_image,
    docker,
    engine_daemon,
    engine_image,
    hosts,
    hub,
    hub_control,
    keys,
    machine,
    models,
    paths,
    registry,
    standin_engine,
    state,
    topology,
    wait,
)
from lab.errors import LabError
from lab.packages import build
from lab.progress import Steps
from lab.topology import Host

SERVICES_ANSWER_WITHIN = 30  # seconds


def up(steps: Steps, **sizes: int | None) -> state.Lab:
    """Bring the lab up; `sizes` are those of state.Lab, None or missing keeps the running lab's."""
    lab = _wanted(sizes)
    _machine(steps)
    with ThreadPoolExecutor() as pool:
        # The slow half needs no Docker: it runs beside the other.
        files = pool.submit(_files, steps, lab)
        was_on = docker.answers()
        with steps.step("Docker Engine"):
            engine_daemon.ensure()
        state.save(lab)
        with steps.step("host images"):
            base_image.ensure()
        base_image.remove_old_cache()
        _network()
        keys.ensure()
        with steps.step("package repositories"):
            build.ensure(with_docker=bool(lab.simulated))
        _remove_surplus(lab)
        found = docker.containers()
        made = [pool.submit(_host, steps, host, lab, found, was_on=was_on) for host in lab.hosts]
        files.result()
        _host(steps, topology.SERVICES_HOST, lab, found, was_on=was_on)
        for future in made:
            future.result()
    keys.write_known_hosts(lab.hosts)
    wait.until(
        lambda: registry.healthy() and hub_control.healthy() and build.served(),
        SERVICES_ANSWER_WITHIN,
        f"a service does not answer; see `docker exec {topology.SERVICES_HOST.container} journalctl -n 50`",
    )
    if lab.engines and not engine_image.present():
        engine_image.build_and_push(steps)
    if lab.simulated:
        standin_engine.ensure(steps)
    return lab


def _wanted(sizes: dict[str, int | None]) -> state.Lab:
    before = state.load() or state.Lab(http_port=_http_port())
    lab = replace(before, **{name: size for name, size in sizes.items() if size is not None})
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
    missing = machine.missing(base_image=bool(os.environ.get("LAB_BASE_IMAGE")))
    if missing:
        with steps.step(f"packages of this machine: {' '.join(missing)}"):
            machine.install(missing)


def _files(steps: Steps, lab: state.Lab) -> None:
    """What `services` serves: the models, and the packages of the engine image if that is not in the registry."""
    (paths.cache() / "registry").mkdir(parents=True, exist_ok=True)
    if (lab.engines and not engine_image.recorded()) or not _models_made():
        with steps.step("engine packages"):
            engine_image.install_packages()
    if not _models_made():
        with steps.step("models"):
            _make_models()


def _models_made() -> bool:
    """The index is written last: where it is, and names today's files, the models are whole."""
    try:
        index = json.loads((paths.cache() / "models" / "index.json").read_text())
        made = {
            repository: {name: facts["sha256"] for name, facts in entry["files"].items() if name != models.TOKENIZER}
            for repository, entry in index.items()
        }
    except (OSError, ValueError, KeyError):
        return False
    return made == models.DIGESTS


def _make_models() -> None:
    home = paths.cache() / "models"
    shutil.rmtree(home, ignore_errors=True)
    for tiny in models.ALL:
        models.write(tiny, engine_image.tokenizer(), home / tiny.name)
    index = hub.index(home, topology.REVISIONS)
    state.write_text(home / "index.json", json.dumps(index, indent=1))


def _network() -> None:
    seen = docker.network()
    if seen == "wrong":
        docker.docker("network", "rm", topology.NETWORK)
    if seen != "ours":
        docker.create_network()


def _remove_surplus(lab: state.Lab) -> None:
    """Containers of ours that this lab does not have: of a larger one, or of a build that was cut off."""
    wanted = {host.container for host in (topology.SERVICES_HOST, *lab.hosts)}
    for name in docker.containers():
        if name not in wanted:
            docker.remove_container(name)


def _host(steps: Steps, host: Host, lab: state.Lab, found: dict[str, docker.Container], *, was_on: bool) -> None:
    seen = hosts.look(host, found)
    if not was_on:
        # The engine that has just started switches hosts on by itself: that they run does not say that they came up.
        seen = replace(seen, running=False)
    if hosts.decide(seen) == "keep":
        return
    with steps.step(f"{host.name} {host.address}"):
        hosts.ensure(host, lab, seen)
