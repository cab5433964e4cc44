"""The catalog: accelerators, models and engines as validated YAML data with a source per entry.

A new accelerator or model is a new YAML entry, no code; a new engine is an entry and a file of barewind/engines/.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field

from barewind.catalog.accelerators import NO_VENDOR as NO_VENDOR
from barewind.catalog.accelerators import Accelerator as Accelerator
from barewind.catalog.accelerators import VendorName as VendorName
from barewind.catalog.accelerators import accelerators as accelerators
from barewind.catalog.accelerators import unserved as unserved
from barewind.catalog.entries import Entry, load
from barewind.catalog.models import Layout as Layout
from barewind.catalog.models import Model as Model
from barewind.catalog.models import models as models
from barewind.catalog.speeds import Speed as Speed
from barewind.catalog.speeds import speeds as speeds
from barewind.catalog.vendors import Vendor as Vendor
from barewind.catalog.vendors import vendors as vendors

DEFAULT_ENGINE = "vllm"  # where group data names none
SMALLEST_CONTEXT = 32768  # tokens; below it the default plan rather refuses: agents' prompts alone are that long


class Limit(Entry):
    """A set-up that works only within bounds: where all of `when` holds, `cap` bounds a key and `set` adds options."""

    when: dict[Literal["architecture", "version", "tensor_parallel_size", "speculative"], str | int | bool]
    cap: dict[Literal["context_length"], int] = Field(default_factory=dict)
    set: dict[str, float | str | dict[str, bool | int | str]] = Field(default_factory=dict)


class Recipe(Entry):
    """A published command for a model on accelerators of a vendor: what it sets of our keys, and its other options beside ours.

    What neither names is left to the engine.
    """

    model: str
    vendor: VendorName
    keys: dict[
        Literal["context_length", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens"], int | float
    ] = Field(default_factory=dict)
    options: dict[str, bool | str] = Field(default_factory=dict)


class EngineEntry(Entry):
    """One inference engine's upstream images, and which versions to use. `version_in_tag` matches the beginning of a tag."""

    images: dict[VendorName, str]
    channels: dict[VendorName, dict[Literal["nightly", "stable"], str]]
    version_in_tag: str = r"v?(\d+\.\d+\.\d+)"
    cpu_words: tuple[str, ...] = ()
    untold_software: dict[VendorName, str] = Field(default_factory=dict)
    floor: str
    draft_floor: str
    drafts_on: tuple[VendorName, ...] = ()
    known_bad: dict[str, str]
    unbuilt: dict[str, str] = Field(default_factory=dict)
    limits: tuple[Limit, ...]
    recipes: tuple[Recipe, ...] = ()

    def recipe(self, model: str, vendor: str) -> Recipe | None:
        """The published command for a model on a vendor's accelerators; None where nobody has published one."""
        return next((recipe for recipe in self.recipes if (recipe.model, recipe.vendor) == (model, vendor)), None)


@cache
def engines() -> dict[str, EngineEntry]:
    """The entry of every known engine by name."""
    return load("engines.yaml", EngineEntry)
