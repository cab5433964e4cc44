"""The weights of model and draft, by revision, each file checked against its SHA-256."""

from __future__ import annotations

from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.errors import BarewindError
from barewind.lock import read_token
from barewind.operations.weights import present
from tasks.fleet import engine_plan

_DOWNLOAD = 24 * 3600  # seconds; 134 GB at 20 Mbit/s take 15 hours


@deploy("Weights")
def download() -> None:
    """Have them on every engine host."""
    plan = engine_plan()
    if plan is None:
        return
    try:
        token = read_token(plan.spec)
    except BarewindError as error:
        raise PyinfraError(str(error)) from error
    present(
        name="Of model and draft",
        downloads=[
            {
                "directory": manifest.directory(plan.spec.data_dir),
                "checksums": manifest.checksums,
                "job": {
                    "model": manifest.model,
                    "revision": manifest.revision,
                    "endpoint": plan.spec.hub_endpoint,
                    "files": {name: file.model_dump() for name, file in manifest.files.items()},
                },
            }
            for manifest in plan.manifests
        ],
        image=plan.pinned_image,
        token=token,
        _timeout=_DOWNLOAD,
    )
