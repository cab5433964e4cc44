"""What comes of a tuning, for a person to look at: a diff of group data, and an entry for a catalog of the site's own."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barewind.spec.site import HostEntry
from barewind.tune.fit import Fitted

_FOLDER = "group_data"


def diff(entry: HostEntry, changes: Mapping[str, Any], folder: Path) -> tuple[str, list[str]]:
    """A unified diff of group data, as `patch -p1` takes it, and what it cannot say.

    + entry: the host as the inventory resolves it
    + folder: where group_data/ is

    A key goes where it is set now; one that is not set, into the file of the host's group that no other group has as its own.
    """
    texts: dict[str, str] = {}
    notes: list[str] = []
    for key, value in changes.items():
        origin = entry.origins.get(key)
        if origin is not None and not origin.startswith(f"{_FOLDER}/"):
            notes.append(f"{origin} sets '{key}', not group data: write {key} = {_literal(value)} there")
            continue
        file = origin or f"{_FOLDER}/{_group(entry, folder)}.py"
        text = texts.get(file, _text(folder / file))
        changed = _assigned(text, key, value)
        if changed is None:
            notes.append(f"{file} sets '{key}' by a program: write {key} = {_literal(value)} there")
        else:
            texts[file] = changed
    lines: list[str] = []
    for file, text in texts.items():
        old = _text(folder / file)
        before = f"a/{file}" if old else "/dev/null"
        lines += difflib.unified_diff(old.splitlines(True), text.splitlines(True), before, f"b/{file}")
    whole = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return "".join(whole), notes


def entry(accelerator: str, fitted: Fitted, error_percent: int, by: str) -> str:
    """The entry of a site's own catalog that has estimates go by what was measured."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        "speeds:\n"
        f"  {accelerator}:\n"
        f"    layer_us: {fitted.layer_us:g}\n"
        f"    prompt_share: {fitted.prompt_share:g}\n"
        f"    error_percent: {error_percent}\n"
        f"    source: barewind tune, {by}, {day}\n"
    )


def _group(entry: HostEntry, folder: Path) -> str:
    """The group whose file a new key goes into: the last of the host's that has a file, else the first; `all` without."""
    groups = [group for group in entry.groups if group != "all"]
    with_file = [group for group in groups if (folder / _FOLDER / f"{group}.py").is_file()]
    return next(reversed(with_file), next(iter(groups), "all"))


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _assigned(text: str, key: str, value: Any) -> str | None:
    """A file of group data with another value of a key; None where a program sets it, which no line can be put in place of."""
    line = f"{key} = {_literal(value)}\n"
    lines = text.splitlines(True)
    for node in ast.parse(text).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == key for target in targets):
            return "".join([*lines[: node.lineno - 1], line, *lines[node.end_lineno :]])
    if any(isinstance(node, ast.Name) and node.id == key for node in ast.walk(ast.parse(text))):
        return None
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, line])


def _literal(value: Any) -> str:
    """A value as Python has it, in the quotes that the project writes."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(name)}: {_literal(part)}" for name, part in value.items()) + "}"
    return repr(value)
