"""A bundle: everything that a site without a way to registry, hub or package lists needs, in one directory.

It is checked before it is used, and the same lock makes the same bundle, byte for byte.

bundle.json          what this is, for which fleet
barewind.lock.yaml   what is in it, by digest and SHA-256
images/              an OCI image layout (skopeo and others read it: oci:images)
weights/             ORG/NAME/resolve/REVISION/FILE: as the hub's addresses are, so that any web server can stand for it
packages.yaml        apt packages with versions, per kind of host and operating system; the packages are not in it
SHA256SUMS           of every file: sha256sum -c SHA256SUMS
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from barewind.errors import BarewindError
from barewind.lock import file as lock_file
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest

FORMAT = 1
DESCRIPTION = "bundle.json"
LOCK = "barewind.lock.yaml"
IMAGES = "images"
WEIGHTS = "weights"
PACKAGES = "packages.yaml"
AGAIN = "save it again: barewind bundle save INVENTORY DIRECTORY goes on with what is there"


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been checked. `identity` is the SHA-256 of its SHA256SUMS, to compare by another way."""

    directory: Path
    fleet: str
    lock: Lock
    identity: str


def describe(fleet: str) -> str:
    """The text of bundle.json."""
    return json.dumps({"format": FORMAT, "fleet": fleet}, indent=2) + "\n"


def read(directory: Path, identity: str) -> Bundle:
    """A bundle whose files have been checked.

    Raises:
        BarewindError: it is of another format, or holds no lock.
    """
    try:
        document = json.loads((directory / DESCRIPTION).read_text())
        fleet = str(document["fleet"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BarewindError(f"{directory / DESCRIPTION}: is not what a bundle has ({error}); {AGAIN}.") from error
    if document.get("format") != FORMAT:
        raise BarewindError(
            f"{directory}: is of format {document.get('format')}, this Barewind reads {FORMAT}; use the one that saved it."
        )
    return Bundle(directory, fleet, lock_file.read(directory / LOCK), identity)


def weights_folder(manifest: Manifest) -> str:
    """The folder of a manifest's files below the folder of weights, as below the hub's address."""
    return f"{manifest.model}/resolve/{manifest.revision}"
