"""Names of the hosts of a batch. Pure."""

from __future__ import annotations

from functools import cached_property


class Names(tuple[str, ...]):
    """Names of hosts, in order. Every host asks whether it is among them: that takes as long for one of a thousand as for one of
    ten."""

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self)

    def __contains__(self, name: object) -> bool:
        return name in self._set
