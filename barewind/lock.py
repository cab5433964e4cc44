"""The lock file: what every name in the group data stands for, by digest and SHA-256. Deploys use only the lock."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barewind import catalog
from barewind.documents import read_yaml
from barewind.errors import BarewindError
from barewind.spec import EngineSpec
from barewind.weights import Manifest

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class LockedImage(BaseModel):
    """What a name stood for when it was asked (`locked`), and what the image's configuration tells, if anything.

    `digest` is what the registry answered; where that is an index over several platforms, `platform_digest` is ours in it.
    `size` is the sum of our platform's compressed layers, bytes. `created` is when the image was built, `version` the
    engine's, or the commit it was built from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: Digest
    platform_digest: Digest | None = None
    size: int = Field(ge=0)
    created: datetime | None = None
    version: str | None = None
    cuda: str | None = None
    rocm: str | None = None
    locked: datetime | None = None


class Lock(BaseModel):
    """The whole lock file. `created` is when all of it was asked anew; what was added since is younger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    created: datetime | None = None
    images: dict[str, LockedImage] = Field(default_factory=dict)
    weights: list[Manifest] = Field(default_factory=list)

    def manifest(self, model: str, requested: str, layout: str) -> Manifest | None:
        """The files of a model's revision as group data names it, or None if it is not locked."""
        for one in self.weights:
            if (one.model, one.layout) == (model, layout) and requested in (one.requested, one.revision):
                return one
        return None


def read(path: str | Path) -> Lock:
    """Read a lock file; one that is not there is an empty lock.

    Raises:
        BarewindError: the file is not a lock file.
    """
    file = Path(path)
    if not file.exists():
        return Lock()
    try:
        return Lock.model_validate(read_yaml(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{path}: cannot be read ({error}); correct 'lock_file'.") from error
    except (ValidationError, yaml.YAMLError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else None
        found = f"key '{'.'.join(map(str, detail['loc']))}': {detail['msg']}" if detail else "not YAML"
        raise BarewindError(f"{path}: {found}; write it again with 'barewind lock INVENTORY --update'.") from error


def write(lock: Lock, path: str | Path) -> None:
    """Write a lock file, whole or not at all.

    Raises:
        BarewindError: its folder is missing or not writable.
    """
    file = Path(path)
    text = yaml.safe_dump(lock.model_dump(mode="json"), sort_keys=False, width=200)
    head = "# Written by 'barewind lock'. Review it and commit it: hosts run exactly these bytes.\n"
    fresh = file.with_name(file.name + ".new")
    try:
        fresh.write_text(head + text)
        fresh.replace(file)
    except OSError as error:
        raise BarewindError(f"{path}: cannot be written ({error.strerror}); correct 'lock_file'.") from error


def wanted_weights(spec: EngineSpec, draft: str | None) -> list[tuple[str, str]]:
    """Model and draft of a host as (repository, requested revision); the model comes first."""
    models = catalog.models()
    wanted = [(spec.model, spec.model_revision or models[spec.model].revision)]
    if draft is not None:
        wanted.append((draft, spec.draft_revision or models[draft].revision))
    return wanted


def read_token(spec: EngineSpec) -> str | None:
    """The hub token of a host, from a file on the controller that only its owner can read.

    Raises:
        BarewindError: the file is missing, empty, or others can read it.
    """
    if spec.hub_token_file is None:
        return None
    path = Path(spec.hub_token_file).expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text().strip()
    except OSError as error:
        raise BarewindError(
            f"hub_token_file {path}: {error.strerror}; write the token to it, or remove the key."
        ) from error
    if mode & 0o077:
        raise BarewindError(f"hub_token_file {path}: mode {mode:04o} lets others read it; run: chmod 600 {path}")
    if not token:
        raise BarewindError(f"hub_token_file {path}: is empty; write the token to it, or remove the key.")
    return token
