"""Ports of a host: each has one owner. What the packet filter opens for one would otherwise be open to the other's clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from barewind.engines import ENGINES
from barewind.spec.keys import FILL_PORT, BalancerSpec, EngineSpec, MirrorSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import SSH_PORT, HostEntry

_MOST = 65535  # the highest port there is
_MONITOR_PORTS = ("monitor_port", "alertmanager_port", "alertmanager_peer_port", "node_exporter_port")
_ROLES_PORTS = ("engine_port", "weights_port", "endpoint_port", "peers_port", "mirror_port", *_MONITOR_PORTS)
_PRIVILEGED = 1024  # below it, only a process with root's rights may listen (ip_unprivileged_port_start, Linux)


def problems(entry: HostEntry, spec: EngineSpec | BalancerSpec | MirrorSpec | MonitorSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of every port that something else of the host listens on, or that its own program may not take."""
    ssh = _port(entry.ssh_port)
    if ssh is None:
        yield "ssh_port", f"found {entry.ssh_port!r}; write sshd's port as a number from 1 to 65535"
    owners: dict[int, str] = {SSH_PORT: "sshd's port"}
    if ssh is not None:
        owners[ssh] = "sshd's port (ssh_port)" if ssh != SSH_PORT else owners[ssh]
    if isinstance(spec, MirrorSpec):
        owners[FILL_PORT] = "where the mirror is filled on its own host"
    if isinstance(spec, EngineSpec):
        owners |= _own_ports(spec)
    if isinstance(spec, BalancerSpec) and spec.peers_port == spec.endpoint_port:
        yield "peers_port", f"{spec.peers_port} is endpoint_port; choose another port"
    for key in _keys(spec):
        port = getattr(spec, key)
        if port in owners:
            yield key, f"{port} is {owners[port]}; choose another port"
        elif problem := _rights(spec, key, port):
            yield key, problem
        if isinstance(spec, MonitorSpec):
            owners.setdefault(port, key)
    for key in _ROLES_PORTS:  # nobody reads it on this host, but whoever wrote it takes sshd's port for free
        if key not in _keys(spec) and _port(entry.data.get(key)) == SSH_PORT:
            yield key, f"{SSH_PORT} is sshd's port; choose another port"
    if isinstance(spec, EngineSpec):
        yield from _of_replicas(spec, owners)
        yield from _opened(spec)
        if spec.engine_port == spec.weights_port:  # the message names a key that somebody has set
            key = next((key for key in ("weights_port", "engine_port") if key in entry.data), "engine_port")
            yield key, f"engine_port and weights_port are both {spec.engine_port}; choose another port for one of them"


def of_exporters(specs: Collection[EngineSpec | BalancerSpec | MirrorSpec | MonitorSpec]) -> dict[str, list[str]]:
    """Problems of ports where an exporter shall listen and another program of its host does, each with these hosts."""
    problems: dict[str, list[str]] = defaultdict(list)
    monitor = next((spec for spec in specs if isinstance(spec, MonitorSpec)), None)  # they are alike
    for spec in specs:
        if monitor is None or isinstance(spec, MonitorSpec):  # its own ports are looked at with its keys
            continue
        taken = {getattr(spec, key): key for key in _keys(spec)}
        if isinstance(spec, EngineSpec):
            taken |= dict.fromkeys(range(spec.engine_port, _last_port(spec) + 1), "engine_port")
        wanted = ["node_exporter_port", *(["balancer_metrics_port"] if isinstance(spec, BalancerSpec) else [])]
        for key in wanted:
            port = getattr(monitor, key)
            if port in taken:
                problems[f"key '{key}': {port} is {taken[port]} of the same host; choose another port"].append(
                    spec.host
                )
            taken[port] = key
    return problems


def _rights(spec: EngineSpec | BalancerSpec | MirrorSpec | MonitorSpec, key: str, port: int) -> str | None:
    """Why a program without root's rights cannot have a port; HAProxy and the agent that passes weights on begin as root."""
    program = ""
    if key == "engine_port" and isinstance(spec, EngineSpec) and spec.container_hardening:
        program = "the engine's container"
    if key == "mirror_port":
        program = "the registry's service"
    if not program or port >= _PRIVILEGED:
        return None
    return (
        f"{port}: only root may listen below {_PRIVILEGED}, and {program} is without its rights; choose a higher port"
    )


def _of_replicas(spec: EngineSpec, owners: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Ports of the host's engines beside the first, each one above that of the engine before."""
    last = _last_port(spec)
    if last == spec.engine_port:
        return
    taken = f"engine_port = {spec.engine_port} and replicas = {spec.replicas} take {spec.engine_port} to {last}"
    if last > _MOST:
        yield "engine_port", f"{taken}, and there is none above {_MOST}; choose a lower port"
        return
    for port, owner in sorted((owners | {spec.weights_port: "weights_port"}).items()):
        if spec.engine_port < port <= last:
            yield "engine_port", f"{taken}, and {port} is {owner}; choose another port"


def _last_port(spec: EngineSpec) -> int:
    """The port of the host's last engine: of a spec for all of them, or of one that stands for one."""
    return spec.engine_port + (spec.replicas - 1 if spec.replica is None else 0)


def _own_ports(spec: EngineSpec) -> dict[int, str]:
    """Ports that the host's engines take beside their servers', and what for."""
    own = ENGINES[spec.engine].own_ports
    return {port + replica: owner for replica in reversed(range(spec.replicas)) for port, owner in own.items()}


def _keys(spec: EngineSpec | BalancerSpec | MirrorSpec | MonitorSpec) -> tuple[str, ...]:
    if isinstance(spec, MonitorSpec):
        return _MONITOR_PORTS
    if isinstance(spec, EngineSpec):
        return ("engine_port", "weights_port")
    return ("endpoint_port", "peers_port") if isinstance(spec, BalancerSpec) else ("mirror_port",)


def _opened(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Ports of ours that `open_ports` would open to everybody."""
    for text in map(str, spec.open_ports):
        first, _, last = text.partition("-")
        opened = range(int(first), int(last or first) + 1)
        if any(port in opened for port in range(spec.engine_port, _last_port(spec) + 1)):
            yield "open_ports", f"{text} holds the engine's port, which is for the balancers alone; leave it out"
        if spec.weights_port in opened:
            yield "open_ports", f"{text} holds weights_port, which is for the fleet's hosts alone; leave it out"
        for port, owner in _own_ports(spec).items():
            if port in opened:
                yield "open_ports", f"{text} holds {port}, {owner}, which is for the host alone; leave it out"


def _port(value: object) -> int | None:
    """The number of a port; None for what is none. Text is fine, as pyinfra takes it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= _MOST else None
