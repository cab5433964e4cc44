"""The engine's compile cache on a host."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from barewind.hosts.script import script, split


class CompileCache(FactBase[bool]):
    """Whether the directory of a compile cache, or of its packed file, holds something.

    + directory: where it is to be

    ```
    True
    ```
    """

    abstract = False

    def command(self, directory: str) -> str:
        return script(cache=f'[ -n "$(ls -A {shlex.quote(directory)})" ] && echo present')

    def process(self, output: list[str]) -> bool:
        return split(output).get("cache") == ["present"]
