"""The container runtime and the images of a host."""

from __future__ import annotations

import json
import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.facts import FILES, packages, quoted, read_files, script, split
from barewind.facts.packages import query

DAEMON_FILE = "/etc/docker/daemon.json"


class DockerHost(FactBase[dict[str, Any]]):
    """Docker Engine as it is installed, configured and running.

    + packages: packages it is made of
    + paths: files beside them

    ```
    {"packages": {"docker.io": {"version": "20.10.24+dfsg1-1", "held": True}}, "files": {...}, "daemon": '{"debug": true}',
     "active": True, "enabled": True, "insecure_registries": ["10.0.0.2:5000"], "runtimes": ["nvidia", "runc"]}
    ```
    `daemon` is the text of daemon.json, registries and runtimes are what the running daemon goes by.
    """

    abstract = False

    def command(self, packages: list[str], paths: list[str]) -> str:
        return script(
            packages=query(packages),
            files=FILES % quoted(paths) if paths else "true",
            daemon=f"cat {DAEMON_FILE}",
            active="systemctl is-active docker.service",
            enabled="systemctl is-enabled docker.service",
            info="docker info -f '{{json .RegistryConfig.IndexConfigs}}\n{{json .Runtimes}}'",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        indexes, runtimes = _objects(found.get("info", []))
        return {
            "packages": packages.read(found.get("packages", [])),
            "files": read_files(found.get("files", [])),
            "daemon": "\n".join(found.get("daemon", [])),
            "active": found.get("active") == ["active"],
            "enabled": found.get("enabled") == ["enabled"],
            "insecure_registries": sorted(
                name for name, index in indexes.items() if isinstance(index, dict) and not index.get("Secure", True)
            ),
            "runtimes": sorted(runtimes),
        }


def _objects(lines: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two JSON objects, a line each; empty ones while the daemon is down."""
    found = []
    for line in lines[:2]:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    indexes, runtimes = (one if isinstance(one, dict) else {} for one in (*found, {}, {})[:2])
    return indexes, runtimes


class ImagePresent(FactBase[bool]):
    """Whether a host holds an image.

    + reference: image by digest
    """

    abstract = False

    def command(self, reference: str) -> str:
        return script(image=f"docker image inspect -f present {shlex.quote(reference)}")

    def process(self, output: list[str]) -> bool:
        return split(output).get("image") == ["present"]
