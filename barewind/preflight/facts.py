"""What a host is before anything is changed, in a single round trip for the whole preflight."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from pyinfra.api import FactBase

from barewind import catalog
from barewind.balancer import maintenance
from barewind.balancer.names import KEYS_MAP
from barewind.checksums import VERIFIED
from barewind.docker import daemon
from barewind.drivers import facts as driver_facts
from barewind.drivers.model import own_files
from barewind.hosts import packages
from barewind.hosts.script import quoted, script, split
from barewind.plan.engine import EnginePlan
from barewind.plan.names import UNIT_FILES, engine_names
from barewind.release.commands import read_engine, show_release, show_unit
from barewind.release.host_part import read_cards, show_cards
from barewind.spec.keys import EngineSpec

_DOCKER = ["docker.io", "docker-cli", "docker-ce*", "containerd*"]


# What this very connection is: sudo clears the environment that sshd has set, but of the processes above this one, the first that
# has it tells. A gap for what to do with the address and port of the client, then those of the host, as $1 to $4.
OF_CONNECTION = (
    'p=$$; while [ "${p:-0}" -gt 1 ]; do '
    "c=$(tr '\\0' '\\n' < /proc/$p/environ | sed -n 's/^SSH_CONNECTION=//p'); "
    'if [ -n "$c" ]; then set -- $c; %s; break; fi; '
    "p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status); done"
)
# Where sshd answers: the port that this connection arrived at, and those that its daemon listens on (its sessions listen on what
# they forward).
SSH_PORTS = (
    OF_CONNECTION % 'echo "$4"' + "; "
    """ss -Hltnp | sed -n 's/.*:\\([0-9]*\\) .*"sshd",pid=\\([0-9]*\\).*/\\1 \\2/p' | while read -r port p; do """
    "grep -q '^PPid:[^0-9]*1$' /proc/$p/status && echo $port; done; true"
)
# Of a host that has none yet: what a deploy would install.
_HAPROXY = (
    "{ haproxy -v || apt-cache policy haproxy; } | sed -nE "
    "'s/^HA-?Proxy version ([0-9][0-9.]*[0-9]).*/\\1/p; s/^ *Candidate: ([0-9][0-9.]*[0-9]).*/\\1/p' | head -n 1"
)
# What others may have on the host: port and name of each process that listens for more than the host itself.
_SERVICES = (
    'id=$(docker inspect -f "{{{{.Id}}}}" {containers} 2>/dev/null | paste -sd"|"); '
    "ss -Hltnp | while read -r _ _ _ local _ users; do "
    'case "$local" in 127.*|"[::1]:"*|"[::ffff:127."*) continue;; esac; '
    'p=${{users#*pid=}}; p=${{p%%,*}}; if [ -z "$id" ] || ! grep -qE "$id" "/proc/$p/cgroup"; '
    'then echo "${{local##*:}} $(cat "/proc/$p/comm")"; fi; done'
)


def of_engines(plan: EnginePlan, engines: Iterable[EngineSpec]) -> dict[str, Any]:
    """What `HostFacts` is to look at on an engine host: what its engines have in common, and the engines."""
    return {
        "paths": [plan.spec.data_dir],
        "engines": [(spec.replica, spec.engine_port) for spec in engines],
        "image": plan.pinned_image if plan.digest else "",  # of discovered hosts nothing is locked yet
        "weights": list(plan.directories),
        "files": list(own_files()),
        "with_accelerators": not catalog.accelerators()[plan.spec.accelerator].is_cpu,
    }


def of_other(port: int, *paths: str) -> dict[str, Any]:
    """What `HostFacts` is to look at on a host without engines that listens on a port, and writes to directories."""
    of_balancers = {"with_keys": True, "with_haproxy": True}
    return {"paths": list(paths), "engines": [(None, port)], "image": "", "weights": [], "files": [], **of_balancers}


class HostFacts(FactBase[dict[str, Any]]):
    """Everything that the preflight needs to know of a host.

    + paths: directories that will be written to; answered for the nearest parent that exists, as are Docker's
    + engines: number (None where the host has one) and port of each engine; the port must be free, or held by its container
    + image: image by digest
    + weights: directories of weights
    + files: files of the drivers, whose content is compared
    + with_accelerators: whether the host shall have accelerators, so that these are asked about too
    + with_haproxy: whether HAProxy's version is wanted
    + with_keys: whether the first line of its map of clients' keys is wanted

    ```
    {"os": "debian 12", "machine": "x86_64", "init": "systemd", "memory_kib": 32873724, "clock": 1763779200.1,
     "disks": {"/var/lib/barewind": {"free": 85899345920, "mount": "/"}}, "listener": None | "nginx" | "container",
     "docker": {"program": "/usr/bin/docker", "version": "20.10.24"} | None, "docker_daemon": {...},
     "image_present": False, "weights_present": [],
     "packages": {"docker.io": {"version": "20.10.24+dfsg1-1", "held": True}},
     "engines": [{"active": True, ..., "release": "0123456789ab", "cards": "all", "listener": "container"}],
     "engine_units": ["barewind-engine.service"],
     "user": "64000:64000", "drained": None | Maintenance(...), "ssh_ports": [22], "services": {22: "sshd"}, "ipv6": True,
     "accelerators": {...} | None}
    ```
    `docker_daemon`: see `docker.daemon.DockerDaemon`. `ssh_ports` are where sshd answers, `services` what
    processes but the engine's listen for others than the host itself,
    `ipv6` whether its kernel has IPv6.
    `engines` are how each one's unit stands, the release that its container bears, which accelerators its unit gives it (numbers
    as in the key `accelerators`, or all), and who listens on its port; the first one's
    are `listener`, and `user`, whose processes its container's are ("" for the image's own user, None without a container).
    `engine_units` are those of the engines that the host has had so far. `drained` is None but for a host in maintenance
    (`maintenance.Maintenance`). `keys`, where it is wanted, is "" without a map. With accelerators there is more, as in
    `DriverFacts`; without, `accelerators` is None.
    """

    abstract = False

    def command(
        self,
        paths: list[str],
        engines: Sequence[tuple[int | None, int]],
        image: str,
        weights: list[str],
        files: Sequence[str] = (),
        with_accelerators: bool = False,
        with_keys: bool = False,
        with_haproxy: bool = False,
    ) -> str:
        return script(
            os='. /etc/os-release; echo "$ID $VERSION_ID"',
            machine="uname -m",
            init="[ -d /run/systemd/system ] && echo systemd",
            memory="awk '/^MemTotal:/ {print $2}' /proc/meminfo",
            clock="date +%s.%N",
            **({"docker_daemon": daemon.SECTION} if paths else {}),
            disks=f'for p in {quoted(paths)} {daemon.PATHS if paths else ""}; do d="$p"; '
            'while [ ! -d "$d" ]; do d=$(dirname "$d"); done; '
            'echo "$p $(df -B1 --output=avail,target "$d" | tail -n 1)"; done',
            **_of_engines(engines),
            docker='docker=$(command -v docker) && readlink -f "$docker" && docker --version',
            image=f"docker image inspect -f present {shlex.quote(image)}" if image else "true",
            weights=f'for d in {quoted(weights)}; do [ -f "$d/{VERIFIED}" ] && echo "$d"; done' if weights else "true",
            engine_units=f"cd / && for f in {UNIT_FILES}; do [ ! -e $f ] || basename $f; done",
            drained=maintenance.READ,
            ssh_ports=SSH_PORTS,
            services=_SERVICES.format(containers=" ".join(engine_names(number).container for number, _ in engines)),
            ipv6="[ -e /proc/net/if_inet6 ] && echo ipv6",
            **({"haproxy": _HAPROXY} if with_haproxy else {}),
            **({"keys": f"head -n 1 {KEYS_MAP}"} if with_keys else {}),
            **(driver_facts.sections(list(files)) if with_accelerators else {"packages": packages.query(_DOCKER)}),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)

        def first(name: str) -> str | None:
            return sections[name][0] if sections.get(name) else None

        engines: list[dict[str, Any]] = []
        while not engines or f"state{_mark(len(engines))}" in sections:
            mark = _mark(len(engines))
            own = {part: sections.get(part + mark, []) for part in ("state", "release")}
            cards = read_cards(sections.get(f"cards{mark}", []))
            engines.append(read_engine(own) | {"cards": cards, "listener": first(f"listener{mark}")})
        disks = {}
        for line in sections.get("disks", []):
            if match := re.fullmatch(r"(\S+) +(\d+) (.+)", line):
                disks[match[1]] = {"free": int(match[2]), "mount": match[3]}
        return {
            "os": first("os"),
            "machine": first("machine"),
            "init": first("init"),
            "memory_kib": int(_number(first("memory"))),
            "clock": _number(first("clock")),
            "disks": disks,
            "listener": first("listener"),
            "docker": _docker(sections.get("docker", [])),
            "docker_daemon": daemon.read(sections.get("docker_daemon", [])),
            "image_present": first("image") == "present",
            "weights_present": sections.get("weights", []),
            "packages": packages.read(sections.get("packages", [])),
            "engines": engines,
            "engine_units": sections.get("engine_units", []),
            "user": None if (user := first("user")) is None else user.removeprefix("user="),
            "drained": maintenance.read(sections.get("drained", [])),
            "ssh_ports": sorted({int(port) for port in sections.get("ssh_ports", []) if port.isdigit()}),
            "services": _services(sections.get("services", [])),
            "ipv6": first("ipv6") == "ipv6",
            **({"haproxy": first("haproxy")} if "haproxy" in sections else {}),
            **({"keys": first("keys") or ""} if "keys" in sections else {}),
            **(driver_facts.read(sections) if "pci" in sections else {"accelerators": None}),
        }


def _of_engines(engines: Sequence[tuple[int | None, int]]) -> dict[str, str]:
    """The sections about each engine, with its place behind their names but for the first."""
    sections: dict[str, str] = {}
    for place, (number, port) in enumerate(engines):
        names, mark = engine_names(number), _mark(place)
        container = shlex.quote(names.container)
        sections |= {
            f"listener{mark}": f"pid=$(ss -Hltnp | awk '$4 ~ /:{port}$/' | grep -o 'pid=[0-9]*' | head -n 1 | cut -d= -f2); "
            f'if [ -n "$pid" ]; then id=$(docker inspect -f "{{{{.Id}}}}" {container}); '
            'if [ -n "$id" ] && grep -q "$id" "/proc/$pid/cgroup"; then echo container; else cat "/proc/$pid/comm"; fi; fi',
            f"state{mark}": show_unit(names.unit),
            f"release{mark}": show_release(names.container),
            f"cards{mark}": show_cards(names.unit_file),
        }
        if not place:
            sections["user"] = f"docker inspect -f 'user={{{{.Config.User}}}}' {container}"
    return sections


def _mark(place: int) -> str:
    return f"_{place}" if place else ""


def _services(lines: list[str]) -> dict[int, str]:
    words = [line.split(" ", 1) for line in lines]
    return {int(port): name for port, *rest in words if port.isdigit() for name in rest or ["a process"]}


def _number(text: str | None) -> float:
    """A number, or 0 where the host printed none: the preflight then refuses it as too little."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _docker(lines: list[str]) -> dict[str, str] | None:
    """Where the docker command really is, and the version that it prints ("Docker version 28.1.1, build ..."), or None."""
    if not lines:
        return None
    version = re.search(r"\d+(\.\d+)+", lines[1]) if len(lines) > 1 else None
    return {"program": lines[0], "version": version[0] if version else ""}
