"""The catalog's part about accelerators: what they hold, what they can do, what drives them; and chips that are not served."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from barewind.catalog.entries import Entry, load
from barewind.catalog.vendors import vendors
from barewind.versions import older

NO_VENDOR = "none"  # of the CPU, which is no accelerator


def _known_vendor(name: str) -> str:
    known = (*vendors(), NO_VENDOR)
    if name not in known:
        raise PydanticCustomError("vendor", "Input should be one of {known}", {"known": ", ".join(known)})
    return name


def _version(text: str) -> str:
    try:
        older(text, text)
    except ValueError:
        raise ValueError(f"{text} is no version") from None
    return text


VendorName = Annotated[str, AfterValidator(_known_vendor)]
VersionText = Annotated[str, AfterValidator(_version)]


class Accelerator(Entry):
    """One accelerator product; memory in MiB.

    `memory_mib` is what CUDA or HIP shows to programs, which the fit goes by; `tool_mib` what the vendor's tool reports, where
    that is more (None: the same). `compute` is the compute capability, or AMD's target. `fp8` tells whether its matrix units
    multiply FP8, `fp4` whether FP4; `fp8_kernel` is what engines run FP8 weights with where they do not (None: nothing does).
    `p2p` tells whether the cards reach each other's memory. `driver_floor` is the oldest driver per software of an image (and
    its major version: cuda13), or the oldest version of that software itself. `open_modules` is true where only the open kernel
    modules drive it. `fabric` is true where eight of them sit on a board with switches; `module_floor` is the oldest kernel
    driver that the vendor's present releases go with. `together_env` is the environment of an engine over several of them.
    """

    vendor: VendorName
    architecture: str
    compute: str = ""
    names: tuple[str, ...]
    device_ids: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{4}$")], ...]
    memory_mib: int = Field(ge=0)
    tool_mib: int | None = Field(default=None, gt=0)
    fp8: bool
    fp4: bool = False
    fp8_kernel: str | None = None
    p2p: bool = True
    driver_floor: dict[str, VersionText]
    module_floor: VersionText | None = None
    open_modules: bool = False
    fabric: bool = False
    together_env: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        vendor = vendors().get(self.vendor)
        if vendor is None:
            return self
        software = vendor.image_software
        if software is not None and not any(re.fullmatch(rf"{software}\d+", name) for name in self.driver_floor):
            raise ValueError(
                f"'driver_floor' must say which driver images of {software} need: {{{software}13: \"580\"}}"
            )
        if not self.memory_mib:
            raise ValueError("'memory_mib' must be more than 0")
        if self.tool_mib is not None and self.tool_mib < self.memory_mib:
            raise ValueError("'tool_mib' is what the vendor's tool reports, which is never less than 'memory_mib'")
        return self

    def is_called(self, name: str) -> bool:
        """Whether `name`, as printed by the vendor's tool, is this accelerator ("... OAM" and "... VF" included).

        A longer word is another product: "NVIDIA H200" and "NVIDIA H20-3e" are no "NVIDIA H20".
        """
        return any(f"{name.lower()} ".startswith(f"{known.lower()} ") for known in self.names)

    @property
    def reported_mib(self) -> int:
        """MiB that the vendor's tool reports."""
        return self.memory_mib if self.tool_mib is None else self.tool_mib

    @property
    def is_cpu(self) -> bool:
        """Whether there is no accelerator: the engine's CPU build runs."""
        return self.vendor == NO_VENDOR

    def floor(self, software: str, version: str | None) -> tuple[str, str]:
        """The oldest driver for the version of an image's software ("cuda", "13.0.2"), and the major version it is meant for.

        A version that is unknown (None, "14.1") is taken for the newest we know.
        """
        floors = {
            name.removeprefix(software): floor
            for name, floor in self.driver_floor.items()
            if re.fullmatch(rf"{software}\d+", name)
        }
        newest = max(floors, key=int)
        major = (version or "").split(".")[0]
        return floors.get(major, floors[newest]), newest


class Unserved(Entry):
    """A chip that Barewind does not serve, and why."""

    reason: str


@cache
def accelerators() -> dict[str, Accelerator]:
    """Every known accelerator by its short name (h100, mi300x, ...)."""
    return load("accelerators.yaml", Accelerator)


@cache
def unserved() -> dict[str, Unserved]:
    """Every chip that is known not to be served, by its short name (gb200, ...)."""
    return load("unserved.yaml", Unserved)
