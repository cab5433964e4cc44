"""A set of files on a disk: what a journal remembers, and what a full disk leaves behind."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from barewind.weights.agent.job import FileSet, LockedFile, parts_of
from barewind.weights.agent.store import Store, StoreError

CONTENT = bytes(range(256)) * 4
FILES = {"a/big.bin": CONTENT, "small.json": b"{}", "empty": b""}


def opened(folder: Path, files: dict[str, bytes] = FILES, part_size: int = 256) -> Store:
    locked = {name: LockedFile(len(text), hashlib.sha256(text).hexdigest()) for name, text in files.items()}
    file_set = FileSet("m", "org/m", "r", folder / "m", locked, ("gpu-h1",))
    store = Store(file_set, parts_of(file_set, part_size))
    store.open()
    return store


def fill(store: Store, *numbers: int) -> None:
    for part in store.parts:
        if part.number in numbers or not numbers:
            store.write(part, 0, memoryview(FILES[part.file][part.start : part.end]))
            store.record(part, store.digest(part))


def test_a_directory_appears_when_it_is_finished(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store)
    assert not store.final.exists()
    store.finish()
    assert {name: (store.final / name).read_bytes() for name in FILES} == FILES
    assert not store.work.exists()

    again = opened(tmp_path)
    assert again.complete
    assert sorted(again.digests) == [part.number for part in again.parts]


def test_the_journal_remembers_parts_over_a_power_cut(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 0, 2)
    store.record(store.parts[2], None)
    store.close()
    with store.journal.path.open("ab") as file:
        file.write(b"3 5e5e")  # cut off in the middle
    again = opened(tmp_path)
    assert list(again.digests) == [0]
    assert again.unknown == []


def test_the_journal_of_other_files_or_other_parts_counts_for_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 0, 2)
    store.close()
    again = opened(tmp_path, part_size=128)
    assert again.digests == {}
    assert again.unknown == ["a/big.bin", "empty", "small.json"]  # they have the right size: worth a look


def test_a_file_that_is_gone_takes_its_parts_along(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store)
    store.close()
    (store.work / "a/big.bin").unlink()
    assert {store.parts[number].file for number in opened(tmp_path).digests} == {"small.json"}


def test_a_file_that_is_too_long_is_cut(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    (store.work / "small.json").write_bytes(b"{}      ")
    store.journal.path.unlink()
    assert (opened(tmp_path).work / "small.json").stat().st_size == 2


def test_links_of_another_source_are_not_taken_for_files(tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "a").mkdir(parents=True)
    for name, text in FILES.items():
        (there / name).write_bytes(text)
    linked = opened(tmp_path)
    linked.close()
    linked.link(there)
    assert (linked.final / "a/big.bin").is_symlink()

    again = opened(tmp_path)
    assert not again.complete
    assert not any((again.work / name).is_symlink() for name in FILES)
    assert (there / "a/big.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "disk full while org/m was written"),
        (errno.EDQUOT, "disk full while org/m was written"),
        (errno.EIO, "look at the disk and its mount, and run again"),
        (errno.EROFS, "look at the disk and its mount, and run again"),
    ],
)
def test_a_disk_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str) -> None:
    store = opened(tmp_path)

    def refuse(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StoreError, match=message) as caught:
        fill(store)
    assert str(store.work) in str(caught.value)


def test_space_is_taken_at_the_start(tmp_path: Path) -> None:
    store = opened(tmp_path, {"big": bytes(2**20)}, 2**20)
    assert (store.work / "big").stat().st_blocks * 512 >= 2**20
