"""Docker Engine."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand, operation

from barewind.docker.facts import DAEMON_FILE, DockerHost
from barewind.hosts.operations import ManagedFile, known
from barewind.hosts.operations import installed as packages_installed
from barewind.hosts.packages import Package, unhold


@operation()
def installed(
    packages: list[str], held: list[str], replaced: list[str], settings: dict[str, Any], files: list[ManagedFile]
) -> Generator[StringCommand, None, None]:
    """Install Docker Engine, have it start at boot, and have it go by settings.

    daemon.json is merged, not overwritten. Registries and runtimes are taken over by a reload: no container is stopped.

    + packages: packages to install, with a version behind `=` where it matters
    + held: those of them to hold
    + replaced: packages that cannot be there beside them
    + settings: settings that daemon.json shall have among others; a list is added to, an object is merged
    + files: repository and key that the packages come from

    **Example:**

    .. code:: python

        installed(name="Docker Engine", packages=["docker.io"], held=["docker.io"], replaced=["docker-ce"], files=[],
               settings={"insecure-registries": ["10.0.0.2:5000"]})
    """
    names = [Package.parse(package).name for package in packages] + replaced
    paths = [file.path for file in files]
    facts = known(host.get_fact(DockerHost, packages=names, paths=paths), host.name, "Docker Engine")
    commands = list(_difference(facts, packages, held, replaced, settings, files))
    yield from commands
    if not commands:
        host.noop("Docker Engine is already installed, goes by its settings and runs")


def _difference(
    facts: dict[str, Any],
    packages: list[str],
    held: list[str],
    replaced: list[str],
    settings: dict[str, Any],
    files: list[ManagedFile],
) -> Iterator[StringCommand]:
    for file in files:
        if file.differs(facts["files"]):
            yield file.write()
    present = _parsed(facts["daemon"])
    merged = _merged(present, settings)
    if merged != present:
        yield ManagedFile(DAEMON_FILE, json.dumps(merged, indent=2) + "\n").write()
    held_replaced = [name for name in replaced if facts["packages"].get(name, {"held": False})["held"]]
    if held_replaced:
        yield StringCommand(unhold(held_replaced))  # apt removes it in the same step
    yield from packages_installed(packages, facts["packages"], held)
    registries, runtimes = set(settings.get("insecure-registries", ())), set(settings.get("runtimes", ()))
    taken_over = registries <= set(facts["insecure_registries"]) and runtimes <= set(facts["runtimes"])
    if facts["active"] and not taken_over:
        yield StringCommand("systemctl reload docker.service")
    if not (facts["active"] and facts["enabled"]):
        yield StringCommand("systemctl enable --now docker.service")


def _merged(present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Settings with those that are wanted: lists are added to, objects merged, everything else is replaced."""
    merged = dict(present)
    for name, value in wanted.items():
        old = present.get(name)
        if isinstance(value, list) and isinstance(old, list):
            merged[name] = [*old, *(entry for entry in value if entry not in old)]
        elif isinstance(value, dict) and isinstance(old, dict):
            merged[name] = _merged(old, value)
        elif value:  # an empty wish changes nothing
            merged[name] = value
    return merged


def _parsed(daemon: str) -> dict[str, Any]:
    if not daemon.strip():
        return {}
    try:
        settings = json.loads(daemon)
        if not isinstance(settings, dict):
            raise TypeError(f"found a {type(settings).__name__}")  # noqa: TRY301
    except (ValueError, TypeError) as error:
        raise OperationError(
            f"{host.name}: {DAEMON_FILE} is no JSON object ({error}); correct it by hand: it is not ours"
        ) from error
    return settings
