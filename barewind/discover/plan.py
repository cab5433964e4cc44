"""From what was found on hosts to the files of a site: inventory and group data. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from barewind import catalog
from barewind.catalog import Accelerator
from barewind.discover.commands import Discovered
from barewind.discover.targets import Target
from barewind.output.names import fold
from barewind.spec.site import HostEntry
from barewind.templates import from_template

BALANCERS = "balancers"
MIRRORS = "mirrors"
INVENTORY = "inventory/prod.py"
_USUAL = 8  # accelerators of a host
_DATA_DIR = "/var/lib/barewind"
_ROOM_GIB = (
    300  # for weights, draft, images of three releases and caches; where there is less, another disk is looked for
)


@dataclass(frozen=True)
class Proposal:
    """Groups of hosts with their data, and what a person must know about them.

    `groups` has the data of hosts by group and name, `settings` the keys of a group's file of group data, `left_out` why a host
    is not written down.
    """

    groups: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    common: dict[str, Any] = field(default_factory=dict)  # what every host's data has

    def files(self) -> dict[str, str]:
        """The text of each file by its path in the site."""
        return {INVENTORY: self._inventory()} | {
            f"group_data/{name}.py": from_template("discover/group.py.j2", about=_about(keys), keys=_assignments(keys))
            for name, keys in self.settings.items()
        }

    def entries(self) -> list[HostEntry]:
        """The hosts as an inventory of these files would resolve them, but for what the site sets for all."""
        return [
            HostEntry(name, (group,), self.settings.get(group, {}) | self.common | data, dict.fromkeys(data, INVENTORY))
            for group, hosts in self.groups.items()
            for name, data in hosts.items()
        ]

    def _inventory(self) -> str:
        groups = {name: [self._line(host, data) for host, data in hosts.items()] for name, hosts in self.groups.items()}
        common = {name: _literal(value) for name, value in self.common.items()}
        return from_template("discover/inventory.py.j2", common=common, groups=groups, left_out=self.left_out)

    def _line(self, host: str, data: Mapping[str, Any]) -> str:
        own = f"{{{', '.join(f'{_literal(name)}: {_literal(value)}' for name, value in data.items())}}}"
        parts = ["_ssh"] * bool(self.common) + [own] * bool(data or not self.common)
        return f"({_literal(host)}, {' | '.join(parts)})"


def propose(targets: Mapping[str, Target], found: Mapping[str, Discovered], common: dict[str, Any]) -> Proposal:
    """The site of these hosts: those with accelerators by kind and number, those without as balancers.

    `common` is what leads to every host beside its name, as keys of pyinfra's.
    """
    proposal = Proposal(common=common)
    for name, target in targets.items():
        host = found[name]
        if reason := _reason_against(host):
            proposal.left_out[name] = reason
            continue
        group = _group(host)
        if host.kinds:
            (kind, count), *_ = host.kinds.items()
            proposal.settings.setdefault(group, {"accelerator": kind, "accelerator_count": count})
        proposal.groups.setdefault(group, {})[name] = _data(target, host)
    _name_mirror(proposal, found)
    proposal.notes.extend(_notes(proposal, found))
    return proposal


def _reason_against(host: Discovered) -> str:
    """Why a host cannot be written down; "" where it can."""
    if host.problem:
        return host.problem
    if len(host.kinds) > 1:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in host.kinds.items())
        return f"has {kinds}: one engine needs accelerators of one kind; take the others out"
    if host.unknown and not host.kinds:
        seen = ", ".join(f"{count} x {ids}" for ids, count in host.unknown.items())
        return (
            f"has {seen}, which no entry of the catalog has: add one in a catalog file of the site, with its "
            "names, device ids, memory and drivers; if it is a display adapter alone, put the host into balancers"
        )
    if not host.address:
        return "does not tell at which address it was reached; write it down by hand"
    return ""


def _group(host: Discovered) -> str:
    """Engine hosts that are alike share a group: `h200`, or `h200x4` where there are not eight."""
    if not host.kinds:
        return MIRRORS if host.mirror else BALANCERS
    (kind, count), *_ = host.kinds.items()
    name = kind.replace("-", "_")
    return name if count == _USUAL else f"{name}x{count}"


def _data(target: Target, host: Discovered) -> dict[str, Any]:
    data = dict(target.ssh)
    if target.name != host.address:
        data["address"] = host.address
    if host.kinds and (directory := _data_dir(host)):
        data["data_dir"] = directory
    return data


def _data_dir(host: Discovered) -> str:
    """The largest disk of a host whose own place for weights is too small, "" where it is not, or none is larger."""
    at = max((mount for mount in host.disks if _within(_DATA_DIR, mount)), key=len, default="")
    best = max(host.disks, key=lambda mount: host.disks[mount], default="")
    if not at or host.disks[at] >= _ROOM_GIB or host.disks[best] <= host.disks[at] or best in ("", "/"):
        return ""
    return f"{best}/barewind"


def _name_mirror(proposal: Proposal, found: Mapping[str, Discovered]) -> None:
    """A mirror that is there: as it is, and as what the fleet pulls from."""
    if MIRRORS not in proposal.groups:
        return
    names = list(proposal.groups[MIRRORS])
    fleet = {found[name].address for group, hosts in proposal.groups.items() if group != BALANCERS for name in hosts}
    keys = found[names[0]].mirror
    proposal.settings[MIRRORS] = keys | {"mirror_clients": sorted(set(found[names[0]].readers) - fleet)}
    address = found[names[0]].address
    pulled = {"mirror": f"{f'[{address}]' if ':' in address else address}:{keys['mirror_port']}"}
    for group in proposal.settings.keys() - {MIRRORS}:
        proposal.settings[group] |= pulled | {"mirror_tls": keys["mirror_tls"]}
    if keys["mirror_tls"]:
        proposal.notes.append(
            f"{names[0]}: the mirror's certificate and key are not read from it: name their files on this machine, "
            f"mirror_certificate and mirror_key, in group_data/{MIRRORS}.py"
        )
    if names[1:]:
        proposal.notes.append(f"{fold(names[1:])}: another mirror; hosts pull from {names[0]}: choose, key mirror")


def _within(path: str, mount: str) -> bool:
    return mount == "/" or path == mount or path.startswith(f"{mount}/")


def _notes(proposal: Proposal, found: Mapping[str, Discovered]) -> Iterator[str]:
    if proposal.groups and BALANCERS not in proposal.groups:
        yield f"no host without accelerators is among them: add a balancer to {INVENTORY}, which clients connect to"
    drivers: dict[str, list[str]] = {}
    for hosts in proposal.groups.values():
        for name in hosts:
            if found[name].driver:
                drivers.setdefault(found[name].driver, []).append(name)
    for driver, names in drivers.items():
        yield (
            f"{fold(names)}: driver {driver} is there; a deploy installs the catalog's. To keep yours: "
            'accelerator_drivers = "external"'
        )


def _about(keys: Mapping[str, Any]) -> str:
    if "accelerator" not in keys:
        return "The fleet's own registry (docs/images.md)."
    accelerator: Accelerator = catalog.accelerators()[keys["accelerator"]]
    return f"Hosts with {keys['accelerator_count']} x {accelerator.names[0]}."


def _assignments(keys: Mapping[str, Any]) -> dict[str, str]:
    return {name: _literal(value) for name, value in keys.items()}


def _literal(value: str | int | list[str]) -> str:
    """A value as Python has it, in double quotes as the rest of a site's files."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | list) else repr(value)
