"""The weights on a host."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.checksums import SUMS
from barewind.hosts.script import quoted, script, split
from barewind.weights.commands import INTACT


class WeightDirectories(FactBase[dict[str, dict[str, Any]]]):
    """State of directories of weights.

    + directories: where the manifests' files are to be

    ```
    {"/var/lib/barewind/weights/org--model/<revision>-mistral": {"checksums": "<SHA-256 of SHA256SUMS>", "intact": True,
     "linked": False}}
    ```
    `linked`: the directory holds links to files elsewhere on the host.
    """

    abstract = False

    def command(self, directories: list[str]) -> str:
        return script(
            weights=f'for d in {quoted(directories)}; do [ -f "$d/{SUMS}" ] || continue; cd "$d" || continue; '
            f'if {INTACT}; then s=intact; else s=changed; fi; if [ -n "$(find . -type l -print -quit)" ]; then s=$s,linked; fi; '
            f'echo "$s $(sha256sum < {SUMS} | cut -d" " -f1) $d"; done'
        )

    def process(self, output: list[str]) -> dict[str, dict[str, Any]]:
        directories = {}
        for line in split(output).get("weights", []):
            fields = line.split(" ", 2)
            if len(fields) == 3:
                directories[fields[2]] = {
                    "checksums": fields[1],
                    "intact": fields[0].split(",")[0] == "intact",
                    "linked": fields[0].endswith(",linked"),
                }
        return directories
