"""What a host is, before anything is changed: one round trip for the whole preflight."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from pyinfra.api import FactBase

from barewind import deliberate
from barewind.facts import driver_host, engine, packages, quoted, script, split

_DOCKER = ["docker.io", "docker-ce*", "containerd*"]


class HostFacts(FactBase[dict[str, Any]]):
    """Everything preflight looks at.

    + paths: directories that will be written to; answered for the nearest parent that exists
    + port: TCP port that must be free, or held by our own container
    + container: name of our own container
    + image: image by digest
    + weights: directories of weights
    + files: files of ours to look at
    + unit: name of the engine's unit
    + with_accelerators: whether the host shall have accelerators, so that they are worth looking at

    ```
    {"os": "debian 12", "machine": "x86_64", "init": "systemd", "memory_kib": 32873724, "clock": 1763779200.1,
     "disks": {"/var/lib/barewind": {"free": 85899345920, "mount": "/"}}, "listener": None | "nginx" | "container",
     "docker": {"program": "/usr/bin/docker", "version": "20.10.24"} | None, "image_present": False, "weights_present": [],
     "packages": {"docker.io": {"version": "20.10.24+dfsg1-1", "held": True}}, "engine": {...},
     "drained": None | Mark(...), "accelerators": {...} | None}
    ```
    `engine` is its unit's state and the release its container bears, `drained` is None but for a host that is drained on purpose
    (`deliberate.Mark`). With accelerators there is more, as in `DriverFacts`;
    without, `accelerators` is None.
    """

    abstract = False

    def command(
        self,
        paths: list[str],
        port: int,
        container: str,
        image: str,
        weights: list[str],
        files: Sequence[str] = (),
        unit: str = "barewind-engine.service",
        with_accelerators: bool = False,
    ) -> str:
        return script(
            os='. /etc/os-release; echo "$ID $VERSION_ID"',
            machine="uname -m",
            init="[ -d /run/systemd/system ] && echo systemd",
            memory="awk '/^MemTotal:/ {print $2}' /proc/meminfo",
            clock="date +%s.%N",
            disks=f'for p in {quoted(paths)}; do d="$p"; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; '
            'echo "$p $(df -B1 --output=avail,target "$d" | tail -n 1)"; done',
            listener=f"pid=$(ss -Hltnp | awk '$4 ~ /:{port}$/' | grep -o 'pid=[0-9]*' | head -n 1 | cut -d= -f2); "
            f'if [ -n "$pid" ]; then id=$(docker inspect -f "{{{{.Id}}}}" {shlex.quote(container)}); '
            'if [ -n "$id" ] && grep -q "$id" "/proc/$pid/cgroup"; then echo container; else cat "/proc/$pid/comm"; fi; fi',
            docker='docker=$(command -v docker) && readlink -f "$docker" && docker --version',
            image=f"docker image inspect -f present {shlex.quote(image)}" if image else "true",
            weights=f'for d in {quoted(weights)}; do [ -f "$d/.verified" ] && echo "$d"; done' if weights else "true",
            state=engine.state(unit),
            release=engine.release(container),
            drained=deliberate.READ,
            **(driver_host.sections(list(files)) if with_accelerators else {"packages": packages.query(_DOCKER)}),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)

        def first(name: str) -> str | None:
            return found[name][0] if found.get(name) else None

        disks = {}
        for line in found.get("disks", []):
            if known := re.fullmatch(r"(\S+) +(\d+) (.+)", line):
                disks[known[1]] = {"free": int(known[2]), "mount": known[3]}
        return {
            "os": first("os"),
            "machine": first("machine"),
            "init": first("init"),
            "memory_kib": int(_number(first("memory"))),
            "clock": _number(first("clock")),
            "disks": disks,
            "listener": first("listener"),
            "docker": _docker(found.get("docker", [])),
            "image_present": first("image") == "present",
            "weights_present": found.get("weights", []),
            "packages": packages.read(found.get("packages", [])),
            "engine": engine.read(found),
            "drained": deliberate.read(found.get("drained", [])),
            **(driver_host.read(found) if "pci" in found else {"accelerators": None}),
        }


def _number(text: str | None) -> float:
    """A number, or 0 where the host gave none: preflight then finds too little of it."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _docker(lines: list[str]) -> dict[str, str] | None:
    """Where the docker command really is, and its version ("Docker version 28.1.1, build ..." or another tool's words)."""
    if not lines:
        return None
    version = re.search(r"\d+(\.\d+)+", lines[1]) if len(lines) > 1 else None
    return {"program": lines[0], "version": version[0] if version else ""}
