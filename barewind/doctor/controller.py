"""What this machine is, as far as a deploy from it depends on that. Nothing is changed, no host is connected to."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # in upper case as well
_LOOK = 10  # seconds until a program of this machine has answered


@dataclass(frozen=True)
class Controller:
    """This machine. Sizes in bytes.

    `programs` are the commands that the shell would run, `beside` the folder of those that belong to this Barewind; `installed`
    are all Barewinds that Python can see, as version and folder; `unfit` are packages that are missing or of another version
    than Barewind asks for. `keys` is None where no SSH agent is named, -1 where the one that is named does not answer.
    `clock_kept` is None where the system does not tell. Of a folder where a site is, `config` is the text of its
    config.py, and `pinned` the version that its requirements.txt asks for.
    """

    python: tuple[int, int, int]
    beside: str
    programs: Mapping[str, str | None]
    installed: tuple[tuple[str, str], ...]
    unfit: tuple[str, ...]
    keys: int | None
    clock_kept: bool | None
    free: Mapping[str, int]
    most_files: int
    proxies: Mapping[str, str] = field(default_factory=dict)
    no_proxy: str = ""
    is_site: bool = False
    config: str = ""
    pinned: str = ""


def read() -> Controller:
    """This machine as it is now."""
    return Controller(
        python=sys.version_info[:3],
        beside=str(Path(sys.executable).parent),
        programs={name: shutil.which(name) for name in ("barewind", "pyinfra")},
        installed=_installed(),
        unfit=tuple(_unfit()),
        keys=_keys(),
        clock_kept=_clock_kept(),
        free={str(folder): shutil.disk_usage(folder).free for folder in _folders()},
        most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        proxies={
            name: os.environ[name] for lower in _PROXIES for name in (lower, lower.upper()) if os.environ.get(name)
        },
        no_proxy=os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "",
        is_site="barewind" in _text("deploy.py"),
        config=_text("config.py"),
        pinned=next(iter(re.findall(r"^barewind *== *(\S+)", _text("requirements.txt"), re.MULTILINE)), ""),
    )


def _folders() -> list[Path]:
    return list(dict.fromkeys([Path.cwd(), Path(tempfile.gettempdir())]))


def _text(file: str) -> str:
    """The text of a file here, "" where it cannot be read."""
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _installed() -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((each.version, _folder(each)) for each in metadata.distributions(name="barewind")))


def _folder(installed: metadata.Distribution) -> str:
    """Where the code of an installed distribution is; of an editable one that is a checkout."""
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    if origin.get("dir_info", {}).get("editable"):
        return str(Path(unquote(urlsplit(origin["url"]).path)).resolve())
    return str(Path(str(installed.locate_file(""))).resolve())


def _unfit() -> list[str]:
    from packaging.requirements import Requirement

    unfit = []
    for text in metadata.requires("barewind") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            unfit.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            unfit.append(f"{wanted.name} is {version}, not {wanted.specifier}")
    return unfit


def _keys() -> int | None:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return None
    from paramiko import Agent, SSHException

    try:
        agent = Agent()
        try:
            return len(agent.get_keys()) if _answers(agent) else -1
        finally:
            agent.close()
    except (SSHException, OSError):
        return -1


def _answers(agent: object) -> bool:
    """Whether an agent was there at all: paramiko takes a socket that nobody listens on for an agent without keys."""
    return getattr(agent, "_conn", None) is not None


def _clock_kept() -> bool | None:
    try:
        shown = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_LOOK,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no systemd: a container, or another system
        return None
    return {"yes": True, "no": False}.get(shown.stdout.strip())
