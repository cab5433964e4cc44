"""The container runtime and the images of a host."""

from __future__ import annotations

import json
import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.facts import quoted, script, split

DAEMON_FILE = "/etc/docker/daemon.json"


class DockerHost(FactBase[dict[str, Any]]):
    """Docker Engine as it is installed, configured and running.

    + packages: packages it is made of

    ```
    {"packages": ["docker.io"], "daemon": '{"debug": true}', "active": True, "enabled": True,
     "insecure_registries": ["10.0.0.2:5000"]}
    ```
    `daemon` is the text of daemon.json, `insecure_registries` what the running daemon goes by.
    """

    abstract = False

    def command(self, packages: list[str]) -> str:
        return script(
            packages=f"dpkg-query -W -f '${{Package}} ${{db:Status-Status}}\\n' {quoted(packages)}",
            daemon=f"cat {DAEMON_FILE}",
            active="systemctl is-active docker.service",
            enabled="systemctl is-enabled docker.service",
            registries="docker info -f '{{json .RegistryConfig.IndexConfigs}}'",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        try:
            indexes = json.loads("".join(found.get("registries", [])))
        except ValueError:  # the daemon is down
            indexes = None
        known = indexes.items() if isinstance(indexes, dict) else ()
        return {
            "packages": [line.split()[0] for line in found.get("packages", []) if line.endswith(" installed")],
            "daemon": "\n".join(found.get("daemon", [])),
            "active": found.get("active") == ["active"],
            "enabled": found.get("enabled") == ["enabled"],
            "insecure_registries": sorted(
                name for name, index in known if isinstance(index, dict) and not index.get("Secure", True)
            ),
        }


class ImagePresent(FactBase[bool]):
    """Whether a host holds an image.

    + reference: image by digest
    """

    abstract = False

    def command(self, reference: str) -> str:
        return script(image=f"docker image inspect -f present {shlex.quote(reference)}")

    def process(self, output: list[str]) -> bool:
        return split(output).get("image") == ["present"]
