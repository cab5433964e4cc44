"""Inventories as pyinfra resolves them, as plain host entries. What pyinfra drops in silence is an error here."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from barewind.errors import BarewindError
from barewind.site.files import check_file, ended, group_data_files
from barewind.site.groups import contradictions
from barewind.spec.site import Contradiction, HostEntry

if TYPE_CHECKING:
    from pyinfra.api.inventory import Inventory


def load(inventory: str, data: dict[str, Any] | None = None) -> list[HostEntry]:
    """Hosts of an inventory file, resolved with its group data exactly as the pyinfra command does, without connecting.

    Raises:
        BarewindError: the file is missing, broken, holds a malformed group, or has no host.
    """
    # Imported here: it makes the process cooperative (gevent), which only callers of this function should pay for.
    from pyinfra.api.config import Config
    from pyinfra.api.state import State
    from pyinfra.context import ctx_config, ctx_state
    from pyinfra_cli.inventory import make_inventory

    find_connectors_once()
    check_file(inventory)
    state = State()
    state.cwd = str(Path.cwd())
    with ctx_state.use(state), ctx_config.use(Config()), plain_errors(inventory):
        resolved = make_inventory(inventory, cwd=state.cwd, override_data=data or {})
    return entries(resolved, inventory)


@contextmanager
def plain_errors(inventory: str) -> Iterator[None]:
    """Turn whatever pyinfra raises while it reads an inventory and its group data into a sentence that names the file.

    Raises:
        BarewindError: instead of all else, an exit of the program included.
    """
    from pyinfra.api.exceptions import PyinfraError
    from pyinfra_cli.exceptions import CliError, UnexpectedExternalError

    try:
        yield
    except BarewindError:
        raise
    except UnexpectedExternalError as error:
        kind, reason = type(error.exception).__name__, error.exception
        raise BarewindError(f"{_relative(error.filename)}: {kind}: {reason}; correct the file.") from error
    except SystemExit as error:
        raise BarewindError(f"{_place(error, inventory)}: {ended(error)}") from None
    except (PyinfraError, CliError) as error:
        raise BarewindError(f"{inventory}: {error}; correct the inventory.") from error
    except Exception as error:  # of a file that runs, but whose variables pyinfra cannot use
        raise BarewindError(f"{_place(error, inventory)}: {type(error).__name__}: {error}; correct it.") from error


def _place(error: BaseException, inventory: str) -> str:
    """The innermost of the person's own files that an error passed through; the inventory and what is beside it if none."""
    own = {file.resolve() for file in (Path(inventory), *group_data_files(inventory))}
    frames = [Path(frame.f_code.co_filename).resolve() for frame, _ in walk_tb(error.__traceback__)]
    return next((_relative(str(file)) for file in reversed(frames) if file in own), f"{inventory} and group_data")


def _relative(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def find_connectors_once() -> None:
    """Have pyinfra look for its connectors once: it would read every installed package's entry points again for each host."""
    from pyinfra.api import connectors, inventory

    if not hasattr(connectors.get_all_connectors, "cache_clear"):
        connectors.get_all_connectors = inventory.get_all_connectors = functools.cache(connectors.get_all_connectors)


def entries(inventory: Inventory, file: str = "inventory") -> list[HostEntry]:
    """Hosts of a resolved inventory, with the file that sets each key.

    Raises:
        BarewindError: there is no host.
    """
    hosts = [
        HostEntry(
            name=host.name,
            groups=tuple(sorted(host.groups)),
            data=host.data.dict(),
            origins=_origins(inventory, host.name, host.groups, file),
            contradictions=_contradictions(inventory, host.name, host.groups),
        )
        for host in inventory
    ]
    if not hosts:
        raise BarewindError(f"{file}: no host in it; see inventory/prod.py for an example.")
    return hosts


def _contradictions(inventory: Inventory, host: str, groups: list[str]) -> tuple[Contradiction, ...]:
    data = {group: own for group in groups if (own := inventory.get_group_data(group))}
    if len(data) < 2:
        return ()
    return tuple(contradictions(data, {*inventory.get_host_data(host), *inventory.get_override_data()}))


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


def _origins(inventory: Inventory, host: str, groups: list[str], file: str) -> dict[str, str]:
    """The source that sets each key, by pyinfra's order of precedence."""
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
    """Whether a group_data file sets a key, beside the inventory or in this folder; if none does, the inventory file does."""
    for folder in (Path(file).parent, Path()):
        path = folder / "group_data" / f"{group}.py"
        if path.is_file() and re.search(rf"^{re.escape(key)}\s*[:=]", path.read_text(), re.MULTILINE):
            return True
    return False


def _origin(hosts: list[HostEntry], key: str) -> str:
    """The first source that sets a key."""
    return next((host.origins[key] for host in hosts if key in host.origins), "inventory")
