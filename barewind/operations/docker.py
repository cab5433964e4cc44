"""Docker Engine."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand, operation

from barewind.facts.docker import DAEMON_FILE, DockerHost
from barewind.operations import ManagedFile, installed, known
from barewind.packages import Package, unhold


@operation()
def engine(
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

        engine(name="Docker Engine", packages=["docker.io"], held=["docker.io"], replaced=["docker-ce"], files=[],
               settings={"insecure-registries": ["10.0.0.2:5000"]})
    """
    names = [Package.parse(package).name for package in packages] + replaced
    paths = [file.path for file in files]
    facts = known(host.get_fact(DockerHost, packages=names, paths=paths), host.name, "Docker Engine")
    for file in files:
        if file.differs(facts["files"]):
            yield file.write()
    found = _parsed(facts["daemon"])
    merged = _merged(found, settings)
    if merged != found:
        yield ManagedFile(DAEMON_FILE, json.dumps(merged, indent=2) + "\n").write()
    in_the_way = [name for name in replaced if facts["packages"].get(name, {"held": False})["held"]]
    if in_the_way:
        yield StringCommand(unhold(in_the_way))  # apt removes it in the same step
    yield from installed(packages, facts["packages"], held)
    taken_over = set(settings.get("insecure-registries", ())) <= set(facts["insecure_registries"]) and set(
        settings.get("runtimes", ())
    ) <= set(facts["runtimes"])
    if facts["active"] and not taken_over:
        yield StringCommand("systemctl reload docker.service")
    if not (facts["active"] and facts["enabled"]):
        yield StringCommand("systemctl enable --now docker.service")


def _merged(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    merged = dict(found)
    for name, value in wanted.items():
        there = found.get(name)
        if isinstance(value, list) and isinstance(there, list):
            merged[name] = [*there, *(one for one in value if one not in there)]
        elif isinstance(value, dict) and isinstance(there, dict):
            merged[name] = _merged(there, value)
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
