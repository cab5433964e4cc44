"""The bundle as a file: texts in a folder of a tar archive, which only its owner can read."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from barewind.errors import BarewindError


def write(path: Path, texts: Mapping[str, str]) -> int:
    """Write texts by their names as a tar.gz file of mode 0600; its size in bytes.

    Raises:
        BarewindError: the file is there already, or cannot be written; none is left behind then.
    """
    folder = path.name.partition(".")[0]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BarewindError(f"{path}: is there already; name another file with --output.") from None
    except OSError as error:
        raise BarewindError(f"{path}: {error.strerror}; name another file with --output.") from error
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in texts.items():
                content = text.encode(errors="replace")
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BarewindError(f"{path}: {error.strerror}; name another file with --output.") from error
    return path.stat().st_size
