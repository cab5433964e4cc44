"""Everything a site needs that has no way to registry, hub or package lists: one directory, checked before it is used.

bundle.json          what this is, for which fleet
barewind.lock.yaml   what is in it, by digest and SHA-256
images/              an OCI image layout (skopeo and others read it: oci:images)
weights/             ORG/NAME/resolve/REVISION/FILE: as the hub's addresses are, so that any web server can stand for it
packages.yaml        apt packages with versions, per kind of host and operating system; the packages are not in it
SHA256SUMS           of every file: sha256sum -c SHA256SUMS

The same lock makes the same bundle, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from barewind import lock
from barewind.errors import BarewindError
from barewind.lock import Lock
from barewind.weights import Manifest

FORMAT = 1
ABOUT = "bundle.json"
LOCK = "barewind.lock.yaml"
IMAGES = "images"
WEIGHTS = "weights"
PACKAGES = "packages.yaml"
CHECKSUMS = "SHA256SUMS"
AGAIN = "save it again: barewind bundle save INVENTORY DIRECTORY goes on with what is there"


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been checked. `identity` is the SHA-256 of its SHA256SUMS, to compare by another way."""

    directory: Path
    fleet: str
    held: Lock
    identity: str


def about(fleet: str) -> str:
    """The text of bundle.json."""
    return json.dumps({"format": FORMAT, "fleet": fleet}, indent=2) + "\n"


def read(directory: Path, identity: str) -> Bundle:
    """What a bundle says it is; its files have been checked.

    Raises:
        BarewindError: it is of another format, or holds no lock.
    """
    try:
        found = json.loads((directory / ABOUT).read_text())
        fleet = str(found["fleet"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BarewindError(f"{directory / ABOUT}: is not what a bundle has ({error}); {AGAIN}.") from error
    if found.get("format") != FORMAT:
        raise BarewindError(
            f"{directory}: is of format {found.get('format')}, this Barewind reads {FORMAT}; use the one that saved it."
        )
    return Bundle(directory, fleet, lock.read(directory / LOCK), identity)


def weights_folder(manifest: Manifest) -> str:
    """Where a manifest's files are below the folder of weights, as below the hub's address."""
    return f"{manifest.model}/resolve/{manifest.revision}"
