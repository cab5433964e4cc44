"""The balancer's packages, files and service."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.facts import FILES, quoted, read_files, script, split


class HaproxyHost(FactBase[dict[str, Any]]):
    """HAProxy as it is installed, configured and running.

    + packages: packages it is made of
    + paths: its files

    ```
    {"packages": ["haproxy"], "files": {...}, "active": True, "enabled": True}
    ```
    """

    abstract = False

    def command(self, packages: list[str], paths: list[str]) -> str:
        return script(
            packages=f"dpkg-query -W -f '${{Package}} ${{db:Status-Status}}\\n' {quoted(packages)}",
            files=FILES % quoted(paths),
            active="systemctl is-active haproxy.service",
            enabled="systemctl is-enabled haproxy.service",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        return {
            "packages": [line.split()[0] for line in found.get("packages", []) if line.endswith(" installed")],
            "files": read_files(found.get("files", [])),
            "active": found.get("active") == ["active"],
            "enabled": found.get("enabled") == ["enabled"],
        }
