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

SMALLEST_CONTEXT = 32768  # tokens; below it the default plan rather refuses: agents' prompts alone are that long


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str


class Accelerator(_Entry):
    """One accelerator product; `memory_mib` is what the vendor's tool reports, in MiB.

    `fabric` is true where eight of them sit on a board with NVSwitches; `module_floor` is AMD's oldest kernel driver that
    today's ROCm releases go with.
    """

    vendor: Literal["nvidia", "amd", "none"]
    architecture: Literal["hopper", "blackwell", "cdna3", "cdna4", "cpu"]
    names: tuple[str, ...]
    device_ids: tuple[str, ...]
    memory_mib: int = Field(ge=0)
    fp8: bool
    driver_floor: dict[Literal["cuda12", "cuda13", "rocm"], str]
    module_floor: str | None = None
    fabric: bool = False

    def is_called(self, name: str) -> bool:
        """Whether `name`, as printed by the vendor's tool, is this accelerator ("... OAM" and "... VF" included)."""
        return any(name.lower().startswith(known.lower()) for known in self.names)

    def floor(self, *, cuda: str | None) -> str:
        """The oldest NVIDIA driver for an image's CUDA ("13.0.2"); unknown (None, "14.1"): as for the newest we know."""
        majors = sorted(key for key in self.driver_floor if key.startswith("cuda"))
        major = f"cuda{(cuda or '').split('.')[0]}"
        return next((floor for key, floor in self.driver_floor.items() if key == major), self.driver_floor[majors[-1]])


class Shape(BaseModel):
    """The sizes of a transformer; `vocabulary` and the rest are counts, not bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    vocabulary: int = Field(gt=0)


class Weights(BaseModel):
    """Bytes of one layout; `vision` is the part that text-only serving leaves out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: int = Field(gt=0)
    vision: int = Field(ge=0)


class Model(_Entry):
    """One model repository; lengths in tokens, `host_memory_gib` in GiB."""

    revision: str
    revision_floor: str | None = None
    parameters: int | None = Field(default=None, gt=0)
    context_length: int = Field(gt=0)
    shape: Shape
    weights: Weights
    precision: Literal["fp8", "bf16"]
    reasoning_efforts: tuple[str, ...] = ()
    layouts: dict[Literal["mistral", "hf"], tuple[str, ...]]
    draft: str | None = None
    draft_max_model_len: int | None = Field(default=None, gt=0)
    draft_tokens: int | None = Field(default=None, gt=0)
    host_memory_gib: int = Field(ge=0)


class Limit(_Entry):
    """A set-up that works only within bounds: where all of `when` holds, `cap` bounds a key and `set` adds options."""

    when: dict[Literal["architecture", "version", "tensor_parallel_size", "speculative"], str | int | bool]
    cap: dict[Literal["context_length"], int] = Field(default_factory=dict)
    set: dict[str, float | str | dict[str, bool | int | str]] = Field(default_factory=dict)


class Engine(_Entry):
    """One inference engine: its upstream images, what it expects of the weights, and which versions to use."""

    images: dict[Literal["nvidia", "amd"], str]
    channels: dict[Literal["nvidia", "amd"], dict[Literal["nightly", "stable"], str]]
    entrypoint: tuple[str, ...]
    port: int = Field(ge=1, le=65535)
    layout: Literal["mistral", "hf"]
    health_path: str
    reasoning_field: str
    floor: str
    draft_floor: str
    known_bad: dict[str, str]
    unbuilt: dict[str, str] = Field(default_factory=dict)
    limits: tuple[Limit, ...]


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
