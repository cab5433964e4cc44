"""Shell commands that print what a host runs at this moment, and what they print read back. For scripts of several slices."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from barewind.plan.names import RELEASE_LABEL


def show_unit(unit: str) -> str:
    """Shell command that prints a unit's state, for the section `state` of a script."""
    return f"systemctl show -p ActiveState -p NeedDaemonReload -p UnitFileState {shlex.quote(unit)}"


def show_release(container: str) -> str:
    """Shell command that prints the release that a container bears as its label, for the section `release` of a script."""
    return f"docker inspect -f '{{{{index .Config.Labels \"{RELEASE_LABEL}\"}}}}' {shlex.quote(container)}"


def read_engine(sections: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """How an engine's unit stands and which release its container bears, by the sections `state` and `release`.

    {"active": True, "enabled": True, "needs_reload": False, "release": "0123456789ab" | None}; None where no container runs.
    """
    properties = dict(line.split("=", 1) for line in sections.get("state", []) if "=" in line)
    label = next(iter(sections.get("release", [])), "")
    return {
        "active": properties.get("ActiveState") in ("active", "activating", "reloading"),
        "enabled": properties.get("UnitFileState") == "enabled",
        "needs_reload": properties.get("NeedDaemonReload") == "yes",
        "release": label or None,
    }
