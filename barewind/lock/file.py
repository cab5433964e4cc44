"""The lock file: digest and SHA-256 behind every name in the group data. Deploys use only the lock."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barewind import catalog, secrets
from barewind.catalog import Layout
from barewind.documents import read_yaml
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.lock.manifest import Manifest
from barewind.registry.image import LockedImage
from barewind.registry.reference import ImageName
from barewind.spec.keys import EngineSpec

WeightsName = tuple[str, str, Layout]  # repository, revision as group data names it, layout


class Lock(BaseModel):
    """The whole lock file. `created` is when all of it was asked anew; what was added since is younger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    created: datetime | None = None
    images: dict[ImageName, LockedImage] = Field(default_factory=dict)
    weights: list[Manifest] = Field(default_factory=list)

    def manifest(self, model: str, requested: str, layout: Layout) -> Manifest | None:
        """The files of a model's revision as group data names it, or None if it is not locked."""
        for manifest in self.weights:
            if (manifest.model, manifest.layout) == (model, layout) and requested in (
                manifest.requested,
                manifest.revision,
            ):
                return manifest
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
        finding = f"key '{'.'.join(map(str, detail['loc']))}': {detail['msg']}" if detail else "not YAML"
        raise BarewindError(f"{path}: {finding}; write it again with 'barewind lock INVENTORY --update'.") from error


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


def wanted_weights(spec: EngineSpec, draft: str | None) -> list[WeightsName]:
    """Model and draft of a host; the model comes first."""
    models, engine = catalog.models(), ENGINES[spec.engine]
    model = models[spec.model]
    wanted: list[WeightsName] = [(spec.model, spec.model_revision or model.revision, engine.layout(model))]
    if draft is not None:
        wanted.append((draft, spec.draft_revision or models[draft].revision, engine.layout_of_draft(model)))
    return wanted


def read_token(spec: EngineSpec) -> str | None:
    """The hub token of a host, from a file on the controller that only its owner can read.

    Raises:
        BarewindError: the file is missing, empty, or others can read it.
    """
    return None if spec.hub_token_file is None else secrets.read("hub_token_file", spec.hub_token_file).strip()
