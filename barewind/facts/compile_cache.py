"""The engine's compile cache on a host."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from barewind.facts import script, split


class CompileCache(FactBase[bool]):
    """Whether a directory holds something.

    + directory: where the cache is to be

    ```
    True
    ```
    """

    abstract = False

    def command(self, directory: str) -> str:
        return script(cache=f'[ -n "$(ls -A {shlex.quote(directory)})" ] && echo present')

    def process(self, output: list[str]) -> bool:
        return split(output).get("cache") == ["present"]
