"""Layers of the stand-in engines' images, unpacked once on this machine for all light hosts."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from lab.hosts import light_host
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import registry


def ensure(steps: Steps, *, in_use: bool) -> None:
    """Unpack what is missing; unless hosts may run on it (`in_use`), remove what no image has any more."""
    home = light_host.layers()
    wanted = {digest.removeprefix("sha256:"): digest for digest in standin_engine.layer_digests()}
    missing = [name for name in wanted if not (home / name).exists()]
    if missing:
        with steps.step("layers of the stand-in engine for light hosts"):
            for name in missing:
                _unpack(wanted[name], home / name)
    for other in home.iterdir() if home.exists() and not in_use else ():
        if other.name not in wanted:
            shutil.rmtree(other)


def _unpack(digest: str, folder: Path) -> None:
    partial = folder.with_name(f"partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with registry.open_blob(digest, standin_engine.REPOSITORY) as blob, tarfile.open(fileobj=blob, mode="r|gz") as tar:
        tar.extractall(partial, filter="fully_trusted")  # noqa: S202 - the lab itself has packed it
    partial.rename(folder)
