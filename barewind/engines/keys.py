"""Which option of an engine a key of group data becomes: the only place that maps keys to options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from barewind.engines.command import Option, Value
from barewind.engines.workload import Workload

# Firewall, balancer, gates, unit and draft go by these keys: `engine_args` must not contradict them. The options of other keys
# may stand in `engine_args` too.
OWN_KEYS = frozenset(
    {
        "address",
        "engine_port",
        "model",
        "draft",
        "served_model_name",
        "tensor_parallel_size",
        "context_length",
        "image_domains",
        "shutdown_timeout",
        "speculative",
    }
)


@dataclass(frozen=True)
class KeyOptions:
    """The table of an engine.

    + names: key -> its options, first the planned one; a key that the engine has no option for is left out
    + words: key -> value of group data -> how the engine spells that value
    """

    names: Mapping[str, tuple[str, ...]]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def name(self, key: str) -> str | None:
        """The option that is planned for a key."""
        return next(iter(self.names.get(key, ())), None)

    def key(self, option: str) -> str | None:
        """The key that an option stands for."""
        return next((key for key, names in self.names.items() if option in names), None)

    def planned(self, workload: Workload, *keys: str) -> list[Option]:
        """The options that keys become, in their order, without those whose value is left to the engine."""
        values = workload.values
        return [
            Option(self.names[key][0], self._spelled(key, value), reason)
            for key in keys
            for value, reason in [values[key]]
            if value is not None
        ]

    def _spelled(self, key: str, value: Value) -> Value:
        return self.words.get(key, {}).get(str(value), value)
