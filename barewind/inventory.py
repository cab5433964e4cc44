"""Inventories as pyinfra resolves them, made into plain host entries; what pyinfra drops in silence is an error here."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barewind.errors import BarewindError
from barewind.site import HostEntry

if TYPE_CHECKING:
    from pyinfra.api.inventory import Inventory


def load(inventory: str, data: dict[str, Any] | None = None) -> list[HostEntry]:
    """Resolve an inventory file and its group data exactly as the pyinfra command does, without connecting.

    Raises:
        BarewindError: the file is missing, broken, holds a malformed group, or has no host.
    """
    # Imported here: it makes the process cooperative (gevent), which only callers of this function should pay for.
    from pyinfra.api.config import Config
    from pyinfra.api.exceptions import PyinfraError
    from pyinfra.api.state import State
    from pyinfra.context import ctx_config, ctx_state
    from pyinfra_cli.exceptions import CliError, UnexpectedExternalError
    from pyinfra_cli.inventory import make_inventory

    check_file(inventory)
    state = State()
    state.cwd = str(Path.cwd())
    with ctx_state.use(state), ctx_config.use(Config()):
        try:
            resolved = make_inventory(inventory, cwd=state.cwd, override_data=data or {})
        except UnexpectedExternalError as error:
            raise BarewindError(
                f"{error.filename}: {type(error.exception).__name__}: {error.exception}; correct the file."
            ) from error
        except (PyinfraError, CliError) as error:
            raise BarewindError(f"{inventory}: {error}; correct the inventory.") from error
    return entries(resolved, inventory)


def check_file(inventory: str) -> None:
    """Refuse what pyinfra would pass over with a warning and exit status 0.

    Raises:
        BarewindError: the file is missing or a group in it has a malformed host.
    """
    path = Path(inventory)
    if not path.is_file():
        if path.suffix == ".py" or ("/" in inventory and not inventory.startswith("@")):
            raise BarewindError(f"{inventory}: no such inventory file; see inventory/prod.py for an example.")
        return  # a host list or a connector on the command line
    try:
        groups = runpy.run_path(str(path))
    except Exception as error:  # whatever a user's Python file can raise
        raise BarewindError(f"{inventory}: {type(error).__name__}: {error}; correct the inventory.") from error
    for name, value in groups.items():
        if name.startswith("_") or not isinstance(value, list | tuple):
            continue
        hosts = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, tuple) and not (
            len(value) == 2 and isinstance(hosts, list | tuple) and isinstance(value[1], dict)
        ):
            raise BarewindError(f"{inventory}: group '{name}': a tuple must be (hosts, data); make it a list of hosts.")
        for position, host in enumerate(hosts):
            if problem := _malformed(host):
                raise BarewindError(
                    f"{inventory}: group '{name}', host {position + 1}: {problem}; "
                    'write "name" or ("name", {"key": value}).'
                )


def entries(inventory: Inventory, file: str = "inventory") -> list[HostEntry]:
    """Every host of a resolved inventory, with the file that sets each key.

    Raises:
        BarewindError: there is no host.
    """
    found = [
        HostEntry(
            name=host.name,
            groups=tuple(sorted(host.groups)),
            data=host.data.dict(),
            origins=_origins(inventory, host.name, host.groups, file),
        )
        for host in inventory
    ]
    if not found:
        raise BarewindError(f"{file}: no host in it; see inventory/prod.py for an example.")
    return found


def check_keys(hosts: list[HostEntry]) -> None:
    """Refuse SSH key and known_hosts files that are not there: pyinfra would show a traceback for each host.

    Raises:
        BarewindError: names the file, the key and the hosts that want it.
    """
    for key in ("ssh_key", "ssh_known_hosts_file"):
        for file in sorted({str(host.data[key]) for host in hosts if host.data.get(key)}):
            if not Path(file).expanduser().is_file():
                wanting = [host.name for host in hosts if host.data.get(key) == file]
                raise BarewindError(
                    f"{_origin(hosts, key)}: key '{key}': {file} is not there (wanted for {', '.join(wanting[:5])}); "
                    "correct the path. For the lab: barewind lab up."
                )


def _malformed(host: object) -> str | None:
    if isinstance(host, str):
        return None if host.strip() else "found an empty name"
    if not isinstance(host, tuple):
        return f"found {host!r}"
    if len(host) != 2 or not isinstance(host[0], str) or not isinstance(host[1], dict):
        return f"found {host!r}"
    return None


def _origins(inventory: Inventory, host: str, groups: list[str], file: str) -> dict[str, str]:
    """Which source sets a key, strongest last, in pyinfra's order of precedence."""
    origins: dict[str, str] = {}
    for key in inventory.get_data():
        origins[key] = "group_data/all.py"
    for group in groups:
        for key in inventory.get_group_data(group):
            origins[key] = f"group_data/{group}.py" if _sets(group, key, file) else f"{file}: group '{group}'"
    for key in inventory.get_host_data(host):
        origins[key] = f"{file}: host '{host}'"
    for key in inventory.get_override_data():
        origins[key] = "--data"
    return origins


def _sets(group: str, key: str, file: str) -> bool:
    """Whether a group_data file, beside the inventory or here, sets a key; else the inventory file does."""
    for folder in (Path(file).parent, Path()):
        path = folder / "group_data" / f"{group}.py"
        if path.is_file() and re.search(rf"^{re.escape(key)}\s*[:=]", path.read_text(), re.MULTILINE):
            return True
    return False


def _origin(hosts: list[HostEntry], key: str) -> str:
    """The first source that sets a key."""
    return next((host.origins[key] for host in hosts if key in host.origins), "inventory")
