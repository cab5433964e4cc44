"""An inventory as a whole: every host's data validated, and what must hold between hosts.

Every problem of every host is reported at once, with the file and the key it comes from.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from barewind.conflicts import conflicts
from barewind.errors import BarewindError
from barewind.spec import KNOWN_KEYS, BalancerSpec, EngineSpec, MirrorSpec, SiteSpec

BALANCERS = "balancers"  # the group whose hosts balance
MIRRORS = "mirrors"  # the group whose hosts keep the fleet's images; every other host runs an engine

# Data that pyinfra itself reads (connection and execution), and a room for a site's own keys.
_FOREIGN_PREFIXES = ("ssh_", "_", "fake_", "x_")


@dataclass(frozen=True)
class HostEntry:
    """One host as the inventory resolves it: `origins` names the file that sets each key."""

    name: str
    groups: tuple[str, ...]
    data: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Every host of an inventory, validated."""

    engines: dict[str, EngineSpec]
    balancers: dict[str, BalancerSpec]
    lock_file: str
    mirrors: dict[str, MirrorSpec] = field(default_factory=dict)
    reason: str | None = None  # why this run, in the words of whoever runs it
    release: str | None = None  # what tasks/rollback.py goes back to; None: the previous
    to: str | None = None  # the group that tasks/traffic.py gives the requests
    shares: tuple[int, ...] = (100,)  # percents of them, step by step
    step_seconds: int = 300


def read_site(entries: list[HostEntry]) -> Site:
    """Validate every host's data.

    Raises:
        BarewindError: all problems of all hosts, one line each, with file, key, finding and remedy.
    """
    problems: dict[str, list[str]] = {}  # problem -> hosts that have it
    engines: dict[str, EngineSpec] = {}
    balancers: dict[str, BalancerSpec] = {}
    mirrors: dict[str, MirrorSpec] = {}
    lock_files: dict[str, str] = {}
    reason: str | None = None
    release: str | None = None
    common = SiteSpec()

    for entry in entries:
        own = {key: value for key, value in entry.data.items() if not key.startswith(_FOREIGN_PREFIXES)}
        found = [_unknown_key(entry, key) for key in own if key not in KNOWN_KEYS]
        model = _model(entry.groups)
        if {BALANCERS, MIRRORS} <= set(entry.groups):
            found.append(f"host '{entry.name}': is in both '{BALANCERS}' and '{MIRRORS}'; give each a host of its own")
        address = own.get("address", entry.data.get("ssh_hostname", entry.name))
        try:
            spec = model(**_picked(own, model) | {"host": entry.name, "groups": entry.groups, "address": address})
            common = SiteSpec(**_picked(own, SiteSpec))
            lock_files[common.lock_file], reason = entry.name, reason or common.reason
            release = release or common.release
        except ValidationError as error:
            found += [_explain(entry, dict(problem)) for problem in error.errors()]
        else:
            if isinstance(spec, EngineSpec):
                engines[entry.name] = spec
                found += [f"{_origin(entry, key)}: key '{key}': {problem}" for key, problem in conflicts(spec)]
            elif isinstance(spec, MirrorSpec):
                mirrors[entry.name] = spec
            else:
                balancers[entry.name] = spec
        for problem in found:
            problems.setdefault(problem, []).append(entry.name)

    if len(lock_files) > 1:
        problems[
            "key 'lock_file': hosts name different lock files; set it once, in group_data/all.py or the inventory"
        ] = sorted(lock_files.values())
    for problem, hosts in _between_hosts(engines, {**balancers, **mirrors}, complete=not problems):
        problems[problem] = hosts
    if problems:
        raise BarewindError("\n".join(f"{problem} (on {_some(hosts)})" for problem, hosts in problems.items()))
    return Site(
        engines=engines,
        balancers=balancers,
        lock_file=common.lock_file,
        mirrors=mirrors,
        reason=reason,
        release=release,
        to=common.to,
        shares=common.share,
        step_seconds=common.step_seconds,
    )


def _model(groups: tuple[str, ...]) -> type[EngineSpec | BalancerSpec | MirrorSpec]:
    if MIRRORS in groups:
        return MirrorSpec
    return BalancerSpec if BALANCERS in groups else EngineSpec


def _picked(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {key: data[key] for key in model.model_fields if key in data}


def _unknown_key(entry: HostEntry, key: str) -> str:
    close = difflib.get_close_matches(key, sorted(KNOWN_KEYS), n=1)
    hint = f"did you mean '{close[0]}'?" if close else "group_data/all.py lists the keys."
    return f"{_origin(entry, key)}: key '{key}': unknown; {hint} (keys of your own begin with x_)"


def _explain(entry: HostEntry, problem: dict[str, Any]) -> str:
    key = str(problem["loc"][0]) if problem["loc"] else "?"
    if problem["type"] == "missing":
        groups = ", ".join(entry.groups) or "its group"
        return f"key '{key}': not set; set it in a group_data file of {groups}"
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":
        return f"{_origin(entry, key)}: key '{path}': {problem['ctx']['error']}"
    return f"{_origin(entry, key)}: key '{path}': {problem['msg']}, found {problem['input']!r}; see group_data/all.py"


def _between_hosts(
    engines: dict[str, EngineSpec], others: dict[str, BalancerSpec | MirrorSpec], *, complete: bool
) -> list[tuple[str, list[str]]]:
    """What each host may have but not two of them; `complete` when no host was left out for problems of its own."""
    found = []
    addresses: dict[str, list[str]] = defaultdict(list)
    for spec in (*engines.values(), *others.values()):
        addresses[spec.address].append(spec.host)
    for address, hosts in addresses.items():
        if len(hosts) > 1:
            found.append((f"key 'address': {address} belongs to several hosts; give each its own", hosts))
    names: dict[str, list[str]] = defaultdict(list)
    for spec in engines.values():
        names[spec.served_model_name or spec.model].append(spec.host)
    if len(names) > 1:
        found.append(
            (
                f"key 'served_model_name': one endpoint, but hosts serve {', '.join(sorted(names))}; requests would reach "
                "engines of another model: use one inventory per model",
                sorted(hosts[0] for hosts in names.values()),
            )
        )
    if complete and engines and all(spec.standby for spec in engines.values()):
        found.append(
            (
                "key 'standby': True on every engine host, so nobody would get requests; one group must serve",
                list(engines),
            )
        )
    if complete and not engines:
        found.append(
            (f"no engine host: add a group whose hosts are not in '{BALANCERS}' or '{MIRRORS}'", sorted(others))
        )
    return found


def _origin(entry: HostEntry, key: str) -> str:
    return entry.origins.get(key, f"host '{entry.name}'")


def _some(hosts: list[str], most: int = 5) -> str:
    rest = len(hosts) - most
    return ", ".join(hosts[:most]) + (f" and {rest} more" if rest > 0 else "")
