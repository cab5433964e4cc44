"""The catalog's part about models: which repository and revision, of which files, how large."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from barewind.catalog.accelerators import VersionText
from barewind.catalog.entries import Entry, Names, load

Layout = Literal["mistral", "hf"]  # how a repository of weights is laid out: Mistral's own files, or Hugging Face's
_REVISION = r"^[A-Za-z0-9_][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)*$"  # a branch, tag or commit


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

    @property
    def body(self) -> int:
        """Parameters of all layers: attention and a gated MLP each, no mixture of experts."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_dim
        return self.layers * self.hidden * (attention + 3 * self.intermediate)

    @property
    def head(self) -> int:
        """Parameters of the output layer, and of the embeddings."""
        return self.vocabulary * self.hidden


class Weights(BaseModel):
    """Bytes of one layout; `vision` is the part that text-only serving leaves out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: int = Field(gt=0)
    vision: int = Field(ge=0)


class Model(Entry):
    """One model repository; lengths in tokens, `host_memory_gib` in GiB.

    `draft_accepted` is how many tokens a step brings on average where `draft_tokens` of its own draft are tried.
    """

    revision: str = Field(pattern=_REVISION)
    revision_floor: str | None = None
    parameters: int | None = Field(default=None, gt=0)
    context_length: int = Field(gt=0)
    shape: Shape
    weights: Weights
    precision: Literal["nvfp4", "fp8", "bf16"]
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    reasoning_efforts: tuple[str, ...] = ()
    layouts: dict[Layout, Annotated[Names, Field(min_length=1)]] = Field(min_length=1)
    modalities: tuple[Literal["text", "image"], ...] = ("text", "image")
    engines: dict[str, VersionText] = Field(default_factory=dict)
    draft: str | None = None
    draft_max_model_len: int | None = Field(default=None, gt=0)
    draft_tokens: int | None = Field(default=None, gt=0)
    draft_accepted: float | None = Field(default=None, ge=1)
    host_memory_gib: int = Field(ge=0)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.weights.vision >= self.weights.total:
            raise ValueError("'weights.vision' is part of 'weights.total' and must be less")
        if self.shape.heads % self.shape.kv_heads:
            raise ValueError("'shape.heads' must be a multiple of 'shape.kv_heads'")
        return self

    def drafts_for(self, model: Model) -> bool:
        """Whether it can be a draft head of a model: as wide, with the same words."""
        return (self.shape.hidden, self.shape.vocabulary) == (model.shape.hidden, model.shape.vocabulary)


@cache
def models() -> dict[str, Model]:
    """Every known model by its repository id."""
    return load("models.yaml", Model)
