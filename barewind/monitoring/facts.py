"""What watches on a host: packages, files, units, timers and the firewall table."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.hosts import packages
from barewind.hosts.packages import query
from barewind.hosts.script import FILES, quoted, read_files, script, split


class WatchingHost(FactBase[dict[str, Any]]):
    """Programs of a monitor, or a host's exporter, as they are installed, configured and running.

    + names: packages they are made of
    + paths: their files
    + units: their units, timers too
    + table: the firewall table before them

    ```
    {"packages": {"prometheus": {"version": "2.42.0+ds-5", "held": False}}, "files": {...}, "needs_reload": False,
     "enabled": ["prometheus.service"], "running": ["prometheus.service"], "firewall": True}
    ```
    """

    abstract = False

    def command(self, names: list[str], paths: list[str], units: list[str], table: str) -> str:
        every = quoted(units)
        return script(
            packages=query(names),
            files=FILES % quoted(paths),
            reload=f"systemctl show -P NeedDaemonReload {every}",
            enabled=f'for u in {every}; do systemctl -q is-enabled "$u" && echo "$u"; done',
            running=f'for u in {every}; do systemctl -q is-active "$u" && echo "$u"; done',
            firewall=f"nft list table inet {shlex.quote(table)} >/dev/null && echo loaded",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {
            "packages": packages.read(sections.get("packages", [])),
            "files": read_files(sections.get("files", [])),
            "needs_reload": "yes" in sections.get("reload", []),
            "enabled": sections.get("enabled", []),
            "running": sections.get("running", []),
            "firewall": sections.get("firewall") == ["loaded"],
        }
