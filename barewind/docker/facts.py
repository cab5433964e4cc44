"""The container runtime and the images of a host."""

from __future__ import annotations

import json
import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.hosts import packages
from barewind.hosts.packages import query
from barewind.hosts.script import FILES, quoted, read_files, script, split

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
        sections = split(output)
        indexes, runtimes = _objects(sections.get("info", []))
        return {
            "packages": packages.read(sections.get("packages", [])),
            "files": read_files(sections.get("files", [])),
            "daemon": "\n".join(sections.get("daemon", [])),
            "active": sections.get("active") == ["active"],
            "enabled": sections.get("enabled") == ["enabled"],
            "insecure_registries": sorted(
                name for name, index in indexes.items() if isinstance(index, dict) and not index.get("Secure", True)
            ),
            "runtimes": sorted(runtimes),
        }


def _objects(lines: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two JSON objects, a line each; empty ones while the daemon is down."""
    documents: list[Any] = []
    for line in lines[:2]:
        try:
            documents.append(json.loads(line))
        except ValueError:
            break
    indexes, runtimes = (document if isinstance(document, dict) else {} for document in (*documents, {}, {})[:2])
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
