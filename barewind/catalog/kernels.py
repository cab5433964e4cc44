"""The catalog's part about the kernels of distributions: which packages bring their headers."""

from __future__ import annotations

from functools import cache

from pydantic import Field

from barewind.catalog.entries import Entry, Names, load


class Kernels(Entry):
    """The kernels of one distribution; kernels.yaml explains the fields."""

    flavours: Names
    enabled: Names = ()
    first: dict[str, str] = Field(default_factory=dict)


@cache
def kernels() -> dict[str, Kernels]:
    """What kernels.yaml holds, by distribution."""
    return load("kernels.yaml", Kernels)
