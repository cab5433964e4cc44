"""Weights: which files of a model's repository an engine needs, with size and SHA-256, and where a host keeps them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
    layout: str
    files: dict[str, WeightFile] = Field(min_length=1)

    @property
    def size(self) -> int:
        """All files together, bytes."""
        return sum(file.size for file in self.files.values())

    @property
    def checksums(self) -> str:
        """The manifest in the format of sha256sum, so that a person can check a host with `sha256sum -c`."""
        return "".join(f"{file.sha256}  {name}\n" for name, file in sorted(self.files.items()))

    @property
    def place(self) -> str:
        """Where the files are under a directory of weights: one directory per revision and layout."""
        return f"{self.model.replace('/', '--')}/{self.revision}-{self.layout}"

    def directory(self, data_dir: str) -> str:
        """Where a host keeps these files."""
        return f"{data_dir}/weights/{self.place}"
