"""A whole inventory as data: its hosts before and after validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from barewind.spec.keys import BalancerSpec, EngineSpec, MirrorSpec
from barewind.spec.monitor import MonitorSpec

SSH_PORT = 22  # unless `ssh_port`, a key of pyinfra's own, says otherwise


@dataclass(frozen=True)
class Contradiction:
    """A key that several groups of a host answer differently; `refused` where no order of groups may decide."""

    sentence: str
    refused: bool


@dataclass(frozen=True)
class HostEntry:
    """A host as the inventory resolves it; `origins` names the file that sets each key."""

    name: str
    groups: tuple[str, ...]
    data: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    contradictions: tuple[Contradiction, ...] = ()

    @property
    def ssh_port(self) -> object:
        """Where pyinfra finds the host's sshd; a key of pyinfra's own, so that it may be anything."""
        return self.data.get("ssh_port") or SSH_PORT


@dataclass(frozen=True)
class Site:
    """Every host of an inventory, validated. `engines` has every engine by its name, of a host with several each of them."""

    engines: dict[str, EngineSpec]
    balancers: dict[str, BalancerSpec]
    lock_file: str
    mirrors: dict[str, MirrorSpec] = field(default_factory=dict)
    monitors: dict[str, MonitorSpec] = field(default_factory=dict)
    reason: str | None = None  # why there is this run, in the words of the person who runs it
    release: str | None = None  # to which tasks/rollback.py goes back; None: the previous one
    to: str | None = None  # the group that tasks/traffic.py gives the requests
    shares: tuple[int, ...] = (100,)  # percent of the requests at each step
    step_seconds: int = 300
    notes: tuple[str, ...] = ()  # what the reader of the inventory has to tell
    keys_file: str | None = None  # where the keys of clients are, on this machine; None: beside the lock file

    @property
    def endpoint_keys(self) -> str:
        """The file of the keys of clients, on this machine."""
        return self.keys_file or str(Path(self.lock_file).with_name("keys.yaml"))

    @cached_property
    def engine_hosts(self) -> dict[str, tuple[EngineSpec, ...]]:
        """The engines of each host that has some, by the host's name."""
        hosts: dict[str, list[EngineSpec]] = {}
        for spec in self.engines.values():
            hosts.setdefault(spec.host, []).append(spec)
        return {host: tuple(engines) for host, engines in hosts.items()}


def numbers(spec: EngineSpec) -> tuple[int | None, ...]:
    """The numbers of a host's engines; None where it has one."""
    return (None,) if spec.replicas == 1 else tuple(range(spec.replicas))


def engines_of(spec: EngineSpec) -> tuple[EngineSpec, ...]:
    """The engines that a host's keys ask for: one, or as many as `replicas` says, on ports one after the other."""
    return tuple(
        spec
        if number is None
        else spec.model_copy(update={"replica": number, "engine_port": spec.engine_port + number})
        for number in numbers(spec)
    )
