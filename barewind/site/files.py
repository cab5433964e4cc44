"""The Python files that a person writes, an inventory and its group data, looked at before pyinfra reads them.

pyinfra passes over what it does not take for a group, and shows a traceback where a file cannot be read.
"""

from __future__ import annotations

import ast
import ipaddress
import runpy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from barewind.errors import BarewindError
from barewind.site.groups import ROLES, meant_role, without_hosts
from barewind.spec.names import shown

_EXAMPLE = "see inventory/prod.py for an example"
_OTHER_TOOLS = (
    ".yaml",
    ".yml",
    ".ini",
    ".cfg",
    ".conf",
    ".json",
    ".toml",
    ".txt",
    ".csv",
)  # what inventories are elsewhere


def check_file(inventory: str) -> None:
    """Refuse an inventory, or group data beside it, that pyinfra would pass over or show a traceback of.

    Raises:
        BarewindError: the inventory is missing or no Python; a group or a host in it is malformed, a host has two sets of
            data; a file of group data cannot be read. All of what is wrong inside one file is told together.
    """
    path = Path(inventory)
    if not path.is_file():
        _no_file(path, inventory)
        return  # a host list or a connector on the command line
    if path.suffix.lower() in _OTHER_TOOLS:
        raise BarewindError(f"{inventory}: inventories are Python files (.py), this is none by its name; {_EXAMPLE}.")
    variables = _run(inventory)
    problems = [problem for file in group_data_files(inventory) if (problem := _unreadable(file))]
    problems += [f"{inventory}: {problem}" for problem in _problems(variables, inventory)]
    if problems:
        raise BarewindError("\n".join(problems))


def group_data_files(inventory: str) -> list[Path]:
    """The files of group data that pyinfra reads with an inventory: of this folder, and of the inventory's own."""
    folders = dict.fromkeys(folder.resolve() for folder in (Path(), Path(inventory).parent))
    files = [file for folder in folders for file in sorted((folder / "group_data").glob("*.py"))]
    here = Path.cwd()
    return [file.relative_to(here) if file.is_relative_to(here) else file for file in files]


def told(inventory: str, groups: Iterable[str]) -> list[str]:
    """What a person should know of the files of an inventory. `groups`: those that hosts are in."""
    path = Path(inventory)
    if not path.is_file():
        return []
    known = {*groups, "all", path.stem}
    files = [name for name in dict.fromkeys(file.stem for file in group_data_files(inventory)) if name not in known]
    if not files:
        return []
    # A group may be empty; pyinfra cannot tell it from a group that only a file of group data has the name of.
    written = {node.id for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Name)}
    note = without_hosts(files, {*known, *written})
    return [] if note is None else [note]


def _no_file(path: Path, inventory: str) -> None:
    if path.is_dir():
        files = ", ".join(str(file) for file in sorted(path.glob("*.py"))) or "none"
        raise BarewindError(f"{inventory}: is a folder; name one file: inventories are Python files (in it: {files}).")
    if path.suffix.lower() in (".py", *_OTHER_TOOLS) or ("/" in inventory and not inventory.startswith("@")):
        raise BarewindError(f"{inventory}: no such inventory file; {_EXAMPLE}.")


def _run(inventory: str) -> dict[str, Any]:
    """The variables of an inventory file."""
    path = Path(inventory)
    try:
        source = path.read_bytes()
        return runpy.run_path(str(path))
    except SystemExit as error:
        raise BarewindError(f"{inventory}: {ended(error)}") from None
    except Exception as error:  # whatever a user's Python file can raise
        if path.suffix != ".py" or _of_another_tool(source):
            raise BarewindError(
                f"{inventory}: cannot be read as Python ({type(error).__name__}: {error}), and inventories are Python; "
                f"{_EXAMPLE}."
            ) from error
        problem = _unreadable(path) or f"{inventory}: {type(error).__name__}: {error}; correct the inventory."
        raise BarewindError(problem.replace("correct the file", "correct the inventory")) from error


def _of_another_tool(source: bytes) -> bool:
    """Whether a file begins as inventories of other tools do: a section in brackets, a mapping of YAML."""
    lines = [line.strip() for line in source.decode(errors="replace").splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first == "---" or (first.startswith("[") and first.endswith("]") and "," not in first)


def ended(error: SystemExit) -> str:
    """What to say of a file that ends the program instead of being read."""
    status = "" if error.code is None else f" with {error.code!r}"
    return f"ends the program (SystemExit{status}); take the exit out: whoever reads the file goes on after it."


def _unreadable(file: Path) -> str | None:
    """Why Python cannot read a file, with the next step; None where it can. pyinfra reads UTF-8, without a mark in front."""
    try:
        text = file.read_bytes().decode()
        if text.startswith("\ufeff"):
            return f"{file}: begins with a byte order mark; save it as UTF-8 without one."
        ast.parse(text, filename=str(file))
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        return f"{file}: is not UTF-8 (byte {error.object[error.start]:#04x} in line {line}); save it as UTF-8."
    except SyntaxError as error:
        return f"{file}: SyntaxError: {error.msg} ({file.name}, line {error.lineno}); correct the file."
    except (OSError, ValueError, RecursionError, MemoryError) as error:  # a folder, a zero byte, nested without end
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"{file}: cannot be read ({reason}); correct the file."
    return None


def _problems(variables: Mapping[str, Any], inventory: str) -> Iterator[str]:
    groups = {
        name: value for name, value in variables.items() if not name.startswith("_") and isinstance(value, list | tuple)
    }
    file_group = Path(inventory).name.rsplit(".", 1)[0]
    if file_group in ROLES and file_group not in groups:
        yield f"every host is in group '{file_group}' by the name of the file; give the file another name."
    for name, value in groups.items():
        yield from _malformed_group(name, value)
    yield from _written_as_another_type(variables, inventory, any(groups.values()))
    yield from _twice(groups)


def _malformed_group(name: str, value: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    hosts = value
    if isinstance(value, tuple):
        if not (len(value) == 2 and isinstance(value[0], list | tuple) and isinstance(value[1], dict)):
            yield f"group '{name}': a tuple must be (hosts, data); make it a list of hosts."
            return
        hosts = value[0]
    for position, host in enumerate(hosts):
        if problem := _malformed(host):
            yield f'group \'{name}\', host {position + 1}: {problem}; write "name" or ("name", {{"key": value}}).'


def _malformed(host: object) -> str | None:
    if isinstance(host, str):
        return None if host.strip() else "found an empty name"
    if not isinstance(host, tuple) or len(host) != 2 or not isinstance(host[0], str) or not isinstance(host[1], dict):
        return f"found {shown(host)}"
    return None if host[0].strip() else "found an empty name"


def _written_as_another_type(variables: Mapping[str, Any], inventory: str, has_groups: bool) -> Iterator[str]:
    """Groups that are no list: pyinfra takes them for variables of one's own."""
    file_groups = {file.stem for file in group_data_files(inventory)}
    for name, value in variables.items():
        if name.startswith("_") or isinstance(value, list | tuple | ModuleType | type) or callable(value):
            continue
        meant = name in (*file_groups, *ROLES) or meant_role(name) is not None or _is_address(value)
        if meant or (not has_groups and isinstance(value, str | dict | set | frozenset)):
            yield (
                f"group '{name}': is of type {type(value).__name__}, and a group is a list of hosts; write "
                f'{name} = ["name", ("name", {{"key": value}})] (names of variables of your own begin with _).'
            )


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value.strip()))
    except ValueError:
        return False


def _twice(groups: Mapping[str, list[Any] | tuple[Any, ...]]) -> Iterator[str]:
    """Hosts that stand there twice: pyinfra makes one host of them, and of each key the last value."""
    data: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for group, value in groups.items():
        hosts = value[0] if isinstance(value, tuple) and value else value
        for host in hosts if isinstance(hosts, list | tuple) else ():
            if _malformed(host) is None:
                name, own = (host, {}) if isinstance(host, str) else host
                data[name].append((group, own))
    for name, mentions in data.items():
        names = [group for group, _ in mentions]
        if repeated := next((group for group in names if names.count(group) > 1), None):
            yield f"host {shown(name)}: stands twice in group '{repeated}'; give each host a name of its own."
            continue
        for key in dict.fromkeys(key for _, own in mentions for key in own):
            said = [(group, own[key]) for group, own in mentions if key in own]
            if any(value != said[0][1] for _, value in said):
                values = " and ".join(f"{shown(value)} in group '{group}'" for group, value in said)
                yield f"host {shown(name)}: key '{key}': is {values}; give each host a name of its own, or one value."
