"""A locked image: the digest behind a name when its registry was asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class LockedImage(BaseModel):
    """The digest behind a name when its registry was asked (`locked`), and what the image's configuration tells, if anything.

    `digest` is what the registry answered; where that is an index over several platforms, `platform_digest` is ours in it.
    `size` is the sum of our platform's compressed layers, bytes. `created` is when the image was built, `version` the
    engine's, or the commit it was built from. `zstd` is whether a layer is compressed with zstd, which not every Docker unpacks;
    an older Barewind's lock says False.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: Digest
    platform_digest: Digest | None = None
    size: int = Field(ge=0)
    created: datetime | None = None
    version: str | None = None
    cuda: str | None = None
    rocm: str | None = None
    zstd: bool = False
    locked: datetime | None = None
