"""The engine's unit, its files and its running container."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.facts import FILES, quoted, read_files, script, split


class EngineUnit(FactBase[dict[str, Any]]):
    """A systemd unit, the files it is made of, and the container it runs.

    + unit: name of the unit
    + paths: files it is made of
    + container: name of its container

    ```
    {"files": {"/etc/systemd/system/x.service": {"mode": "644", "owner": "root", "group": "root", "sha256": ...}},
     "active": True, "enabled": True, "needs_reload": False, "release": "0123456789ab" | None}
    ```
    """

    abstract = False

    def command(self, unit: str, paths: list[str], container: str) -> str:
        return script(files=FILES % quoted(paths), state=state(unit), release=release(container))

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        return {"files": read_files(found.get("files", [])), **read(found)}


def state(unit: str) -> str:
    """The shell command for the section `state`."""
    return f"systemctl show -p ActiveState -p NeedDaemonReload -p UnitFileState {shlex.quote(unit)}"


def release(container: str) -> str:
    """The shell command for the section `release`."""
    return "docker inspect -f '{{index .Config.Labels \"barewind.release\"}}' " + shlex.quote(container)


def read(found: dict[str, list[str]]) -> dict[str, Any]:
    """What the two sections tell."""
    said = dict(line.split("=", 1) for line in found.get("state", []) if "=" in line)
    label = (found.get("release") or [""])[0]
    return {
        "active": said.get("ActiveState") in ("active", "activating", "reloading"),
        "enabled": said.get("UnitFileState") == "enabled",
        "needs_reload": said.get("NeedDaemonReload") == "yes",
        "release": label or None,
    }
