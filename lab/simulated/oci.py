"""What the vendors' container runtimes share: Docker's daemon.json, and a container's OCI description."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.simulated import host

DAEMON = "/etc/docker/daemon.json"

Description = dict[str, Any]


def options(argv: list[str]) -> dict[str, str]:
    """Options by name, out of a command line: --name=value, or --name for "true"."""
    pairs = (word.lstrip("-").partition("=") for word in argv[1:] if word.startswith("-"))
    return {name: value or "true" for name, _, value in pairs}


def add_runtime(name: str, program: str, options: dict[str, str]) -> int:
    """Add a runtime to daemon.json, with the real tools' messages; returns the exit status."""
    path = Path(options.get("config", DAEMON))
    print(f"INFO[0000] Loading config from {path}", file=sys.stderr)
    try:
        settings: dict[str, Any] = json.loads(path.read_text() or "{}") if path.exists() else {}
    except ValueError as error:
        print(f"ERRO[0000] unable to load config for runtime docker: unable to read config: {error}", file=sys.stderr)
        return 1
    settings.setdefault("runtimes", {})[name] = {"args": [], "path": program}
    if "true" in (options.get("set-as-default"), options.get(f"{name}-set-as-default")):
        settings["default-runtime"] = name
    if "true" in (options.get("cdi.enabled"), options.get("enable-cdi")):
        settings.setdefault("features", {})["cdi"] = True
    host.write(path, json.dumps(settings, indent=4))
    print(f"INFO[0000] Wrote updated config to {path}", file=sys.stderr)
    print("INFO[0000] It is recommended that docker daemon be restarted.", file=sys.stderr)
    return 0


def become_runc(argv: list[str], inject: Callable[[Description], str]) -> int:
    """Edit the description of a container that is being created, then become runc.

    `inject` returns an error, or nothing. The error goes to the log that containerd named.
    """
    if "create" in argv or "run" in argv:
        bundle = next((argv[at + 1] for at, word in enumerate(argv) if word in ("--bundle", "-b")), ".")
        path = Path(bundle) / "config.json"
        description = json.loads(path.read_text())
        if problem := inject(description):
            for at, word in enumerate(argv):
                if word == "--log":
                    with Path(argv[at + 1]).open("a") as log:
                        log.write(json.dumps({"level": "error", "msg": problem, "time": "2025-11-22T00:00:00Z"}) + "\n")
            print(problem, file=sys.stderr)
            return 1
        path.write_text(json.dumps(description))
    os.execvp("runc", ["runc", *argv[1:]])  # noqa: S606 - this process becomes it


def variable(description: Description, name: str) -> str:
    """Value of an environment variable of the container, or nothing; the last definition counts."""
    definitions = [word for word in description["process"].get("env") or [] if word.startswith(f"{name}=")]
    return str(definitions[-1].split("=", 1)[1]) if definitions else ""


def add_devices(description: Description, nodes: list[str]) -> None:
    """Give a container device nodes of the host, which are all null devices, and the right to use them."""
    linux = description.setdefault("linux", {})
    there = {device["path"] for device in linux.get("devices") or []}
    linux["devices"] = (linux.get("devices") or []) + [
        {"path": node, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}
        for node in dict.fromkeys(nodes)
        if node not in there
    ]
    allowed = linux.setdefault("resources", {}).setdefault("devices", [])
    allowed.append({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"})


def add_mounts(description: Description, paths: list[str]) -> None:
    """Give a container files and folders of the host, read-only."""
    options = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
    description["mounts"] += [
        {"destination": path, "source": path, "type": "bind", "options": options}
        for path in paths
        if Path(path).exists()
    ]
