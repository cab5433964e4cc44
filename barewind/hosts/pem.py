"""Certificates and keys: files in PEM format on the controller, as hosts shall have them."""

from __future__ import annotations

from pathlib import Path

from barewind import secrets
from barewind.errors import BarewindError


def certificate(key: str, file: str) -> str:
    """The text of a certificate; `key` is the one of the group data that names the file.

    Raises:
        BarewindError: the file cannot be read, or holds no certificate.
    """
    path = Path(file).expanduser()
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{key} {path}: cannot be read ({error}); correct the key.") from error
    return _with(key, file, text, "-----BEGIN CERTIFICATE-----")


def private_key(key: str, file: str) -> str:
    """The text of a certificate's private key.

    Raises:
        BarewindError: the file cannot be read, others can read it, or it holds no key.
    """
    return _with(key, file, secrets.read(key, file), "PRIVATE KEY-----")


def _with(key: str, file: str, text: str, mark: str) -> str:
    if mark not in text:
        raise BarewindError(f"{key} {Path(file).expanduser()}: has no '{mark}' in it; name the file in PEM format.")
    return text
