"""Groups of an inventory: names that almost say what a host is, data that contradict each other or reach no host."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from barewind.spec.keys import KNOWN_KEYS
from barewind.spec.names import shown
from barewind.spec.site import Contradiction, HostEntry

BALANCERS = "balancers"  # the group whose hosts balance
MIRRORS = "mirrors"  # the group whose hosts keep the fleet's images
MONITORS = "monitors"  # the group whose hosts watch the fleet; every other host runs an engine
ROLES = (BALANCERS, MIRRORS, MONITORS)

# What else people call such hosts, as words of a group's name.
_CALLED = {
    BALANCERS: ("loadbalancer", "lb", "haproxy", "proxy", "proxies", "router"),
    MIRRORS: ("registry", "registries"),
    MONITORS: ("monitoring", "prometheus", "alertmanager"),
}
_CLOSE = 0.8  # of difflib: one letter more, less, or exchanged

# Keys that say what a host is. A host has one answer to each, whatever order groups are read in.
_HARDWARE = ("accelerator", "accelerator_count")


@cache
def meant_role(group: str) -> str | None:
    """The group with a meaning that a name is almost; None for that group itself, and for names that are like neither."""
    if group in ROLES:
        return None
    word = re.sub(r"[^a-z]", "", group.lower())
    for role in ROLES:
        singular = role.removesuffix("s")
        if word in (role, singular) or difflib.SequenceMatcher(None, word, role).ratio() > _CLOSE:
            return role
        called = _CALLED[role]
        if word.removesuffix("s") in called or word in called or (word.removesuffix("s").endswith(singular)):
            return role
    return None


def misnamed(entries: Iterable[HostEntry]) -> dict[str, list[str]]:
    """Problems with groups whose names almost say what their hosts are, each with these hosts: they would run engines."""
    problems: dict[str, list[str]] = {}
    for entry in entries:
        for group in entry.groups:
            role = meant_role(group)
            if role is not None and not set(ROLES) & set(entry.groups):
                problem = (
                    f"group '{group}': did you mean '{role}'? Hosts of any other group run engines; rename the group, in the "
                    "inventory and in group_data (or the file of the inventory, which makes a group of its name)"
                )
                problems.setdefault(problem, []).append(entry.name)
    return problems


def contradictions(groups: Mapping[str, Mapping[str, Any]], stronger: Iterable[str]) -> Iterator[Contradiction]:
    """Keys that a host's groups answer differently.

    + groups: the data of each group of a host, in pyinfra's order: of several values it takes the last
    + stronger: keys that the host itself or the command line sets, so that no group counts
    """
    own = set(stronger)
    for key in dict.fromkeys(key for data in groups.values() for key in data if key in KNOWN_KEYS and key not in own):
        answers = [(group, data[key]) for group, data in groups.items() if key in data]
        if all(value == answers[0][1] for _, value in answers):
            continue
        values = " and ".join(f"{shown(value)} in group '{group}'" for group, value in answers)
        group, value = answers[-1]
        if key in _HARDWARE:
            remedy = "take the host out of all but one of these groups, or set the key on the host"
            yield Contradiction(f"key '{key}': is {values}; {remedy}", refused=True)
        else:
            yield Contradiction(
                f"key '{key}': is {values}; {shown(value)} holds, as '{group}' comes last", refused=False
            )


def without_hosts(data_groups: Iterable[str], groups: Iterable[str]) -> str | None:
    """A note about files of group data that no group of the inventory has the name of; None where there are none."""
    known = set(groups) | {"all"}
    lost = [group for group in data_groups if group not in known]
    if not lost:
        return None
    files = []
    for group in lost:
        near = difflib.get_close_matches(group, sorted(known), n=1, cutoff=_CLOSE)
        files.append(f"group_data/{group}.py" + (f" (did you mean '{near[0]}'?)" if near else ""))
    return f"{', '.join(files)}: no group of that name in this inventory, so the keys there reach no host"
