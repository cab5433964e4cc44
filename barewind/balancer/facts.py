"""A balancer: HAProxy's packages, files and service."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.balancer import renewal
from barewind.hosts import packages
from barewind.hosts.packages import query
from barewind.hosts.script import FILES, quoted, read_files, script, split


class HaproxyHost(FactBase[dict[str, Any]]):
    """HAProxy as it is installed, configured and running.

    + packages: packages it is made of
    + paths: its files
    + table: a firewall table before it

    ```
    {"packages": {"haproxy": {"version": "2.6.12-1+deb12u2", "held": False}}, "files": {...},
     "active": True, "enabled": True, "needs_reload": False, "drop_ins": ["/etc/systemd/system/haproxy.service.d/x.conf"],
     "firewall": True}
    ```
    `needs_reload`: the unit's files changed, and systemd does not know it; `drop_ins`: those it knows. It does not notice the
    first one.
    """

    abstract = False

    def command(self, packages: list[str], paths: list[str], table: str | None = None) -> str:
        firewall = (
            {} if table is None else {"firewall": f"nft list table inet {quoted([table])} >/dev/null && echo loaded"}
        )
        return script(
            packages=query(packages),
            files=FILES % quoted(paths),
            active="systemctl is-active haproxy.service",
            enabled="systemctl is-enabled haproxy.service",
            reload="systemctl show -P NeedDaemonReload haproxy.service",
            drop_ins="systemctl show -P DropInPaths haproxy.service",
            **firewall,
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {
            "packages": packages.read(sections.get("packages", [])),
            "files": read_files(sections.get("files", [])),
            "active": sections.get("active") == ["active"],
            "enabled": sections.get("enabled") == ["enabled"],
            "needs_reload": sections.get("reload") == ["yes"],
            "drop_ins": " ".join(sections.get("drop_ins", [])).split(),
            "firewall": sections.get("firewall") == ["loaded"],
        }


class EndpointCertificate(FactBase[dict[str, Any]]):
    """The certificate of the endpoint, in its file and as HAProxy shows it.

    + path: the file

    ```
    {"files": {...}, "shown": None | Shown(...)}
    ```
    `shown`: see `balancer.renewal.Shown`; None where HAProxy shows no certificate, or does not run.
    """

    abstract = False

    def command(self, path: str) -> str:
        return script(files=FILES % quoted([path]), shown=f"( {renewal.look()} )")

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {"files": read_files(sections.get("files", [])), "shown": renewal.read(sections.get("shown", []))}
