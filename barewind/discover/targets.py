"""Hosts as a person names them: on the command line, or by a pattern of the SSH client's configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from barewind.errors import BarewindError
from barewind.spec.names import host_name_problem

_WORD = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<name>\[[0-9A-Fa-f:.]+\]|[^@:\s]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class Target:
    """A host to look at; `ssh` is what pyinfra needs beside its name to get there."""

    name: str
    ssh: dict[str, Any] = field(default_factory=dict)


def named(words: Iterable[str]) -> list[Target]:
    """The hosts of words such as `gpu1`, `ann@10.0.0.5` or `10.0.0.5:2222`.

    Raises:
        BarewindError: a word is none.
    """
    return [_named(word) for word in words]


def configured(file: Path, patterns: Iterable[str]) -> list[Target]:
    """The hosts of an SSH client's configuration whose names fit a pattern (`gpu-*`); those with wildcards of their own are none.

    Raises:
        BarewindError: the file cannot be read, or no host of it fits a pattern.
    """
    hosts = names_in(file)
    found: dict[str, Target] = {}
    for pattern in patterns:
        fitting = [name for name in hosts if fnmatch(name, pattern)]
        if not fitting:
            raise BarewindError(f"{file}: no Host fits '{pattern}'; there are: {', '.join(hosts[:10]) or 'none'}.")
        found |= {name: Target(_checked(name)) for name in fitting}
    return list(found.values())


def names_in(file: Path) -> list[str]:
    """The hosts of an SSH client's configuration, without those of wildcards.

    Raises:
        BarewindError: the file cannot be read.
    """
    from paramiko import ConfigParseError, SSHConfig

    try:
        names = SSHConfig.from_path(str(file)).get_hostnames()
    except OSError as error:
        raise BarewindError(f"{file}: {error.strerror}; name the hosts instead.") from error
    except (ConfigParseError, UnicodeDecodeError) as error:
        raise BarewindError(f"{file}: {error}; correct it, or name the hosts instead.") from error
    return sorted(name for name in names if not re.search(r"[*?!]", name))


def unique(targets: Iterable[Target]) -> list[Target]:
    """Each host once, in the order in which it was named first.

    Raises:
        BarewindError: one name is said to be in two places.
    """
    by_name: dict[str, Target] = {}
    for target in targets:
        before = by_name.setdefault(target.name, target)
        if before != target:
            raise BarewindError(f"{target.name}: named twice, with different users or ports; name it once.")
    return list(by_name.values())


def _named(word: str) -> Target:
    try:  # an address of IPv6 without brackets has colons that are no port's
        return Target(str(ipaddress.ip_address(word)))
    except ValueError:
        pass
    match = _WORD.fullmatch(word)
    if match is None:
        raise BarewindError(f"{word!r}: is no host; write NAME, USER@NAME or USER@NAME:PORT.")
    ssh: dict[str, Any] = {}
    if match["user"]:
        ssh["ssh_user"] = match["user"]
    if match["port"]:
        port = int(match["port"])
        if not 1 <= port <= 65535:
            raise BarewindError(f"{word!r}: {port} is no port; write NAME:PORT.")
        ssh["ssh_port"] = port
    return Target(_checked(match["name"].strip("[]")), ssh)


def _checked(name: str) -> str:
    if problem := host_name_problem(name):
        raise BarewindError(f"{name!r}: {problem}")
    return name
