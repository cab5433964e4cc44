"""What an engine's options do to a plan: the classes of options/ENGINE.yaml, whose head says what each means.

An option that a key says is none of these: barewind/engines/keys.py. An option in no class is let through and told.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

from pydantic import Field

from barewind.catalog.entries import Part, checked
from barewind.documents import read_yaml

# What a counted option says, in the words of barewind/engines/counted.py.
Meaning = Literal[
    "kv_bytes",
    "kv_blocks",
    "kv_tokens",
    "block",
    "offloaded_gib",
    "no_graphs",
    "largest_graph",
    "compilation",
    "adapters_on",
    "adapters",
    "adapter_rank",
    "data_parallel",
    "vision_copies",
]


class Refusal(Part):
    """Why an option cannot work with a plan; `above` and `values` where it depends on its value."""

    why: str
    above: float | None = None
    values: tuple[str | int, ...] | None = None

    @property
    def always(self) -> bool:
        """Whether it holds whatever the value is."""
        return self.above is None and self.values is None

    def holds(self, value: object) -> bool:
        """Whether it holds for this value of the option; one that is left out (False) is no problem."""
        if value is False:
            return False
        if self.above is not None:
            try:
                return float(str(value)) > self.above
            except ValueError:
                return False  # no number: the engine's own parser refuses it
        return self.values is None or value in self.values or str(value) in map(str, self.values)


class OptionClasses(Part):
    """The options of an engine by class, under the name that its parser lists first."""

    counted: dict[str, Meaning] = Field(default_factory=dict)
    refused: dict[str, Refusal] = Field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    hints: dict[str, str] = Field(default_factory=dict)

    def known(self, option: str) -> bool:
        """Whether an option is in a class."""
        return any(option in options for options in (self.counted, self.refused, self.harmless, self.files))


@cache
def option_classes(engine: str) -> OptionClasses:
    """The classes of an engine's options; all empty for one without a file.

    Raises:
        BarewindError: the file is not right.
    """
    file = resources.files(__package__) / "options" / f"{engine}.yaml"
    if not file.is_file():
        return OptionClasses()
    return checked(f"options/{engine}.yaml", engine, read_yaml(file.read_text()), OptionClasses)
