"""The file of a bundle: for its owner alone, never over another file, none that is half-written."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from barewind.errors import BarewindError
from barewind.support import archive


def test_texts_are_in_a_folder_of_the_files_name_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    size = archive.write(path, {"README.txt": "hello", "hosts/gpu1.txt": "größe \udcff"})
    assert (size, path.stat().st_mode & 0o777) == (path.stat().st_size, 0o600)
    with tarfile.open(path) as opened:
        entries = opened.getmembers()
        assert [(entry.name, entry.mode) for entry in entries] == [
            ("report/README.txt", 0o600),
            ("report/hosts/gpu1.txt", 0o600),
        ]
        file = opened.extractfile(entries[1])
        assert file is not None
        assert file.read().decode() == "größe ?"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    path.write_text("mine")
    with pytest.raises(BarewindError, match="is there already; name another file with --output"):
        archive.write(path, {})
    assert path.read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BarewindError, match="No such file or directory; name another file"):
        archive.write(tmp_path / "missing" / "report.tar.gz", {})


def test_where_the_disk_is_full_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(BarewindError, match="No space left on device; name another file"):
        archive.write(tmp_path / "report.tar.gz", {"README.txt": "hello"})
    assert list(tmp_path.iterdir()) == []
