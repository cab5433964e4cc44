"""What a shell proposes for arguments: inventories, hosts of an inventory, keys. It connects to nothing and never fails."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from barewind.errors import BarewindError
from barewind.spec.keys import KNOWN_KEYS

_PLACES = ("", "inventory/")  # where inventories are


def inventories(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Python files that have a group of hosts in them, here and in inventory/, or in the folder that is typed; folders too."""
    typed = incomplete.rpartition("/")[0]
    places = [f"{typed}/"] if typed else _PLACES
    found: list[str] = []
    for place in places:
        for path in sorted(Path(place or ".").glob("*")):
            name = f"{place}{path.name}"
            if path.is_dir() and place == (f"{typed}/" if typed else "") and not path.name.startswith((".", "_")):
                found.append(f"{name}/")
            elif path.suffix == ".py" and _groups(path):
                found.append(name)
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def hosts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The hosts of the inventory that is named, as far as they are written out in it."""
    # Click leaves arguments unread where the last option still wants its value.
    words = [ctx.params.get("inventory_file"), *ctx.args]
    file = next((path for word in words if word and (path := Path(str(word))).is_file()), None)
    names = [] if file is None else _hosts(file)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def configured_hosts(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Hosts of ~/.ssh/config."""
    from barewind.discover.targets import names_in

    names: list[str] = []
    with suppress(BarewindError):
        names = names_in(Path("~/.ssh/config").expanduser())
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def keys(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of group data, with the = behind them; a value is the user's own."""
    return [CompletionItem(f"{key}=") for key in sorted(KNOWN_KEYS) if key.startswith(incomplete)]


def _groups(path: Path) -> dict[str, ast.expr]:
    """Group -> its list, as an inventory's text has it: completion runs nobody's code."""
    groups: dict[str, ast.expr] = {}
    with suppress(OSError, SyntaxError, ValueError, RecursionError):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Tuple | ast.ListComp | ast.Call):
                groups |= {name.id: node.value for name in node.targets if isinstance(name, ast.Name)}
    return {name: value for name, value in groups.items() if not name.startswith("_")}


def _hosts(path: Path) -> list[str]:
    names: dict[str, None] = {}
    for value in _groups(path).values():
        listed = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
        for host in listed.elts if isinstance(listed, ast.List) else ():
            first = host.elts[0] if isinstance(host, ast.Tuple) and host.elts else host
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                names[first.value] = None
    return list(names)
