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
        return script(
            files=FILES % quoted(paths),
            state=f"systemctl show -p ActiveState -p NeedDaemonReload -p UnitFileState {shlex.quote(unit)}",
            release="docker inspect -f '{{index .Config.Labels \"barewind.release\"}}' " + shlex.quote(container),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        state = dict(line.split("=", 1) for line in found.get("state", []) if "=" in line)
        release = (found.get("release") or [""])[0]
        return {
            "files": read_files(found.get("files", [])),
            "active": state.get("ActiveState") in ("active", "activating", "reloading"),
            "enabled": state.get("UnitFileState") == "enabled",
            "needs_reload": state.get("NeedDaemonReload") == "yes",
            "release": release or None,
        }
