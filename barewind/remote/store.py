"""The files of a set on this host's disk: a work directory that becomes the real one when every file is right.

Beside the directory lies `<name>.parts`, a journal of the parts that are there and their SHA-256. A job that was cut off goes
on from it; a complete host knows from it what to tell the others without reading 134 GB again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import BinaryIO

from barewind.remote.job import FileSet, Part

CHUNK = 2**20  # bytes read at a time
_VERSION = 1
_GONE = "-"


class StoreError(Exception):
    """The disk will not have it; the text says where, what and what to do."""


class Store:
    """One set. May be used by several threads."""

    def __init__(self, one: FileSet, parts: list[Part]) -> None:
        self.set = one
        self.parts = parts
        self.final = one.directory
        self.work = self.final.with_name(self.final.name + ".partial")
        self.journal = self.final.with_name(self.final.name + ".parts")
        self.complete = False
        self.digests: dict[int, str] = {}  # part -> SHA-256, as of `open`
        self.unknown: list[str] = []  # files that are there but of which nothing is known, as of `open`
        self._files: dict[str, BinaryIO] = {}
        self._log: BinaryIO | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """See what is there, and make room for the rest.

        Raises:
            StoreError: there is not enough space, or the directory cannot be written to.
        """
        try:
            self._open()
        except OSError as error:
            raise self._explained(error) from error

    def write(self, part: Part, offset: int, data: memoryview) -> None:
        """Write bytes of a part at an offset from its start.

        Raises:
            StoreError: the disk is full or broken.
        """
        try:
            while data:
                written = os.pwrite(self._files[part.file].fileno(), data, part.start + offset)
                data, offset = data[written:], offset + written
        except OSError as error:
            raise self._explained(error) from error

    def record(self, part: Part, digest: str | None) -> None:
        """Remember that a part is there, or (None) that it is not."""
        try:
            with self._lock:
                if self._log is not None:
                    self._log.write(f"{part.number} {digest or _GONE}\n".encode())
        except OSError as error:
            raise self._explained(error) from error

    def file(self, name: str) -> BinaryIO:
        """A file to read from, for the caller to close; good also after the directory has got its name."""
        return open(f"/proc/self/fd/{self._files[name].fileno()}", "rb", buffering=0)  # noqa: PTH123

    def digest(self, part: Part) -> str:
        """SHA-256 of a part as it is on the disk."""
        found = hashlib.sha256()
        for chunk in self.chunks(part):
            found.update(chunk)
        return found.hexdigest()

    def chunks(self, part: Part) -> list[bytes] | _Chunks:
        """The bytes of a part, piece by piece."""
        return _Chunks(self._files[part.file].fileno(), part.start, part.end)

    def finish(self) -> None:
        """Every file is right: let the directory appear."""
        try:
            self._finish()
        except OSError as error:
            raise self._explained(error) from error

    @property
    def linked(self) -> bool:
        """Whether the directory only points to files elsewhere."""
        return any((self.final / name).is_symlink() for name in self.set.files)

    def link(self, path: Path) -> None:
        """The files in `path` are right: let the directory appear, with links to them."""
        try:
            shutil.rmtree(self.work, ignore_errors=True)
            for name in self.set.files:
                (self.work / name).parent.mkdir(parents=True, exist_ok=True)
                (self.work / name).symlink_to(path / name)
            self._seal(self.work)
            if self.final.is_dir():
                shutil.rmtree(self.final)
            self.work.rename(self.final)
        except OSError as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for file in (*self._files.values(), *([self._log] if self._log else [])):
                file.close()
            self._files, self._log = {}, None

    def _open(self) -> None:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        known, done = self._read_journal()
        if self.final.is_dir():
            if self._intact() and not self.linked:
                self.complete = True
                self._open_files(self.final, "rb")
                stamp = _sha256((self.final / ".verified").read_bytes())
                self.digests = known if known and done == stamp and len(known) == len(self.parts) else {}
                self._start_journal(self.digests, stamp if self.digests else None)
                return
            shutil.rmtree(self.work, ignore_errors=True)
            self.final.rename(
                self.work
            )  # something in it changed: nothing may be served from it until it is right again
            known = None
        self.work.mkdir(exist_ok=True)
        here = {name for name in self.set.files if self._sized(name)}
        self._allocate()
        self._open_files(self.work, "r+b")
        if known is None:
            self.unknown = sorted(here)
        else:
            self.digests = {
                part.number: known[part.number] for part in self.parts if part.number in known and part.file in here
            }
        self._start_journal(self.digests, None)

    def _sized(self, name: str) -> bool:
        path = self.work / name
        return path.is_file() and path.stat().st_size == self.set.files[name].size

    def _allocate(self) -> None:
        """Take the space for all files now: a disk that is too small is better known at the start than at the end."""
        missing = 0
        for name, wanted in self.set.files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            if path.is_file():
                path.chmod(0o644)
                if path.stat().st_size > wanted.size:
                    os.truncate(path, wanted.size)
            missing += max(0, wanted.size - (path.stat().st_blocks * 512 if path.is_file() else 0))
        disk = os.statvfs(self.work)
        free = disk.f_bavail * disk.f_frsize
        if missing > free:
            raise StoreError(
                f"{self.work}: disk full: {self.set.model} needs {_words(missing)} more, {_words(free)} are free. "
                "Free space (barewind weights prune INVENTORY), or set 'data_dir' to a larger file system"
            )
        for name, wanted in self.set.files.items():
            with (self.work / name).open("ab") as file:
                if wanted.size:
                    os.posix_fallocate(file.fileno(), 0, wanted.size)

    def _open_files(self, directory: Path, mode: str) -> None:
        self._files = {name: (directory / name).open(mode, buffering=0) for name in self.set.files}  # type: ignore[misc]

    def _intact(self) -> bool:
        """Whether the directory holds these files as they were when their SHA-256 was checked."""
        try:
            return (self.final / "SHA256SUMS").read_text() == self._sums() and (
                self.final / ".verified"
            ).read_text() == self._snapshot(self.final)
        except OSError:
            return False

    def _sums(self) -> str:
        return "".join(f"{wanted.sha256}  {name}\n" for name, wanted in sorted(self.set.files.items()))

    def _snapshot(self, directory: Path) -> str:
        """Name, size and time of change of each file, as `stat -L -c '%n %s %.9Y'` prints them."""
        lines = []
        for name in sorted(self.set.files):
            stat = (directory / name).stat()
            lines.append(f"{name} {stat.st_size} {stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09d}\n")
        return "".join(lines)

    def _finish(self) -> None:
        for name, file in self._files.items():
            os.fsync(file.fileno())
            (self.work / name).chmod(0o444)
        for path in sorted(self.work.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(self.work)) not in self.set.files:
                path.unlink()
        self._seal(self.work)
        self.work.rename(self.final)
        _sync(self.final.parent)
        self.complete = True

    def _seal(self, directory: Path) -> None:
        verified = self._snapshot(directory)
        (directory / "SHA256SUMS").write_text(self._sums())
        (directory / ".verified").write_text(verified)
        for name in ("SHA256SUMS", ".verified", "."):
            _sync(directory / name)
        self.stamp()

    def stamp(self) -> None:
        """Note in the journal that what it says holds for the directory as it is now."""
        directory = self.work if self.work.is_dir() else self.final
        with self._lock:
            if self._log is not None:
                self._log.write(f"done {_sha256((directory / '.verified').read_bytes())}\n".encode())
                os.fsync(self._log.fileno())

    def _read_journal(self) -> tuple[dict[int, str] | None, str]:
        """Part -> SHA-256, and of which state of the directory this was told; None if it is not about these parts."""
        try:
            lines = self.journal.read_text().split("\n")
            if json.loads(lines[0]) != self._head():
                return None, ""
        except (OSError, ValueError):
            return None, ""
        known: dict[int, str] = {}
        done = ""
        for line in lines[1:-1]:  # what follows the last newline was not written to its end
            number, _, digest = line.partition(" ")
            if number == "done":
                done = digest
            elif digest == _GONE:
                known.pop(int(number), None)
            elif len(digest) == 64 and int(number) < len(self.parts):
                known[int(number)] = digest
        return known, done

    def _start_journal(self, known: dict[int, str], done: str | None) -> None:
        fresh = self.journal.with_name(self.journal.name + ".new")
        with fresh.open("wb") as file:
            file.write(json.dumps(self._head()).encode() + b"\n")
            for number, digest in known.items():
                file.write(f"{number} {digest}\n".encode())
            if done:
                file.write(f"done {done}\n".encode())
            os.fsync(file.fileno())
        fresh.replace(self.journal)
        self._log = self.journal.open("ab", buffering=0)

    def _head(self) -> dict[str, object]:
        grid = [[part.file, part.start, part.end] for part in self.parts]
        return {
            "version": _VERSION,
            "files": _sha256(self._sums().encode()),
            "parts": _sha256(json.dumps(grid).encode()),
        }

    def _explained(self, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            disk = os.statvfs(self.final.parent)
            return StoreError(
                f"{self.work}: disk full while {self.set.model} was written "
                f"({_words(disk.f_bavail * disk.f_frsize)} are free). Free space (barewind weights prune INVENTORY), or set "
                "'data_dir' to a larger file system, and run again: what is there is kept"
            )
        return StoreError(
            f"{error.filename or self.work}: {error.strerror or error}; look at the disk and its mount, and run again"
        )


class _Chunks:
    """Reads a span of a file piece by piece."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor, self._at, self._end = descriptor, start, end

    def __iter__(self) -> _Chunks:
        return self

    def __next__(self) -> bytes:
        data = os.pread(self._descriptor, min(CHUNK, self._end - self._at), self._at) if self._at < self._end else b""
        if not data:
            raise StopIteration
        self._at += len(data)
        return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
