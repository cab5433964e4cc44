"""The catalog: accelerators, models and engines as validated YAML data with a source per entry.

A new accelerator or model is a new YAML entry, no code.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barewind.documents import read_yaml
from barewind.errors import BarewindError


class Accelerator(BaseModel):
    """One accelerator product; `memory_mib` is what the vendor's tool reports, in MiB."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: Literal["nvidia", "amd", "none"]
    architecture: Literal["hopper", "blackwell", "cdna3", "cdna4", "cpu"]
    names: tuple[str, ...]
    memory_mib: int = Field(ge=0)
    source: str

    def is_called(self, name: str) -> bool:
        """Whether `name`, as printed by the vendor's tool, is this accelerator ("... OAM" and "... VF" included)."""
        return any(name.lower().startswith(known.lower()) for known in self.names)


class Model(BaseModel):
    """One model repository; `context_length` is in tokens, `host_memory_gib` in GiB."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    revision: str
    context_length: int = Field(gt=0)
    layouts: dict[Literal["mistral", "hf"], tuple[str, ...]]
    draft: str | None = None
    draft_max_model_len: int | None = Field(default=None, gt=0)
    draft_tokens: int | None = Field(default=None, gt=0)
    host_memory_gib: int = Field(ge=0)
    source: str


class Engine(BaseModel):
    """One inference engine: its upstream images and what it expects of the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[Literal["nvidia", "amd"], str]
    channels: dict[Literal["nightly", "stable"], str]
    layout: Literal["mistral", "hf"]
    health_path: str
    source: str


Entry = TypeVar("Entry", bound=BaseModel)


def _load(file: str, entry: type[Entry]) -> dict[str, Entry]:
    document = read_yaml((resources.files(__package__) / file).read_text())
    found: dict[str, Entry] = {}
    for name, values in document.items():
        try:
            found[name] = entry.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise BarewindError(
                f"barewind/catalog/{file}: entry '{name}', key '{key}': {problem['msg']}. Correct the entry."
            ) from error
    return found


@cache
def accelerators() -> dict[str, Accelerator]:
    """Every known accelerator by its short name (h100, mi300x, ...)."""
    return _load("accelerators.yaml", Accelerator)


@cache
def models() -> dict[str, Model]:
    """Every known model by its repository id."""
    return _load("models.yaml", Model)


@cache
def engines() -> dict[str, Engine]:
    """Every known engine by name."""
    return _load("engines.yaml", Engine)
