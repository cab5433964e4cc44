"""Layers of the stand-in engines' images on the machine of light hosts."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.hosts import light_host
from lab.images import shared_layers, standin_engine
from lab.progress import Steps
from lab.services import registry


def layer(name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return gzip.compress(packed.getvalue())


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Layers that the registry was asked for."""
    blobs = {"sha256:1": layer("one"), "sha256:2": layer("two")}
    digests: list[str] = []

    @contextmanager
    def open_blob(digest: str, _: str) -> Iterator[io.BytesIO]:
        digests.append(digest)
        if digest not in blobs:
            raise LabError(f"no blob {digest}")
        yield io.BytesIO(blobs[digest])

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "open_blob", open_blob)
    monkeypatch.setattr(standin_engine, "layer_digests", lambda: ["sha256:1", "sha256:2"])
    return digests


def there() -> dict[str, list[str]]:
    return {folder.name: [file.name for file in folder.iterdir()] for folder in light_host.layers().iterdir()}


def test_each_is_unpacked_once_and_goes_with_its_image(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shared_layers.ensure(Steps(), in_use=False)
    assert there() == {"1": ["one"], "2": ["two"]}
    shared_layers.ensure(Steps(), in_use=False)
    assert asked == ["sha256:1", "sha256:2"]
    monkeypatch.setattr(standin_engine, "layer_digests", lambda: ["sha256:2"])
    shared_layers.ensure(Steps(), in_use=True)  # an engine runs on it
    assert there() == {"1": ["one"], "2": ["two"]}
    shared_layers.ensure(Steps(), in_use=False)
    assert there() == {"2": ["two"]}


def test_one_that_does_not_come_whole_is_not_there(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin_engine, "layer_digests", lambda: ["sha256:3"])
    with pytest.raises(LabError):
        shared_layers.ensure(Steps(), in_use=False)
    assert not (light_host.layers() / "3").exists()
