"""apt repositories: packages, indexes, Release; flat (`URL/ /`) or with suites (`URL SUITE COMPONENT`)."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.packages.deb import Deb, entry

DATE = "Sat, 22 Nov 2025 00:00:00 UTC"  # fixed, so that the same packages make the same files


@dataclass(frozen=True)
class Repository:
    """A repository. `folder`: path in its URL; `suite` and `component` are empty where it is flat."""

    folder: str
    packages: tuple[Deb, ...]
    suite: str = ""
    component: str = ""
    origin: str = "Lab"

    @property
    def release_folder(self) -> str:
        """Folder of Release, below the root of all repositories."""
        return f"{self.folder}/dists/{self.suite}" if self.suite else self.folder

    @property
    def index_folder(self) -> str:
        """Folder of the index, relative to Release."""
        return f"{self.component}/binary-amd64/" if self.suite else ""

    def path(self, deb: Deb) -> str:
        """Path of a package, relative to the repository's URL."""
        return f"pool/{self.suite}/{deb.file_name}" if self.suite else f"./{deb.file_name}"


def write(repository: Repository, root: Path) -> Path:
    """Write packages, index and Release; returns the path of Release."""
    home = root / repository.folder
    entries = []
    for deb in repository.packages:
        path, packed = home / repository.path(deb), deb.packed()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed)
        entries.append(entry(deb, packed, repository.path(deb)))
    return write_index(repository, root, entries)


def write_index(repository: Repository, root: Path, entries: Sequence[str]) -> Path:
    """Write the index, of entries for packages that are there already, and Release; returns the path of Release."""
    text = "\n".join(entries).encode()
    index = {"Packages": text, "Packages.gz": gzip.compress(text, 6, mtime=0)}
    home = root / repository.release_folder
    (home / repository.index_folder).mkdir(parents=True, exist_ok=True)
    for name, data in index.items():
        (home / repository.index_folder / name).write_bytes(data)
    release = home / "Release"
    release.write_text(
        release_text(repository, {f"{repository.index_folder}{name}": data for name, data in index.items()})
    )
    return release


def release_text(repository: Repository, index: dict[str, bytes]) -> str:
    """Text of Release, which lists the indexes with their digests. Signatures are made of it."""
    fields = {
        "Origin": repository.origin,
        "Label": repository.origin,
        **(
            {"Suite": repository.suite, "Codename": repository.suite, "Components": repository.component}
            if repository.suite
            else {}
        ),
        "Architectures": "amd64",
        "Date": DATE,
        "Description": "stand-in packages of the lab",
    }
    lines = [f"{name}: {value}" for name, value in fields.items()] + ["SHA256:"]
    lines += [f" {hashlib.sha256(data).hexdigest()} {len(data):>12} {name}" for name, data in sorted(index.items())]
    return "\n".join(lines) + "\n"
