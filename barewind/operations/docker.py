"""Docker Engine and images."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import OperationError, StringCommand, operation

from barewind.facts.docker import DAEMON_FILE, DockerHost, ImagePresent
from barewind.operations import ManagedFile, installed, known


@operation()
def engine(packages: list[str], insecure_registries: list[str]) -> Generator[StringCommand, None, None]:
    """Install Docker Engine, have it start at boot, and let it use the given registries over plain HTTP.

    daemon.json is merged, not overwritten, and its registries are taken over by a reload: no container is stopped.

    + packages: packages to install
    + insecure_registries: registries (host:port) spoken to over plain HTTP

    **Example:**

    .. code:: python

        engine(name="Docker Engine", packages=["docker.io"], insecure_registries=["10.0.0.2:5000"])
    """
    facts = known(host.get_fact(DockerHost, packages=packages), host.name, "Docker Engine")
    settings = _parsed(facts["daemon"])
    registries = [*settings.get("insecure-registries", [])]
    registries += [one for one in insecure_registries if one not in registries]
    if registries != settings.get("insecure-registries", []):
        merged = settings | {"insecure-registries": registries}
        yield ManagedFile(DAEMON_FILE, json.dumps(merged, indent=2) + "\n").write()
    yield from installed(packages, facts["packages"])
    if facts["active"] and not set(insecure_registries) <= set(facts["insecure_registries"]):
        yield StringCommand("systemctl reload docker.service")
    if not (facts["active"] and facts["enabled"]):
        yield StringCommand("systemctl enable --now docker.service")


@operation()
def pulled(reference: str) -> Generator[StringCommand, None, None]:
    """Have an image on the host.

    + reference: image by digest; what a digest names cannot change, so one that is there is never pulled again

    **Example:**

    .. code:: python

        pulled(name="Engine image", reference="docker.io/vllm/vllm-openai@sha256:...")
    """
    present = known(host.get_fact(ImagePresent, reference=reference), host.name, f"image {reference}")
    if not present:
        quoted = shlex.quote(reference)
        advice = shlex.quote(
            f"{host.name}: image {reference} cannot be pulled. Nothing that runs was touched. Check that the registry "
            "answers and still has this digest (nightly tags are deleted after two weeks), or lock again: barewind lock INVENTORY"
        )
        yield StringCommand(f"docker pull -q {quoted} || {{ echo {advice} >&2; exit 1; }}")


def _parsed(daemon: str) -> dict[str, list[str]]:
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
