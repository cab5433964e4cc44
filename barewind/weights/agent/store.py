"""The files of a set on this host's disk: a work directory that becomes the real one when every file is right."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from barewind import checksums
from barewind.checksums import SUMS, VERIFIED
from barewind.weights.agent.job import FileSet, Part
from barewind.weights.agent.journal import Journal, stamp_of

CHUNK = 2**20  # bytes read at a time


class StoreError(Exception):
    """The disk does not take or hold the files; the message says where, what and what to do."""


class Store:
    """The files of one set. May be used by several threads."""

    def __init__(self, file_set: FileSet, parts: list[Part]) -> None:
        self.set = file_set
        self.parts = parts
        self.final = file_set.directory
        self.work = self.final.with_name(self.final.name + ".partial")
        self._sums = checksums.sums({name: locked.sha256 for name, locked in file_set.files.items()})
        self.journal = Journal(self.final.with_name(self.final.name + ".parts"), self._sums, parts)
        self.complete = False
        self.digests: dict[int, str] = {}  # part -> SHA-256, as of `open`
        self.unknown: list[str] = []  # files that are there but of which nothing is known, as of `open`
        self._files: dict[str, BinaryIO] = {}

    def open(self) -> None:
        """Look at what is there, and make room for the rest.

        Raises:
            StoreError: there is not enough space, or the directory cannot be written to.
        """
        with self._explained():
            self._open()

    def write(self, part: Part, offset: int, data: memoryview) -> None:
        """Write bytes of a part at an offset from its start.

        Raises:
            StoreError: the disk is full or broken.
        """
        with self._explained():
            while data:
                written = os.pwrite(self._files[part.file].fileno(), data, part.start + offset)
                data, offset = data[written:], offset + written

    def record(self, part: Part, digest: str | None) -> None:
        """Remember that a part is there, or (None) that it is not.

        Raises:
            StoreError: the disk is full or broken.
        """
        with self._explained():
            self.journal.record(part, digest)

    def file(self, name: str) -> BinaryIO:
        """A file to read from, for the caller to close; good also after the directory has got its name."""
        return open(f"/proc/self/fd/{self._files[name].fileno()}", "rb", buffering=0)  # noqa: PTH123

    def digest(self, part: Part) -> str:
        """SHA-256 of a part as it is on the disk."""
        digest = hashlib.sha256()
        for chunk in self.chunks(part):
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self, part: Part) -> Iterator[bytes]:
        """The bytes of a part as they are on the disk, piece by piece."""
        descriptor, offset = self._files[part.file].fileno(), part.start
        while offset < part.end and (chunk := os.pread(descriptor, min(CHUNK, part.end - offset), offset)):
            offset += len(chunk)
            yield chunk

    def finish(self) -> None:
        """Let the directory appear: every file is right.

        Raises:
            StoreError: the disk is full or broken.
        """
        with self._explained():
            for name, file in self._files.items():
                os.fsync(file.fileno())
                (self.work / name).chmod(0o444)
            self._remove_foreign_files()
            self._seal()
            self.work.rename(self.final)
            _sync(self.final.parent)
            self.complete = True

    @property
    def linked(self) -> bool:
        """Whether the directory only points to files elsewhere."""
        return any((self.final / name).is_symlink() for name in self.set.files)

    def link(self, path: Path) -> None:
        """Let the directory appear with links to the files in `path`, which are right.

        Raises:
            StoreError: the disk is full or broken.
        """
        with self._explained():
            shutil.rmtree(self.work, ignore_errors=True)
            for name in self.set.files:
                (self.work / name).parent.mkdir(parents=True, exist_ok=True)
                (self.work / name).symlink_to(path / name)
            self._seal()
            if self.final.is_dir():
                shutil.rmtree(self.final)
            self.work.rename(self.final)

    def stamp(self) -> None:
        """Note in the journal that what it says holds for the directory as it is now."""
        directory = self.work if self.work.is_dir() else self.final
        self.journal.stamp((directory / VERIFIED).read_bytes())

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            file.close()
        self._files = {}
        self.journal.close()

    def _open(self) -> None:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        known, stamp = self.journal.read()
        if self.final.is_dir():
            if self._intact() and not self.linked:
                self._open_complete(known, stamp)
                return
            # Something in it changed: nothing may be served from it until it is right again.
            shutil.rmtree(self.work, ignore_errors=True)
            self.final.rename(self.work)
            known = None
        self.work.mkdir(exist_ok=True)
        present = {name for name in self.set.files if self._has_full_size(name)}
        self._make_room()
        self._open_files(self.work, "r+b")
        if known is None:
            self.unknown = sorted(present)
        else:
            self.digests = {
                part.number: known[part.number] for part in self.parts if part.number in known and part.file in present
            }
        self.journal.start(self.digests, None)

    def _open_complete(self, known: dict[int, str] | None, stamp: str) -> None:
        self.complete = True
        self._open_files(self.final, "rb")
        current = stamp_of((self.final / VERIFIED).read_bytes())
        self.digests = known if known and stamp == current and len(known) == len(self.parts) else {}
        self.journal.start(self.digests, current if self.digests else None)

    def _open_files(self, directory: Path, mode: str) -> None:
        self._files = {name: (directory / name).open(mode, buffering=0) for name in self.set.files}  # type: ignore[misc]

    def _has_full_size(self, name: str) -> bool:
        path = self.work / name
        return path.is_file() and path.stat().st_size == self.set.files[name].size

    def _make_room(self) -> None:
        """Take the space for all files now: a disk that is too small is better known at the start than at the end."""
        missing = 0
        for name, locked in self.set.files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            if path.is_file():
                path.chmod(0o644)
                if path.stat().st_size > locked.size:
                    os.truncate(path, locked.size)
            missing += max(0, locked.size - (path.stat().st_blocks * 512 if path.is_file() else 0))
        free = _free_bytes(self.work)
        if missing > free:
            raise StoreError(
                f"{self.work}: disk full: {self.set.model} needs {_in_words(missing)} more, {_in_words(free)} are free. "
                "Free space (barewind weights prune INVENTORY), or set 'data_dir' to a larger file system"
            )
        for name, locked in self.set.files.items():
            with (self.work / name).open("ab") as file:
                if locked.size:
                    os.posix_fallocate(file.fileno(), 0, locked.size)

    def _intact(self) -> bool:
        """Whether the directory holds these files as they were when their SHA-256 was checked."""
        try:
            return (self.final / SUMS).read_text() == self._sums and (
                self.final / VERIFIED
            ).read_text() == checksums.verified(self.final, self.set.files)
        except OSError:
            return False

    def _remove_foreign_files(self) -> None:
        for path in sorted(self.work.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(self.work)) not in self.set.files:
                path.unlink()

    def _seal(self) -> None:
        """Write down in the work directory that its files are right."""
        verified = checksums.verified(self.work, self.set.files)
        (self.work / SUMS).write_text(self._sums)
        (self.work / VERIFIED).write_text(verified)
        for name in (SUMS, VERIFIED, "."):
            _sync(self.work / name)
        self.stamp()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the operating system says into a message that names the place and what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(
                    f"{self.work}: disk full while {self.set.model} was written "
                    f"({_in_words(_free_bytes(self.final.parent))} are free). Free space (barewind weights prune INVENTORY), "
                    "or set 'data_dir' to a larger file system, and run again: what is there is kept"
                ) from error
            raise StoreError(
                f"{error.filename or self.work}: {error.strerror or error}; look at the disk and its mount, and run again"
            ) from error


def _free_bytes(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
