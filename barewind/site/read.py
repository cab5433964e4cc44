"""An inventory as a whole: the data of every host, and what must hold between hosts.

Every problem of every host is reported at once, with the file and the key it comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from barewind.balancer.paths import refused
from barewind.engines import ENGINES
from barewind.engines import options as engine_options
from barewind.engines.base import common_path
from barewind.engines.command import spelled
from barewind.errors import BarewindError
from barewind.lock import file as lock
from barewind.lock.file import Lock
from barewind.plan import checks
from barewind.plan.engine import plan_host
from barewind.secrets import option_named_like_one, variable_named_like_one
from barewind.site import clients, own_catalog, ports
from barewind.site.conflicts import conflicts
from barewind.site.groups import BALANCERS, MIRRORS, MONITORS, ROLES, misnamed
from barewind.site.replicas import resolved
from barewind.spec.hints import RENAMED, near
from barewind.spec.keys import KNOWN_KEYS, BalancerSpec, EngineSpec, MirrorSpec, SiteSpec
from barewind.spec.monitor import OWN_KEYS, MonitorSpec
from barewind.spec.names import group_name_problem, host_name_problem, kind, shown
from barewind.spec.site import HostEntry, Site, engines_of

# Keys that hold options, variables or words: written as something else, they may hold a secret that no name tells of.
_HOLDING = ("engine_args", "engine_env", "engine_secrets", "registry_logins", "evaluation")

# Data that pyinfra itself reads (connection and execution), and a room for a site's own keys.
_FOREIGN_PREFIXES = ("ssh_", "_", "fake_", "x_")


def read_site(entries: list[HostEntry]) -> Site:
    """The validated site of an inventory.

    Raises:
        BarewindError: all problems of all hosts, one line each, with file, key, finding and remedy.
    """
    problems: dict[str, list[str]] = {}  # problem -> hosts that have it; none where the problem itself names them
    engines: dict[str, EngineSpec] = {}
    balancers: dict[str, BalancerSpec] = {}
    mirrors: dict[str, MirrorSpec] = {}
    monitors: dict[str, MonitorSpec] = {}
    common: dict[str, SiteSpec] = {}  # host -> its values of the keys of the whole site

    problems |= {problem: [] for problem in own_catalog.problems(entries)}
    for entry in entries:
        if malformed := _malformed_names(entry):
            problems |= {problem: [] for problem in malformed}
            continue
        own = {key: value for key, value in entry.data.items() if not key.startswith(_FOREIGN_PREFIXES)}
        own_problems = [_unknown_key(entry, key) for key in own if key not in KNOWN_KEYS]
        model = _model(entry.groups)
        roles = [role for role in ROLES if role in entry.groups]
        if len(roles) > 1:
            both = " and ".join(f"'{role}'" for role in roles)
            own_problems.append(f"host '{entry.name}': is in both {both}; give each a host of its own")
        address = own.get("address", entry.data.get("ssh_hostname", entry.name))
        try:
            spec = model(**_picked(own, model) | {"host": entry.name, "groups": entry.groups, "address": address})
            common[entry.name] = SiteSpec(**_picked(own, SiteSpec))
            if isinstance(spec, EngineSpec):
                spec = resolved(spec)
        except ValidationError as error:
            own_problems += [_explain(entry, dict(problem)) for problem in error.errors()]
        else:
            found = [*ports.problems(entry, spec), *(conflicts(spec) if isinstance(spec, EngineSpec) else ())]
            own_problems += [f"{_origin(entry, key)}: key '{key}': {problem}" for key, problem in found]
            if isinstance(spec, EngineSpec):
                engines[entry.name] = spec
            elif isinstance(spec, MirrorSpec):
                mirrors[entry.name] = spec
            elif isinstance(spec, MonitorSpec):
                monitors[entry.name] = spec
            else:
                balancers[entry.name] = spec
        own_problems += [answer.sentence for answer in entry.contradictions if answer.refused]
        for problem in own_problems:
            problems.setdefault(problem, []).append(entry.name)

    problems |= misnamed(entries)
    problems |= {problem: [] for problem in _disagreements(entries, common, engines, monitors)}
    for problem, hosts in _between_hosts(engines, {**balancers, **mirrors, **monitors}, complete=not problems):
        problems[problem] = hosts
    if problems:
        troubled = {name for hosts in problems.values() for name in hosts}
        for name, problem in _unplannable(
            {name: spec for name, spec in engines.items() if name not in troubled}, common
        ):
            problems.setdefault(problem, []).append(name)
        lines = [f"{problem} (on {_some(hosts)})" if hosts else problem for problem, hosts in problems.items()]
        raise BarewindError("\n".join(lines))
    agreed = next(iter(common.values()))
    return Site(
        engines={engine.name: engine for spec in engines.values() for engine in engines_of(spec)},
        balancers=balancers,
        lock_file=agreed.lock_file,
        mirrors=mirrors,
        monitors=monitors,
        reason=agreed.reason,
        release=agreed.release,
        to=agreed.to,
        shares=agreed.share,
        step_seconds=agreed.step_seconds,
        notes=_contradictions(entries),
        keys_file=agreed.endpoint_keys,
    )


def _unplannable(engines: dict[str, EngineSpec], common: dict[str, SiteSpec]) -> Iterator[tuple[str, str]]:
    """What keeps the plans of right hosts from being carried out: told with the problems of others, not when those are mended."""
    locks: dict[str, Lock] = {}
    for name, spec in engines.items():
        file = common[name].lock_file
        if file not in locks:
            try:
                locks[file] = lock.read(file)
            except BarewindError:  # told once the inventory is right
                locks[file] = Lock()
        try:
            yield from ((name, problem) for problem in checks.problems(plan_host(spec, locks[file])))
        except BarewindError as error:
            yield name, str(error)


def _contradictions(entries: list[HostEntry]) -> tuple[str, ...]:
    """Keys that groups answer differently, of which the last one decides: nobody shall take another answer for it."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        for answer in entry.contradictions:
            hosts[answer.sentence].append(entry.name)
    return tuple(f"{sentence} (on {_some(names)})" for sentence, names in hosts.items())


def _model(groups: tuple[str, ...]) -> type[EngineSpec | BalancerSpec | MirrorSpec | MonitorSpec]:
    if MIRRORS in groups:
        return MirrorSpec
    if MONITORS in groups:
        return MonitorSpec
    return BalancerSpec if BALANCERS in groups else EngineSpec


def _picked(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {key: data[key] for key in model.model_fields if key in data}


def _unknown_key(entry: HostEntry, key: str) -> str:
    option = spelled(key)
    said = (engine.keys.key(option) for engine in ENGINES.values())
    same = RENAMED.get(key.lower()) or next((name for name in said if name), None)
    close = near(key, sorted(KNOWN_KEYS))
    hint = "group_data/all.py lists the keys."
    if same is not None:
        hint = f"use the key '{same}'."
    elif close is not None:
        hint = f"did you mean '{close}'?"
    elif _is_option(option):
        hint = "an option of the engine belongs into engine_args."
    return f"{_origin(entry, key)}: key {shown(key)}: unknown; {hint} (keys of your own begin with x_)"


def _is_option(option: str) -> bool:
    schemas = map(engine_options.nearest, ENGINES)
    return any(schema is not None and option in schema.by_name for schema in schemas)


def _explain(entry: HostEntry, problem: dict[str, Any]) -> str:
    key = str(problem["loc"][0]) if problem["loc"] else "?"
    if problem["type"] == "missing":
        groups = ", ".join(dict.fromkeys(entry.groups)) or "its group"
        return f"key '{key}': not set; set it in a group_data file of {groups}"
    path = ".".join(part if isinstance(part, str) and part.isprintable() else ascii(part) for part in problem["loc"])
    if problem["loc"][-1:] == ("[key]",):  # pydantic's mark behind a key of a dict that is not right itself
        path = ".".join(str(part) for part in problem["loc"][:1])
    inside = path.split(".")[1:]
    secret = any(map(option_named_like_one, inside)) or any(map(variable_named_like_one, inside))
    found = "a secret" if secret else shown(problem["input"])
    if key in _HOLDING and (len(problem["loc"]) == 1 or not isinstance(problem["input"], str | int | float)):
        found = kind(problem["input"])
    if problem["type"] == "value_error":
        return f"{_origin(entry, key)}: key '{path}': {problem['ctx']['error']}".replace(shown(problem["input"]), found)
    return f"{_origin(entry, key)}: key '{path}': {problem['msg']}, found {found}; see group_data/all.py"


def _malformed_names(entry: HostEntry) -> list[str]:
    """Names of a host and its groups that would be more than a name where they are written."""
    groups = (group_name_problem(group) for group in entry.groups)
    return [problem for problem in (host_name_problem(entry.name), *groups) if problem]


def _disagreements(
    entries: list[HostEntry],
    common: dict[str, SiteSpec],
    engines: dict[str, EngineSpec],
    monitors: dict[str, MonitorSpec],
) -> Iterator[str]:
    """Keys that are read once for several hosts, and that these differ in: no host's order may decide which value counts."""
    for key in SiteSpec.model_fields:
        values = [(entry, getattr(common[entry.name], key)) for entry in entries if entry.name in common]
        yield from _disagreement(key, values, "every host", "once, in group_data/all.py or with --data")
    for mirror in dict.fromkeys(spec.mirror for spec in engines.values() if spec.mirror):
        users = [entry for entry in entries if entry.name in engines and engines[entry.name].mirror == mirror]
        for key in ("mirror_tls", "mirror_ca"):  # this machine speaks to a mirror in one way
            values = [(entry, getattr(engines[entry.name], key)) for entry in users]
            yield from _disagreement(key, values, f"every host that pulls from {mirror}", "beside 'mirror'")
    alike = set(MonitorSpec.model_fields) - {"host", "groups", "address", *OWN_KEYS}
    watching = [entry for entry in entries if entry.name in monitors]
    for key in sorted(alike):
        values = [(entry, getattr(monitors[entry.name], key)) for entry in watching]
        yield from _disagreement(key, values, "every monitor", f"in group_data/{MONITORS}.py")


def _disagreement(key: str, values: list[tuple[HostEntry, object]], hosts: str, place: str) -> Iterator[str]:
    """The problem of a key that has several values; `hosts` says on which it must be the same, `place` where to set it."""
    groups: list[tuple[object, list[HostEntry]]] = []
    for entry, value in values:
        same = next((hosts for other, hosts in groups if other == value), None)
        if same is None:
            groups.append((value, [entry]))
        else:
            same.append(entry)
    if len(groups) > 1:
        stated = " and ".join(_stated(key, hosts) for _, hosts in groups)
        yield f"key '{key}': must be the same on {hosts}, but is {stated}; set it {place}"


def _stated(key: str, entries: list[HostEntry]) -> str:
    """The value that a key has on some hosts, those hosts, and which file says so."""
    names = _some([entry.name for entry in entries])
    setting = next((entry for entry in entries if key in entry.data), None)
    if setting is None:
        return f"not set on {names}"
    file = f" ({setting.origins[key]})" if key in setting.origins else ""
    return f"{shown(setting.data[key])} on {names}{file}"


def _between_hosts(
    engines: dict[str, EngineSpec], others: Mapping[str, BalancerSpec | MirrorSpec | MonitorSpec], *, complete: bool
) -> list[tuple[str, list[str]]]:
    """Problems between hosts, with the hosts that have them; `complete` unless hosts were left out for problems of their own."""
    problems = []
    addresses: dict[str, list[str]] = defaultdict(list)
    for spec in (*engines.values(), *others.values()):
        addresses[spec.address].append(spec.host)
    for address, hosts in addresses.items():
        if len(hosts) > 1:
            problems.append((f"key 'address': {address} belongs to several hosts; give each its own", hosts))
    taken = {*engines, *others}
    problems += [
        (f"key 'replicas': {engine.name} is the name of another host too; rename one of the hosts", [spec.host])
        for spec in engines.values()
        for engine in engines_of(spec)
        if engine.name != spec.host and engine.name in taken
    ]
    names: dict[str, list[str]] = defaultdict(list)
    for spec in engines.values():
        names[spec.served_model_name or spec.model].append(spec.host)
    if len(names) > 1:
        problems.append(
            (
                f"key 'served_model_name': one endpoint, but hosts serve {', '.join(sorted(names))}; requests would reach "
                "engines of another model: use one inventory per model",
                sorted(hosts[0] for hosts in names.values()),
            )
        )
    used = {spec.engine: ENGINES[spec.engine] for spec in engines.values()}
    if used and common_path(used.values()) is None:
        problems.append(
            (
                f"key 'engine': one endpoint, but {', '.join(sorted(used))} tell their health on different paths, and balancers "
                "ask all hosts on the same: use one inventory per engine",
                list(engines),
            )
        )
    balancers = [other for other in others.values() if isinstance(other, BalancerSpec)]
    for balancer in balancers:
        problems += [
            (f"key 'endpoint_paths': {problem}", [balancer.host])
            for problem in refused(used.values(), balancer.endpoint_paths)
        ]
    problems += clients.asked_twice(engines.values(), balancers)
    problems += ports.of_exporters([*engines.values(), *others.values()]).items()
    if complete and engines and all(spec.standby for spec in engines.values()):
        problems.append(
            (
                "key 'standby': True on every engine host, so nobody would get requests; one group must serve",
                list(engines),
            )
        )
    if complete and not engines:
        problems.append(
            (f"no engine host: add a group whose hosts are in none of {', '.join(map(repr, ROLES))}", sorted(others))
        )
    return problems


def _origin(entry: HostEntry, key: str) -> str:
    return entry.origins.get(key, f"host '{entry.name}'")


def _some(hosts: list[str], most: int = 5) -> str:
    rest = len(hosts) - most
    return ", ".join(hosts[:most]) + (f" and {rest} more" if rest > 0 else "")
