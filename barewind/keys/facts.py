"""A balancer: the keys that it knows, and what sums their usage."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.errors import BarewindError
from barewind.hosts.script import FILES, FactProcessError, quoted, read_files, script, split
from barewind.keys import commands
from barewind.keys.commands import Known


class KnownKeys(FactBase[Known]):
    """The keys of a balancer's file and of every process of its HAProxy.

    `Known`: see keys/commands.py.
    """

    abstract = False

    def command(self) -> str:
        return script(keys=f"( {commands.look()} )")

    def process(self, output: list[str]) -> Known:
        lines = split(output).get("keys", [])
        try:
            return commands.read("\n".join(lines), "HAProxy")
        except BarewindError as error:
            raise FactProcessError(str(error)) from error


class UsageProgram(FactBase[dict[str, Any]]):
    """What sums usage, as it is installed and running.

    + paths: its files
    + timer: what runs it

    ```
    {"files": {...}, "enabled": True, "running": True}
    ```
    """

    abstract = False

    def command(self, paths: list[str], timer: str) -> str:
        unit = quoted([timer])
        return script(
            files=FILES % quoted(paths),
            enabled=f"systemctl is-enabled {unit}",
            running=f"systemctl is-active {unit}",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {
            "files": read_files(sections.get("files", [])),
            "enabled": sections.get("enabled") == ["enabled"],
            "running": sections.get("running") == ["active"],
        }
