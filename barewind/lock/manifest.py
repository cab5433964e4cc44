"""Weights: which files of a model's repository an engine needs, with size and SHA-256, and where a host keeps them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatch

from pydantic import BaseModel, ConfigDict, Field

from barewind.catalog import Layout
from barewind.checksums import sums


class WeightFile(BaseModel):
    """One file of a manifest; `size` in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """The files of one layout of one revision; `requested` is what group data names, `revision` the commit it stands for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    requested: str
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    layout: Layout
    files: dict[str, WeightFile] = Field(min_length=1)

    @property
    def size(self) -> int:
        """All files together, bytes."""
        return sum(file.size for file in self.files.values())

    @property
    def checksums(self) -> str:
        """The manifest in the format of sha256sum, so that a person can check a host with `sha256sum -c`."""
        return sums({name: file.sha256 for name, file in self.files.items()})

    @property
    def place(self) -> str:
        """The directory of the files under a directory of weights: one per revision and layout."""
        return f"{self.model.replace('/', '--')}/{self.revision}-{self.layout}"

    def directory(self, data_dir: str) -> str:
        """The directory in which a host keeps these files."""
        return f"{data_dir}/weights/{self.place}"


def lacking(names: Collection[str], patterns: Sequence[str]) -> list[str]:
    """What a layout cannot do without (its first pattern is the configuration, others are of weights) and no name matches."""
    needed = [patterns[0], *(pattern for pattern in patterns[1:] if pattern.endswith(".safetensors"))]
    return [pattern for pattern in needed if not any(fnmatch(name, pattern) for name in names)]
