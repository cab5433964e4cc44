"""Debian packages: an ar archive of two tar archives (deb(5)); the same input gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

_MODE = 0o755


@dataclass(frozen=True)
class File:
    """A file of a package: text, a copy of `source`, or a symbolic link."""

    content: str = ""
    mode: int = 0o644
    link: str = ""
    source: Path | None = None

    @property
    def data(self) -> bytes:
        """Content."""
        return self.source.read_bytes() if self.source else self.content.encode()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.source.stat().st_size if self.source else len(self.content)


@dataclass(frozen=True)
class Deb:
    """A package. `relations`: Depends, Conflicts, ...; `files`: by path; `scripts`: maintainer scripts by name."""

    name: str
    version: str
    description: str
    relations: dict[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def file_name(self) -> str:
        """Name of the file, in which the version has no epoch."""
        return f"{self.name}_{self.version.split(':', 1)[-1]}_{self.architecture}.deb"

    def control(self) -> str:
        """Text of the control file; an index of a repository repeats it."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "The lab <lab@localhost>",
            "Installed-Size": str(1 + sum(file.size for file in self.files.values()) // 1024),
            **self.relations,
            "Section": "misc",
            "Priority": "optional",
            "Description": self.description,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items())

    def packed(self) -> bytes:
        """Content of the .deb."""
        conffiles = "".join(f"{path}\n" for path, file in sorted(self.files.items()) if path.startswith("/etc/"))
        control = {"./control": File(self.control())}
        control |= {f"./{name}": File(f"#!/bin/sh\nset -e\n{text}", 0o755) for name, text in self.scripts.items()}
        if conffiles:
            control["./conffiles"] = File(conffiles)
        return archive(
            {
                "debian-binary": b"2.0\n",
                "control.tar.gz": _tar(control),
                "data.tar.gz": _tar({f".{path}": file for path, file in self.files.items()}),
            }
        )


def entry(deb: Deb, packed: bytes, path: str) -> str:
    """A package's paragraph in the index `Packages`; `path`: of the .deb, relative to the repository's URL."""
    sums = {
        "Filename": path,
        "Size": str(len(packed)),
        "MD5sum": hashlib.md5(packed, usedforsecurity=False).hexdigest(),
        "SHA256": hashlib.sha256(packed).hexdigest(),
    }
    head, description = deb.control().rsplit("Description: ", 1)
    return head + "".join(f"{name}: {value}\n" for name, value in sums.items()) + f"Description: {description}"


def archive(members: dict[str, bytes]) -> bytes:
    """An ar archive of members by name."""
    packed = b"!<arch>\n"
    for name, data in members.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        packed += data + b"\n" * (len(data) % 2)
    return packed


def _tar(files: dict[str, File]) -> bytes:
    """A compressed tar archive, folders included; root owns all of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders: set[str] = set()
        for path, file in sorted(files.items()):
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    tar.addfile(_info(folder + "/", _MODE, tarfile.DIRTYPE))
            data = file.data
            info = _info(path, file.mode, tarfile.SYMTYPE if file.link else tarfile.REGTYPE)
            info.linkname, info.size = file.link, 0 if file.link else len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def _info(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.uname, info.gname = mode, kind, "root", "root"
    return info
