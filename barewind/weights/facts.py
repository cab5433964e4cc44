"""The weights on a host."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.checksums import SUMS
from barewind.hosts.script import quoted, script, split
from barewind.weights import read_ahead
from barewind.weights.commands import INTACT
from barewind.weights.read_ahead import Pages


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


class WeightPages(FactBase[Pages]):
    """How much of the weights in some directories is in the host's page cache, and how much memory is left for the rest.

    + directories: where the weights are

    ```
    Pages(files=134000000000, resident=0, available=900000000000, memory=1000000000000, system="ext2/ext3")
    ```
    """

    abstract = False
    fresh = True  # engines that have started since have read them

    def command(self, directories: list[str]) -> str:
        return script(**read_ahead.look(directories))

    def process(self, output: list[str]) -> Pages:
        return read_ahead.read(split(output))
