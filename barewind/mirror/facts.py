"""A mirror's package, files, units, and firewall table."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.hosts import packages
from barewind.hosts.packages import query
from barewind.hosts.script import FILES, quoted, read_files, script, split


class MirrorHost(FactBase[dict[str, Any]]):
    """The registry as it is installed, configured and running.

    + names: packages it is made of
    + paths: its files
    + unit: the registry's unit
    + timers: timers beside it

    ```
    {"packages": {"docker-registry": {"version": "2.8.2+ds1-1+b8", "held": False}}, "files": {...}, "active": True,
     "needs_reload": False, "enabled": ["docker-registry.service", ...], "running": ["docker-registry.service", ...],
     "firewall": True}
    ```
    """

    abstract = False

    def command(self, names: list[str], paths: list[str], unit: str, timers: list[str]) -> str:
        units = quoted([unit, *timers])
        return script(
            packages=query(names),
            files=FILES % quoted(paths),
            reload=f"systemctl show -P NeedDaemonReload {quoted([unit])}",
            enabled=f'for u in {units}; do systemctl -q is-enabled "$u" && echo "$u"; done',
            running=f'for u in {units}; do systemctl -q is-active "$u" && echo "$u"; done',
            firewall="nft list table inet barewind_mirror >/dev/null && echo loaded",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {
            "packages": packages.read(sections.get("packages", [])),
            "files": read_files(sections.get("files", [])),
            "needs_reload": sections.get("reload") == ["yes"],
            "enabled": sections.get("enabled", []),
            "running": sections.get("running", []),
            "firewall": sections.get("firewall") == ["loaded"],
        }
